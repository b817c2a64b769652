"""Users merged by must-links, and what a relaxation of them hands down to its children."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from hisopt.arrays import BoolArray, FloatArray, IntArray
    from hisopt.solvers.clustering.branch_bound.spectral_relaxation import Cuts


def _fold(array: FloatArray, i: int, j: int) -> FloatArray:
    """Return an array (n,) or matrix (n, n) with entries, or rows and columns, i and j (i < j) added up in place of i."""
    array = array.copy()
    array[i] += array[j]
    if array.ndim == 2:
        array[:, i] += array[:, j]
    return _without(array, j)


def _without(array: FloatArray, j: int) -> FloatArray:
    to = np.delete(np.arange(len(array)), j)
    return array[to] if array.ndim == 1 else array[np.ix_(to, to)]


@dataclass(frozen=True)
class Weighted:
    """Users merged by must-links: their weights (n,), the sums of S between them (n, n), and which may not be together."""

    groups: IntArray  # merged user of each user, shape (N,)
    weights: FloatArray
    products: FloatArray
    apart: BoolArray

    def __len__(self) -> int:
        return len(self.weights)

    @classmethod
    def of(cls, similarity: FloatArray) -> Weighted:
        """Return the users, none merged."""
        size = len(similarity)
        return cls(np.arange(size), np.ones(size), similarity, np.zeros((size, size), dtype=bool))

    def merge(self, i: int, j: int) -> Weighted:
        """Return the users with i and j (i < j) as one."""
        groups = np.where(self.groups == j, i, self.groups)
        apart = _fold(self.apart.astype(np.float64), i, j) > 0
        return Weighted(groups - (groups > j), _fold(self.weights, i, j), _fold(self.products, i, j), apart)

    def separate(self, pairs: BoolArray) -> Weighted:
        """Return the users with the marked pairs apart."""
        return Weighted(self.groups, self.weights, self.products, self.apart | pairs | pairs.T)


@dataclass(frozen=True)
class Warm:
    """What a node's relaxation found, for its children: on the entries of the partition's own matrix."""

    primal: FloatArray
    multiplier: FloatArray
    penalty: float
    cuts: Cuts
    cut_multipliers: FloatArray
    size_multipliers: FloatArray  # of the cuts that the relaxation always has: of each user's cluster, shape (k, n)
    whole_multipliers: FloatArray  # and of all clusters together, shape (0,) or (2,)

    def merge(self, i: int, j: int, weights: FloatArray) -> Warm:
        """Return the same with users i and j (i < j) as one; ``weights`` are those before."""
        position = np.arange(len(weights))
        position[j] = i
        position -= position > j
        growth = float(np.linalg.norm(_fold(weights, i, j)) / np.linalg.norm(weights))
        sizes = [growth * _fold(row, i, j) for row in self.size_multipliers]
        return Warm(
            _without(self.primal, j), _fold(self.multiplier, i, j), self.penalty,
            self.cuts.renumbered(position), self.cut_multipliers,
            np.array(sizes).reshape(len(sizes), len(weights) - 1), growth**2 * self.whole_multipliers,
        )  # fmt: skip
