"""Best-bound-first search, for both branch and bounds on partitions: the open nodes, what is given up, and the bound.

Nodes are independent but for the best partition known, so several may be processed at a time, each in a process of its own.
"""

from __future__ import annotations

import heapq
import math
import time
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from hisopt.result import Limits
from hisopt.solvers.base import Deadline

if TYPE_CHECKING:
    from concurrent.futures import Future
    from typing import Self

    from hisopt.arrays import IntArray


class Bounded(Protocol):
    """A node: no partition in it has a larger value than its bound."""

    @property
    def bound(self) -> float:
        """Upper bound."""


N = TypeVar("N", bound=Bounded)


class BestFirst(Generic[N]):
    """Searches for the partition of largest value, the node of largest bound first.

    Attributes
    ----------
    open
        A heap of the nodes that are left, the largest bound first; of equal ones the oldest.
    closed
        The largest bound among what was given up as proven, which may be above the best value by a tolerance.
    explored
        How many nodes were processed.
    """

    patience_s = 5.0  # of one process before more begin, which takes them a second or two

    def __init__(self, deadline: Deadline) -> None:
        self.deadline, self._began = deadline, time.perf_counter()
        self.explored, self.closed = 0, -math.inf
        self.open: list[tuple[float, int, N]] = []
        self._running: dict[Future[Processed[N]], N] = {}
        self._pushed = 0

    @property
    def best_value(self) -> float:
        """Value of the best partition known, -inf without one."""
        raise NotImplementedError

    @property
    def bound(self) -> float:
        """Upper bound on the optimum."""
        open_bounds = [-priority for priority, _, _ in self.open] + [node.bound for node in self._running.values()]
        return max(self.best_value, self.closed, *open_bounds, -math.inf)

    @property
    def proven(self) -> bool:
        """Whether nothing is open."""
        return not self.open and not self._running

    def run(self, processes: int = 1) -> None:
        """Search until nothing is open or no time is left, with several nodes at a time in as many ``processes``.

        With one process the same search comes again every time; with more, the order of nodes depends on their times.
        """
        while self.open and not self.deadline.passed:
            if processes > 1 and len(self.open) > 1 and time.perf_counter() - self._began >= self.patience_s:
                self._run_side_by_side(processes)
            elif (node := self._next()) is not None:
                for child in self._process(node):
                    self.push(child)
                self._tell()

    def _next(self) -> N | None:
        """Take the open node of largest bound to be processed; give it up, and return None, if it counts as proven."""
        node = heapq.heappop(self.open)[-1]
        if node.bound <= self._target():
            self.give_up(node.bound)
            return None
        self.explored += 1
        return node

    def _run_side_by_side(self, processes: int) -> None:
        from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
        from multiprocessing import get_context

        with ProcessPoolExecutor(processes, get_context("spawn"), _begin, (self._replica(),)) as pool:
            while (self.open and not self.deadline.passed) or self._running:
                while self.open and len(self._running) < processes and not self.deadline.passed:
                    if (node := self._next()) is not None:
                        self._running[pool.submit(_processed, node, self._best_labels(), self.deadline.left)] = node
                for future in wait(self._running, return_when=FIRST_COMPLETED).done:
                    found = future.result()
                    del self._running[future]
                    self.give_up(found.closed)
                    if found.labels is not None:
                        self._learn(found.labels)
                    for child in found.children:
                        self.push(child)
                    self._tell()

    def _replica(self) -> Self:
        """Return a search without nodes, for another process."""
        replica = copy(self)
        replica.open, replica._running = [], {}
        replica.deadline = Deadline(Limits())  # each node comes with what is left
        return replica

    def processed(self, node: N, labels: IntArray | None, deadline: Deadline) -> Processed[N]:
        """Process one node within a deadline, knowing another's best partition."""
        self.closed, self.deadline = -math.inf, deadline
        if labels is not None:
            self._learn(labels)
        before = self.best_value
        children = self._process(node)
        return Processed(children, self.closed, self._best_labels() if self.best_value > before else None)

    def push(self, node: N) -> None:
        """Add an open node."""
        self._pushed += 1
        heapq.heappush(self.open, (-node.bound, self._pushed, node))

    def give_up(self, bound: float) -> None:
        """Keep the bound of a node that is not looked at again."""
        self.closed = max(self.closed, bound)

    def _target(self) -> float:
        """Return the bound up to which a node counts as proven."""
        raise NotImplementedError

    def _process(self, node: N) -> list[N]:
        """Bound a node; return its children, none if it is proven."""
        raise NotImplementedError

    def _best_labels(self) -> IntArray | None:
        """Return the best partition known."""
        raise NotImplementedError

    def _learn(self, labels: IntArray) -> None:
        """Take a partition, if it is better than the best known."""
        raise NotImplementedError

    def _tell(self) -> None:
        """Say what is known, after each node."""


@dataclass(frozen=True)
class Processed(Generic[N]):
    """What came of a node: its children, the largest bound given up, and the best partition if it is new."""

    children: list[N]
    closed: float
    labels: IntArray | None


_search: BestFirst[Any]  # in a process that serves one


def _begin(search: BestFirst[Any]) -> None:
    from threadpoolctl import threadpool_limits

    global _search
    _search = search
    threadpool_limits(1)


def _processed(node: Any, labels: IntArray | None, time_s: float) -> Processed[Any]:
    return _search.processed(node, labels, Deadline(Limits(time_s=time_s)))
