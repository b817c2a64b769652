"""Degenerate clusterings: duplicates, antipodal and orthogonal prompts, sums that vanish, sizes that bind or cannot be met."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from hisopt import PRESETS, Instance, Limits, Termination
from hisopt.equations import rule_similarity
from hisopt.experiments.campaigns.random_instances import draw_instance
from hisopt.instances import PublicPrompt
from hisopt.problems import Clustering, Full, Sizes, SumOfSquares
from hisopt.solvers.base import Deadline, Solver
from hisopt.solvers.clustering.balance import balance
from hisopt.solvers.clustering.branch_bound import search as branch_bound
from hisopt.solvers.clustering.branch_bound.search import BranchBound, Search
from hisopt.solvers.clustering.ilp import IlpHighs, IlpScip
from hisopt.solvers.clustering.kmeans import KMeans
from hisopt.solvers.clustering.moves import refine
from hisopt.solvers.clustering.pairs import PairsHighs
from hisopt.solvers.clustering.partitions import Partitions
from hisopt.solvers.clustering.refined_hac import HacRefined
from hisopt.solvers.clustering.sdp import PengWeiSdp
from hisopt.solvers.full.subsets import Subsets
from hisopt.text.corpus import shipped, unit_rows

LIMITS = Limits(time_s=300)
CRITERIA = ("mean", "centroid", "sum")


class Patience(Deadline):
    """A deadline that counts how often it is asked, and fails a test that asks for ever."""

    def __init__(self, most: int) -> None:
        super().__init__(LIMITS)
        self.asked, self.most = 0, most

    @property
    def passed(self) -> bool:
        self.asked += 1
        assert self.asked <= self.most, "the search does not end"
        return False


def instance(embeddings: np.ndarray, clusters: int, least: int = 1, most: int | None = None) -> Instance:
    drawn = draw_instance(np.random.default_rng(0), len(embeddings), 1)
    return drawn.replace(
        embeddings=embeddings, max_clusters=clusters, cluster_size_min=least, cluster_size_max=most,
        similarity=None, clusters=None, public_prompt=PublicPrompt(),
    )  # fmt: skip


def degenerate(kind: str, users: int, rng: np.random.Generator) -> np.ndarray:
    few = rng.normal(size=(max(users // 4, 1), 3))
    points = {
        "equal": np.repeat(few[:1], users, axis=0),
        "duplicates": few[rng.integers(0, len(few), users)],
        "near duplicates": few[rng.integers(0, len(few), users)] + 1e-8 * rng.normal(size=(users, 3)),
        "antipodal": np.concatenate([few, -few])[rng.integers(0, 2 * len(few), users)],
        "orthogonal": np.eye(users)[rng.integers(0, users, users)],
        "line": rng.choice([-1.0, 1.0], size=(users, 1)),
        "circle": np.c_[np.cos(2 * np.pi * np.arange(users) / users), np.sin(2 * np.pi * np.arange(users) / users)],
        "any": rng.normal(size=(users, 3)),
    }[kind]
    return unit_rows(points)


PROBLEMS = ("equal", "duplicates", "near duplicates", "antipodal", "orthogonal", "line", "circle", "any")


def enumerated(criterion: str, embeddings: np.ndarray, clusters: int, least: int, most: int) -> float | None:
    """The optimum from the definition, over all labels."""
    users, best = len(embeddings), None
    for labels in product(range(clusters), repeat=users - 1):
        groups = [np.flatnonzero(np.array((0, *labels)) == k) for k in range(clusters)]
        groups = [group for group in groups if len(group)]
        if any(not least <= len(group) <= most for group in groups):
            continue
        value = 0.0
        for group in groups:
            length = float(np.linalg.norm(embeddings[group].sum(axis=0)))
            value += {"sum": length**2, "mean": length**2 / len(group), "centroid": length}[criterion]
        best = value if best is None else max(best, value)
    return best


@pytest.mark.parametrize("kind", ["near duplicates", "antipodal", "equal"])
@pytest.mark.parametrize("criterion", CRITERIA)
def test_refinement_ends_where_gains_are_noise(kind: str, criterion: str) -> None:
    for seed in range(12):
        rng = np.random.default_rng(seed)
        users, clusters = int(rng.integers(10, 40)), int(rng.integers(3, 9))
        few = rng.normal(size=(max(users // 5, 1), 384))
        points = {
            "near duplicates": few[rng.integers(0, len(few), users)] + 1e-7 * rng.normal(size=(users, 384)),
            "antipodal": np.concatenate([few, -few])[rng.integers(0, 2 * len(few), users)],
            "equal": np.repeat(few[:1], users, axis=0) + 1e-7 * rng.normal(size=(users, 384)),
        }[kind]
        embeddings = unit_rows(points)
        labels = refine(embeddings, rng.integers(0, clusters, users), clusters, criterion, Patience(20 * users))
        assert labels.max() < clusters
        balanced = balance(embeddings, labels, criterion, clusters, 2, users // 2, Patience(20 * users))
        sizes = np.bincount(balanced)
        assert sizes[sizes > 0].min() >= 2
        assert sizes.max() <= users // 2


@pytest.mark.parametrize(
    "solver", [BranchBound(), Partitions(), PairsHighs(), IlpHighs(), IlpScip(), PengWeiSdp(), Subsets()]
)
def test_sizes_that_no_partition_meets_are_infeasible(solver: Solver) -> None:
    given = draw_instance(np.random.default_rng(1), 13, 3).replace(cluster_size_min=5, cluster_size_max=6)
    problems = [Clustering.of(given, criterion) for criterion in CRITERIA]  # type: ignore[arg-type]
    served = [problem for problem in [*problems, Full(given)] if solver.serves(problem)]
    assert served
    for problem in served:
        found = solver.solve(problem, LIMITS)
        assert found.termination is Termination.INFEASIBLE
        assert "limits on cluster sizes" in found.message


@pytest.mark.parametrize("criterion", CRITERIA)
@pytest.mark.parametrize(("users", "clusters", "least", "most"), [(15, 3, 6, None), (12, 5, 4, None), (13, 3, 4, 5)])
def test_more_clusters_than_sizes_allow_bound_the_optimum_all_the_same(
    criterion: str, users: int, clusters: int, least: int, most: int | None
) -> None:
    given = PRESETS["small"].replace(users=users, max_clusters=clusters).sample(0)
    given = given.replace(cluster_size_min=least, cluster_size_max=most)
    problem = Clustering.of(given, criterion)  # type: ignore[arg-type]
    best = Partitions().solve(problem, LIMITS).bound
    found = BranchBound().solve(problem, LIMITS)
    assert found.termination is Termination.OPTIMAL
    assert found.bound == pytest.approx(best, rel=1e-6)


@pytest.mark.parametrize("criterion", CRITERIA)
@pytest.mark.parametrize("kind", PROBLEMS)
def test_no_degenerate_instance_contradicts_enumeration(
    criterion: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(branch_bound, "_LEAF", 2)  # or the dynamic program would solve them all
    for seed in range(10):
        rng = np.random.default_rng([seed, PROBLEMS.index(kind)])
        users = int(rng.integers(1, 7))
        clusters = int(rng.integers(1, min(users, 3) + 1))
        least, most = int(rng.integers(1, 4)), int(rng.integers(2, 7))
        most = max(most, least, -(-users // clusters))
        embeddings = degenerate(kind, users, rng)
        given = instance(embeddings, clusters, least, most)
        problem = Clustering.of(given, criterion)  # type: ignore[arg-type]
        best = enumerated(criterion, embeddings, clusters, least, most)
        for solver in (Partitions(), BranchBound()):
            found = solver.solve(problem, Limits(time_s=5))
            if best is None:
                assert found.termination is Termination.INFEASIBLE
                continue
            assert found.bound is not None
            assert found.bound >= best - 1e-12 * max(best, 1.0)
            assert found.decision is not None
            if isinstance(solver, Partitions):
                assert found.bound == pytest.approx(best, rel=1e-12, abs=1e-14)
            if found.termination is Termination.OPTIMAL:
                value = problem.evaluate(found.decision).objective
                assert value == pytest.approx(best, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("criterion", CRITERIA)
@pytest.mark.parametrize(("least", "most"), [(1, None), (4, 6)])
def test_partitions_without_time_bounds_the_optimum_and_has_a_partition(
    criterion: str, least: int, most: int | None
) -> None:
    given = PRESETS["small"].replace(users=10, max_clusters=2).sample(1)
    problem = Clustering.of(given.replace(cluster_size_min=least, cluster_size_max=most), criterion)  # type: ignore[arg-type]
    found, best = Partitions().solve(problem, Limits(time_s=0)), Partitions().solve(problem, LIMITS)
    assert found.termination is Termination.TIME_LIMIT
    assert found.decision is not None
    value = problem.evaluate(found.decision)
    assert value.feasible
    assert best.bound is not None
    assert found.bound is not None
    assert value.objective is not None
    assert value.objective <= best.bound * (1 + 1e-12)
    assert found.bound >= best.bound


def test_an_optimum_of_zero_is_proven() -> None:
    there = np.array([[1.0, 2.0, 2.0]]) / 3
    given = instance(np.concatenate([there, -there] * 7), 1)
    for criterion in CRITERIA:
        problem = Clustering.of(given, criterion)  # type: ignore[arg-type]
        for solver in (Partitions(), BranchBound()):
            found = solver.solve(problem, LIMITS)
            assert found.termination is Termination.OPTIMAL
            assert found.bound == pytest.approx(0.0, abs=1e-14)


@pytest.mark.parametrize(("names", "clusters", "least", "most", "best"), [
    ("aaaaa", 2, 1, None, 5.0),
    ("aaabb", 3, 1, None, 5.0),
    ("aaaA", 2, 2, 2, 2.0),  # a cluster that cancels is forced
])  # fmt: skip
def test_scip_proves_centroid_among_duplicates(names: str, clusters: int, least: int, most: int, best: float) -> None:
    unit = {"a": [1.0, 0.0], "A": [-1.0, 0.0], "b": [0.0, 1.0]}
    problem = Clustering.of(instance(np.array([unit[n] for n in names]), clusters, least, most), "centroid")
    found = IlpScip().solve(problem, LIMITS)
    assert found.termination is Termination.OPTIMAL
    assert found.bound == pytest.approx(best, rel=1e-7)


@pytest.mark.parametrize("count", [3, 5, 6, 7, 9])
def test_a_cluster_that_cancels_has_no_similarity(count: int) -> None:
    circle = instance(degenerate("circle", count, np.random.default_rng(0)), 1)
    np.testing.assert_array_equal(rule_similarity(circle, np.zeros(count, dtype=np.int64)), 0.0)
    short = unit_rows(np.array([[1.0, 1e-5], [-1.0, 1e-5]]))  # a sum of 2e-5 still points somewhere
    found = rule_similarity(instance(short, 1), np.zeros(2, dtype=np.int64))
    np.testing.assert_allclose(found, short[:, 1], rtol=1e-5)


def test_models_and_subsets_agree_with_the_equations_on_a_cluster_that_cancels() -> None:
    given = instance(degenerate("circle", 5, np.random.default_rng(0)), 1)
    found = Subsets().solve(Full(given), LIMITS)
    assert found.termination is Termination.OPTIMAL
    assert found.decision is not None
    assert Full(given).evaluate(found.decision).objective == pytest.approx(found.bound, rel=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_heuristics_of_an_exact_solver_are_among_its_incumbents(seed: int) -> None:
    rng = np.random.default_rng(seed)
    embeddings = shipped().embeddings[rng.choice(240, 20, replace=False)]
    embeddings = np.concatenate([embeddings, embeddings[rng.integers(0, 20, 30)]])
    problem = Clustering.of(PRESETS["paper"].sample(0).replace(embeddings=embeddings, max_clusters=5), "mean")
    kmeans, refined = (solver.solve(problem, LIMITS).decision for solver in (KMeans(), HacRefined()))
    assert kmeans is not None
    assert refined is not None
    value = problem.evaluate(refined).objective
    other = problem.evaluate(kmeans).objective
    assert value is not None
    assert other is not None
    assert value >= other - 1e-9
    search = Search(problem, Deadline(LIMITS))
    search.incumbent.begin()
    assert search.incumbent.value >= value - 1e-9


@pytest.mark.parametrize("criterion", ["mean", "centroid", "sum"])
@pytest.mark.parametrize("seed", range(3))
def test_heuristics_meet_limits_on_sizes_and_come_near_the_optimum(criterion, seed):
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(9, 3)) + 3 * np.eye(3)[np.minimum(np.arange(9), 2)]
    problem = Clustering(points, 3, criterion, Sizes(2, 4))
    optimum = problem.evaluate(Partitions().solve(problem, Limits()).decision).objective
    for solver, share in ((HacRefined(), 0.99), (KMeans(), 0.7)):
        assert solver.serves(problem)
        found = problem.evaluate(solver.solve(problem, Limits(seed=seed)).decision)
        assert found.feasible
        assert share * optimum <= found.objective <= optimum * (1 + 1e-9)


def test_heuristics_say_that_limits_on_sizes_exclude_every_partition():
    problem = Clustering(np.eye(5), 2, "mean", Sizes(3, 4))
    for solver in (HacRefined(), KMeans()):
        found = solver.solve(problem, Limits(time_s=5))
        assert found.decision is None
        assert found.message


def test_kmeans_within_limits_and_pairs_of_points():
    points = np.random.default_rng(5).normal(size=(30, 2))
    problem = SumOfSquares(points, 3, Sizes(8, 12), np.array([[0, 1], [1, 2]]), np.array([[0, 3], [4, 5]]))
    found = problem.evaluate(KMeans(restarts=3).solve(problem, Limits()).decision)
    assert found.feasible
    assert found.objective < np.square(points - points.mean(axis=0)).sum()
