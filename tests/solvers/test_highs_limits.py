"""HiGHS under Pyomo ends at its limit as such, with what it has, whatever it was doing."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

from hisopt import Clustering, Instance, Limits, Termination
from hisopt.instances.scenario import PRESETS
from hisopt.models.clustering import pairs
from hisopt.solvers import backend, engines
from hisopt.solvers.base import Deadline, OutOfTime
from hisopt.solvers.clustering.pairs import PairsHighs


class Patience(Deadline):
    """A deadline that passes after so many looks at it: no clock."""

    def __init__(self, looks: float) -> None:
        super().__init__(Limits(time_s=60))
        self.looks = looks

    @property
    def left(self) -> float:
        self.looks -= 1
        return 60.0 if self.looks >= 0 else 0.0


def sampled(users: int) -> Clustering:
    instance = replace(PRESETS["small"], users=users).sample(0)
    assert isinstance(instance, Instance)
    return Clustering.of(instance, "mean")


def test_highs_that_a_callback_interrupts_says_time_limit() -> None:
    problem = sampled(9)
    model = pairs.build(problem)
    assert (
        engines.optimise("highs", model, Limits(time_s=60), Patience(float("inf"))).termination is Termination.OPTIMAL
    )
    answer = engines.optimise("highs", pairs.build(problem), Limits(time_s=60), Patience(40))
    assert answer.termination is Termination.TIME_LIMIT
    assert "interrupted" in answer.message


@pytest.mark.parametrize("looks", [0, 3, 40])
def test_a_model_whose_building_takes_the_time_ends_at_the_limit(monkeypatch: pytest.MonkeyPatch, looks: int) -> None:
    monkeypatch.setattr(backend, "Deadline", lambda limits: Patience(looks))
    result = PairsHighs().solve(sampled(12), Limits(time_s=60))
    assert result.termination is Termination.TIME_LIMIT
    assert "the time passed while the model was" in result.message


def test_stating_a_model_to_highs_looks_at_the_clock() -> None:
    solver = engines._reporting("highs", Patience(0), None, 1.0)
    with pytest.raises(OutOfTime):
        solver._add_constraints([SimpleNamespace()])
