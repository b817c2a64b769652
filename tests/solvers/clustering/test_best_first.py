"""The loop of both branch and bounds on trees made by hand, with processes that answer at once."""

from __future__ import annotations

import concurrent.futures
import math
import pickle
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from hisopt import Limits
from hisopt.problems import Clustering
from hisopt.solvers.base import Deadline
from hisopt.solvers.clustering.best_first import BestFirst
from hisopt.solvers.clustering.branch_bound.search import Search

if TYPE_CHECKING:
    from collections.abc import Callable

    from hisopt.arrays import IntArray


@dataclass(frozen=True)
class Node:
    """A node, the nodes that it is split into, and the value of the partition that it finds."""

    name: str
    bound: float
    children: tuple[Node, ...] = ()
    value: float = -math.inf


class Toy(BestFirst[Node]):
    """Partitions are their own values, as one label; a node without children is given up."""

    patience_s = 0.0

    def __init__(self, *nodes: Node, deadline: Deadline | None = None) -> None:
        super().__init__(deadline or Deadline(Limits(time_s=1e6)))
        self.value, self.seen, self.told, self.were_proven = 0.0, [], [], []
        for node in nodes:
            self.push(node)

    @property
    def best_value(self) -> float:
        return self.value

    def _target(self) -> float:
        return self.value

    def _best_labels(self) -> IntArray | None:
        return np.array([self.value])

    def _learn(self, labels: IntArray) -> None:
        self.value = max(self.value, float(labels[0]))

    def _tell(self) -> None:
        self.told.append((self.explored, self.bound))
        self.were_proven.append(self.proven)

    def _process(self, node: Node) -> list[Node]:
        self.seen.append(node.name)
        self.value = max(self.value, node.value)
        if not node.children:
            self.give_up(node.bound)
        return list(node.children)


class AtOnce:
    """A pool whose processes hold what pickling keeps, and answer before they are asked; keeps how it was used."""

    made: list[AtOnce]

    def __init__(self, processes: int, context: Any, begin: Callable[..., None], given: tuple[Any, ...]) -> None:
        self.processes, self.waiting, self.most = processes, 0, 0
        assert context.get_start_method() == "spawn"
        begin(*pickle.loads(pickle.dumps(given)))
        AtOnce.made.append(self)

    def __enter__(self) -> AtOnce:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def submit(self, call: Callable[..., Any], *arguments: Any) -> Future[Any]:
        self.waiting += 1
        self.most = max(self.most, self.waiting)
        future: Future[Any] = Future()
        future.set_result(pickle.loads(pickle.dumps(call(*arguments))))
        future.result = self._fetched(future.result)  # type: ignore[method-assign]
        return future

    def _fetched(self, result: Callable[[], Any]) -> Callable[[], Any]:
        def fetched() -> Any:
            self.waiting -= 1
            return result()

        return fetched


@pytest.fixture(autouse=True)
def pools(monkeypatch: pytest.MonkeyPatch) -> list[AtOnce]:
    AtOnce.made = []
    monkeypatch.setattr(concurrent.futures, "ProcessPoolExecutor", AtOnce)
    return AtOnce.made


def leaves(*bounds: float) -> tuple[Node, ...]:
    return tuple(Node(f"{bound}", bound) for bound in bounds)


def test_one_process_takes_the_largest_bound_and_of_equal_ones_the_oldest(pools: list[AtOnce]) -> None:
    search = Toy(
        Node("root", 9, (Node("a", 7), Node("b", 8, leaves(7)), Node("c", 7), Node("d", 4, value=4), Node("e", 3)))
    )
    search.run()
    assert search.seen == ["root", "b", "a", "c", "7", "d"]
    assert (search.explored, search.closed, search.value, search.proven) == (6, 7, 4, True)
    assert search.bound == 7 and not pools
    assert [bound for _, bound in search.told] == [8, 7, 7, 7, 7, 7]


