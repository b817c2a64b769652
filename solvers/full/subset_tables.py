"""What every set of users can do as a cluster of its own: server load against utility, for all 2^N sets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hisopt.equations import device_step_cost, similarity_from_sums
from hisopt.solvers.joint import step_tables

if TYPE_CHECKING:
    from hisopt.arrays import FloatArray, IntArray
    from hisopt.instances import Instance
    from hisopt.solvers.base import Deadline

_BLOCK = 1 << 12  # sets whose candidates are made at a time


@dataclass(frozen=True)
class SubsetTables:
    """Candidates of the sets (bit masks) ``0 .. 2^N - 1``; those of a set are ``offsets[s]:offsets[s + 1]``.

    A partition is worth at most ``constant + sum gain - (sum load)^2 / V`` of its best candidates. Of each set only those
    stay that are best at some price of load >= 0. The empty set has one, worth nothing.
    """

    gain: FloatArray
    load: FloatArray
    offsets: IntArray
    constant: float

    def best(self, slope: float) -> tuple[FloatArray, FloatArray]:
        """max_k gain_k - slope load_k of every set for a slope >= 0, and the load of a candidate there; shapes (2^N,)."""
        priced = self.gain - slope * self.load
        value = np.maximum.reduceat(priced, self.offsets[:-1])
        attained = priced >= np.repeat(value, np.diff(self.offsets))
        return value, np.maximum.reduceat(np.where(attained, self.load, 0.0), self.offsets[:-1])


def members(instance: Instance, sets: IntArray) -> step_tables.Members:
    """The members of sets of users (bit masks, shape (A,)), each set as if it were a cluster."""
    gram = instance.similarity_matrix
    member = ((sets[:, None] >> np.arange(instance.users)) & 1).astype(np.float64)
    subset, user = np.nonzero(member)
    to_sum = (member @ gram)[subset, user]

    def dot(i: IntArray, j: IntArray) -> FloatArray:
        return np.asarray(gram[user[i], user[j]])

    similarity = similarity_from_sums(instance.public_prompt, subset, to_sum, dot)
    return step_tables.Members(instance, subset, len(sets), similarity, device_step_cost(instance)[user])


def build(instance: Instance, deadline: Deadline) -> SubsetTables:
    """Return the tables of all sets of users; raises `hisopt.solvers.base.OutOfTime` past the deadline."""
    users = instance.users
    gains, loads, counts, constant = [np.zeros(1)], [np.zeros(1)], [np.ones(1, dtype=np.int64)], 0.0
    for first in range(1, 1 << users, _BLOCK):
        deadline.check()
        sets = np.arange(first, min(first + _BLOCK, 1 << users))
        made = step_tables.build(members(instance, sets), deadline=deadline)
        constant = made.constant
        gain, load, count = _envelope(made.gain, made.load, made.offsets)
        gains.append(gain)
        loads.append(load)
        counts.append(count)
    offsets = np.concatenate([[0], np.cumsum(np.concatenate(counts))])
    return SubsetTables(np.concatenate(gains), np.concatenate(loads), offsets, constant)


def _envelope(gain: FloatArray, load: FloatArray, offsets: IntArray) -> tuple[FloatArray, FloatArray, IntArray]:
    """Keep of each group the vertices of its upper concave envelope; also how many each group keeps.

    All groups walk at once from their largest gain (of ties the least load) to their least load: the next vertex is the
    one to the left that costs least gain a unit of load.
    """
    groups = len(offsets) - 1
    sizes = np.diff(offsets)
    place = np.arange(len(gain)) - np.repeat(offsets[:-1], sizes)
    row = np.repeat(np.arange(groups), sizes)
    gains, loads = np.full((groups, int(sizes.max())), -np.inf), np.full((groups, int(sizes.max())), np.inf)
    gains[row, place], loads[row, place] = gain, load
    at = np.where(gains == gains.max(axis=1, keepdims=True), loads, np.inf).argmin(axis=1)
    here = np.arange(groups)
    kept = np.zeros(gains.shape, dtype=bool)
    while len(here):
        kept[here, at] = True
        lost, saved = gains[here, at][:, None] - gains[here], loads[here, at][:, None] - loads[here]
        price = np.divide(lost, saved, out=np.full(lost.shape, np.inf), where=saved > 0)
        least = price.min(axis=1)
        on = np.isfinite(least)  # of equal prices the farthest, so that no vertex lies between two others
        farthest = np.where(price[on] == least[on, None], loads[here[on]], np.inf).argmin(axis=1)
        here, at = here[on], farthest
    rows, places = np.nonzero(kept)
    return gains[rows, places], loads[rows, places], np.bincount(rows, minlength=groups)
