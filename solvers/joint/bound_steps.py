"""Candidates of a cluster where the bounds on device steps bind, so that x_n and y_n do not separate.

For each X, user n is worth val_n(y) = max over x <= X with x + y within the served range of w1 Q_n(x) + d_n (x + y).
With everything but the cluster's personalised steps fixed, the coupling term is convex in W (a square root with a minus
sign; a straight line where SMs are whole). So some optimum lies at a vertex of the cluster's concave envelope in the sum
of y, and this envelope is made of the users' own: its edges are all users' edges by falling slope, and at its vertices
every user is at a vertex of his own, so that nothing is lost against the users' true values. Near-linear: a sort of
the users' edges for each X, all clusters at once.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np

from hisopt.solvers.joint import sums

if TYPE_CHECKING:
    from hisopt.arrays import FloatArray, IntArray
    from hisopt.solvers.base import Deadline
    from hisopt.solvers.joint.step_tables import Members

_CHUNK = 1 << 15  # users whose quality tables are in memory at a time
_ROUNDING = 1e-15  # relative; less than this is no dent in a concave function


def candidates(members: Members, deadline: Deadline | None = None) -> tuple[IntArray, IntArray, FloatArray, IntArray]:
    """Return cluster, W, G + e W and X of every candidate: for each W the best X.

    Raises `hisopt.solvers.base.OutOfTime`.
    """
    limits, count = members.limits, members.count
    sizes = np.bincount(members.labels, minlength=count)
    starts = np.concatenate([[0], np.cumsum(limits.common_max + limits.edge_max * sizes + 1)])
    best = np.full(starts[-1], -np.inf)
    best_common = np.zeros(len(best), dtype=np.int64)
    for common in range(limits.common_max + 1):
        if not _range(members, common):
            continue
        cluster, steps_edge, gain = vertices(members, common, sizes, deadline)
        at = starts[cluster] + steps_edge + common
        better = gain > best[at]
        best[at[better]], best_common[at[better]] = gain[better], common
    best[np.repeat(sizes == 0, np.diff(starts))] = -np.inf
    best[starts[:-1][sizes == 0]] = 0.0  # a cluster of nobody does nothing
    found = np.flatnonzero(np.isfinite(best))
    cluster = np.searchsorted(starts, found, side="right") - 1
    return cluster, found - starts[cluster], best[found], best_common[found]


def rebuild(members: Members, common_max: IntArray, work: IntArray) -> tuple[IntArray, IntArray]:
    """Return x_n and y_n that attain each cluster's candidate (X_m, W_m)."""
    limits = members.limits
    common = np.zeros(len(members.labels), dtype=np.int64)
    steps_edge = np.zeros_like(common)
    for top in np.unique(common_max[members.labels]):
        users = np.flatnonzero(common_max[members.labels] == top)
        part = members.of(users)
        least = _range(members, int(top))[0]
        user, length, _, _ = _edges(part, *_values(part, int(top), None))
        labels = part.labels[user]
        heads = np.flatnonzero(np.append(True, labels[1:] != labels[:-1]))
        taken = np.cumsum(length)
        before = np.repeat(np.append(0, taken)[heads], np.diff(np.append(heads, len(labels))))
        left = work - top - least * np.bincount(part.labels, minlength=members.count)
        chosen = taken - before <= left[labels]
        own = least + np.bincount(user[chosen], weights=length[chosen], minlength=len(users)).astype(np.int64)
        value = part.served_value(own, int(top))
        common[users], steps_edge[users] = value.argmax(axis=1), own
    assert (common + steps_edge >= limits.served_min).all()
    return common, steps_edge


def _range(members: Members, common: int) -> range:
    """The y with any x <= X, fewest first."""
    limits = members.limits
    low = max(limits.edge_min, limits.served_min - common)
    high = min(limits.edge_max, limits.served_max)
    return range(low, high + 1)


