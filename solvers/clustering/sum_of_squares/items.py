"""Points of any norm made ready for clustering: centred, scaled, and merged where they must be together.

The sum of squared errors of clusters C with centres c_C is sum_i w_i |x_i|^2 - sum_C |sum_{i in C} w_i x_i|^2 / w(C). It does
not change when all points are shifted, so they are centred first, which keeps the digits; nor does anything but its unit
when they are scaled. Points that must be together become one item with their weight at their centre: what they lose is
a constant. Identical points share a cluster in some optimum, so they become one item, too, where no limit on sizes and no
pair speaks of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hisopt.errors import InputError

if TYPE_CHECKING:
    from hisopt.arrays import BoolArray, FloatArray, IntArray

Pairs = Iterable[tuple[int, int]]


class Impossible(Exception):
    """No partition meets the limits on sizes and the pairs; the text says why."""


@dataclass(frozen=True)
class Items:
    """What is clustered: n items of N points.

    Attributes
    ----------
    points
        Centres of the items, shape (n, d), centred and scaled to an average squared norm of the points of one.
    weights
        Sums of the points' weights, shape (n,), in units of the mean weight of a point.
    counts
        Numbers of points, shape (n,).
    groups
        Item of each point, shape (N,); -1 for points of weight zero.
    apart
        Which items may not be together, shape (n, n).
    clusters, least, most
        Number of clusters, and limits on the points in each.
    exactly
        Whether all clusters must be used; at most ``clusters`` otherwise. Without ``least`` it makes no difference.
    within
        Sum of squares inside the items.
    unit
        What one of the sums of squares here is worth in the data's own units.
    """

    points: FloatArray
    weights: FloatArray
    counts: IntArray
    groups: IntArray
    apart: BoolArray
    clusters: int
    least: int
    most: int
    exactly: bool
    within: float
    unit: float

    def __len__(self) -> int:
        return len(self.weights)

    @property
    def plain(self) -> bool:
        """Whether neither limits on sizes nor pairs apart speak of the items."""
        return not self.limited and not self.paired

    @property
    def paired(self) -> bool:
        """Whether any pair must be apart; without pairs, ``apart`` takes no memory."""
        return self.apart.strides != (0, 0) and bool(self.apart.any())

    @property
    def limited(self) -> bool:
        """Whether limits on sizes exclude any cluster."""
        return self.least > 1 or self.most < int(self.counts.sum())

    @property
    def counted(self) -> bool:
        """Whether weights are numbers of points, so that limits on sizes are limits on weights."""
        return bool((self.weights == self.counts).all())

    @property
    def total(self) -> float:
        """Sum of squares of the items about the origin: what their clusters' values are taken from."""
        return float(self.weights @ np.square(self.points).sum(axis=1))

    @property
    def longest(self) -> float:
        """Most weight that a cluster of some optimum has."""
        others, weight = self.clusters - 1, float(self.weights.sum())
        if self.exactly or self.least == 1:  # splitting never hurts: all clusters are used, by an item or more each
            weight -= float(np.sort(self.weights)[:others].sum())
            if self.counted:
                weight = min(weight, float(self.weights.sum()) - others * self.least)
        return min(weight, float(self.most)) if self.counted else weight

    def value(self, labels: IntArray) -> float:
        """Return sum_m |s_m|^2 / w_m of labels (n,)."""
        sums = np.zeros((int(labels.max()) + 1, self.points.shape[1]))
        np.add.at(sums, labels, self.weights[:, None] * self.points)
        weights = np.bincount(labels, weights=self.weights)
        return float((np.square(sums).sum(axis=1)[weights > 0] / weights[weights > 0]).sum())

    def squares(self, labels: IntArray) -> float:
        """Return the sum of squares of labels (n,), that inside the items included, from differences to the centres."""
        count = int(labels.max()) + 1
        sums = np.zeros((count, self.points.shape[1]))
        np.add.at(sums, labels, self.weights[:, None] * self.points)
        centres = sums / np.maximum(np.bincount(labels, weights=self.weights, minlength=count), 1e-300)[:, None]
        return self.within + float(self.weights @ np.square(self.points - centres[labels]).sum(axis=1))

    def allowed(self, labels: IntArray) -> bool:
        """Whether labels (n,) meet the number of clusters, the limits on sizes, and the pairs."""
        used, labels = np.unique(labels, return_inverse=True)
        sizes = np.bincount(labels, weights=self.counts)
        if len(used) > self.clusters or (self.exactly and len(used) < self.clusters):
            return False
        if sizes.min() < self.least or sizes.max() > self.most:
            return False
        return not self.apart[labels[:, None] == labels[None, :]].any() if self.paired else True

    def subset(self, chosen: IntArray) -> Items:
        """Return some items, without the rest, limits and pairs; sums inside items left out."""
        count = len(chosen)
        clusters, free = min(self.clusters, count), _no_pairs(count)
        return Items(
            self.points[chosen], self.weights[chosen], self.counts[chosen], np.arange(count), free, clusters, 1,
            int(self.counts[chosen].sum()), False, 0.0, self.unit,
        )  # fmt: skip


