"""The clustering search node by node against all partitions: none better than the incumbent leaves the tree or its bounds.

The incumbent is held below the optimum, so that whatever a rule may drop, it can drop here.
"""

from __future__ import annotations

import math
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from hisopt import Limits, Termination
from hisopt.experiments.campaigns.random_instances import draw_instance
from hisopt.problems import Clustering
from hisopt.solvers.base import Deadline
from hisopt.solvers.clustering.branch_bound import search as branch_bound
from hisopt.solvers.clustering.branch_bound import size_limits
from hisopt.solvers.clustering.branch_bound.merged_users import Weighted
from hisopt.solvers.clustering.branch_bound.partition_cuts import separate
from hisopt.solvers.clustering.branch_bound.search import Search, _Node, _resume, _suspend
from hisopt.solvers.clustering.branch_bound.size_limits import Sizes
from hisopt.solvers.clustering.branch_bound.spectral_relaxation import State
from hisopt.solvers.clustering.branch_bound.task import Incumbent, Task
from hisopt.solvers.run.progress import listening

if TYPE_CHECKING:
    from hisopt import Problem

USERS = 6
CASES = [  # criterion, users, clusters, least, most
    ("mean", 5, 3, 1, 5), ("mean", 6, 3, 2, 3), ("mean", 5, 2, 2, 3), ("centroid", 5, 3, 1, 5), ("sum", 5, 3, 1, 3),
    ("sum", 5, 2, 2, 3), ("sum", 6, 3, 2, 2), ("sum", 6, 3, 1, 4),
]  # fmt: skip


def partitions(users: int, clusters: int, least: int, most: int) -> list[np.ndarray]:
    found = []
    for labels in product(range(clusters), repeat=users):
        if all(label <= max(labels[:i], default=-1) + 1 for i, label in enumerate(labels)):
            sizes = np.bincount(labels)
            if sizes.min() >= least and sizes.max() <= most:
                found.append(np.array(labels))
    return found


def value(criterion: str, points: np.ndarray, labels: np.ndarray) -> float:
    total = 0.0
    for label in set(labels.tolist()):
        length = float(np.linalg.norm(points[labels == label].sum(axis=0)))
        size = int((labels == label).sum())
        total += {"sum": length**2, "mean": length**2 / size, "centroid": length}[criterion]
    return total


def problem(criterion: str, clusters: int, least: int, most: int, seed: int, users: int = USERS) -> Problem:
    drawn = draw_instance(np.random.default_rng(seed), users, clusters)
    drawn = drawn.replace(max_clusters=clusters, cluster_size_min=least, cluster_size_max=most)
    return Clustering.of(drawn, criterion)  # type: ignore[arg-type]


def holds(node: _Node, labels: np.ndarray, criterion: str) -> bool:
    """Whether a node's links and sizes allow a partition."""
    groups = node.nodes.groups
    merged = np.array([labels[groups == k][0] for k in range(len(node.nodes))])
    if (merged[groups] != labels).any() or (node.nodes.apart & np.equal.outer(merged, merged)).any():
        return False
    return criterion != "sum" or int((np.bincount(labels) ** 2).sum()) in node.sizes.squares


