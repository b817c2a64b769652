"""Semidefinite relaxations against CVXPY, and their parts against definitions written here."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations, product
from typing import TYPE_CHECKING

import cvxpy as cp
import numpy as np
import pytest
from scipy.linalg import null_space

from hisopt import Limits
from hisopt.experiments.campaigns.random_instances import draw_instance
from hisopt.problems import Clustering
from hisopt.solvers.base import Deadline
from hisopt.solvers.clustering.branch_bound import spectral_relaxation
from hisopt.solvers.clustering.branch_bound.merged_users import Weighted
from hisopt.solvers.clustering.branch_bound.partition_cuts import cliques, separate
from hisopt.solvers.clustering.branch_bound.size_limits import Sizes
from hisopt.solvers.clustering.branch_bound.spectral_relaxation import (
    CutMatrix,
    Cuts,
    Relaxation,
    SpectralSet,
    State,
    _curvature,
    project_capped_simplex,
)
from hisopt.solvers.clustering.branch_bound.task import Task

if TYPE_CHECKING:
    from hisopt.arrays import FloatArray

EPS = np.finfo(float).eps
SIZE = 7


def relaxation_of(criterion: str, least: int, most: int, seed: int, cut: int) -> tuple[Relaxation, Cuts]:
    """A relaxation with size cuts, and with triangles and more that its first iterates violate."""
    given = draw_instance(np.random.default_rng(seed), SIZE, 3)
    given = given.replace(cluster_size_min=least, cluster_size_max=most)
    points = np.random.default_rng(seed).normal(size=(SIZE, 2))
    problem = replace(Clustering.of(given, criterion), points=points)  # type: ignore[arg-type]
    task, nodes = Task.of(problem), Weighted.of(points @ points.T)
    relaxation, scale, cuts = task.relaxation(nodes, Sizes.of(SIZE, task.clusters, task.least, task.most))
    if cut:
        state = relaxation.start()
        state.cut_multipliers = np.zeros(len(cuts))
        relaxation.iterate(state, cuts, 60)
        cuts = cuts.join(separate(state.primal / scale, 1e-4, cut).scaled(scale))
    return relaxation, cuts


def optimum(relaxation: Relaxation, cuts: Cuts) -> float:
    """The relaxation's value by a conic solver."""
    spectral, size = relaxation.spectral, len(relaxation.objective)
    rest = cp.Variable((size, size), PSD=True)
    whole = rest + spectral.fixed * np.outer(spectral.vector, spectral.vector)
    constraints = [whole >= relaxation.lower, whole <= relaxation.upper, spectral.cap * np.eye(size) - rest >> 0]
    constraints.append(cp.trace(rest) <= spectral.total if spectral.at_most else cp.trace(rest) == spectral.total)
    if spectral.orthogonal:
        constraints.append(rest @ spectral.vector == 0)
    for k in range(len(cuts)):
        own = cuts.index == k
        terms = [
            c * whole[i, j] for c, i, j in zip(cuts.coefficient[own], cuts.row[own], cuts.column[own], strict=True)
        ]
        constraints.append(cp.sum(cp.hstack(terms)) >= cuts.side[k])
    program = cp.Problem(cp.Maximize(cp.sum(cp.multiply(relaxation.objective, whole))), constraints)
    return float(program.solve(solver=cp.CLARABEL))


@pytest.mark.parametrize(
    ("criterion", "least", "most", "cut", "rounds", "near"),
    [
        ("mean", 1, SIZE, 0, 2, 1e-5),
        ("mean", 1, SIZE, 30, 2, 1e-5),
        ("mean", 2, 3, 20, 2, 1e-7),
        ("sum", 2, 3, 10, 3, 1e-7),
    ],
)
def test_the_iteration_comes_near_the_optimum_and_never_below(
    criterion: str, least: int, most: int, cut: int, rounds: int, near: float
) -> None:
    for seed in range(2):
        relaxation, cuts = relaxation_of(criterion, least, most, seed, cut)
        best = optimum(relaxation, cuts)
        state = relaxation.start()
        assert len(state.cut_multipliers) == 0
        state.cut_multipliers = np.zeros(len(cuts))
        for _ in range(rounds):
            relaxation.iterate(state, cuts, 40)
            assert state.cut_multipliers.min(initial=0.0) >= 0.0
            assert relaxation.bound(state, cuts) >= best - 1e-8 * abs(best)
        assert relaxation.bound(state, cuts) <= best + near * abs(best)
        assert state.residual < 1e-4


