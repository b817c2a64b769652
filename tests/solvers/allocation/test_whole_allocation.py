"""Whole SMs of given steps against enumeration."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from whole_instances import tiny

from hisopt import Limits, Termination
from hisopt.problems import Allocation, problem_of
from hisopt.solvers.allocation.whole import IntegerAllocation, RoundDown, marginal_allocation
from hisopt.solvers.joint.whole import JointExactInteger

LIMITS = Limits(time_s=60)


def test_marginal_allocation_equals_enumeration() -> None:
    for seed in range(400):
        rng = np.random.default_rng(seed)
        clusters = int(rng.integers(1, 5))
        cost = rng.choice([0, 0, 1e-9, 0.5, 1, 1, 2, 7, 1e6], clusters) * rng.choice([1, 1.1], clusters)
        busy = (cost > 0) | (rng.random(clusters) < 0.5)
        budget = int(rng.integers(1, 2 * clusters + 3))
        found = marginal_allocation(cost, budget, busy)
        if busy.sum() > budget:
            assert found is None
            continue
        assert found is not None
        assert found.sum() <= budget
        assert (found[busy] >= 1).all()
        assert (found[~busy] == 0).all()
        best = min(
            sum(a / v for a, v in zip(cost, sms, strict=True) if a)
            for sms in product(range(budget + 1), repeat=clusters)
            if sum(sms) <= budget and all(v > 0 or not b for v, b in zip(sms, busy, strict=True))
        )
        assert sum(a / v for a, v in zip(cost, found, strict=True) if a) == pytest.approx(best, rel=1e-12)


def test_billions_of_whole_sms() -> None:
    cost = np.array([1.0, 2.0, 3.0])
    found = marginal_allocation(cost, 10**10)
    assert found is not None
    assert found.sum() == 10**10
    np.testing.assert_allclose(found / 10**10, np.sqrt(cost) / np.sqrt(cost).sum(), atol=1e-9)
    instance = tiny([0, 1], [3.0, 4.0], 1e17, given_common=[1, 1], given_edge=[0, 0])
    for kind, solver in (("joint", JointExactInteger()), ("allocation", IntegerAllocation())):
        answer = solver.solve(problem_of(kind, instance, whole_sms=True), LIMITS)  # type: ignore[arg-type]
        assert answer.termination is Termination.UNAVAILABLE


def test_round_down_stays_within_the_budget() -> None:
    instance = tiny([0] * 50 + [1, 2, 3], [1.0] * 53, 5, given_common=[1] * 53, given_edge=[0] * 53)
    problem = Allocation(instance, whole_sms=True)
    found = RoundDown().solve(problem, LIMITS)
    assert found.decision is not None
    assert problem.evaluate(found.decision).feasible
