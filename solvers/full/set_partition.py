"""Clusters, steps and SMs together, exactly: a set partitioning program over all subsets of up to 20 users."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from typing_extensions import override

from hisopt.problems import Full, Joint, Problem, sizes_of
from hisopt.result import PROVEN, Guarantee, Limits, SolverResult, Termination
from hisopt.solvers.base import Deadline, OutOfTime, Solver
from hisopt.solvers.clustering.partitions import allowed_sizes, labels_of, membership
from hisopt.solvers.full import subset_tables
from hisopt.solvers.full.local_search import PartitionSearch
from hisopt.solvers.full.moves import Oracle
from hisopt.solvers.full.partition_prices import PriceProgram, Prices
from hisopt.solvers.joint.exact import JointExact
from hisopt.solvers.joint.whole import JointExactInteger
from hisopt.solvers.run.progress import report

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hisopt.arrays import FloatArray, IntArray
    from hisopt.decision import Decision

MAX_USERS = 20
_CLOSE = 1e-8  # relative; a bound this close to the incumbent is not searched
_SLOPES = 12  # prices of load tried in an interval
_FINE = 0.01  # of an interval; how near the best price of load is sought
_LEAVES = 200  # partitions solved in an interval that can still be halved
_NARROW = 1e-3  # of the total load, below which an interval is not halved any more


@dataclass(frozen=True)
class SetPartition(Solver[Full]):
    """The full problem for up to 20 users and any number of clusters.

    Every subset's best candidates are known. The total load S is searched by intervals; in one of them
    load has a price, which bounds the coupling -S^2 / V by a line, and a set partitioning program is left. Its linear
    relaxation gives every user a price, too; subsets that lose more than the gap to the incumbent go, and the few
    partitions into others are solved exactly as joint problems. An interval with too many of them is halved. Where the
    bound exceeds the incumbent by less than 1e-8 relative, the search ends. Real SMs bound whole ones: a partition that
    may beat the incumbent with real SMs is solved for whole ones.
    """

    name = "set-partition"
    problems = (Full,)
    guarantee = Guarantee.EXACT
    packages = ("highspy",)
    requires = ("highspy",)

    def serves(self, problem: Problem) -> bool:
        """The full problem of up to 20 users, real or whole SMs, with or without limits on cluster sizes."""
        return isinstance(problem, Full) and problem.instance.users <= MAX_USERS

    @override
    def solve(self, problem: Full, limits: Limits) -> SolverResult:
        deadline = Deadline(limits)
        start = PartitionSearch(rounds=4).solve(problem, limits)
        if start.termination is Termination.INFEASIBLE:
            return start
        report(start.decision)
        try:
            search = _Search(problem, deadline, limits, start.decision)
        except OutOfTime:
            return SolverResult(Termination.TIME_LIMIT, start.decision, message="no time to list the subsets")
        search.run()
        decision, bound = search.best, search.constant + search.bound
        if decision is None and search.bound == -np.inf:
            return SolverResult(Termination.INFEASIBLE, message="no partition leaves every busy cluster a whole SM")
        proven = decision is not None and problem.gap(decision, bound) <= PROVEN
        open_end = Termination.TIME_LIMIT if deadline.passed else Termination.ITERATION_LIMIT
        details = {"partitions_solved": search.oracle.solved, "intervals": search.intervals}
        return SolverResult(Termination.OPTIMAL if proven else open_end, decision, bound, details=details)


@dataclass(order=True)
class _Interval:
    """A range of the total load, with its bound (negated, to come first in a heap)."""

    key: float
    low: float = field(compare=False)
    high: float = field(compare=False)
    middle: float = field(compare=False)
    prices: Prices = field(compare=False)


class _Search:
    """``value`` of the ``best`` decision and ``bound`` on every partition, both without the utility's constant."""

    def __init__(self, problem: Full, deadline: Deadline, limits: Limits, start: Decision | None) -> None:
        instance = problem.instance
        self.problem, self.deadline, self.limits = problem, deadline, limits
        self.users, self.count, self.budget = instance.users, instance.max_clusters, float(instance.edge.sms)
        self.oracle = Oracle(instance, deadline)
        self.tables = subset_tables.build(instance, deadline)
        self.constant = self.tables.constant
        self.allowed = allowed_sizes(sizes_of(instance), membership(self.users).sum(axis=1))
        self.known: set[frozenset[int]] = set()
        self.best: Decision | None = None
        self.value, self.load = -np.inf, 0.0
        self.bound, self.unsearched, self.intervals = np.inf, -np.inf, 0
        columns = (1 << np.arange(self.users)).tolist()
        if start is not None and start.clusters is not None:
            masks = _masks(start.clusters)
            self._offer(masks)
            columns += masks
        columns = [column for column in columns if self.allowed[column]]
        self.program = PriceProgram(self.users, self.count, np.array(columns, dtype=np.int64))

    @property
    def enough(self) -> float:
        """What a bound must exceed to be worth a search."""
        return -np.inf if self.best is None else self.value + _CLOSE * abs(self.constant + self.value)

    def run(self) -> None:
        """Bound intervals of the total load, best first; halve those that hold too many partitions, search the others."""
        most = max(self.count * float(self.tables.load.max()), 1e-300)
        heap = [self._interval(0.0, most)]
        while heap and -heap[0].key > self.enough and not self.deadline.passed:
            self.bound = max(-heap[0].key, self.unsearched)
            report(bound=self.constant + self.bound)
            top = heapq.heappop(heap)
            self.intervals += 1
            halve = top.high - top.low > _NARROW * most
            if not self._searched(top, _LEAVES if halve else None):
                if halve and not self.deadline.passed:
                    for low, high in ((top.low, top.middle), (top.middle, top.high)):
                        heapq.heappush(heap, self._interval(low, high))
                else:
                    self.unsearched = max(self.unsearched, -top.key)
        self.bound = max(-heap[0].key if heap else -np.inf, self.unsearched, self.value)

    def _interval(self, low: float, high: float) -> _Interval:
        """Bound what partitions with a total load in an interval are worth: the least found over prices of load."""
        left, right = 0.0, 2 * high
        theta = (low + high) / 2 if self.best is None else float(np.clip(self.load, low, high))
        least, at, prices = np.inf, theta, None
        for _ in range(_SLOPES):
            value, load = self.tables.best(2 * theta / self.budget)
            value[~self.allowed] = -np.inf
            found = self.program.solve(value, load)
            end = float(np.clip(theta, low, high))  # where 2 theta S - S^2 is largest
            bound = found.bound + (2 * theta - end) * end / self.budget
            if prices is None or bound < least:
                least, at, prices = bound, theta, found
            if bound <= self.enough or self.deadline.passed:
                break
            left, right = (theta, right) if found.load > end else (left, theta)
            if right - left <= _FINE * (high - low):
                break
            theta = (left + right) / 2
        assert prices is not None
        middle = float(np.clip(at, low + (high - low) / 8, high - (high - low) / 8))
        return _Interval(-least, low, high, middle, prices)

    def _searched(self, interval: _Interval, most: int | None) -> bool:
        """Solve all partitions that may beat the incumbent, unless they are more than ``most`` or time is over."""
        bound, loss = -interval.key, interval.prices.loss
        found: list[tuple[float, list[int]]] = []
        for cost, partition in _partitions(loss, self.users, self.count, bound - self.enough):
            if frozenset(partition) not in self.known:
                found.append((cost, partition))
            if (most is not None and len(found) > most) or self.deadline.passed:
                return False
        for cost, partition in sorted(found):
            if bound - cost <= self.enough:
                break
            if self.deadline.passed:
                return False
            self._offer(partition)
        return True

    def _offer(self, partition: list[int]) -> None:
        """Solve the joint problem of a partition: with real SMs, and where that may beat the incumbent, whole ones."""
        self.known.add(frozenset(partition))
        labels = labels_of(partition, self.users)
        state = self.oracle.solve(labels)
        if max(state.value, state.bound) <= self.enough:
            return
        given = Joint(self.problem.instance.with_clusters(labels), whole_sms=self.problem.whole_sms)
        solver = JointExactInteger() if given.whole_sms else JointExact()
        left = Limits(max(self.deadline.left, 0.1), self.limits.memory_gb, self.limits.threads, self.limits.seed)
        result = solver.solve(given, left)
        if result.termination is Termination.INFEASIBLE:
            return
        bound = (
            state.bound if result.bound is None else min(result.bound - self.constant, max(state.value, state.bound))
        )
        value = None if result.decision is None else self.problem.evaluate(result.decision).objective
        if result.decision is None or self.problem.gap(result.decision, bound + self.constant) > PROVEN:
            self.unsearched = max(self.unsearched, bound)
        if value is not None and value - self.constant > self.value:
            self.best, self.value, self.load = result.decision, value - self.constant, float(state.load.sum())
            report(self.best)


