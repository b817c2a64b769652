"""The constraints at their edges: just inside is feasible, just outside is named, with the user and the numbers."""

from __future__ import annotations

import numpy as np
import pytest

from hisopt import Decision, Instance
from hisopt.problems.constraints import sms_faults, steps_of

WORK = np.array([1, 0, 7])


@pytest.mark.parametrize("budget", [1e-9, 100.0, 1e9])
def test_the_budget_of_real_sms_has_a_relative_tolerance_of_1e_9(budget: float) -> None:
    half = np.array([budget / 2, 0.0, budget / 2])
    assert sms_faults(budget, half * (1 + 0.9e-9), WORK, whole=False) == []
    assert "exceeds the budget" in sms_faults(budget, half * (1 + 1.1e-9), WORK, whole=False)[0]


def test_whole_sms_have_no_tolerance() -> None:
    assert sms_faults(100.0, np.array([60.0, 0.0, 40.0]), WORK, whole=True) == []
    assert "exceeds the budget" in sms_faults(100.0, np.array([61.0, 0.0, 40.0]), WORK, whole=True)[0]
    assert sms_faults(2e9, np.array([2e9 + 1, 0.0, 0.0]), np.array([1, 0, 0]), whole=True) != []
    for sms in ([1.5, 0.0, 2.0], [1.0, 0.0, 2.0 + 1e-12]):
        assert sms_faults(100.0, np.array(sms), WORK, whole=True) == ["sms: must be whole numbers"]
        assert sms_faults(100.0, np.array(sms), WORK, whole=False) == []


def test_any_work_needs_some_sm() -> None:
    assert sms_faults(9.0, np.array([0.5, 0.0, 0.25]), WORK, whole=False) == []
    assert sms_faults(9.0, np.array([0.0, 0.0, 1.0]), WORK, whole=False) == [
        "sms: a cluster with steps on the server has no SM"
    ]
    assert sms_faults(9.0, np.array([2.0, -1.0, 1.0]), WORK, whole=False) == ["sms: cluster 1 has -1, must be >= 0"]


def test_too_many_steps_name_their_user(small: Instance) -> None:
    x, y = small.given_steps
    total = small.steps.total
    for user in (0, 3):
        many = x.copy()
        many[user] = total + 1
        decision = Decision(steps_common=many, steps_edge=y, steps_device=np.zeros_like(y))
        assert steps_of(decision, small) == (None, [f"steps_common: user {user} has {total + 1} of {total} steps"])
