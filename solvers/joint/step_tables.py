"""What each cluster can do: its server steps W against the best utility G(W), for all clusters at once.

With SMs at their optimum, P_II is ``const + max sum_m G_m(W_m) - (sum_m sqrt(c_m W_m))^2 / V``. Along the number of
personalised steps the coupling term is convex in W_m with everything else fixed (minus the square root of W), and
G_m is linear while steps go to users with the same device cost d_n. A function convex on an interval has its maximum at
an end, so some optimum fills users up to y_max one group of equal d_n after the other: (x_max + 1)(groups + 1)
candidates a cluster instead of one for each W. Where bounds on z bind, x and y no longer separate: see `bound_steps`.

Every user is measured against his fewest device steps, whose cost goes into the constant: a device that is useless (d_n
of any size) then leaves small numbers, and their digits, to the others.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from hisopt.equations import (
    cluster_sizes,
    device_step_cost,
    edge_step_energy_cost,
    edge_work_cost,
    public_similarity,
    quality_at_bins,
    similarity_bins,
    transmission_cost,
)
from hisopt.solvers.joint import bound_steps, sums

if TYPE_CHECKING:
    from hisopt.arrays import BoolArray, FloatArray, IntArray
    from hisopt.instances import Instance, StepLimits
    from hisopt.solvers.base import Deadline

_CHUNK = 1 << 12  # users whose quality tables are in memory at a time


@dataclass(frozen=True)
class StepTables:
    """Candidates of all clusters, flat; those of cluster m are ``offsets[m]:offsets[m + 1]``.

    Attributes
    ----------
    gain, load, work
        G_m(W), sqrt(c_m W) and W of each candidate, shape (K,).
    common, filled
        Its X_m, and how many of the cluster's users (by decreasing d_n) get y_max; where z binds, W_m instead.
    offsets
        Shape (M + 1,).
    constant
        The utility is ``constant + sum gain - (sum load)^2 / V``.
    """

    gain: FloatArray
    load: FloatArray
    work: IntArray
    common: IntArray
    filled: IntArray
    offsets: IntArray
    constant: float
    _members: Members = field(repr=False)
    _order: IntArray = field(repr=False)  # of the users, by cluster and decreasing d_n; empty where z binds

    def steps(self, choice: IntArray) -> tuple[IntArray, IntArray]:
        """Return x_n and y_n, shapes (N,), for one candidate index a cluster."""
        members = self._members
        common_max, filled = self.common[choice], self.filled[choice]
        if members.limits.device_binds:
            return bound_steps.rebuild(members, common_max, filled)
        common = np.zeros(len(members.labels), dtype=np.int64)
        for start in range(0, len(common), _CHUNK):
            part = slice(start, start + _CHUNK)
            own = members.common_value(part)
            own[np.arange(own.shape[1])[None, :] > common_max[members.labels[part]][:, None]] = -np.inf
            common[part] = own.argmax(axis=1)
        order = self._order
        starts = np.concatenate([[0], np.cumsum(np.bincount(members.labels, minlength=len(choice)))[:-1]])
        rank = np.empty(len(order), dtype=np.int64)
        rank[order] = np.arange(len(order)) - starts[members.labels[order]]
        limits = members.limits
        steps_edge = np.where(rank < filled[members.labels], limits.edge_max, limits.edge_min)
        return common, steps_edge


@dataclass(frozen=True)
class Members:
    """Users (or copies of users) in clusters: labels, phi_n and d_n, all of shape (N,), with what their values need."""

    instance: Instance
    labels: IntArray
    count: int
    similarity: FloatArray
    saved: FloatArray

    @property
    def limits(self) -> StepLimits:
        """The bounds on steps."""
        return self.instance.steps

    def by_saved(self) -> IntArray:
        """Order of the users by cluster, and by decreasing d_n in each."""
        order = np.argsort(-self.saved, kind="stable")
        for shift in range(0, self.count.bit_length(), 16):  # numpy sorts 16 bits by counting
            digit = (self.labels[order] >> shift).astype(np.uint16)
            order = order[np.argsort(digit, kind="stable")]
        return order

    def of(self, users: IntArray) -> Members:
        """Some of the users, in the same clusters."""
        return Members(self.instance, self.labels[users], self.count, self.similarity[users], self.saved[users])

    def common_value(self, part: slice) -> FloatArray:
        """w1 Q_n(x) - d_n (x_max - x) of a slice of the users, shape (users, x_max + 1)."""
        value = self.quality_value(part)
        value += self.saved[part][:, None] * (np.arange(value.shape[1]) - self.limits.common_max)
        return value

    def served_value(self, steps_edge: IntArray, common: int) -> FloatArray:
        """w1 Q_n(x) - d_n (s - x - y_n) for x = 0 .. X with s the most steps served, -inf where y_n or z forbids it."""
        served = np.arange(common + 1) + steps_edge[:, None]
        value = self.quality_value(slice(None))[:, : common + 1]
        value = value + self.saved[:, None] * (served - self.limits.served_max)
        value[(served < self.limits.served_min) | (served > self.limits.served_max)] = -np.inf
        return np.asarray(value)

    def quality_value(self, part: slice) -> FloatArray:
        """w1 Q_n(x) of a slice of the users, shape (users, x_max + 1)."""
        steps = np.arange(self.limits.common_max + 1)
        at_bins = self.instance.weights.quality * quality_at_bins(self.instance.quality, steps)
        below, weight = similarity_bins(self.instance.quality, self.similarity[part])
        rise = np.diff(at_bins, axis=0)
        value = np.take(rise, below, axis=0)
        value *= weight[:, None]
        value += np.take(at_bins, below, axis=0)
        return np.asarray(value)


def for_instance(
    instance: Instance, *, common_phase: bool = True, whole: bool = False, deadline: Deadline | None = None
) -> StepTables:
    """Return the tables of an instance's given clusters; without common phase, x_n = 0 for all; the rest as in `build`."""
    if not common_phase:
        instance = instance.replace(steps=instance.steps.replace(common_max=0), given_common=None, given_edge=None)
    similarity = public_similarity(instance, instance.labels)
    members = Members(instance, instance.labels, instance.max_clusters, similarity, device_step_cost(instance))
    return build(members, whole=whole, deadline=deadline)


