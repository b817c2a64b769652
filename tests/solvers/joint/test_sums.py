"""Sums over many users: what rounding takes from them, and that the bounds made of them hold."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
import pytest
from whole_instances import tiny

from hisopt import Limits, Termination
from hisopt.instances import StepLimits
from hisopt.problems import Joint
from hisopt.solvers.joint import step_tables, sums
from hisopt.solvers.joint.exact import JointExact
from hisopt.solvers.joint.whole import JointExactInteger

if TYPE_CHECKING:
    from hisopt.solvers.base import Solver

LIMITS = Limits(time_s=60)


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 8, 9, 10, 120, 121])
def test_sums_by_loops(size: int) -> None:
    rng = np.random.default_rng(size)
    values, labels = rng.integers(-50, 50, size).astype(float), rng.integers(0, 4, size) * 2
    assert sums.cumulative(values).tolist() == [values[: i + 1].sum() for i in range(size)]
    assert sums.by_label(values, labels, 8).tolist() == [values[labels == m].sum() for m in range(8)]
    rows = rng.integers(-50, 50, (size, 3)).astype(float)
    for heads in [[0], sorted({0, size // 2}), list(range(size))]:
        ends = [*heads[1:], size]
        if size:
            expected = [rows[a:b].sum(axis=0).tolist() for a, b in zip(heads, ends, strict=True)]
            assert sums.between(rows, np.array(heads)).tolist() == expected


@pytest.mark.parametrize("value", [0.1, 0.3, 0.7])
def test_equal_numbers_lose_as_few_digits_as_others(value: float) -> None:
    """40,000 of them: less than sqrt(N) units in the last place; one after the other it is up to thousands."""
    equal, count = np.full(40_000, value), 40_000
    for found in (
        sums.cumulative(equal)[-1],
        sums.between(equal, np.array([0]))[0],
        sums.by_label(equal, np.ones(count, dtype=np.int64), 2)[1],
    ):
        assert abs(Fraction(float(found)) - count * Fraction(value)) <= 200 * Fraction(2) ** -52 * count * Fraction(
            value
        )


@pytest.mark.parametrize(("binding", "rates"), [(False, [0.1, 0.3, 0.7]), (True, [0.1])])
def test_gains_of_many_equal_users(binding: bool, rates: list[float]) -> None:
    """G of a cluster of equal users is a multiple of d, whatever the order that it is summed in."""
    users = 100_000
    for rate in rates:
        steps = StepLimits(total=2, common_max=1, edge_min=0, edge_max=1, device_min=int(binding), device_max=2)
        instance = tiny([0] * users, [rate] * users, 5.0, steps=steps)
        tables = step_tables.for_instance(instance)
        cost = 1 / Fraction(float(instance.devices.sms[0]))
        most = instance.steps.served_max
        assert len(tables.gain) > 2
        for k in range(len(tables.gain)):
            x, y = tables.steps(np.array([k]))
            exact = -cost * int(most * users - x.sum() - y.sum())
            assert abs(Fraction(float(tables.gain[k])) - exact) <= 1300 * Fraction(2) ** -52 * users * most * cost


@pytest.mark.parametrize(("solver", "whole"), [(JointExact(), False), (JointExactInteger(), True)])
@pytest.mark.parametrize("rate", [0.1, 0.7])
def test_bounds_of_many_equal_users_hold(solver: Solver[Joint], whole: bool, rate: float) -> None:
    """The server is too dear for all but the common step; what its decision is worth lies within the bound."""
    users = 100_000
    steps = StepLimits(total=2, common_max=1, edge_min=0, edge_max=1, device_min=0, device_max=2)
    problem = Joint(tiny([0] * users, [rate] * users, 2.0, steps=steps), whole_sms=whole)
    found = solver.solve(problem, LIMITS)
    assert found.termination is Termination.OPTIMAL
    assert found.decision is not None
    assert found.bound is not None
    objective = problem.evaluate(found.decision).objective
    assert objective is not None
    assert 0 < found.bound - objective < 1e-11 * abs(objective)
