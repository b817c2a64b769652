"""Exact clustering of few users by a dynamic program over subsets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from typing_extensions import override

from hisopt.decision import Decision
from hisopt.problems import Clustering, Problem, Sizes
from hisopt.result import Guarantee, Limits, SolverResult, Termination
from hisopt.solvers.base import Deadline, OutOfTime, Solver
from hisopt.solvers.clustering.balance import balance
from hisopt.solvers.clustering.branch_bound.size_limits import SizeLimits, impossible
from hisopt.solvers.clustering.hac import average_linkage
from hisopt.solvers.clustering.moves import cluster_values

if TYPE_CHECKING:
    from collections.abc import Callable

    from hisopt.arrays import BoolArray, FloatArray, IntArray

MAX_USERS = 15
_ROUNDING = 1e-12


def _nothing() -> None:
    """Check nothing."""


@dataclass(frozen=True)
class SubsetLattice:
    """Every split of a set of users (a bit mask) into a subset with its lowest user, and the rest; O(3^N) numbers."""

    users: int
    subset: IntArray
    rest: IntArray
    starts: IntArray

    @classmethod
    def of(cls, users: int, check: Callable[[], None] = _nothing) -> SubsetLattice:
        """Build the lattice for a number of users up to 15; ``check`` is called as it goes, and raises when time is up."""
        subset = rest = np.zeros(1, dtype=np.int32)
        for user in range(users):
            check()
            bit = np.int32(1 << user)
            subset, rest = np.concatenate([subset, subset | bit, subset]), np.concatenate([rest, rest, rest | bit])
        whole = subset | rest
        check()
        keep = (subset & (whole & -whole)) != 0
        subset, rest, whole = subset[keep], rest[keep], whole[keep]
        check()
        order = np.argsort(whole, kind="stable")
        starts = np.searchsorted(whole[order], np.arange(1, 1 << users))
        return cls(users, subset[order], rest[order], starts)

    def best_partitions(self, value: FloatArray, count: int, check: Callable[[], None] = _nothing) -> FloatArray:
        """For each k and set, the largest sum of ``value`` over partitions into at most k subsets; (count + 1, 2^N).

        ``check`` is called before each k, and raises when time is up.
        """
        best = np.full((count + 1, len(value)), -np.inf)
        best[0, 0] = 0.0
        for k in range(1, count + 1):
            check()
            best[k, 0] = 0.0
            best[k, 1:] = np.maximum.reduceat(value[self.subset] + best[k - 1, self.rest], self.starts)
        return best

    def splits(self, whole: int) -> tuple[IntArray, IntArray]:
        """All (subset with the lowest user, rest) of one set."""
        start = self.starts[whole - 1]
        end = self.starts[whole] if whole < len(self.starts) else len(self.subset)
        return self.subset[start:end], self.rest[start:end]

    def partition(self, value: FloatArray, best: FloatArray) -> list[int]:
        """Return the subsets of a partition of all users that attains ``best[-1, -1]``."""
        whole, k, chosen = len(value) - 1, len(best) - 1, []
        while whole:
            subset, rest = self.splits(whole)
            pick = int(np.argmax(value[subset] + best[k - 1, rest]))
            chosen.append(int(subset[pick]))
            whole, k = int(rest[pick]), k - 1
        return chosen


def membership(users: int) -> FloatArray:
    """Which users each set holds, as 0 and 1; shape (2^N, N)."""
    return ((np.arange(1 << users)[:, None] >> np.arange(users)) & 1).astype(np.float64)


def squared_sums(member: FloatArray, vectors: FloatArray) -> FloatArray:
    """|sum of the vectors (N, d) of each set|^2, shape (sets,), exact to rounding where the sum vanishes.

    Sums are formed in N coordinates in place of d: the vectors' own span, by a QR decomposition.
    """
    coordinates = np.asarray(np.linalg.qr(vectors.T, mode="r")).T
    return np.asarray(np.square(member @ coordinates).sum(axis=1))


def labels_of(subsets: list[int], users: int) -> IntArray:
    """Turn disjoint bit masks into labels of shape (N,)."""
    labels = np.zeros(users, dtype=np.int64)
    for label, subset in enumerate(subsets):
        labels[[user for user in range(users) if subset >> user & 1]] = label
    return labels


def allowed_sizes(limits: Sizes, sizes: FloatArray) -> BoolArray:
    """Whether clusters of the given sizes are allowed."""
    return np.asarray((sizes >= limits.least) & (sizes <= (limits.most or np.inf)))


@dataclass(frozen=True)
class Partitions(Solver[Clustering]):
    """P_I exactly for every criterion and size limits, up to 15 users: each subset's value, then a program over sets."""

    name = "partitions"
    problems = (Clustering,)
    guarantee = Guarantee.EXACT

    def serves(self, problem: Problem) -> bool:
        """Clustering of up to 15 users."""
        return isinstance(problem, Clustering) and problem.users <= MAX_USERS

    @override
    def solve(self, problem: Clustering, limits: Limits) -> SolverResult:
        if (answer := impossible(problem)) is not None:
            return answer
        deadline = Deadline(limits)
        try:
            value, labels = _best(problem, deadline)
        except OutOfTime:
            return _in_time(problem)
        return SolverResult(Termination.OPTIMAL, Decision(clusters=labels), value)


def _best(problem: Clustering, deadline: Deadline) -> tuple[float, IntArray]:
    """Return the optimum and a partition that attains it; raise `OutOfTime` where the time does not suffice."""
    member = membership(problem.users)
    sizes = member.sum(axis=1)
    value = cluster_values(problem.criterion, squared_sums(member, problem.points), sizes)
    value[~allowed_sizes(problem.sizes, sizes)] = -np.inf
    lattice = SubsetLattice.of(problem.users, deadline.check)
    best = lattice.best_partitions(value, problem.clusters, deadline.check)
    return float(best[-1, -1]), labels_of(lattice.partition(value, best), problem.users)


def _in_time(problem: Clustering) -> SolverResult:
    """Return HAC's partition, moved within the limits on sizes, and the bound of the triangle inequality."""
    limits = SizeLimits.of(problem)
    labels = average_linkage(problem.points, limits.clusters)
    labels = balance(problem.points, labels, problem.criterion, limits.clusters, limits.least, limits.most)
    decision = None if problem.sizes.faults(labels) else Decision(clusters=labels)
    lengths = np.linalg.norm(problem.points, axis=1)
    bound = {"centroid": lengths.sum(), "mean": np.square(lengths).sum(), "sum": lengths.sum() ** 2}[problem.criterion]
    message = "the time passed while partitions were compared"
    return SolverResult(Termination.TIME_LIMIT, decision, float(bound) * (1 + _ROUNDING), message)
