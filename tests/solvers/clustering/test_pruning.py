"""What the search throws away never holds an optimum: every rule against all partitions, on instances where it binds.

The partitions, their matrices and their values are written here from the definitions.
"""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import pytest

from hisopt.experiments.campaigns.random_instances import draw_instance
from hisopt.problems import Clustering
from hisopt.result import Limits
from hisopt.solvers.base import Deadline
from hisopt.solvers.clustering.branch_bound import search as branch_bound
from hisopt.solvers.clustering.branch_bound import task as clustering_task
from hisopt.solvers.clustering.branch_bound.merged_users import Weighted
from hisopt.solvers.clustering.branch_bound.partition_cuts import cliques, separate
from hisopt.solvers.clustering.branch_bound.search import Search
from hisopt.solvers.clustering.branch_bound.size_limits import SizeLimits, Sizes
from hisopt.solvers.clustering.branch_bound.spectral_relaxation import Cuts, SpectralSet, State
from hisopt.solvers.clustering.branch_bound.task import Task

if TYPE_CHECKING:
    from hisopt import Problem

USERS = 6
CASES = [
    ("mean", 3, 1, 6), ("mean", 2, 2, 4), ("mean", 6, 1, 6), ("mean", 3, 2, 3), ("centroid", 3, 1, 6),
    ("sum", 3, 1, 6), ("sum", 3, 1, 3), ("sum", 3, 2, 2), ("sum", 2, 2, 4), ("sum", 2, 3, 3),
]  # fmt: skip


def partitions(clusters: int, least: int, most: int) -> list[np.ndarray]:
    found = []
    for labels in product(range(clusters), repeat=USERS):
        if all(label <= max(labels[:i], default=-1) + 1 for i, label in enumerate(labels)):
            sizes = np.bincount(labels)
            if sizes.min() >= least and sizes.max() <= most:
                found.append(np.array(labels))
    return found


def value(criterion: str, embeddings: np.ndarray, labels: np.ndarray) -> float:
    total = 0.0
    for label in set(labels.tolist()):
        length = float(np.linalg.norm(embeddings[labels == label].sum(axis=0)))
        size = int((labels == label).sum())
        total += {"sum": length**2, "mean": length**2 / size, "centroid": length}[criterion]
    return total


def problem(criterion: str, clusters: int, least: int, most: int, seed: int) -> Problem:
    drawn = draw_instance(np.random.default_rng(seed), USERS, clusters)
    drawn = drawn.replace(max_clusters=clusters, cluster_size_min=least, cluster_size_max=most)
    return Clustering.of(drawn, criterion)  # type: ignore[arg-type]


def random_node(rng: np.random.Generator, similarity: np.ndarray) -> Weighted:
    nodes = Weighted.of(similarity)
    for _ in range(int(rng.integers(0, 3))):
        i, j = sorted(rng.choice(len(nodes), 2, replace=False).tolist())
        nodes = nodes.merge(i, j)
    pairs = rng.random((len(nodes), len(nodes))) < 0.1
    np.fill_diagonal(pairs, False)
    return nodes.separate(pairs)


def allowed(nodes: Weighted, labels: np.ndarray) -> np.ndarray | None:
    """The labels of merged users, or None where the node excludes the partition."""
    merged = np.array([labels[nodes.groups == k][0] for k in range(len(nodes))])
    if (merged[nodes.groups] != labels).any() or (nodes.apart & np.equal.outer(merged, merged)).any():
        return None
    return merged


def may_split(labels: np.ndarray, clusters: int, least: int) -> bool:
    """Whether the relaxation may leave the partition out: splitting one of its clusters is no worse."""
    return least == 1 and len(set(labels.tolist())) < clusters