def items_of(
    points: FloatArray, clusters: int, *, weights: FloatArray | None = None, least: int | None = None,
    most: int | None = None, must_link: Pairs = (), cannot_link: Pairs = (), exactly: bool = True,
) -> Items:  # fmt: skip
    """Return the items of points (N, d) of any norm.

    Raises
    ------
    InputError
        Where an argument makes no sense.
    Impossible
        Where sizes and pairs exclude every partition for a reason that is found at once; others are found by search.
    """
    points = _checked_points(points)
    size = len(points)
    if not 1 <= clusters <= size:
        raise InputError(f"clusters: {clusters} of {size} points, must be 1 to {size}")
    low, high = 1 if least is None else int(least), size if most is None else min(int(most), size)
    if low < 1 or high < 1:
        raise InputError(f"sizes: from {low} to {high}, must be 1 or more")
    weights = np.ones(size) if weights is None else _checked_weights(weights, size)
    together, separate = _checked_pairs(must_link, size, "must_link"), _checked_pairs(cannot_link, size, "cannot_link")
    limited = low > 1 or high < size
    if (limited or len(together) or len(separate)) and not (weights > 0).all():
        raise InputError("weights: zero, which limits on sizes and pairs of points do not allow")
    if limited:
        low, high = _tightened(size, clusters, low, high, exactly)
        clusters = clusters if exactly else min(clusters, size // low)  # no more can be used
    present = np.flatnonzero(weights > 0)
    named = np.unique(np.concatenate([together.ravel(), separate.ravel()]))
    own = _components(size, together)
    if not limited:
        own = _with_duplicates(points, own, present, named)
    groups = np.full(size, -1, dtype=np.int64)
    groups[present] = np.unique(own[present], return_inverse=True)[1]
    count = int(groups.max()) + 1
    apart = _separated(groups, separate, count)
    counts = np.bincount(groups[present], minlength=count)
    if counts.max() > high:
        item = int(np.argmax(counts))
        which = _some(groups == item)
        raise Impossible(f"must_link: joins {counts[item]} points ({which}), and a cluster has at most {high}")
    if limited and exactly and clusters > count:
        raise Impossible(f"must_link: leaves {count} groups of points, and {clusters} clusters need one each")
    scaled, unit = _scaled(points, weights)
    inner, mean_weight = weights / weights[present].mean(), float(weights[present].mean())
    if (weights[present] == weights[present[0]]).all():
        inner = np.where(weights > 0, 1.0, 0.0)  # whole numbers, which limits on sizes and ties live on
    masses = np.asarray(np.bincount(groups[present], weights=inner[present], minlength=count), dtype=np.float64)
    first = np.full(count, size)
    np.minimum.at(first, groups[present], present)
    shift = (
        scaled[present] - scaled[first][groups[present]]
    )  # from a member, so that duplicates stay exactly where they are
    centres = np.zeros((count, points.shape[1]))
    np.add.at(centres, groups[present], inner[present, None] * shift)
    centres = scaled[first] + centres / masses[:, None]
    within = float(inner[present] @ np.square(scaled[present] - centres[groups[present]]).sum(axis=1))
    items = Items(
        centres, masses, counts, groups, apart, min(clusters, count), low, high, exactly and clusters <= count, within,
        unit * mean_weight,
    )  # fmt: skip
    crowd = clique(apart) if items.paired else []
    if len(crowd) > items.clusters:
        members = ", ".join(str(int(np.flatnonzero(groups == item)[0])) for item in crowd)
        raise Impossible(f"cannot_link: points {members} must all be apart, and there are {items.clusters} clusters")
    return items


def clique(apart: BoolArray, start: int | None = None) -> list[int]:
    """Return items that all must be apart, found greedily from an item (by default the one with most pairs)."""
    degree = apart.sum(axis=1)
    if not len(degree) or not degree.any():
        return []
    found = [int(np.argmax(degree)) if start is None else start]
    left = apart[found[0]].copy()
    while left.any():
        item = int(np.argmax(np.where(left, (apart & left).sum(axis=1), -1)))
        found.append(item)
        left &= apart[item]
    return found


def _checked_points(points: FloatArray) -> FloatArray:
    points = np.asarray(points, dtype=np.float64)
    if points.ndim != 2 or not len(points) or not points.shape[1]:
        raise InputError(f"points: shape {points.shape}, must be (points, features) and not empty")
    if not np.isfinite(points).all():
        row, column = np.argwhere(~np.isfinite(points))[0]
        raise InputError(f"points: row {row}, column {column} is {points[row, column]}, must be finite")
    return points


def _checked_weights(weights: FloatArray, size: int) -> FloatArray:
    weights = np.asarray(weights, dtype=np.float64)
    if weights.shape != (size,) or not np.isfinite(weights).all() or (weights < 0).any() or not weights.any():
        raise InputError(f"weights: must be {size} finite numbers, none negative and not all zero")
    return weights


def _checked_pairs(pairs: Pairs, size: int, name: str) -> IntArray:
    array = np.asarray(list(pairs))
    if not array.size:
        return np.zeros((0, 2), dtype=np.int64)
    if array.ndim != 2 or array.shape[1] != 2 or array.dtype.kind not in "iu":
        raise InputError(f"{name}: must be pairs of point numbers")
    bad = np.flatnonzero((array < 0).any(axis=1) | (array >= size).any(axis=1))
    if len(bad):
        raise InputError(f"{name}: pair {bad[0]} is {tuple(array[bad[0]].tolist())}, must lie in 0 to {size - 1}")
    return array.astype(np.int64)


def _tightened(size: int, clusters: int, least: int, most: int, exactly: bool) -> tuple[int, int]:
    fewest = clusters if exactly else -(-size // most)
    usable = min(clusters, size // least)
    if fewest > usable or clusters * most < size:
        number = f"{clusters} clusters" if exactly else f"at most {clusters} clusters"
        raise Impossible(f"sizes: {number} of {least} to {most} points do not hold exactly {size} points")
    return max(least, size - (usable - 1) * most), min(most, size - (fewest - 1) * least)


def _components(size: int, pairs: IntArray) -> IntArray:
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(size, size))
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.int64)


def _with_duplicates(points: FloatArray, own: IntArray, present: IntArray, named: IntArray) -> IntArray:
    free = np.setdiff1d(present, named) if len(named) else present
    rows = points[free] + 0.0
    order = np.lexsort(rows.T[::-1])
    new = np.ones(len(order), dtype=bool)
    new[1:] = (rows[order[1:]] != rows[order[:-1]]).any(axis=1)
    own = own.copy()
    own[free[order]] = len(points) + np.cumsum(new) - 1
    return own


def _separated(groups: IntArray, separate: IntArray, count: int) -> BoolArray:
    if not len(separate):
        return _no_pairs(count)
    apart = np.zeros((count, count), dtype=bool)
    for i, j in separate:
        if groups[i] == groups[j]:
            way = "the same point" if i == j else f"joined by must_link ({_some(groups == groups[i])})"
            raise Impossible(f"cannot_link: points {i} and {j} are {way}")
        apart[groups[i], groups[j]] = apart[groups[j], groups[i]] = True
    return apart


def _no_pairs(count: int) -> BoolArray:
    return np.broadcast_to(np.False_, (count, count))


def _some(members: BoolArray) -> str:
    numbers = np.flatnonzero(members).tolist()
    return "points " + ", ".join(map(str, numbers[:6])) + (", ..." if len(numbers) > 6 else "")


def _scaled(points: FloatArray, weights: FloatArray) -> tuple[FloatArray, float]:
    """Return the points centred and of average squared norm 1, and the square of the factor; no overflow on the way."""
    share = weights / weights.max()
    share = share / share.sum()
    largest = float(np.abs(points).max()) or 1.0
    small = points / largest
    for _ in range(2):  # the second time takes what rounding left of the mean
        small = small - share @ small
    spread = float(np.abs(small[weights > 0]).max()) or 1.0
    small = small / spread
    norm = float(np.sqrt(share @ np.square(small).sum(axis=1))) or 1.0
    with np.errstate(over="ignore"):
        factor = np.float64(largest) * spread * norm
        return small / norm, float(factor * factor)
