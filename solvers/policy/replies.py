"""What a cluster can sensibly do: its best replies to every load of the others, and the price at which loads meet.

Given the load Z of the others, the best reply of a cluster maximises ``gain - (2 Z load + load^2) / V``
(`hisopt.solvers.joint.step_tables`). That is linear in Z, so only the corners of the upper hull of the points
(load, gain - load^2 / V) are ever best, some two to eight of hundreds of candidates; an optimum is a profile of them.

Shapes: M clusters, R the most replies of any; where a cluster has fewer its last one is repeated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from hisopt.arrays import BoolArray, FloatArray, IntArray
    from hisopt.solvers.joint.step_tables import StepTables

_SMALLEST = 1e-300
_HALVINGS = 24  # of the interval that holds the price


@dataclass(frozen=True)
class Replies:
    """The best replies of an instance's clusters, by increasing load, in units that leave no scale.

    Attributes
    ----------
    gain, load
        In units of s^2 / V and of s, with s the larger of lambda and a hundredth of the largest total load; shapes (M, R).
        Gains count from each cluster's first.
    own
        Which replies are a cluster's own and not a repetition, shape (M, R).
    option
        The candidate of the tables, shape (M, R).
    unit
        V / s^2: a utility times it is in the units of gains.
    price
        lambda / s; it minimises the dual bound of `hisopt.solvers.joint.scalar_coupling`.
    """

    gain: FloatArray
    load: FloatArray
    own: BoolArray
    option: IntArray
    unit: float
    price: float


def replies(tables: StepTables, budget: float) -> Replies:
    """Return the best replies of an instance's clusters; ``budget`` is V > 0."""
    found = hulls(tables.load, tables.gain - tables.load**2 / budget, tables.offsets)
    owner = np.searchsorted(tables.offsets, found, side="right") - 1
    counts = np.bincount(owner, minlength=len(tables.offsets) - 1)
    heads = np.cumsum(counts) - counts
    place = np.arange(counts.max())
    option = found[heads[:, None] + np.minimum(place, counts[:, None] - 1)]
    gain, load = tables.gain[option], tables.load[option]
    gain = gain - gain[:, :1]
    price = coupling_price(gain, load, budget)
    scale = max(price, 0.01 * float(load[:, -1].sum()), _SMALLEST)
    unit = budget / max(scale * scale, _SMALLEST)
    return Replies(gain * unit, load / scale, place < counts[:, None], option, unit, price / scale)


def lost_at_price(seen: Replies) -> FloatArray:
    """Return what each reply loses at lambda against its cluster's best, shape (M, R), inf for repetitions."""
    worth = seen.gain - 2 * seen.price * seen.load
    return np.where(seen.own, worth.max(axis=1, keepdims=True) - worth, np.inf)


def utility(seen: Replies, reply: IntArray) -> float:
    """Return the utility of one reply a cluster, in the units of the gains and above the first replies' gains."""
    rows = np.arange(len(reply))
    return float(seen.gain[rows, reply].sum() - seen.load[rows, reply].sum() ** 2)


def hulls(x: FloatArray, y: FloatArray, offsets: IntArray) -> IntArray:
    """Return the corners of each group's upper hull from its least x to its largest y, ordered by group and x.

    Quickhull for all groups at once: of the points above a chord the farthest is a corner, and splits the chord. Points
    within rounding of a chord are no corners.
    """
    groups = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    left, right = _first_best(-x, y, offsets, groups), _first_best(y, -x, offsets, groups)
    corners = [left, right[right != left]]
    points = np.flatnonzero(x < x[right][groups])
    chord, size = groups[points], np.abs(y[right] - y[left])
    limit = 1e-12 * size
    while len(points):
        run = x[right] - x[left]
        slope = np.divide(y[right] - y[left], run, out=np.zeros(len(run)), where=run > 0)
        above = y[points] - y[left][chord] - slope[chord] * (x[points] - x[left][chord])
        keep = above > limit[chord]
        points, chord, above = points[keep], chord[keep], above[keep]
        if not len(points):
            break
        order = np.lexsort((points, -above, chord))
        first = order[np.append(True, np.diff(chord[order]) > 0)]
        corner = np.full(len(left), -1)
        corner[chord[first]] = points[first]
        corners.append(points[first])
        # the halves of chord k are the chords 2k and 2k + 1; those without points are never looked at
        middle = np.where(corner < 0, left, corner)
        left, right = np.stack([left, middle], 1).ravel(), np.stack([middle, right], 1).ravel()
        limit = np.repeat(limit, 2)
        here = x[corner[chord]]
        sides = (x[points] < here, x[points] > here)
        chord = np.concatenate([2 * chord[sides[0]], 2 * chord[sides[1]] + 1])
        points = np.concatenate([points[sides[0]], points[sides[1]]])
        used, chord = np.unique(chord, return_inverse=True)
        left, right, limit = left[used], right[used], limit[used]
    found = np.concatenate(corners)
    return np.asarray(found[np.lexsort((x[found], groups[found]))])


def _first_best(first: FloatArray, second: FloatArray, offsets: IntArray, groups: IntArray) -> IntArray:
    """Return each group's place of the largest ``first``, of these the largest ``second``, of these the first."""
    places = np.flatnonzero(first == np.maximum.reduceat(first, offsets[:-1])[groups])
    order = places[np.lexsort((-second[places], groups[places]))]
    return np.asarray(order[np.append(True, np.diff(groups[order]) > 0)])


def coupling_price(gain: FloatArray, load: FloatArray, budget: float) -> float:
    """Return the lambda at which the loads that it calls for sum to it, by halving; gain and load of shape (M, R)."""
    low, high = 0.0, float(load[:, -1].sum())
    rows = np.arange(len(load))
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if load[rows, (gain - (2 * middle / budget) * load).argmax(axis=1)].sum() >= middle:
            low = middle
        else:
            high = middle
    return (low + high) / 2