def build(members: Members, *, whole: bool = False, deadline: Deadline | None = None) -> StepTables:
    """Build the candidates of every cluster.

    With ``whole`` they serve whole SMs, too: at fixed v_m the cost c_m W / v_m is linear in W, so filling groups of
    equal d_n holds as before, but a common step may cost c_m / v_m, more than real SMs would let it, and no X goes
    because a larger one gains more. Raises `hisopt.solvers.base.OutOfTime` past the deadline.
    """
    instance, count = members.instance, members.count
    sizes = cluster_sizes(members.labels, count)
    work_cost = edge_work_cost(instance, sizes)
    step_cost = edge_step_energy_cost(instance)
    limits = members.limits
    constant = -transmission_cost(instance)
    if limits.total > limits.served_max:
        constant -= (limits.total - limits.served_max) * float(device_step_cost(instance).sum())
    order = np.zeros(0, dtype=np.int64)
    if limits.device_binds:
        cluster, work, gain, common = bound_steps.candidates(members, deadline)
        kept, filled = np.bincount(cluster, minlength=count), work
    else:
        order = members.by_saved()
        kept, work, gain, common, filled = _candidates(members, order, sizes, work_cost, step_cost, whole, deadline)
    gain = gain - step_cost * work if step_cost else gain
    load = np.repeat(work_cost, kept)
    load *= work
    offsets = np.concatenate([[0], np.cumsum(kept)])
    return StepTables(gain, np.sqrt(load, out=load), work, common, filled, offsets, constant, members, order)