@pytest.mark.parametrize("processes", [2, 3])
def test_several_processes_share_what_is_open(pools: list[AtOnce], processes: int) -> None:
    search = Toy(
        Node("root", 9, (*leaves(8, 7, 6), Node("found", 5, (Node("deep", 4.5),), value=4.6), Node("under", 4.6)))
    )
    search.run(processes)
    assert search.seen == ["root"]  # the others elsewhere
    (pool,) = pools
    assert pool.processes == pool.most == processes and pool.waiting == 0
    assert (search.value, search.closed, search.proven) == (4.6, 8, True)
    assert search.bound == 8
    assert search.explored == len(search.told) == 5 or processes == 3
    assert all(bound >= 8 for _, bound in search.told)


def test_what_is_with_a_process_counts_as_open(pools: list[AtOnce]) -> None:
    search = Toy(*(Node(f"{k}", 8.0, (Node("low", 1.0),)) for k in range(2)))
    search.run(2)
    assert len(pools) == 1
    assert [bound for _, bound in search.told] == [8.0, 1.0, 1.0, 1.0]
    assert search.were_proven == [False, False, False, True]
    one = Toy(Node("root", 5))
    one._running = {Future(): one.open[0][-1]}
    one.open = []
    assert not one.proven and one.bound == 5


@pytest.mark.parametrize(("patience_s", "nodes", "processes"), [(1e4, 2, 2), (0.0, 1, 2), (0.0, 2, 1)])
def test_no_process_begins_early_for_one_node_or_unasked(
    pools: list[AtOnce], patience_s: float, nodes: int, processes: int
) -> None:
    search = Toy(*leaves(*range(1, nodes + 1)))
    search.patience_s = patience_s
    search.run(processes)
    assert not pools and search.explored == nodes


class Ends(Deadline):
    """Passed when it was asked so often."""

    def __init__(self, asked: int) -> None:
        super().__init__(Limits(time_s=1e6))
        self.asked = asked

    @property
    def left(self) -> float:
        self.asked -= 1
        return 1e6 if self.asked >= 0 else 0.0


@pytest.mark.parametrize("asked", range(1, 12))
def test_time_that_is_up_loses_no_node(asked: int) -> None:
    nodes = [Node(f"{k}", 9.0 - k, leaves(5.0 - k)) for k in range(4)]
    search = Toy(*nodes, deadline=Ends(asked))
    search.run(2)
    assert not search._running
    assert search.proven == (not search.open)
    assert search.bound == max([search.closed, *(node.bound for _, _, node in search.open), 0.0])
    assert search.explored + len(search.open) >= 4
    assert search.bound >= 5.0


def test_a_node_processed_for_another_tells_what_is_its_own() -> None:
    search = Toy()
    search.closed, search.value = 99.0, 1.0
    deadline = Deadline(Limits(time_s=7))
    found = search.processed(Node("split", 5, leaves(4)), np.array([2.0]), deadline)
    assert search.deadline is deadline and search.value == 2.0
    assert (found.closed, found.labels, [one.name for one in found.children]) == (-math.inf, None, ["4"])
    found = search.processed(Node("leaf", 3, value=2.5), None, deadline)
    assert found.closed == 3 and found.labels is not None and found.labels[0] == 2.5
    assert search.processed(Node("worse", 3, value=2.5), np.array([2.0]), deadline).labels is None


def test_pairs_learn_from_other_processes(monkeypatch: pytest.MonkeyPatch, pools: list[AtOnce]) -> None:
    points = np.random.default_rng(1).normal(size=(12, 4))
    problem = Clustering(points / np.linalg.norm(points, axis=1, keepdims=True), 4, "centroid")
    values = []
    for processes in (1, 2):
        search = Search(problem, Deadline(Limits(time_s=100)))
        monkeypatch.setattr(type(search.incumbent), "begin", lambda _: None)
        search.patience_s = 0.0
        monkeypatch.setattr(type(search.incumbent), "round", lambda *_: None)
        begun = pools.copy()
        search.run(processes)
        assert len(pools) == len(begun) + (processes > 1)
        assert search.proven and search.incumbent.labels is not None
        values.append((search.incumbent.value, search.bound))
    assert values[0][0] == pytest.approx(values[1][0], rel=1e-9)
    assert values[1][1] <= values[1][0] * (1 + 1e-6)
