"""Bounds that hold for any multipliers, and the search against enumeration."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hisopt import PRESETS, Limits, Termination
from hisopt.experiments.campaigns.random_instances import draw_decision, draw_instance
from hisopt.problems import Clustering
from hisopt.solvers.clustering.branch_bound.merged_users import Weighted
from hisopt.solvers.clustering.branch_bound.partition_cuts import cliques, separate
from hisopt.solvers.clustering.branch_bound.search import BranchBound
from hisopt.solvers.clustering.branch_bound.size_limits import Sizes
from hisopt.solvers.clustering.branch_bound.spectral_relaxation import SpectralSet, State, project_capped_simplex
from hisopt.solvers.clustering.branch_bound.task import Task
from hisopt.solvers.clustering.partitions import Partitions
from hisopt.text.corpus import shipped

LIMITS = Limits(time_s=300)


@given(
    values=st.lists(st.floats(-10, 10), min_size=1, max_size=12).map(np.array),
    share=st.floats(0, 1),
    cap=st.floats(0.1, 3),
)
def test_the_capped_simplex_projection_is_the_nearest_point(values: np.ndarray, share: float, cap: float) -> None:
    total = share * cap * len(values)
    found = project_capped_simplex(values, total, cap)
    assert found.sum() == pytest.approx(total, abs=1e-9)
    assert (found >= 0).all()
    assert (found <= cap + 1e-12).all()
    shift = values - found  # equal where 0 < found < cap, smaller where 0, larger where cap
    inner = (found > 1e-9) & (found < cap - 1e-9)
    if inner.any():
        middle = shift[inner].mean()
        np.testing.assert_allclose(shift[inner], middle, atol=1e-8)
        assert (shift[found <= 1e-9] <= middle + 1e-8).all()
        assert (shift[found >= cap - 1e-9] >= middle - 1e-8).all()


@pytest.mark.parametrize("orthogonal", [True, False])
def test_spectral_sets_project_and_bound(orthogonal: bool) -> None:
    rng = np.random.default_rng(0)
    vector = np.ones(8) / np.sqrt(8)
    cap = 1.0 if orthogonal else 8 - 8 / 3
    spectral = SpectralSet(vector, 1.0 if orthogonal else 8 / 3, 2.0 if orthogonal else 8 - 8 / 3, cap, orthogonal)
    for _ in range(20):
        matrix = rng.normal(size=(8, 8))
        matrix = matrix + matrix.T
        inside = spectral.project(matrix)
        np.testing.assert_allclose(spectral.project(inside), inside, atol=1e-9)
        other = rng.normal(size=(8, 8))
        assert (other * inside).sum() <= spectral.support((other + other.T) / 2) + 1e-12


@pytest.mark.parametrize(("criterion", "least", "most"), [
    ("mean", 1, 6), ("centroid", 1, 6), ("sum", 1, 6), ("sum", 2, 3), ("sum", 3, 5), ("sum", 4, 4),
])  # fmt: skip
@pytest.mark.parametrize("seed", range(6))
def test_any_multipliers_bound_every_partition(criterion: str, least: int, most: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    instance = draw_instance(rng, 8, 3).replace(cluster_size_min=least, cluster_size_max=most)
    problem = Clustering.of(instance, criterion)  # type: ignore[arg-type]
    task, sizes = Task(criterion, 8, 3, least, most), Sizes.of(8, 3, least, most)
    best = Partitions().solve(problem, LIMITS).bound
    assert best is not None
    nodes = Weighted.of(instance.similarity_matrix)
    relaxation, scale, cuts = task.relaxation(nodes, sizes)
    matrix = rng.uniform(size=(8, 8))
    cuts = cuts.join(separate(matrix + matrix.T, 0.0, 30).scaled(scale))
    if criterion == "sum":
        cuts = cuts.join(cliques((matrix + matrix.T) / 10, 3, 0.0, 30).scaled(scale))
    for size in (0.0, 0.1, 3.0):
        noise = rng.normal(size=(8, 8)) * size
        state = State(np.zeros((8, 8)), noise + noise.T, np.abs(rng.normal(size=len(cuts))) * size, 1.0)
        bound = task.from_relaxation(relaxation.bound(state, cuts))
        assert bound >= best
    state = relaxation.start()
    state.cut_multipliers = np.zeros(len(cuts))
    relaxation.iterate(state, cuts, 300)
    near = task.from_relaxation(relaxation.bound(state, cuts))
    assert best <= near <= best * 1.5  # and the iteration brings it close


def test_sizes_are_all_partitions_within_the_limits() -> None:
    sizes = Sizes.of(10, 3, 2, 5)
    assert set(sizes.partitions) == {(2, 3, 5), (2, 4, 4), (3, 3, 4), (5, 5)}
    assert sizes.squares == (34, 36, 38, 50)
    low, high = sizes.halves()
    assert set(low.partitions) | set(high.partitions) == set(sizes.partitions)
    assert low.squares[-1] < high.squares[0]
    assert (low.least, low.most) == (2, 4)
    assert all(not half.halves() for part in (low, high) for half in part.halves())
    assert Sizes.of(11, 3, 4, 5).partitions == ()  # none


@pytest.mark.parametrize(("least", "most"), [(1, 400), (3, 90), (40, 200)])
def test_the_largest_sum_of_squares_where_sizes_are_too_many_to_list(least: int, most: int) -> None:
    sizes = Sizes.of(400, 10, least, most)
    assert not sizes.partitions
    assert not sizes.halves()
    rng = np.random.default_rng(0)
    for _ in range(2000):
        drawn = np.full(int(rng.integers(max(400 // most, 1), min(10, 400 // least) + 1)), least)
        while drawn.sum() < 400 and (drawn < most).any():
            k = rng.choice(np.flatnonzero(drawn < most))
            drawn[k] += min(most - drawn[k], 400 - drawn.sum(), rng.integers(1, 100))
        if drawn.sum() == 400:
            assert (drawn**2).sum() <= sizes.squares[-1]


def test_merging_keeps_the_value_of_partitions() -> None:
    rng = np.random.default_rng(1)
    similarity = draw_instance(rng, 6, 2).similarity_matrix
    merged = Weighted.of(similarity).merge(1, 4).merge(0, 2)
    assert merged.weights.sum() == 6
    assert merged.groups[1] == merged.groups[4]
    assert merged.groups[0] == merged.groups[2]
    assert merged.products.sum() == pytest.approx(similarity.sum())


@pytest.mark.parametrize("criterion", ["mean", "centroid", "sum"])
@pytest.mark.parametrize("seed", range(8))
def test_the_search_finds_the_optimum_with_and_without_sizes(criterion: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    users = int(rng.integers(11, 14))  # more than a leaf's dynamic program takes
    chosen = rng.choice(len(shipped().embeddings), users, replace=False)
    instance = draw_instance(rng, users, 3).replace(
        embeddings=shipped().embeddings[chosen],
        cluster_size_min=1 + seed % 3,
        cluster_size_max=users if seed % 2 else users // 2 + 1,
    )
    problem = Clustering.of(instance, criterion)  # type: ignore[arg-type]
    found, expected = BranchBound().solve(problem, LIMITS), Partitions().solve(problem, LIMITS)
    assert found.termination is Termination.OPTIMAL
    assert found.decision is not None
    assert problem.evaluate(found.decision).feasible
    assert problem.evaluate(found.decision).objective == pytest.approx(expected.bound, rel=1e-6)
    assert found.bound == pytest.approx(expected.bound, rel=1e-6)
    assert found.bound >= expected.bound * (1 - 1e-12)  # type: ignore[operator]


def test_the_papers_size_is_proven() -> None:
    instance = PRESETS["paper"].sample(0)
    problem = Clustering.of(instance, "mean")
    found = BranchBound().solve(problem, LIMITS)
    assert found.termination is Termination.OPTIMAL
    rng = np.random.default_rng(0)
    for _ in range(50):
        value = problem.evaluate(draw_decision(rng, problem)).objective
        assert value is not None
        assert found.bound is not None
        assert value <= found.bound


def test_time_runs_out_with_a_valid_bound() -> None:
    problem = Clustering.of(PRESETS["paper"].sample(1), "centroid")
    found = BranchBound().solve(problem, Limits(time_s=0.05))
    assert found.termination is Termination.TIME_LIMIT
    assert found.bound is None or found.bound >= 25
