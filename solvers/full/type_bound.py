"""A bound on the full problem for any number of users: clusters by their types, coupled in sizes and total load."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from typing_extensions import override

from hisopt.problems import Full, Problem
from hisopt.result import PROVEN, Guarantee, Limits, SolverResult, Termination
from hisopt.solvers.base import Deadline, Solver
from hisopt.solvers.full import enumerated_types
from hisopt.solvers.full.cluster_types import ClusterTypes, TypeBounds, excess_of
from hisopt.solvers.full.enumerated_types import EnumeratedTypes
from hisopt.solvers.full.local_search import PartitionSearch
from hisopt.solvers.run.progress import report

if TYPE_CHECKING:
    from hisopt.arrays import FloatArray, IntArray

MAX_USERS = 150
_BUCKETS = 90  # of the total load
_WIDTH = 3  # buckets that share a price of load
_SEARCH = 0.4  # share of the time for the decision
_ROUNDING = 1e-13  # of the numbers that are added up
_SLOPES = (0.35, 0.5, 0.2, 0.65, 0.8, 0.05)  # share of the server's most steps at which users have equal worth
_EXCESS = (0.6, 0.25)  # changes of the prices of excess, of the value's steepness
_BETTER = 1e-5  # relative; least gain of a change


@dataclass(frozen=True)
class TypeBound(Solver[Full]):
    """The local search's decision, and a proven bound on every decision's utility.

    A cluster's type is its common steps, its size and how many of its users are served in full; semidefinite bounds on
    how similar disjoint clusters can be to their prompts bound what a type is worth. A dynamic program over the clusters
    adds sizes up to N and loads up to their square. Users and excess similarity have prices, which are searched. Sound
    for whole SMs, limits on z and every rule of the public prompt, and strongest without them, for the rule ``ideal``.
    """

    name = "type-bound"
    problems = (Full,)
    guarantee = Guarantee.BOUND
    packages = ("scipy",)

    def serves(self, problem: Problem) -> bool:
        """The full problem of up to 150 users."""
        return isinstance(problem, Full) and problem.instance.users <= MAX_USERS

    @override
    def solve(self, problem: Full, limits: Limits) -> SolverResult:
        deadline, instance = Deadline(limits), problem.instance
        short = Limits(_SEARCH * limits.time_s, limits.memory_gb, limits.threads, limits.seed)
        start = PartitionSearch().solve(problem, short)
        if start.termination is Termination.INFEASIBLE:
            return start
        report(start.decision)
        few = instance.users <= enumerated_types.MAX_USERS
        types = EnumeratedTypes(instance) if few else TypeBounds(instance, excess_of(instance, deadline))
        search = PriceSearch(types, deadline, _enough(problem, start))
        search.run()
        proven = start.decision is not None and problem.gap(start.decision, search.best) <= PROVEN
        termination = Termination.OPTIMAL if proven else Termination.COMPLETED
        return SolverResult(termination, start.decision, search.best, start.message, {"prices_tried": search.tried})


def _enough(problem: Full, start: SolverResult) -> float:
    """A bound that proves the decision optimal."""
    value = None if start.decision is None else problem.evaluate(start.decision).objective
    return -np.inf if value is None else value + PROVEN * abs(value)


class PriceSearch:
    """Search prices of users, linear in d_n, and of ``excess``, one at a time, for the ``best`` bound."""

    def __init__(self, bounds: TypeBounds, deadline: Deadline, enough: float) -> None:
        self.bounds, self.deadline, self.enough = bounds, deadline, enough
        self.best, self.tried = np.inf, 0
        self._slope, self.excess = 0.0, np.zeros(len(bounds.excess.threshold))
        self._centred = bounds.saved - bounds.saved.mean()

    @property
    def prices(self) -> FloatArray:
        """The prices of users that gave the best bound, shape (N,)."""
        return np.asarray(self._slope * self._centred)

    def run(self) -> None:
        """Try prices, until a bound is enough or time is over."""
        instance = self.bounds.instance
        shares: tuple[float, ...] = _SLOPES
        if np.ptp(self.bounds.saved) == 0 or instance.max_clusters == 1:
            shares = (0.0,)  # prices add the same to all that remain
        for share in shares:
            slope = -share * (instance.steps.common_max + instance.steps.edge_max)
            self._better(slope, self.excess, 0.0)
            if self._over:
                return
        for change in _EXCESS:
            for h in _from_the_middle(len(self.excess)):
                for sign in (1.0, -1.0):
                    moved = self.excess.copy()
                    moved[h] = max(moved[h] + sign * change * self.bounds.steepness, 0.0)
                    if moved[h] == self.excess[h]:
                        continue
                    if self._better(self._slope, moved, _BETTER * abs(self.best)):
                        break
                    if self._over:
                        return

    @property
    def _over(self) -> bool:
        return self.best <= self.enough or self.deadline.passed

    def _better(self, slope: float, excess: FloatArray, least: float) -> bool:
        """Try prices, and keep them where the bound falls by more than ``least``."""
        self.tried += 1
        types, useful = self.bounds.types(slope * self._centred, excess), self.best - least
        found = utility_bound(types, self.bounds, self.deadline, useful)
        if not found < useful:
            return False
        report(bound=found)
        self.best, self._slope, self.excess = found, slope, excess
        return True


def _from_the_middle(count: int) -> list[int]:
    return sorted(range(count), key=lambda h: abs(2 * h - count + 1))


def utility_bound(types: ClusterTypes, bounds: TypeBounds, deadline: Deadline, useful: float = np.inf) -> float:
    """Return the most that M clusters of any types are worth, their sizes adding up to N; inf if not below ``useful``.

    Loads are rounded to buckets of width w: S = B + r with |r| <= M w / 2. Some buckets share a price theta, and then
    -S^2 <= -B^2 - 2 theta r + |B - theta| M w. Total loads whose square outweighs all gains are left out, as are types
    that another of their size beats in gain and load.
    """
    instance = bounds.instance
    users, clusters, budget = instance.users, instance.max_clusters, float(instance.edge.sms)
    size, gain, load = _undominated(types)
    by_size = np.full((users + 1, 1), -np.inf)
    np.maximum.at(by_size[:, 0], size, gain)
    alone = _combined(by_size, clusters)
    assert alone is not None
    free = float(alone[users, 0])
    if not np.isfinite(free):
        return np.inf
    scale = bounds.scale + float(np.abs(gain).max()) * clusters + abs(types.constant)
    heaviest = clusters * float(load.max())
    width = min(float(np.sqrt(budget * (abs(free) + abs(types.constant)))), heaviest) / _BUCKETS or 1.0
    bucket = np.rint(load / width).astype(np.int64)
    half = clusters * width / 2
    best, first, last = -np.inf, 0, clusters * int(bucket.max())
    while first <= last and free - max(first * width - half, 0.0) ** 2 / budget > best:
        if deadline.passed:
            return types.constant + free + _ROUNDING * scale  # coupling left out: weak, and sound
        end = first + _WIDTH
        totals = width * np.arange(first, end)
        theta = float(totals.mean())
        table = np.full((users + 1, end), -np.inf)
        here = bucket < end
        priced = gain[here] - 2 * theta / budget * (load[here] - width * bucket[here])
        np.maximum.at(table, (size[here], bucket[here]), priced)
        total = _combined(table, clusters, deadline)
        if total is None:
            continue  # time is over
        worth = total[users, first:]
        best = max(best, float((worth + (2 * half * np.abs(totals - theta) - totals**2) / budget).max()))
        first = end
        if types.constant + best >= useful:
            return np.inf
    return types.constant + best + _ROUNDING * scale


def _undominated(types: ClusterTypes) -> tuple[IntArray, FloatArray, FloatArray]:
    """Size, gain and load of the types that gain more than every other of their size with no more load."""
    found = []
    for size in range(types.gain.shape[1]):
        possible = np.isfinite(types.gain[:, size])
        gain, load = types.gain[:, size][possible], types.load[:, size][possible]
        order = np.lexsort((-gain, load))
        gain, load = gain[order], load[order]
        keep = np.ones(len(gain), dtype=bool)
        keep[1:] = gain[1:] > np.maximum.accumulate(gain)[:-1]
        found.append((np.full(keep.sum(), size), gain[keep], load[keep]))
    size_of, gains, loads = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return size_of, gains, loads


def _combined(table: FloatArray, clusters: int, deadline: Deadline | None = None) -> FloatArray | None:
    """The best sum over ``clusters`` entries of a table (size, bucket), by total size and total bucket; None if late."""
    sizes, buckets = np.nonzero(np.isfinite(table))
    rows, columns = table.shape
    total, last = table, -1
    for _ in range(clusters - 1):
        new = np.full(table.shape, -np.inf)
        for size, bucket in zip(sizes.tolist(), buckets.tolist(), strict=True):
            if deadline is not None and size != last and deadline.passed:
                return None
            last = size
            part = total[: rows - size, : columns - bucket] + table[size, bucket]
            np.maximum(new[size:, bucket:], part, out=new[size:, bucket:])
        total = new
    return total