def test_a_passed_deadline_leaves_the_multipliers() -> None:
    relaxation, cuts = relaxation_of("mean", 1, SIZE, 0, 0)
    state = relaxation.start()
    relaxation.iterate(state, cuts, 50, Deadline(Limits(time_s=0)))
    assert not state.multiplier.any()


def exact_support(spectral: SpectralSet, matrix: FloatArray) -> float:
    basis = null_space(spectral.vector[None]) if spectral.orthogonal else np.eye(len(matrix))
    left, total = spectral.total, 0.0
    for own in sorted(np.linalg.eigvalsh(basis.T @ matrix @ basis), reverse=True):
        taken = min(left, spectral.cap)
        total, left = total + max(own, 0.0) * taken, left - taken
    return float(spectral.fixed * spectral.vector @ matrix @ spectral.vector + total)


def test_supports_are_exact_but_for_a_margin_of_rounding() -> None:
    """Of indefinite matrices, in sets of no, some and all of the trace that fits; the margin counts units in the last place."""
    rng = np.random.default_rng(0)
    for size in (2, 5, 12):
        vector = rng.normal(size=size)
        vector /= np.linalg.norm(vector)
        for orthogonal, fixed, cap, share in product((True, False), (0.0, 1.5), (0.0, 0.7, 1.0), (0.0, 0.3, 0.5, 1.0)):
            total = share * cap * (size - orthogonal)
            spectral = SpectralSet(vector, fixed, total, cap, orthogonal)
            for shift in (-1.0, 0.0, 1.0):
                matrix = rng.normal(size=(size, size))
                matrix = matrix + matrix.T + shift * size * np.outer(vector, vector)
                margin = size * EPS * np.linalg.norm(matrix) * (fixed + total + 1)
                above = spectral.support(matrix) - exact_support(spectral, matrix)
                assert 8 * margin <= above <= 24 * margin


def test_the_margin_of_a_bound_counts_its_entries() -> None:
    relaxation, cuts = relaxation_of("mean", 1, SIZE, 0, 10)
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(SIZE, SIZE))
    state = State(np.eye(SIZE), noise + noise.T, rng.uniform(5, 9, len(cuts)), 1.0)
    slope = cuts.adjoint(state.cut_multipliers, SIZE) - state.multiplier
    box = np.maximum(slope * relaxation.upper, slope * relaxation.lower)
    without = relaxation.spectral.support(relaxation.objective + state.multiplier)
    without += box.sum() - state.cut_multipliers @ cuts.side
    margin = SIZE * EPS * (np.abs(box).sum() + state.cut_multipliers.sum())
    assert 3 * margin <= relaxation.bound(state, cuts) - without <= 5 * margin


def test_cuts_as_a_matrix_are_the_cuts() -> None:
    """Whatever the order of rows and columns, and where an entry comes twice in a cut."""
    rng = np.random.default_rng(0)
    index = np.sort(rng.integers(0, 20, 90))
    cuts = Cuts(index, *rng.integers(0, SIZE, (2, 90)), rng.normal(size=90), rng.normal(size=20))
    noise = rng.normal(size=(SIZE, SIZE))
    matrix, multipliers, own = noise + noise.T, rng.uniform(size=20), CutMatrix(cuts, SIZE)
    np.testing.assert_allclose(own.slack(matrix), cuts.slack(matrix), atol=1e-13)
    np.testing.assert_allclose(own.adjoint(multipliers), cuts.adjoint(multipliers, SIZE), atol=1e-13)
    assert not CutMatrix(Cuts.none(), SIZE).adjoint(np.zeros(0)).any()