@pytest.mark.parametrize(("criterion", "users", "clusters", "least", "most"), CASES)
def test_no_better_partition_leaves_the_tree(
    criterion: str, users: int, clusters: int, least: int, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(branch_bound, "_LEAF", 2)
    monkeypatch.setattr(branch_bound, "_STEPS", 2)
    given = problem(criterion, clusters, least, most, 1, users)
    search = Search(given, Deadline(Limits(time_s=600)))
    every = partitions(users, clusters, least, most)
    worth = np.array([value(criterion, given.points, labels) for labels in every])
    split = np.array([criterion != "sum" and least == 1 and labels.max() + 1 < clusters for labels in every])
    below = np.sort(worth)[-min(4, len(worth))] - 1e-6 * worth.max()
    offered: list[float] = []

    def offer(labels: np.ndarray, *, improve: bool = True) -> None:
        sizes = np.unique(labels, return_counts=True)[1]
        if len(sizes) <= clusters and sizes.min() >= least and sizes.max() <= most:
            offered.append(value(criterion, given.points, labels))

    monkeypatch.setattr(search.incumbent, "offer", offer)
    search.incumbent.value = float(below)
    process = search._process
    splits = leaves = 0

    def watched(node: _Node) -> list[_Node]:
        nonlocal splits, leaves
        del offered[:]
        closed = search.closed
        children = process(node)
        splits, leaves = splits + (len(children) > 1), leaves + (not children)
        found = max(offered, default=-math.inf)
        for labels, own, may in zip(every, worth, split, strict=True):
            if own <= below * (1 + 1e-12) or may or not holds(node, labels, criterion):
                continue
            assert node.bound >= own - 1e-9
            covered = [child.bound for child in children if holds(child, labels, criterion)]
            given_up = search.closed if search.closed > closed else -math.inf
            assert max([found, given_up, *covered]) >= own - 1e-9 * abs(own)
        return children

    monkeypatch.setattr(search, "_process", watched)
    search.run()
    assert search.explored < 3000
    assert not search.open
    assert search.proven
    assert splits or least == most or len(every) < 20
    assert leaves


@pytest.mark.parametrize("criterion", ["mean", "centroid", "sum"])
@pytest.mark.parametrize("below", [1e-7, 4e-7])
def test_an_incumbent_a_hair_below_the_optimum_does_not_lower_the_bound(
    criterion: str, below: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is given up as close enough still counts."""
    monkeypatch.setattr(branch_bound, "_LEAF", 2 if criterion != "centroid" else 4)
    monkeypatch.setattr(branch_bound, "_STEPS", 8)
    for seed in range(2):
        given = problem(criterion, 3, 1 + (criterion == "sum"), 3, seed)
        every = partitions(USERS, 3, 1 + (criterion == "sum"), 3)
        best = max(value(criterion, given.points, labels) for labels in every)
        search = Search(given, Deadline(Limits(time_s=600)))
        assert search.bound >= best - 1e-9
        offered: list[float] = [-math.inf]

        def offer(labels: np.ndarray, *, improve: bool = True, seen: Any = offered, given: Any = given) -> None:
            if improve is False:  # from a leaf or a finished branch
                seen.append(value(criterion, given.points, labels))

        monkeypatch.setattr(search.incumbent, "offer", offer)
        search.incumbent.value = best * (1 - below)
        search.run()
        assert max(search.bound, *offered) >= best - 1e-9
        assert search.bound <= best * (1 + 1e-6)


def test_nodes_that_are_close_enough_are_given_up_with_their_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    search = Search(problem("mean", 3, 1, USERS, 0), Deadline(Limits(time_s=60)))
    node = search.open[0][-1]
    monkeypatch.setattr(search.incumbent, "offer", lambda labels, improve=True: None)
    search.incumbent.value = node.bound * (1 - 3e-7)
    search.push(_Node(node.nodes, node.bound * (1 - 1e-7), node.sizes))
    search.run()
    assert search.proven
    assert search.explored == 0
    assert search.bound == node.bound


def test_a_node_whose_users_are_all_apart_is_one_partition(monkeypatch: pytest.MonkeyPatch) -> None:
    given = problem("mean", USERS, 1, USERS, 0)
    search, size = Search(given, Deadline(Limits(time_s=60))), USERS
    nodes = Weighted.of(given.similarity_matrix).separate(~np.eye(size, dtype=bool))
    offered: list[np.ndarray] = []
    monkeypatch.setattr(search.incumbent, "offer", lambda labels, improve=True: offered.append(labels))
    relaxation, scale, always = search.task.relaxation(nodes, search.open[0][-1].sizes)
    warm = _suspend(relaxation.start(), scale, always, always)
    assert search._branch(nodes, 9.0, search.open[0][-1].sizes, warm) == []
    assert [labels.tolist() for labels in offered] == [list(range(size))]


def test_a_leaf_that_needs_every_cluster_is_solved(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three users are apart from each other, so that no fewer than three clusters will do."""
    given = problem("mean", 3, 1, USERS, 0)
    search = Search(given, Deadline(Limits(time_s=60)))
    apart = np.zeros((USERS, USERS), dtype=bool)
    apart[:3, :3] = ~np.eye(3, dtype=bool)
    offered: list[np.ndarray] = []
    monkeypatch.setattr(search.incumbent, "offer", lambda labels, improve=True: offered.append(labels))
    search._finish(Weighted.of(given.similarity_matrix).separate(apart))
    inside = [labels for labels in partitions(USERS, 3, 1, USERS) if len(set(labels[:3].tolist())) == 3]
    best = max(value("mean", given.points, labels) for labels in inside)
    assert value("mean", given.points, offered[0]) == pytest.approx(best)
    assert len(set(offered[0][:3].tolist())) == 3
    none = Weighted.of(given.similarity_matrix).separate(~np.eye(USERS, dtype=bool))
    del offered[:]
    search._finish(none)
    assert not offered


def test_the_bound_is_that_of_all_that_is_open() -> None:
    search = Search(problem("mean", 3, 1, USERS, 0), Deadline(Limits(time_s=60)))
    node, (first, _, _) = search.open[0][-1], search.open[0]
    assert search.bound == -first == node.bound
    for bound in (9.0, 8.0, 9.5, 7.0):
        search.push(_Node(node.nodes, bound, node.sizes))
    search.open = [entry for entry in search.open if entry[-1] is not node]
    search.incumbent.value, search.closed = 5.0, 6.0
    assert search.bound == 9.5
    search.closed = 9.75
    assert search.bound == 9.75
    search.incumbent.value = 10.0
    assert search.bound == 10.0
    assert [search.open[0][-1].bound, len(search.open)] == [9.5, 4]
    alone = Search(problem("centroid", 1, 1, USERS, 0), Deadline(Limits(time_s=60)))
    assert not alone.open
    assert alone.bound == alone.incumbent.value > 0


@pytest.mark.parametrize("criterion", ["mean", "centroid", "sum"])
def test_the_margin_of_the_plain_bound_counts_units_in_the_last_place(criterion: str) -> None:
    points = np.random.default_rng(0).normal(size=(USERS, 3))
    lengths = np.linalg.norm(points, axis=1)
    bare = {"mean": (lengths**2).sum(), "centroid": lengths.sum(), "sum": 4 * (lengths**2).sum()}[criterion]
    margin = USERS * np.finfo(float).eps * bare
    assert 6 * margin <= Task(criterion, USERS, 2, 1, 4).plain_bound(points) - bare <= 10 * margin


@pytest.mark.parametrize(("criterion", "least", "most"), [("mean", 1, 6), ("sum", 1, 5), ("sum", 2, 2)])
def test_what_a_node_hands_down_is_what_it_found(criterion: str, least: int, most: int) -> None:
    """A relaxation taken up again, with the same cuts and multipliers, proves the same bound."""
    rng = np.random.default_rng(0)
    given = problem(criterion, 3, least, most, 0)
    task = Task.of(given)
    nodes = Weighted.of(given.similarity_matrix).merge(0, 3)
    sizes = Sizes.of(task.users, task.clusters, task.least, task.most)
    relaxation, scale, always = task.relaxation(nodes, sizes)
    noise = rng.uniform(size=(5, 5))
    cuts = always.join(separate(noise + noise.T, 0.0, 20).scaled(scale))
    multiplier, primal = rng.normal(size=(2, 5, 5))
    state = State(primal + primal.T, multiplier + multiplier.T, rng.uniform(size=len(cuts)), 0.7)
    warm = _suspend(state, scale, cuts, always)
    again, again_cuts = _resume(warm, scale, always)
    for name in ("primal", "multiplier", "cut_multipliers", "penalty"):
        np.testing.assert_allclose(getattr(again, name), getattr(state, name))
    assert relaxation.bound(again, again_cuts) == pytest.approx(relaxation.bound(state, cuts), rel=1e-12)
    np.testing.assert_allclose(again_cuts.slack(primal), cuts.slack(primal))
    np.testing.assert_allclose(warm.primal * scale, state.primal)
    together = np.equal.outer([0, 0, 1, 1, 2], [0, 0, 1, 1, 2]).astype(float)
    np.testing.assert_allclose(
        warm.cuts.slack(together), cuts.keep(np.arange(len(cuts)) >= len(always)).slack(together * scale)
    )
    if criterion == "sum" and least < most:  # a child whose sizes are all equal has no cuts on them
        equal = Sizes.of(6, 3, 2, 2)
        _, _, none = task.relaxation(nodes, equal)
        fresh, fresh_cuts = _resume(warm, scale, none)
        assert len(fresh_cuts) == len(fresh.cut_multipliers) == len(cuts) - len(always)
        np.testing.assert_allclose(fresh.cut_multipliers, state.cut_multipliers[len(always) :])


@pytest.mark.parametrize(("least", "most"), [(1, 6), (2, 4), (1, 3), (2, 3)])
def test_sizes_that_are_not_listed_still_hold_all(least: int, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_MOST_PARTITIONS", "_MOST_CLUSTERS"):
        monkeypatch.setattr(size_limits, name, 1)
        for clusters in (2, 3, 4):
            every = partitions(USERS, clusters, least, most)
            if len({tuple(sorted(np.bincount(labels))) for labels in every}) < 2:
                continue
            sizes = Sizes.of(USERS, clusters, least, most)
            assert not sizes.partitions
            assert not sizes.halves()
            assert (sizes.least, sizes.most) == (least, most)
            squares = [int((np.bincount(labels) ** 2).sum()) for labels in every]
            assert sizes.squares == (0, max(squares))
            for labels in every:
                together = np.equal.outer(labels, labels).astype(float)
                assert sizes.cuts(np.ones(USERS)).slack(together).min() >= -1e-12
        monkeypatch.undo()
    for users, clusters, low, high in product(range(1, 9), range(1, 5), range(1, 4), range(1, 9)):
        if low <= high:
            found = [
                s
                for used in range(1, clusters + 1)
                for s in product(range(low, high + 1), repeat=used)
                if sum(s) == users
            ]
            squares = max((sum(size**2 for size in s) for s in found), default=0)
            assert size_limits._largest_sum_of_squares(users, clusters, low, high) == squares


def test_as_many_partitions_as_may_be_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    count = len(Sizes.of(9, 3, 1, 9).partitions)
    for most, listed in ((count, count), (count - 1, 0), (count + 1, count)):
        monkeypatch.setattr(size_limits, "_MOST_PARTITIONS", most)
        assert len(Sizes.of(9, 3, 1, 9).partitions) == listed
    monkeypatch.undo()
    for most, listed in ((3, count), (2, 0), (4, count)):
        monkeypatch.setattr(size_limits, "_MOST_CLUSTERS", most)
        assert len(Sizes.of(9, 3, 1, 9).partitions) == listed


def test_cuts_on_sizes_are_the_limits() -> None:
    """Of merged users of several weights: every cluster's weight, and the sum of squares, tight where they are reached."""
    weights, norm = np.array([1.0, 2.0, 1.0, 2.0]), np.sqrt(10.0)
    sizes = Sizes(2, 4, (12, 14, 20))
    cuts = sizes.cuts(weights)
    for labels in ([0, 0, 1, 1], [0, 1, 0, 1], [0, 1, 2, 3], [0, 0, 0, 1]):
        matrix = np.equal.outer(labels, labels).astype(float)
        rows, total = matrix @ weights, weights @ matrix @ weights
        expected = [*(rows - 2) / norm, *(4 - rows) / norm, (total - 12) / norm**2, (20 - total) / norm**2]
        np.testing.assert_allclose(cuts.slack(matrix), expected, atol=1e-12)


def test_the_incumbent_takes_what_is_allowed_and_better() -> None:
    given = problem("mean", 3, 2, 3, 0)
    incumbent = Incumbent(Task.of(given), given.points)
    for labels in ([0, 0, 0, 0, 1, 1], [0, 1, 1, 1, 2, 2], [0, 0, 1, 1, 2, 3], [0, 0, 0, 0, 0, 0]):
        incumbent.offer(np.array(labels))
        assert incumbent.labels is None
        assert incumbent.value == -math.inf
    every = partitions(USERS, 3, 2, 3)
    worth = [value("mean", given.points, labels) for labels in every]
    order = np.argsort(worth)
    middle, least = every[order[len(order) // 2]], every[order[0]]
    incumbent.offer(middle, improve=False)
    assert incumbent.value == pytest.approx(worth[order[len(order) // 2]])
    incumbent.offer(least, improve=False)
    assert incumbent.labels is middle
    incumbent.balanced(least)
    assert incumbent.value == pytest.approx(value("mean", given.points, incumbent.labels))
    free = problem("mean", 3, 1, USERS, 0)
    refined = Incumbent(Task.of(free), free.points)
    refined.offer(least)
    assert refined.value > value("mean", free.points, least) + 1e-9
    refined.begin()
    assert refined.value == pytest.approx(
        max(value("mean", free.points, labels) for labels in partitions(USERS, 3, 1, USERS))
    )


def test_what_the_search_ends_with_is_what_the_solver_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a partition: infeasible where nothing is open, else the bound, if there is one."""
    given, solver = problem("mean", 3, 1, USERS, 0), branch_bound.BranchBound()
    told: list[float | None] = []
    with listening(lambda decision, bound: told.append(bound)):
        result = solver.solve(given, Limits(time_s=60))
    assert result.termination is Termination.OPTIMAL and result.decision is not None
    assert result.details["nodes"] >= 1 and result.details["open"] == 0
    assert told[-1] == result.bound
    assert Incumbent(Task.of(given), given.points).value == -math.inf

    def ends(search: Search, *, left: float | None) -> None:
        search.incumbent.labels = None
        search.incumbent.value = -math.inf
        node = search.open[0][-1]
        search.open = [] if left is None else [(-left, 0, node)]

    for left, termination, bound in (
        (None, Termination.INFEASIBLE, None), (7.0, Termination.TIME_LIMIT, 7.0), (math.inf, Termination.TIME_LIMIT, None)
    ):  # fmt: skip
        monkeypatch.setattr(Search, "run", lambda search, _, left=left: ends(search, left=left))
        found = solver.solve(given, Limits(time_s=60))
        assert (found.termination, found.bound, found.decision) == (termination, bound, None)


def test_nodes_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    search = Search(problem("mean", 3, 1, USERS, 0), Deadline(Limits(time_s=60)))
    left = iter([2, 1, 0, 0])
    node, told = search.open[0][-1], []
    monkeypatch.setattr(search, "_process", lambda _: [_Node(node.nodes, node.bound, node.sizes)] * next(left))
    monkeypatch.setattr(search, "_tell", lambda: told.append(len(search.open)))
    monkeypatch.setattr(search, "_target", lambda: -math.inf)
    monkeypatch.setattr(search.incumbent, "begin", lambda: None)
    search.run()
    assert search.explored == 4 and told == [2, 2, 1, 0]