def _masks(labels: IntArray) -> list[int]:
    """The sets of users with equal labels, as bit masks."""
    return [int((1 << np.flatnonzero(labels == m)).sum()) for m in np.unique(labels)]


def _partitions(loss: FloatArray, users: int, count: int, most: float) -> Iterator[tuple[float, list[int]]]:
    """Return the partitions of all users into at most ``count`` sets whose losses sum to at most ``most``, each once."""
    cheap = np.flatnonzero(loss[1:] <= most) + 1
    by_user = [cheap[(cheap & -cheap) == 1 << user] for user in range(users)]

    def extend(free: int, left: int, spent: float, chosen: list[int]) -> Iterator[tuple[float, list[int]]]:
        if left == 1:
            if spent + loss[free] <= most:
                yield spent + float(loss[free]), [*chosen, free]
            return
        own = by_user[(free & -free).bit_length() - 1]
        own = own[(own & ~free) == 0]
        rest = free ^ own
        cost = spent + loss[own]
        if left == 2:
            cost = cost + loss[rest]
        for k in np.flatnonzero(cost <= most):
            subset, others = int(own[k]), int(rest[k])
            if left == 2 or not others:
                total = float(cost[k]) if left == 2 else float(cost[k]) + (left - 1) * float(loss[0])
                if total <= most:
                    yield total, [*chosen, subset, *([others] if others else [])]
            else:
                yield from extend(others, left - 1, float(cost[k]), [*chosen, subset])

    yield from extend((1 << users) - 1, count, 0.0, [])
