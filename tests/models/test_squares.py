"""The model of the sum of squares against its evaluation."""

from __future__ import annotations

import numpy as np
import pyomo.environ as pyo
import pytest

from hisopt import Decision, Limits, Sizes, SumOfSquares, Termination
from hisopt.models.clustering import squares
from hisopt.solvers.clustering.pairs import SquaresHighs
from hisopt.solvers.clustering.sum_of_squares.solvers import SumOfSquaresSearch


def _violated(model):
    return [
        c.name for c in model.component_data_objects(pyo.Constraint)
        if (c.lower is not None and pyo.value(c.body) < pyo.value(c.lower) - 1e-9)
        or (c.upper is not None and pyo.value(c.body) > pyo.value(c.upper) + 1e-9)
    ]  # fmt: skip


@pytest.mark.parametrize("seed", range(8))
def test_the_model_is_the_evaluation(seed):
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(6, 2)) * 10.0 ** rng.uniform(-3, 3) + 50 * rng.normal()
    problem = SumOfSquares(points, 3, Sizes(1, 3), np.array([[1, 0]]), np.array([[2, 5]]))
    model = squares.build(problem)
    for _ in range(6):
        decision = Decision(clusters=rng.integers(3, size=6))
        squares.insert(model, problem, decision)
        found = problem.evaluate(decision)
        assert pyo.value(model.value) == pytest.approx(found.objective, rel=1e-9)
        assert (not _violated(model)) == found.feasible
        back = squares.extract(model, problem)
        assert problem.evaluate(back).objective == pytest.approx(found.objective, rel=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_highs_and_branch_and_bound_agree(seed):
    rng = np.random.default_rng(seed)
    problem = SumOfSquares(rng.normal(size=(9, 2)), 3, Sizes(2, 4), None, np.array([[0, 1]]))
    first, second = SquaresHighs().solve(problem, Limits(60)), SumOfSquaresSearch().solve(problem, Limits(60))
    assert first.termination is second.termination is Termination.OPTIMAL
    values = [problem.evaluate(result.decision).objective for result in (first, second)]
    assert values[0] == pytest.approx(values[1], rel=1e-6)


def test_a_point_apart_from_itself_is_impossible():
    problem = SumOfSquares(np.eye(4), 2, Sizes(), None, np.array([[1, 1]]))
    assert SquaresHighs().solve(problem, Limits(60)).termination is Termination.INFEASIBLE