def vertices(
    members: Members, common: int, sizes: IntArray, deadline: Deadline | None
) -> tuple[IntArray, IntArray, FloatArray]:
    """Return cluster, sum of y and gain of every vertex, by cluster; where no user is, one vertex of nothing."""
    bounds = _range(members, common)
    points, value = _values(members, common, deadline)
    user, length, rise, slope = _edges(members, points, value)
    labels = members.labels[user]
    bottom, total = (sums.by_label(value[:, k], members.labels, members.count) for k in (0, -1))
    last = np.append((labels[1:] != labels[:-1]) | (slope[1:] != slope[:-1]), True)[: len(labels)]
    ends = np.concatenate([[0], np.cumsum(np.bincount(labels, minlength=members.count))])
    left = np.empty(
        len(labels)
    )  # what the edges after each one bring; summed from the end, where the numbers are small
    rest = np.empty(len(labels), dtype=np.int64)
    for first, end in itertools.pairwise(ends):
        if first < end:
            left[end - 1], rest[end - 1] = 0.0, 0
            left[first : end - 1] = sums.cumulative(rise[first + 1 : end][::-1])[::-1]
            np.cumsum(length[first + 1 : end][::-1], out=rest[first : end - 1][::-1])
    cluster = np.concatenate([np.arange(members.count), labels[last]])
    steps_edge = np.concatenate([bounds[0] * sizes, bounds[-1] * sizes[labels[last]] - rest[last]])
    gain = np.concatenate([bottom, total[labels[last]] - left[last]])
    return cluster, steps_edge, gain


def _values(members: Members, common: int, deadline: Deadline | None) -> tuple[IntArray, FloatArray]:
    """Return the y that can be vertices, ascending, and val_n there, shape (N, points); all finite."""
    limits = members.limits
    possible = _range(members, common)
    low, high = possible[0], possible[-1]
    points = np.array(possible)
    if limits.served_min <= low:  # up to y = served_max - X a step of y is worth d_n
        points = points[(points == low) | (points >= min(limits.served_max - common, high))]
    value = np.empty((len(members.labels), len(points)))
    steps = np.arange(common + 1)
    for start in range(0, len(value), _CHUNK):
        if deadline is not None:
            deadline.check()
        part = slice(start, start + _CHUNK)
        quality, saved = members.quality_value(part), members.saved[part][:, None]
        for k, y in enumerate(points):
            x = steps[max(limits.served_min - y, 0) : limits.served_max - y + 1]
            value[part, k] = (quality[:, x] + saved * (x + y - limits.served_max)).max(axis=1)
    return points, value


def _edges(members: Members, points: IntArray, value: FloatArray) -> tuple[IntArray, IntArray, FloatArray, FloatArray]:
    """Return the edges of the users' concave envelopes by cluster and falling slope: user, length, rise and slope."""
    user, first, last = _envelope(value, points)
    rise = value[user, last] - value[user, first]
    length = (points[last] - points[first]).astype(np.int64)
    slope = rise / length
    heads = np.append(True, user[1:] != user[:-1])[: len(user)]
    for _ in range(len(points)):  # rounding must not make an edge steeper than the one before it
        steeper = np.flatnonzero(~heads[1:] & (slope[1:] > slope[:-1])) + 1
        if not len(steeper):
            break
        slope[steeper] = slope[steeper - 1]
    order = np.lexsort((-slope, members.labels[user]))
    return user[order], length[order], rise[order], slope[order]


def _envelope(value: FloatArray, points: IntArray) -> tuple[IntArray, IntArray, IntArray]:
    """Return user, first and last point of every edge of the rows' concave envelopes, by user and point."""
    count, size = value.shape
    if size == 1:
        none = np.zeros(0, dtype=np.int64)
        return none, none, none
    slope = np.diff(value, axis=1) / np.diff(points)
    rough = np.abs(value[:, :-1]) + np.abs(value[:, 1:])
    dents = slope[:, 1:] - slope[:, :-1] > _ROUNDING * (rough[:, 1:] + rough[:, :-1])
    vertex = np.ones((count, size), dtype=bool)
    bent = np.flatnonzero(dents.any(axis=1))
    if len(bent):
        rows, at = np.arange(len(bent)), np.zeros(len(bent), dtype=np.int64)
        vertex[bent] = False
        vertex[bent, 0] = True
        part = value[bent]
        while (at < size - 1).any():
            ahead = np.arange(size)[None, :] > at[:, None]
            distance = np.where(ahead, points[None, :] - points[at][:, None], 1)
            steepness = np.where(ahead, (part - part[rows, at][:, None]) / distance, -np.inf)
            steepest = size - 1 - steepness[:, ::-1].argmax(axis=1)
            at = np.where(at < size - 1, steepest, at)
            vertex[bent, at] = True
    user, point = np.nonzero(vertex)
    inner = user[1:] == user[:-1]
    return user[:-1][inner], point[:-1][inner], point[1:][inner]
