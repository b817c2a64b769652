"""Steps of a projected L-BFGS against minima that other programs find, and on functions that are hard to step on."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import lsq_linear, nnls

from hisopt.solvers.clustering.sum_of_squares.projected_lbfgs import minimise


def _quadratic(matrix, right, seen):
    def function(x):
        rest = matrix @ x - right
        seen.append((float(rest @ rest) / 2, x.copy()))
        return seen[-1][0], matrix.T @ rest

    return function


@pytest.mark.parametrize("seed", range(6))
def test_least_squares_with_signs(seed):
    rng = np.random.default_rng(seed)
    matrix, right = rng.normal(size=(40, 15)) * 10 ** rng.uniform(-1, 1, 15), rng.normal(size=40)
    free, seen = rng.random(15) < 0.3 if seed else np.zeros(15, dtype=bool), []
    minimise(_quadratic(matrix, right, seen), rng.normal(size=15), free, 500)
    best, x = min(seen, key=lambda each: each[0])
    want = lsq_linear(matrix, right, (np.where(free, -np.inf, 0.0), np.inf), tol=1e-13)
    assert best == pytest.approx(want.cost, rel=1e-8)
    assert (x[~free] >= 0).all()
    if not seed:
        assert best == pytest.approx(nnls(matrix, right)[1] ** 2 / 2, rel=1e-8)


def test_it_stops_at_a_minimum_and_where_nothing_may_move():
    seen: list[tuple[float, np.ndarray]] = []
    minimise(_quadratic(np.eye(3), np.array([1.0, -1.0, 2.0]), seen), np.array([1.0, 0.0, 2.0]), np.zeros(3, bool), 100)
    assert len(seen) == 1
    minimise(_quadratic(np.eye(2), -np.ones(2), seen), np.zeros(2), np.zeros(2, bool), 100)
    assert len(seen) == 2


def test_a_function_that_is_flat_then_steep_is_stepped_down():
    def function(x):
        far = np.abs(x) > 1
        return float(np.where(far, np.abs(x) - 0.5, x**2 / 2).sum()), np.where(far, np.sign(x), x)

    seen = []

    def watched(x):
        value, gradient = function(x)
        seen.append(value)
        return value, gradient

    minimise(watched, np.array([50.0, -30.0, 1e-3]), np.ones(3, dtype=bool), 200)
    assert min(seen) < 1e-10
