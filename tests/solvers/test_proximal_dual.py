"""The smoothed dual of the Peng-Wei relaxation against a conic solver, and its projection against the complete one."""

from __future__ import annotations

import cvxpy as cp
import numpy as np
import pytest

from hisopt import Limits
from hisopt.solvers.base import Deadline
from hisopt.solvers.clustering.branch_bound.spectral_relaxation import Cuts, Relaxation, SpectralSet, State
from hisopt.solvers.clustering.sum_of_squares.proximal_dual import (
    Dual,
    LeadingProjection,
    SmoothDual,
    descend,
    partition_matrix,
)


def relaxation(points, clusters):
    size = len(points)
    spectral = SpectralSet(np.full(size, size**-0.5), 1.0, clusters - 1.0, 1.0, orthogonal=True)
    return Relaxation(points @ points.T, spectral, np.zeros((size, size)), np.ones((size, size)))


@pytest.mark.parametrize("at_most", [False, True])
@pytest.mark.parametrize("total", [2.0, 3.5])
def test_a_few_eigenvectors_give_the_projection(total, at_most):
    """Of matrices with much along the vector that is known, and of some where all else is below zero or adds up to little."""
    rng = np.random.default_rng(0)
    vector = rng.uniform(0.2, 1, 30)
    vector /= np.linalg.norm(vector)
    spectral = SpectralSet(vector, 1.0, total, 1.0, orthogonal=True, at_most=at_most)
    project = LeadingProjection(spectral, 2)
    one_small = np.append(0.0, np.full(29, -30.0))
    for scale, shift in ((0.2, 0.0), (0.2, -30.0), (0.01, 0.0), (0.2, 0.5), (0.01, one_small)):
        matrix, along = rng.normal(size=(30, 30)) * scale, rng.normal(size=30)
        matrix = matrix + matrix.T + np.outer(vector, along) + np.outer(along, vector) + np.eye(30) * shift
        np.testing.assert_allclose(project(matrix), spectral.project(matrix.copy()), atol=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_the_multipliers_prove_what_a_conic_solver_finds(seed):
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(12, 2))
    labels = rng.integers(3, size=12)
    relaxed, cuts = relaxation(points, 3), Cuts.none()
    dual = Dual(np.zeros((12, 12)), np.zeros(0), partition_matrix(labels, np.ones(12), 3))
    centre = dual.primal
    state = State(dual.primal, dual.entries, np.zeros(0), 1.0)
    bounds = []
    for _ in range(12):  # steps of a proximal point method: the centre moves, so any start will do
        dual, _ = descend(SmoothDual(relaxed, cuts, centre, 1.0, 1.0), dual, 200, lambda _: False, Deadline(Limits()))
        centre = dual.primal
        state.multiplier = dual.multiplier(cuts)
        bounds.append(relaxed.bound(state, cuts))
    matrix = cp.Variable((12, 12), PSD=True)
    conic = cp.Problem(
        cp.Maximize(cp.trace(relaxed.objective @ matrix)),
        [matrix >= 0, cp.sum(matrix, axis=1) == 1, cp.trace(matrix) == 3],
    )
    optimum = conic.solve(solver="CLARABEL")
    assert min(bounds) >= optimum - 1e-6
    assert bounds[-1] == pytest.approx(optimum, rel=1e-4)


def test_the_best_partition_as_centre_closes_a_tight_relaxation():
    rng = np.random.default_rng(4)
    labels = np.repeat(np.arange(3), 8)
    points = 3 * np.eye(3)[labels] + 0.3 * rng.normal(size=(24, 3))
    points -= points.mean(axis=0)
    relaxed, cuts = relaxation(points, 3), Cuts.none()
    centre = partition_matrix(labels, np.ones(24), 3)
    dual, value = descend(
        SmoothDual(relaxed, cuts, centre, 1.0, 1.0), Dual(np.zeros((24, 24)), np.zeros(0), centre), 300,
        lambda _: False, Deadline(Limits()),
    )  # fmt: skip
    attained = float((relaxed.objective * centre).sum())
    state = State(dual.primal, dual.multiplier(cuts), np.zeros(0), 1.0)
    assert value == pytest.approx(attained, rel=1e-7)
    assert attained <= relaxed.bound(state, cuts) + 1e-9
    assert relaxed.bound(state, cuts) == pytest.approx(attained, rel=1e-6)