def _candidates(
    members: Members,
    order: IntArray,
    sizes: IntArray,
    work_cost: FloatArray,
    step_cost: float,
    whole: bool,
    deadline: Deadline | None,
) -> tuple[IntArray, IntArray, FloatArray, IntArray, IntArray]:
    """Return how many candidates each cluster has, shape (M,), and of all of them W, gain, X and the users filled up."""
    limits, count = members.limits, members.count
    labels, saved = members.labels[order], members.saved[order]
    best_common = _sum_prefix_maxima(members, order, labels, deadline)
    span = limits.edge_max - limits.edge_min
    starts = np.concatenate([[0], np.cumsum(sizes)])
    rest = np.zeros(len(saved) + 1)  # d_n summed from a user to his cluster's last, who has the smallest
    for first, end in itertools.pairwise(starts):
        rest[first:end] = sums.cumulative(saved[first:end][::-1])[::-1]
    ends = np.flatnonzero(np.append((labels[1:] != labels[:-1]) | (saved[1:] != saved[:-1]), True))
    if span == 0:
        ends = ends[:0]
    vertex_cluster = np.concatenate([np.arange(count), labels[ends]])
    vertex_filled = np.concatenate([np.zeros(count, dtype=np.int64), ends + 1 - starts[labels[ends]]])
    by_cluster = np.argsort(vertex_cluster, kind="stable")
    vertex_cluster, vertex_filled = vertex_cluster[by_cluster], vertex_filled[by_cluster]
    first = starts[vertex_cluster]
    vertex_work = limits.edge_min * sizes[vertex_cluster] + span * vertex_filled
    full = vertex_filled == sizes[vertex_cluster]
    vertex_gain = np.where(full, 0.0, -span * rest[np.where(full, 0, first + vertex_filled)])

    keep = _useful_common(best_common, sizes, work_cost, step_cost, members, whole)
    kept = keep.sum(axis=1)
    repeats = kept[vertex_cluster]  # candidates of a vertex: the X that its cluster keeps
    first_kept = (np.cumsum(kept) - kept)[vertex_cluster] - (np.cumsum(repeats) - repeats)
    place = np.repeat(first_kept, repeats)
    place += np.arange(len(place))
    common = np.nonzero(keep)[1].take(place)
    gain = best_common[keep].take(place)
    gain += np.repeat(vertex_gain, repeats)
    work = np.repeat(vertex_work, repeats)
    work += common
    return (
        np.bincount(vertex_cluster, repeats, count).astype(np.int64),
        work,
        gain,
        common,
        np.repeat(vertex_filled, repeats),
    )


def _sum_prefix_maxima(members: Members, order: IntArray, labels: IntArray, deadline: Deadline | None) -> FloatArray:
    """P_m(X) = sum over the cluster of max_{x <= X} (w1 Q_n(x) - d_n (x_max - x)), shape (M, x_max + 1)."""
    total = np.zeros((members.count, members.limits.common_max + 1))
    sorted_members = Members(members.instance, labels, members.count, members.similarity[order], members.saved[order])
    for start in range(0, len(order), _CHUNK):
        if deadline is not None:
            deadline.check()
        part = slice(start, start + _CHUNK)
        value = sorted_members.common_value(part)
        np.maximum.accumulate(value, axis=1, out=value)
        here = labels[part]
        heads = np.flatnonzero(np.append(True, here[1:] != here[:-1]))
        total[here[heads]] += sums.between(value, heads)
    return total


def _useful_common(
    best: FloatArray, sizes: IntArray, work_cost: FloatArray, step_cost: float, members: Members, whole: bool
) -> BoolArray:
    """Mark the X worth keeping in each cluster, shape (M, x_max + 1).

    X goes where a smaller one serves as well, and where a larger X' gains more than it can ever cost: the load rises
    by at most sqrt(c (b + X')) - sqrt(c (b + X)) with b the fewest personalised steps, and the coupling by at most
    twice that times the largest total load, over V.
    """
    steps = np.arange(best.shape[1])
    limits = members.limits
    keep = np.ones(best.shape, dtype=bool)
    keep[:, 1:] = best[:, 1:] > best[:, :-1]
    budget = members.instance.sm_budget
    largest = np.sqrt(work_cost * (limits.common_max + limits.edge_max * sizes)).sum()
    if whole:
        return keep
    if members.count > len(np.unique(members.labels)) or members.count > members.instance.max_clusters:
        return keep  # tables of alternative clusters: their total load bounds nothing
    load = np.sqrt(work_cost[:, None] * (limits.edge_min * sizes[:, None] + steps))
    value = best - step_cost * steps
    for more in range(1, len(steps)):
        gained = value[:, more, None] - value[:, :more]
        keep[:, :more] &= gained <= 2 * largest * (load[:, more, None] - load[:, :more]) / budget
    return keep
