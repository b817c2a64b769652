"""A bound on the full problem for any number of users: clusters by their types, coupled in sizes and total load."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from typing_extensions import override

from hisopt.problems import Clustering, Full, Problem
from hisopt.result import PROVEN, Guarantee, Limits, SolverResult, Termination
from hisopt.solvers.base import Deadline, Solver
from hisopt.solvers.clustering.branch_bound.size_limits import impossible
from hisopt.solvers.full.cluster_types import ClusterTypes, TypeBounds, excess_of
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
        if (answer := impossible(Clustering.of(problem.instance))) is not None:
            return answer
        deadline = Deadline(limits)
        short = Limits(_SEARCH * limits.time_s, limits.memory_gb, limits.threads, limits.seed)
        start = PartitionSearch().solve(problem, short)
        report(start.decision)
        bounds = TypeBounds(problem.instance, excess_of(problem.instance, deadline))
        bound, prices = _least(bounds, deadline)
        proven = start.decision is not None and problem.gap(start.decision, bound) <= PROVEN
        termination = Termination.OPTIMAL if proven else Termination.COMPLETED
        return SolverResult(termination, start.decision, bound, start.message, {"prices_tried": prices})


def _least(bounds: TypeBounds, deadline: Deadline) -> tuple[float, int]:
    """Search prices of users, linear in d_n, and of excess, one at a time; return the least bound, and the trials."""
    centred = bounds.saved - bounds.saved.mean()
    excess = np.zeros(len(bounds.excess.threshold))
    tried = 0
    best, slope = np.inf, 0.0

    def bound(slope: float, excess: FloatArray) -> float:
        nonlocal tried
        tried += 1
        found = utility_bound(bounds.types(slope * centred, excess), bounds, deadline)
        report(bound=found)
        return found

    for share in _SLOPES if np.ptp(bounds.saved) > 0 else _SLOPES[:1]:
        trial = -share * (bounds.instance.steps.common_max + bounds.instance.steps.edge_max)
        value = bound(trial, excess)
        if value < best:
            best, slope = value, trial
        if deadline.passed:
            return best, tried
    for change in _EXCESS:
        for h in _from_the_middle(len(excess)):
            for sign in (1.0, -1.0):
                moved = excess.copy()
                moved[h] = max(moved[h] + sign * change * bounds.steepness, 0.0)
                if moved[h] == excess[h]:
                    continue
                value = bound(slope, moved)
                if value < best - _BETTER * abs(best):
                    best, excess = value, moved
                    break
                if deadline.passed:
                    return best, tried
    return best, tried


def _from_the_middle(count: int) -> list[int]:
    return sorted(range(count), key=lambda h: abs(2 * h - count + 1))


def utility_bound(types: ClusterTypes, bounds: TypeBounds, deadline: Deadline) -> float:
    """Return the most that M clusters of any types are worth, their sizes adding up to N.

    Loads are rounded to buckets of width w: S = B + r with |r| <= M w / 2. Some buckets share a price theta, and then
    -S^2 <= -B^2 - 2 theta r + |B - theta| M w. Total loads whose square outweighs all gains are left out, as are types
    that another of their size beats in gain and load.
    """
    instance = bounds.instance
    users, clusters, budget = instance.users, instance.max_clusters, float(instance.edge.sms)
    size, gain, load = _undominated(types)
    by_size = np.full((users + 1, 1), -np.inf)
    np.maximum.at(by_size[:, 0], size, gain)
    free = float(_combined(by_size, clusters)[users, 0])
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
        worth = _combined(table, clusters)[users, first:]
        best = max(best, float((worth + (2 * half * np.abs(totals - theta) - totals**2) / budget).max()))
        first = end
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


def _combined(table: FloatArray, clusters: int) -> FloatArray:
    """The best sum over ``clusters`` entries of a table (size, bucket), by total size and total bucket."""
    sizes, buckets = np.nonzero(np.isfinite(table))
    rows, columns = table.shape
    total = table
    for _ in range(clusters - 1):
        new = np.full(table.shape, -np.inf)
        for size, bucket in zip(sizes.tolist(), buckets.tolist(), strict=True):
            part = total[: rows - size, : columns - bucket] + table[size, bucket]
            np.maximum(new[size:, bucket:], part, out=new[size:, bucket:])
        total = new
    return total
