"""Best-bound-first search, for both branch and bounds on partitions: the open nodes, what is given up, and the bound."""

from __future__ import annotations

import heapq
import math
from itertools import count
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from hisopt.solvers.base import Deadline


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

    def __init__(self, deadline: Deadline) -> None:
        self.deadline = deadline
        self.explored, self.closed = 0, -math.inf
        self.open: list[tuple[float, int, N]] = []
        self._order = count()

    @property
    def best_value(self) -> float:
        """Value of the best partition known, -inf without one."""
        raise NotImplementedError

    @property
    def bound(self) -> float:
        """Upper bound on the optimum."""
        return max(self.best_value, self.closed, *(-priority for priority, _, _ in self.open), -math.inf)

    @property
    def proven(self) -> bool:
        """Whether nothing is open."""
        return not self.open

    def run(self) -> None:
        """Search until nothing is open or no time is left."""
        while self.open and not self.deadline.passed:
            node = heapq.heappop(self.open)[-1]
            if node.bound <= self._target():
                self.give_up(node.bound)
                continue
            self.explored += 1
            for child in self._process(node):
                self.push(child)
            self._tell()

    def push(self, node: N) -> None:
        """Add an open node."""
        heapq.heappush(self.open, (-node.bound, next(self._order), node))

    def give_up(self, bound: float) -> None:
        """Keep the bound of a node that is not looked at again."""
        self.closed = max(self.closed, bound)

    def _target(self) -> float:
        """Return the bound up to which a node counts as proven."""
        raise NotImplementedError

    def _process(self, node: N) -> list[N]:
        """Bound a node; return its children, none if it is proven."""
        raise NotImplementedError

    def _tell(self) -> None:
        """Say what is known, after each node."""