@pytest.mark.parametrize(("criterion", "most"), [("mean", 7), ("sum", 4)])
def test_leading_eigenvectors_lead_to_the_same_multipliers(
    criterion: str, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    relaxation, cuts = relaxation_of(criterion, 1, most, 0, 10)
    states = []
    for few in (1000, 0):
        monkeypatch.setattr(spectral_relaxation, "_FEW_LEAD", few)
        state = relaxation.start()
        state.cut_multipliers = np.zeros(len(cuts))
        relaxation.iterate(state, cuts, 30)
        states.append(state)
    np.testing.assert_allclose(states[0].multiplier, states[1].multiplier, atol=1e-8)
    np.testing.assert_allclose(states[0].cut_multipliers, states[1].cut_multipliers, atol=1e-8)


def test_steps_of_cuts_stay_below_their_curvature() -> None:
    """diag(w) - r T'T is psd on symmetric matrices, and w is 0.3 where it is usual."""
    for seed in range(4):
        rng = np.random.default_rng(seed)
        noise = rng.uniform(size=(5, 5))
        cuts = separate(noise + noise.T, 0.0, 15).join(cliques((noise + noise.T) / 10, 2, 0.0, 5))
        weight, rate = _curvature(cuts, 5)
        rows = np.stack([cuts.adjoint(np.eye(len(cuts))[k], 5).ravel() for k in range(len(cuts))])
        np.testing.assert_allclose(weight, weight.T)
        assert np.linalg.eigvalsh(np.diag(weight.ravel()) - rate * rows.T @ rows).min() >= -1e-12
        assert np.median(weight[weight > 0]) == pytest.approx(0.3)
        assert np.linalg.eigvalsh(np.diag(weight.ravel()) - 4 * rate * rows.T @ rows).min() < 0
    weight, _ = _curvature(Cuts.none(), 4)
    assert weight.shape == (4, 4)
    assert not weight.any()


@pytest.mark.parametrize("values", [[0.0], [1.0, 1.0], [3.0, -2.0, 0.5], [2.0, 2.0, 2.0, -1.0]])
def test_projections_at_the_ends_of_the_simplex(values: list[float]) -> None:
    given = np.array(values)
    for cap in (0.5, 1.0):
        np.testing.assert_allclose(project_capped_simplex(given, 0.0, cap), 0.0, atol=1e-12)
        np.testing.assert_allclose(project_capped_simplex(given, cap * len(given), cap), cap, atol=1e-12)


def test_a_full_simplex_has_one_point_whatever_rounding_says() -> None:
    """A total above all caps by a rounding error is that of the full point."""
    full = np.full(10, 0.1)
    total = float(np.nextafter(full.sum(), 2.0))
    assert project_capped_simplex(np.zeros(10), total, 0.1) == pytest.approx(full, abs=1e-12)
    assert project_capped_simplex(np.linspace(0, 1, 10), total, 0.1) == pytest.approx(full, abs=1e-12)


def test_projections_onto_less_trace_keep_what_fits() -> None:
    vector = np.array([0.6, 0.8, 0.0])
    spectral = SpectralSet(vector, 1.0, 1.5, 1.0, orthogonal=True, at_most=True)
    inside = spectral.project(np.diag([0.3, 0.2, 0.4]))
    rest = inside - np.outer(vector, vector)
    np.testing.assert_allclose(rest @ vector, 0.0, atol=1e-12)
    assert 0 < np.trace(rest) < 1.5
    full = replace(spectral, at_most=False).project(np.diag([0.3, 0.2, 0.4]))
    assert np.trace(full) == pytest.approx(2.5)
    np.testing.assert_allclose(spectral.project(inside), inside, atol=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_all_violated_pairs_and_triangles_are_found(seed: int) -> None:
    """By loops over all of them: each violated one is among the cuts, and the triangles' most violated come first."""
    rng = np.random.default_rng(seed)
    size = 5
    own = rng.uniform(size=(size, size))
    own = (own + own.T) / 2
    np.fill_diagonal(own, rng.uniform(0.5, 1.0, size))
    found = separate(own, 0.05, 1000)
    slack = found.slack(own)
    pairs = [(i, j) for i, j in product(range(size), repeat=2) if i != j and own[i, j] - own[i, i] > 0.05]
    triangles = {
        (i, j, k): own[i, j] + own[i, k] - own[i, i] - own[j, k]
        for i in range(size) for j, k in combinations([u for u in range(size) if u != i], 2)
    }  # fmt: skip
    violated = [key for key in triangles if triangles[key] > 0.05]
    names = []
    for cut in range(len(found)):
        mine = found.index == cut
        names.append(
            frozenset(
                zip(
                    found.row[mine].tolist(), found.column[mine].tolist(), found.coefficient[mine].tolist(), strict=True
                )
            )
        )
    assert len(set(names)) == len(names)
    for i, j in pairs:
        assert frozenset({(i, i, 1.0), (i, j, -1.0)}) in names
    for i, j, k in violated:
        assert frozenset({(i, i, 1.0), (j, k, 1.0), (i, j, -1.0), (i, k, -1.0)}) in names
    few = separate(own, 0.05, 2)
    worst = sorted(-triangles[key] for key in violated)[:2]
    assert few.slack(own)[len(pairs) : len(pairs) + len(worst)] == pytest.approx(worst)
    assert len(few) <= len(pairs) + 4
    assert (slack < -0.05).all()
    larger = [cut for cut in range(len(found)) if (found.index == cut).sum() > 4]
    assert slack[larger].tolist() == sorted(slack[larger])


def test_cuts_grow_by_the_user_who_adds_most() -> None:
    """From every undecided pair S = {i}, T = {j}, by loops."""
    for seed in range(3):
        rng = np.random.default_rng(seed)
        size = 6
        own = rng.uniform(0, 0.6, size=(size, size))
        own = (own + own.T) / 2
        np.fill_diagonal(own, rng.uniform(0.5, 0.8, size))
        expected = set()
        for i, j in product(range(size), repeat=2):
            if i == j or min(own[i, j], own[i, i] - own[i, j]) <= 0.01:
                continue
            one, two, excess = [i], [j], own[i, j] - own[i, i]
            while len(one) + len(two) < 10:
                gains = {}
                for u in set(range(size)) - {*one, *two}:
                    pull = sum(own[u, s] for s in one) - sum(own[u, t] for t in two)
                    gains[pull, "T", u] = two
                    gains[-pull - own[u, u], "S", u] = one
                if not gains or max(gains)[0] <= 1e-9:
                    break
                best = max(gains)
                gains[best].append(best[2])
                excess += best[0]
            if excess > 0.01 and len(one) + len(two) > 3:
                expected.add((round(excess, 9), tuple(sorted(one)), tuple(sorted(two))))
        found = separate(own, 0.01, 1000)
        seen = set()
        for cut in range(len(found)):
            mine = found.index == cut
            row, column, sign = found.row[mine], found.column[mine], found.coefficient[mine]
            one = sorted(row[(row == column)].tolist())
            users = sorted(set(row.tolist()) | set(column.tolist()))
            if len(users) > 3:
                two = [u for u in users if u not in one]
                assert len(sign) == len(users) * (len(users) - 1) // 2 + len(one)
                seen.add((round(-found.slack(own)[cut], 9), tuple(one), tuple(two)))
        assert seen == expected
        assert expected


def test_cliques_grow_by_the_user_who_adds_least() -> None:
    for seed, clusters in product(range(3), (2, 3)):
        rng = np.random.default_rng(seed)
        own = rng.uniform(0, 0.4, (6, 6))
        own = (own + own.T) / 2
        expected = {}
        for pair in combinations(range(6), 2):
            chosen = list(pair)
            while len(chosen) <= clusters:
                others = [u for u in range(6) if u not in chosen]
                chosen.append(min(others, key=lambda u: own[u, chosen].sum()))
            total = sum(own[i, j] for i, j in combinations(chosen, 2))
            if total < 1 - 0.05:
                expected[tuple(sorted(chosen))] = total
        found = cliques(own, clusters, 0.05, 1000)
        assert found.slack(own) == pytest.approx(sorted(total - 1 for total in expected.values()))
        for cut in range(len(found)):
            mine = found.index == cut
            users = tuple(sorted(set(found.row[mine].tolist()) | set(found.column[mine].tolist())))
            assert users in expected
            assert mine.sum() == len(users) * (len(users) - 1) // 2
        assert len(cliques(own, clusters, 0.05, 1)) == min(len(expected), 1)
