"""Steps that never raise the sum of squares: k-means' own, relocations, and swaps, within limits on sizes and pairs.

A relocation moves one item and counts the shift of both centres (Hartigan), which leaves local optima of k-means.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from hisopt.arrays import BoolArray, FloatArray, IntArray
    from hisopt.solvers.base import Deadline
    from hisopt.solvers.clustering.sum_of_squares.items import Items

_GAIN = 1e-11  # least gain of a step, relative to the sum of squares about the origin
_SWAPS_UP_TO = 2000  # items whose pairs are compared
_TRIES = 8  # steps that promise a gain, whose gain is looked at afresh
_ROUNDS = 300  # of k-means


def centres_of(items: Items, labels: IntArray, count: int) -> tuple[FloatArray, FloatArray]:
    """Return the clusters' sums (count, d) and weights (count,)."""
    sums = np.empty((count, items.points.shape[1]))
    weighted = items.weights[:, None] * items.points
    for column in range(sums.shape[1]):
        sums[:, column] = np.bincount(labels, weights=weighted[:, column], minlength=count)
    return sums, np.asarray(np.bincount(labels, weights=items.weights, minlength=count), dtype=np.float64)


def nearest(items: Items, centres: FloatArray) -> tuple[IntArray, FloatArray]:
    """Return each item's nearest centre, and the squared distance to it."""
    squares = np.square(centres).sum(axis=1) - 2 * items.points @ centres.T
    labels = squares.argmin(axis=1)
    return labels, np.square(items.points - centres[labels]).sum(axis=1)


def lloyd(items: Items, centres: FloatArray, deadline: Deadline | None = None) -> IntArray:
    """Return labels (n,) at which k-means from some centres (k, d) stops; an empty cluster gets the worst item."""
    count, labels = len(centres), np.full(len(items), -1)
    for _ in range(_ROUNDS):
        new, squares = nearest(items, centres)
        sizes = np.bincount(new, minlength=count)
        for empty in np.flatnonzero(sizes == 0):
            worst = int(np.argmax(np.where(sizes[new] > 1, items.weights * squares, -np.inf)))
            sizes[new[worst]] -= 1
            new[worst], squares[worst], sizes[empty] = empty, 0.0, 1
        if (new == labels).all() or (deadline is not None and deadline.passed):
            labels = new
            break
        labels = new
        sums, weights = centres_of(items, labels, count)
        centres = sums / weights[:, None]
    return labels


def relocate(items: Items, labels: IntArray, count: int, deadline: Deadline | None = None) -> IntArray:
    """Relocate items while it gains, those first that gain most, and many at once where their clusters differ."""
    labels, rows, least = labels.copy(), np.arange(len(items)), _GAIN * items.total
    for _ in range(20 * len(items)):
        if deadline is not None and deadline.passed:
            break
        gain = _relocation_gains(items, labels, count)
        target = gain.argmax(axis=1)
        best = gain[rows, target]
        touched: set[int] = set()
        for item in np.argsort(-best, kind="stable")[: 4 * count]:
            pair = {int(labels[item]), int(target[item])}
            if best[item] <= least or len(touched) == count:
                break
            if not pair & touched:
                touched |= pair
                labels[item] = target[item]
        if not touched:
            break
    return labels


def _relocation_gains(items: Items, labels: IntArray, count: int) -> FloatArray:
    """Return by how much the sum of squares falls, (n, count); -inf where an item is alone, at home, or not allowed."""
    rows, w = np.arange(len(items)), items.weights
    sums, weights = centres_of(items, labels, count)
    centres = sums / np.maximum(weights, 1e-300)[:, None]
    squares = np.square(items.points).sum(axis=1)[:, None] - 2 * items.points @ centres.T
    squares += np.square(centres).sum(axis=1)
    np.maximum(squares, 0.0, out=squares)
    left = weights[labels] - w
    alone = np.bincount(labels, minlength=count)[labels] == 1
    leave = np.where(alone, 0.0, w * weights[labels] / np.where(alone, 1.0, left) * squares[rows, labels])
    enter = w[:, None] * weights / (weights + w[:, None]) * squares
    gain = leave[:, None] - enter
    gain[rows, labels] = -np.inf
    if items.exactly or items.least == 1:
        gain[alone] = -np.inf
    if items.limited:
        sizes = np.bincount(labels, weights=items.counts, minlength=count)
        grown = sizes + items.counts[:, None]
        gain[
            (grown > items.most) | (grown < items.least)
        ] = -np.inf  # an empty cluster opens with its least size at once
        rest = sizes[labels] - items.counts
        gain[(rest < items.least) & (items.exactly | (rest > 0))] = -np.inf
    if items.paired:
        gain[_conflicts(items.apart, labels, count) > 0] = -np.inf
    return np.asarray(gain)


def _conflicts(apart: BoolArray, labels: IntArray, count: int) -> FloatArray:
    return np.asarray(apart.astype(np.float64) @ (labels[:, None] == np.arange(count)))


def swap(items: Items, labels: IntArray, count: int) -> bool:
    """Swap two items of different clusters, in place, if that gains; the best of a few that promise most."""
    size, w = len(items), items.weights
    if size > _SWAPS_UP_TO:
        return False
    weighted = w[:, None] * items.points
    sums, weights = centres_of(items, labels, count)
    squared, dots = np.square(sums).sum(axis=1), weighted @ sums.T
    own, cross, norms = dots[np.arange(size), labels], dots[:, labels], np.square(weighted).sum(axis=1)
    moved = norms[:, None] + norms[None, :] - 2 * weighted @ weighted.T
    mass = weights[labels][:, None] - w[:, None] + w[None, :]  # of i's cluster with j instead of i
    after = (squared[labels][:, None] + 2 * (cross.T - own[:, None]) + moved) / mass
    after -= (squared / np.maximum(weights, 1e-300))[labels][:, None]
    change = np.triu(after + after.T, 1)
    banned = labels[:, None] == labels[None, :]
    if items.limited:
        sizes = np.bincount(labels, weights=items.counts, minlength=count)[labels]
        new = sizes[:, None] - items.counts[:, None] + items.counts[None, :]
        bad = (new < items.least) | (new > items.most)
        banned |= bad | bad.T
    if items.paired:
        there = _conflicts(items.apart, labels, count)[:, labels] - items.apart
        banned |= (there > 0) | (there.T > 0)
    change[banned] = -np.inf
    flat = change.ravel()
    some = np.argpartition(-flat, min(_TRIES, size * size - 1))[:_TRIES]
    for entry in some[np.argsort(-flat[some], kind="stable")]:
        i, j = divmod(int(entry), size)
        if not flat[entry] > _GAIN * items.total:
            return False
        trial = labels.copy()
        trial[i], trial[j] = labels[j], labels[i]
        if items.value(trial) > items.value(labels) + 0.5 * _GAIN * items.total:
            labels[:] = trial
            return True
    return False


def polish(items: Items, labels: IntArray, count: int, deadline: Deadline | None = None) -> IntArray:
    """Relocate and, where limits or pairs stand in the way of relocations, swap, until neither gains."""
    labels = relocate(items, labels, count, deadline)
    if items.plain:
        return labels
    for _ in range(len(items)):
        if (deadline is not None and deadline.passed) or not swap(items, labels, count):
            break
        labels = relocate(items, labels, count, deadline)
    return labels
