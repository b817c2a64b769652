"""Limits on the sizes of clusters: what they leave possible, which partitions into sizes they allow, and cuts that say so."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from hisopt.result import SolverResult, Termination
from hisopt.solvers.clustering.branch_bound.spectral_relaxation import Cuts

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hisopt.arrays import FloatArray
    from hisopt.problems import Clustering

_MOST_PARTITIONS = 2000  # of users into sizes, that are listed
_MOST_CLUSTERS = 100  # with which they are


@dataclass(frozen=True)
class SizeLimits:
    """What the limits leave possible: ``fewest`` to ``clusters`` clusters of ``least`` to ``most`` users each."""

    users: int
    fewest: int
    clusters: int
    least: int
    most: int

    @classmethod
    def of(cls, problem: Clustering) -> SizeLimits:
        """Tighten a problem's limits: k clusters hold k * least to k * most users, and the other k - 1 some of them."""
        users, least = problem.users, problem.sizes.least
        most = min(problem.sizes.most or users, users)
        fewest, clusters = -(-users // most), min(problem.clusters, users // least)
        if fewest > clusters:
            return cls(users, fewest, clusters, least, most)
        return cls(
            users, fewest, clusters, max(least, users - (clusters - 1) * most), min(most, users - (fewest - 1) * least)
        )

    @property
    def possible(self) -> bool:
        """Whether any partition meets the limits: some number of clusters can hold all users."""
        return self.fewest <= self.clusters

    @property
    def bind(self) -> bool:
        """Whether the limits exclude any cluster."""
        return self.least > 1 or self.most < self.users


def impossible(problem: Clustering) -> SolverResult | None:
    """Return the answer INFEASIBLE, with the reason, where no partition meets the limits on sizes; None elsewhere."""
    limits = SizeLimits.of(problem)
    if limits.possible:
        return None
    return SolverResult(
        Termination.INFEASIBLE,
        message=f"no partition meets the limits on cluster sizes: {limits.users} users fill {limits.fewest} clusters "
        f"or more of at most {limits.most}, and {limits.clusters} or fewer of at least {limits.least}",
    )


@dataclass(frozen=True)
class Sizes:
    """Which sizes the clusters of a node may have: partitions of N into at most M sizes within the limits.

    ``squares`` are the sums of squared sizes that occur, increasing; ``least`` and ``most`` the extreme sizes that do.
    Where there are too many partitions to list, or none, ``squares`` holds their least and greatest sum alone.
    """

    least: int
    most: int
    squares: tuple[int, ...]
    partitions: tuple[tuple[int, ...], ...] = ()

    @classmethod
    def of(cls, users: int, clusters: int, least: int, most: int) -> Sizes:
        """Return all that the limits allow."""
        few = clusters <= _MOST_CLUSTERS
        found = list(islice(_partitions(users, clusters, least, most), _MOST_PARTITIONS + 1)) if few else []
        if 0 < len(found) <= _MOST_PARTITIONS:
            return cls._of_partitions(found)
        return cls(least, most, (0, _largest_sum_of_squares(users, clusters, least, most)))

    @classmethod
    def _of_partitions(cls, partitions: Sequence[tuple[int, ...]]) -> Sizes:
        squares = sorted({sum(size**2 for size in sizes) for sizes in partitions})
        least, most = min(min(sizes) for sizes in partitions), max(max(sizes) for sizes in partitions)
        return cls(least, most, tuple(squares), tuple(partitions))

    def halves(self) -> list[Sizes]:
        """Return the sizes with small and with large sums of squares; none where they cannot be divided."""
        if not self.partitions or len(self.squares) < 2:
            return []
        middle = self.squares[len(self.squares) // 2]
        low = [sizes for sizes in self.partitions if sum(size**2 for size in sizes) < middle]
        high = [sizes for sizes in self.partitions if sum(size**2 for size in sizes) >= middle]
        return [Sizes._of_partitions(low), Sizes._of_partitions(high)]

    def cuts(self, weights: FloatArray) -> Cuts:
        """Return cuts of the 0-1 matrix Z (n, n) that says who is together, for merged users of weights (n,).

        Every user's cluster, and the sum of all squared sizes, 1'Z1, are within the limits.
        """
        size, norm = len(weights), float(np.linalg.norm(weights))
        index, column = np.repeat(np.arange(size), size), np.tile(np.arange(size), size)
        share = np.tile(weights, size) / norm
        least = Cuts(index, index, column, share, np.full(size, self.least / norm))
        cuts = least.join(Cuts(index, index, column, -share, np.full(size, -self.most / norm)))
        pairs, one = np.outer(weights, weights).ravel() / norm**2, np.zeros(size * size, dtype=np.int64)
        cuts = cuts.join(Cuts(one, index, column, pairs, np.array([self.squares[0] / norm**2])))
        return cuts.join(Cuts(one, index, column, -pairs, np.array([-self.squares[-1] / norm**2])))


def _partitions(users: int, clusters: int, least: int, most: int) -> Iterator[tuple[int, ...]]:
    """Yield the partitions of ``users`` into at most ``clusters`` sizes of ``least`` to ``most``, each in increasing order."""
    if not users:
        yield ()
        return
    for first in range(least, min(most, users) + 1):
        rest = users - first
        if not rest or any(used * first <= rest <= used * most for used in range(1, clusters)):
            for others in _partitions(rest, clusters - 1, first, most):
                yield (first, *others)


def _largest_sum_of_squares(users: int, clusters: int, least: int, most: int) -> int:
    """The most that the squared sizes of all clusters sum to; 0 if no sizes are allowed."""
    best = 0
    for used in range(1, clusters + 1):
        extra = users - used * least
        if 0 <= extra <= used * (most - least):
            full, rest = divmod(extra, most - least) if extra else (0, 0)
            sizes = [most] * full + ([least + rest] if rest else [])
            best = max(best, sum(size**2 for size in sizes) + (used - len(sizes)) * least**2)
    return best