@pytest.mark.parametrize(("criterion", "clusters", "least", "most"), CASES)
@pytest.mark.parametrize("seed", range(8))
def test_relaxations_hold_every_partition_of_their_node(
    criterion: str, clusters: int, least: int, most: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    given = problem(criterion, clusters, least, most, seed)
    task, nodes = Task.of(given), random_node(rng, given.similarity_matrix) if seed else None
    nodes = nodes or Weighted.of(given.similarity_matrix)
    relaxation, scale, cuts = task.relaxation(nodes, Sizes.of(task.users, task.clusters, task.least, task.most))
    spectral, size = relaxation.spectral, len(nodes)
    noise = rng.uniform(size=(size, size))
    cuts = cuts.join(separate(noise + noise.T, 0.0, 200).scaled(scale))
    if criterion == "sum":
        cuts = cuts.join(cliques((noise + noise.T) / 20, task.clusters, 0.0, 200).scaled(scale))
    tight: list[np.ndarray] = []
    for labels in partitions(clusters, least, most):
        merged = allowed(nodes, labels)
        if merged is None or (criterion != "sum" and may_split(labels, clusters, least)):
            continue
        together = np.equal.outer(merged, merged).astype(float)
        own = together if criterion == "sum" else together / (together @ nodes.weights)[:, None]
        matrix = own * scale
        objective = float((relaxation.objective * matrix).sum())
        truth = value("sum" if criterion == "sum" else "mean", given.points, labels)
        assert objective == pytest.approx(truth)
        assert (matrix >= relaxation.lower - 1e-12).all()
        assert (matrix <= relaxation.upper + 1e-12).all()
        assert cuts.slack(matrix).min(initial=0.0) >= -1e-12
        u = spectral.vector
        assert np.linalg.norm(u) == pytest.approx(1.0)
        rest = matrix - spectral.fixed * np.outer(u, u)
        values = np.linalg.eigvalsh(rest)
        assert values.min() >= -1e-10
        assert values.max() <= spectral.cap + 1e-10
        assert np.trace(rest) <= spectral.total + 1e-10
        if spectral.orthogonal:
            np.testing.assert_allclose(rest @ u, 0.0, atol=1e-10)
        for _ in range(3):
            direction = rng.normal(size=(size, size))
            direction += direction.T
            assert float((direction * matrix).sum()) <= spectral.support(direction) + 1e-12
        tight.append(np.concatenate([(matrix - relaxation.lower).ravel(), (relaxation.upper - matrix).ravel()]))
    if (
        not seed and clusters < USERS
    ):  # and no entry's limit could be stronger, but the share of a pair below 1 / (largest size)
        reached = np.min(tight, axis=0).reshape(2, size, size)
        assert reached[1].max() <= 1e-12
        assert np.diag(reached[0]).max() <= 1e-12


@pytest.mark.parametrize(("criterion", "clusters", "least", "most"), CASES)
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("kind", ["any", "planted"])
def test_pairs_put_apart_join_in_no_better_partition(
    criterion: str, clusters: int, least: int, most: int, seed: int, kind: str
) -> None:
    """For every pair an incumbent a hair below the best partition that joins it: the pair must stay allowed."""
    rng = np.random.default_rng(seed)
    given = problem(criterion, clusters, least, most, seed)
    if kind == "planted":  # two directions: bounds are tight, and pairs lose exactly what the rule says
        angle = np.repeat([0.0, rng.uniform(0.5, 1.5)], [3, 3])
        embeddings = np.stack([np.cos(angle), np.sin(angle)], axis=1)
        given = replace(given, points=embeddings)
    embeddings = given.points
    search = Search(given, Deadline(Limits(time_s=60)))
    task, nodes = search.task, Weighted.of(given.similarity_matrix)
    if task.clusters == 1:
        return
    relaxation, scale, cuts = task.relaxation(nodes, Sizes.of(task.users, task.clusters, task.least, task.most))
    state = relaxation.start()
    state.cut_multipliers = np.zeros(len(cuts))
    relaxation.iterate(state, cuts, 200)
    valued = [(value(criterion, embeddings, labels), labels) for labels in partitions(clusters, least, most)]
    for i, j in zip(*np.triu_indices(USERS, 1), strict=True):
        joined = max((worth for worth, labels in valued if labels[i] == labels[j]), default=None)
        if joined is None:
            continue
        search.incumbent.value = joined - 1e-6 * joined
        left = search._fix(nodes, relaxation, scale, state, cuts)
        assert not left.apart[i, j]


@pytest.mark.parametrize("criterion", ["mean", "sum"])
def test_the_loss_of_a_joined_pair_is_what_the_box_gives_up(criterion: str) -> None:
    """Multipliers that charge one pair alone: the bound without it falls by two entries, and not by four."""
    given = problem(criterion, 3, 1, USERS, 0)
    search = Search(given, Deadline(Limits(time_s=60)))
    task, nodes = search.task, Weighted.of(given.similarity_matrix)
    relaxation, scale, cuts = task.relaxation(nodes, Sizes.of(task.users, task.clusters, task.least, task.most))
    multiplier = np.zeros((USERS, USERS))
    multiplier[0, 1] = multiplier[1, 0] = 1.5
    state = State(np.eye(USERS), multiplier, np.zeros(len(cuts)), 1.0)
    share = 1.0 if criterion == "sum" else 1 / 4  # of six users in three clusters, at most four are together
    bound = relaxation.bound(state, cuts)
    for incumbent, apart in ((bound - 3.0 * share - 1e-9, False), (bound - 3.0 * share + 1e-9, True)):
        search.incumbent.value = incumbent
        left = search._fix(nodes, relaxation, scale, state, cuts)
        assert left.apart[0, 1] == left.apart[1, 0] == apart
        assert left.apart.sum() == 2 * apart
        assert not left.apart.diagonal().any()


def test_centroid_is_fixed_by_the_square_of_its_incumbent() -> None:
    given = problem("centroid", 3, 1, USERS, 0)
    search = Search(given, Deadline(Limits(time_s=60)))
    nodes = Weighted.of(given.similarity_matrix)
    relaxation, scale, cuts = search.task.relaxation(nodes, Sizes.of(USERS, 3, 1, USERS))
    multiplier = np.zeros((USERS, USERS))
    multiplier[0, 1] = multiplier[1, 0] = 1.0
    state = State(np.eye(USERS), multiplier, np.zeros(0), 1.0)
    boundary = math.sqrt(USERS * (relaxation.bound(state, cuts) - 2 / 4))
    for incumbent, apart in ((boundary - 1e-9, False), (boundary + 1e-9, True)):
        search.incumbent.value = incumbent
        assert search._fix(nodes, relaxation, scale, state, cuts).apart[0, 1] == apart


@pytest.mark.parametrize("size", [3, 6])
def test_supports_are_attained(size: int) -> None:
    rng = np.random.default_rng(0)
    vector = rng.normal(size=size)
    vector /= np.linalg.norm(vector)
    for orthogonal, fixed, total, cap in product((True, False), (0.0, 1.5), (0.0, 1.0, 2.5), (1.0, 0.7)):
        if total > cap * (size - 1):
            continue
        spectral = SpectralSet(vector, fixed, total, cap, orthogonal)
        matrix = rng.normal(size=(size, size))
        matrix = matrix @ matrix.T
        largest = spectral.project(matrix * 1e7)  # far out in its direction: where the maximum is
        np.testing.assert_allclose((largest * matrix).sum(), spectral.support(matrix), rtol=1e-7, atol=1e-9)
        assert spectral.support(matrix) >= (largest * matrix).sum() * (1 - 1e-7)
        less = replace(spectral, at_most=True)
        assert np.trace(less.project(-matrix)) == pytest.approx(fixed)
        np.testing.assert_allclose(less.project(matrix * 1e7), largest, atol=1e-6)


def test_a_bound_is_the_sum_of_its_parts() -> None:
    """Box, cuts and support each at a matrix that attains them: the bound is the value there."""
    given = problem("mean", 3, 1, USERS, 3)
    nodes = Weighted.of(given.similarity_matrix)
    relaxation, _scale, _ = Task.of(given).relaxation(nodes, Sizes.of(USERS, 3, 1, USERS))
    rng = np.random.default_rng(0)
    entries = (np.array([0, 0, 1]), np.array([0, 1, 2]), np.array([1, 2, 2]))
    cuts = Cuts(*entries, np.array([1.0, -2.0, 0.5]), np.array([0.3, -0.2]))
    noise = rng.normal(size=(USERS, USERS))
    state = State(np.eye(USERS), noise + noise.T, np.array([0.7, 1.3]), 1.0)
    slope = -state.multiplier
    for (row, column), weight in zip(((0, 1), (1, 2), (2, 2)), (0.7 * 1.0, -0.7 * 2.0, 1.3 * 0.5), strict=True):
        slope[row, column] += weight / 2
        slope[column, row] += weight / 2
    box = sum(
        max(slope[i, j] * relaxation.lower[i, j], slope[i, j] * relaxation.upper[i, j])
        for i, j in product(range(USERS), repeat=2)
    )
    expected = relaxation.spectral.support(relaxation.objective + state.multiplier) + box - (0.7 * 0.3 - 1.3 * 0.2)
    assert expected <= relaxation.bound(state, cuts) <= expected + 1e-10


def test_what_is_given_up_is_proven() -> None:
    search = Search(problem("mean", 3, 1, USERS, 0), Deadline(Limits(time_s=60)))
    search.incumbent.value = 4.0
    assert 4.0 <= search._target() <= 4.0 * (1 + branch_bound.PROVEN)
    assert branch_bound.PROVEN <= 1e-6
    search.closed = 4.000001
    assert search.bound >= 4.000001
    assert Task("centroid", 9, 3, 1, 9).from_relaxation(4.0) == pytest.approx(6.0)
    assert Task("mean", 9, 3, 1, 9).longest == 7
    assert Task("mean", 9, 3, 2, 9).longest == Task("sum", 9, 3, 1, 9).longest == 9
    assert Task("mean", 9, 3, 1, 4).longest == 4


@pytest.mark.parametrize("criterion", ["mean", "centroid", "sum"])
def test_the_plain_bound_holds_and_is_attained(criterion: str) -> None:
    task = Task(criterion, USERS, 2, 1, 4)
    for seed in range(5):
        embeddings = problem(criterion, 2, 1, 4, seed).points
        best = max(value(criterion, embeddings, labels) for labels in partitions(2, 1, 4))
        assert best <= task.plain_bound(embeddings)
    equal = np.repeat([[1.0, 0.0]], 4, axis=0)
    whole = Task(criterion, 4, 2, 1, 4)
    assert whole.plain_bound(equal) == pytest.approx({"mean": 4, "centroid": 4, "sum": 16}[criterion])


def test_sizes_and_counts_against_all_partitions() -> None:
    for users, clusters, least, most in product(range(1, 11), range(1, 6), range(1, 5), range(1, 11)):
        if clusters > users or most > users or least > most or most * clusters < users:
            continue
        drawn = draw_instance(np.random.default_rng(0), users, 1)
        drawn = drawn.replace(max_clusters=clusters, cluster_size_min=least, cluster_size_max=most)
        limits, found = SizeLimits.of(Clustering.of(drawn)), list(_sizes(users, clusters, least, most))
        assert limits.possible == bool(found)
        if found:
            assert limits.least <= min(min(sizes) for sizes in found)
            assert limits.most >= max(max(sizes) for sizes in found)
            counts = [len(sizes) for sizes in found]
            assert (limits.fewest, limits.clusters) == (min(counts), max(counts))
            listed = Sizes.of(users, limits.clusters, limits.least, limits.most)
            assert set(listed.partitions) == set(found)
            assert listed.squares == tuple(sorted({sum(size**2 for size in sizes) for sizes in found}))
            assert (listed.least, listed.most) == (
                min(min(sizes) for sizes in found), max(max(sizes) for sizes in found),
            )  # fmt: skip


def _sizes(users: int, clusters: int, least: int, most: int) -> set[tuple[int, ...]]:
    found = set()
    for used in range(1, clusters + 1):
        found |= {tuple(sorted(sizes)) for sizes in product(range(least, most + 1), repeat=used) if sum(sizes) == users}
    return found


@pytest.mark.parametrize(("least", "most"), [(1, 6), (2, 4), (1, 3)])
def test_halves_of_sizes_and_their_cuts_lose_no_partition(least: int, most: int) -> None:
    stack, leaves = [Sizes.of(USERS, 3, least, most)], []
    while stack:
        sizes = stack.pop()
        halves = sizes.halves()
        stack += halves
        if not halves:
            leaves.append(sizes)
    for labels in partitions(3, least, most):
        counts = np.sort(np.bincount(labels))
        home = [sizes for sizes in leaves if (counts**2).sum() in sizes.squares]
        assert len(home) == 1
        assert home[0].least <= counts.min()
        assert counts.max() <= home[0].most
        together = np.equal.outer(labels, labels).astype(float)
        slack = home[0].cuts(np.ones(USERS)).slack(together)
        assert slack.min() >= -1e-12
        assert slack[-2:] == pytest.approx(0.0, abs=1e-12)  # one sum of squares: both its cuts are tight
        for other in leaves:
            if other is not home[0]:
                assert other.cuts(np.ones(USERS)).slack(together).min() < -1e-3


@pytest.mark.parametrize("criterion", ["mean", "sum"])
@pytest.mark.parametrize("seed", range(4))
def test_leaves_are_solved_within_their_node(criterion: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    given = problem(criterion, 3, 1 + seed % 2, 4, seed)
    embeddings = given.points
    nodes = random_node(rng, given.similarity_matrix)
    search = Search(given, Deadline(Limits(time_s=60)))
    search.incumbent = clustering_task.Incumbent(search.task, embeddings)
    offered: list[np.ndarray] = []
    search.incumbent.offer = lambda labels, improve=True: offered.append(labels)  # type: ignore[method-assign]
    search._finish(nodes)
    inside = [labels for labels in partitions(3, 1 + seed % 2, 4) if allowed(nodes, labels) is not None]
    assert bool(offered) == bool(inside)
    if inside:
        best = max(value(criterion, embeddings, labels) for labels in inside)
        assert value(criterion, embeddings, offered[0]) == pytest.approx(best, rel=1e-12)
        assert allowed(nodes, np.unique(offered[0], return_inverse=True)[1]) is not None
