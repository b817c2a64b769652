"""What a partition is worth, exactly, and what all single moves away from it promise, priced at once.

With a partition's optimal total load S as multiplier, a changed cluster's best option at the price 2 S / V is a feasible
one. Putting the options of the changed clusters in place of the old ones gives a decision of the moved partition, so what
a move promises is attained: an estimate from below, which the exact joint optimum can only exceed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hisopt.equations import device_step_cost, similarity_from_sums
from hisopt.solvers.joint import scalar_coupling, step_tables

if TYPE_CHECKING:
    from hisopt.arrays import FloatArray, IntArray
    from hisopt.instances import Instance
    from hisopt.solvers.base import Deadline

_CACHED = 1 << 22  # candidates of clusters that are kept
_NOBODY = (b"", (np.zeros(1), np.zeros(1)))  # members, gains and loads of an empty cluster


@dataclass(frozen=True)
class State:
    """A partition: labels (N,), value without the utility's constant, and each cluster's chosen gain and load, (M,).

    ``bound`` exceeds the value only where the joint problem was not solved to its end.
    """

    labels: IntArray
    value: float
    bound: float
    gain: FloatArray
    load: FloatArray


class Oracle:
    """The joint optimum of partitions of one instance, with the tables of clusters kept by their members."""

    def __init__(self, instance: Instance, deadline: Deadline) -> None:
        self.instance, self.deadline = instance, deadline
        self.count, self.budget = instance.max_clusters, float(instance.edge.sms)
        self.gram, self._saved = instance.similarity_matrix, device_step_cost(instance)
        self._known = dict([_NOBODY])
        self._kept = 0
        self.solved = 0

    def tables(self, alternative: IntArray, user: IntArray, to_sum: FloatArray, count: int) -> step_tables.StepTables:
        """Return candidates of ``count`` sets of users, given as pairs (set, user) and each pair's sum of S over its set."""

        def dot(i: IntArray, j: IntArray) -> FloatArray:
            return np.asarray(self.gram[user[i], user[j]])

        similarity = similarity_from_sums(self.instance.public_prompt, alternative, to_sum, dot)
        members = step_tables.Members(self.instance, alternative, count, similarity, self._saved[user])
        return step_tables.build(members, whole=True)

    def solve(self, labels: IntArray) -> State:
        """Return the joint optimum of a partition; tables of clusters that were met before are not built again."""
        owned = [np.flatnonzero(labels == m) for m in range(self.count)]
        keys = [users.tobytes() for users in owned]
        new = [m for m in range(self.count) if keys[m] not in self._known]
        if new:
            if self._kept > _CACHED:
                self._known, self._kept = dict([_NOBODY]), 0
                new = [m for m in range(self.count) if len(owned[m])]
            user = np.concatenate([owned[m] for m in new])
            alternative = np.repeat(np.arange(len(new)), [len(owned[m]) for m in new])
            sums = np.concatenate([self.gram[np.ix_(owned[m], owned[m])].sum(axis=1) for m in new])
            made = self.tables(alternative, user, sums, len(new))
            for k, m in enumerate(new):
                part = slice(made.offsets[k], made.offsets[k + 1])
                self._known[keys[m]] = made.gain[part], made.load[part]
            self._kept += len(made.gain)
        gains, loads = zip(*(self._known[key] for key in keys), strict=True)
        gain, load = np.concatenate(gains), np.concatenate(loads)
        offsets = np.concatenate([[0], np.cumsum([len(own) for own in gains])])
        found = scalar_coupling.maximise(gain, load, offsets, self.budget, self.deadline)
        self.solved += 1
        return State(labels, found.value, found.bound, gain[found.choice], load[found.choice])

    def respond(
        self, state: State, base: IntArray, removed: IntArray, added: IntArray
    ) -> tuple[FloatArray, FloatArray]:
        """Return gain and load of the best option at the state's price of clusters changed by a user each, shapes (A,).

        Alternative k is cluster ``base[k]`` without the user ``removed[k]`` and with ``added[k]``; -1 is nobody.
        """
        labels, price = state.labels, 2 * float(state.load.sum()) / self.budget
        order = np.argsort(labels, kind="stable")
        sizes = np.bincount(labels, minlength=self.count)
        starts = np.cumsum(sizes) - sizes
        sums = np.zeros((len(labels), self.count))
        for m in range(self.count):
            sums[:, m] = self.gram[:, order[starts[m] : starts[m] + sizes[m]]].sum(axis=1)
        lengths = sizes[base]
        alternative = np.repeat(np.arange(len(base)), lengths)
        within = np.arange(len(alternative)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        user = order[starts[base[alternative]] + within]
        joins = np.flatnonzero(added >= 0)
        alternative, user = np.concatenate([alternative, joins]), np.concatenate([user, added[joins]])
        stays = user != removed[alternative]
        alternative, user = alternative[stays], user[stays]
        if not len(user):
            return np.zeros(len(base)), np.zeros(len(base))
        by_set = np.argsort(alternative, kind="stable")
        alternative, user = alternative[by_set], user[by_set]
        to_sum = sums[user, base[alternative]]
        for changed, sign in ((removed, -1.0), (added, 1.0)):
            has = changed[alternative] >= 0
            to_sum = to_sum + sign * np.where(has, self.gram[user, np.where(has, changed[alternative], 0)], 0.0)
        made = self.tables(alternative, user, to_sum, len(base))
        priced = made.gain - price * made.load
        top = np.maximum.reduceat(priced, made.offsets[:-1])
        hits = np.flatnonzero(priced == np.repeat(top, np.diff(made.offsets)))
        owner = np.searchsorted(made.offsets, hits, side="right") - 1
        pick = hits[np.append(True, owner[1:] != owner[:-1])]
        return made.gain[pick], made.load[pick]

    def _promise(self, state: State, a: IntArray, b: IntArray, gain: FloatArray, load: FloatArray) -> FloatArray:
        """Value of the state with the clusters a and b changed to options of a total gain and load."""
        gains = state.gain.sum() - state.gain[a] - state.gain[b] + gain
        loads = state.load.sum() - state.load[a] - state.load[b] + load
        return np.asarray(gains - loads**2 / self.budget)

    def relocations(self, state: State, users: IntArray) -> tuple[FloatArray, IntArray, IntArray]:
        """Return the promised value, the user and the target of every relocation of ``users``."""
        own = state.labels[users]
        user, target = np.repeat(users, self.count), np.tile(np.arange(self.count), len(users))
        other = target != state.labels[user]
        user, target, leaver = user[other], target[other], np.repeat(np.arange(len(users)), self.count)[other]
        nobody = np.full(len(users), -1)
        gain, load = self.respond(
            state,
            np.concatenate([own, target]),
            np.concatenate([users, np.full(len(user), -1)]),
            np.concatenate([nobody, user]),
        )
        k = len(users)
        promised = self._promise(state, state.labels[user], target, gain[leaver] + gain[k:], load[leaver] + load[k:])
        return promised, user, target

    def swaps(self, state: State, first: IntArray, second: IntArray) -> FloatArray:
        """Return the promised value of swapping pairs of users of different clusters."""
        a, b = state.labels[first], state.labels[second]
        gain, load = self.respond(
            state, np.concatenate([a, b]), np.concatenate([first, second]), np.concatenate([second, first])
        )
        k = len(first)
        return self._promise(state, a, b, gain[:k] + gain[k:], load[:k] + load[k:])
