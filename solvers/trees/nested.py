"""Nested sharing, exactly, for few users: a dynamic program over laminar families of users.

The papers' clusters are flat: all users of a cluster share one common phase, with one public prompt. Here a phase may split: its
users go on in groups, each with a public prompt of its own, made for the users it is run for. The model is ours, and has flat
clusters as its special case:

- A user that leaves after x steps, of which step t was run with a public prompt of similarity phi(t) to the user, has quality
  Q(phi(1), 0) - sum_t (Q(phi(t), t - 1) - Q(phi(t), t)): with one prompt that is HIQM's Q(phi, x).
- The server runs every step of every group once: W_m is the number of steps of the whole tree and of its users' personalised
  steps. Delay, energy and SMs are those of P_II with this W_m: a tree is one cluster to the server.

A state is a set of users in a phase, the set that its prompt was made for, and the steps run. What can follow: a step, the exit
of a user, a new prompt for those who are left, a split into two. For each number of steps W the best value is kept, so the trees
of a partition meet in one scalar, as clusters do, and `scalar_coupling` chooses among them exactly.

States are 3^N times x_max: up to six users or so.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from hisopt.equations import (
    device_step_cost,
    edge_step_energy_cost,
    edge_work_cost,
    quality_table,
    rule_similarity,
    transmission_cost,
)
from hisopt.errors import InputError
from hisopt.solvers.joint import scalar_coupling

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hisopt.arrays import FloatArray, IntArray
    from hisopt.instances import Instance

MOST_USERS = 7


@dataclass(frozen=True)
class Nested:
    """The best value of every set of users for every number of server steps.

    ``nested`` False leaves out splits and new prompts, so that what is left is the full problem with flat clusters. Sets are
    bit masks. Raises `InputError` for more than `MOST_USERS` users, and for limits on steps that couple x and y.
    """

    instance: Instance
    nested: bool = True

    def __post_init__(self) -> None:
        steps = self.instance.steps
        if self.instance.users > MOST_USERS:
            raise InputError(f"users: {self.instance.users}, sharing in trees is solved exactly up to {MOST_USERS}")
        if steps.common_max + steps.edge_max > steps.total - steps.device_min or steps.device_max < steps.total:
            raise InputError("steps: limits on z bind, and sharing in trees is stated without them")

    @cached_property
    def _cache(self) -> dict[tuple[int, int, int], FloatArray]:
        return {}

    @cached_property
    def _device(self) -> FloatArray:
        return device_step_cost(self.instance)

    @cached_property
    def _quality(self) -> dict[int, FloatArray]:
        """w1 Q_n(phi_n, x) under the prompt of each set, shape (N, x_max + 1); rows of others than its users are unused."""
        users, found = self.instance.users, {}
        for mask in range(1, 1 << users):
            labels = np.array([0 if mask >> n & 1 else 1 for n in range(users)])
            phi = rule_similarity(self.instance, labels)
            table = quality_table(self.instance.quality, phi, self.instance.steps.common_max)
            found[mask] = self.instance.weights.quality * table
        return found

    def block(self, mask: int) -> FloatArray:
        """Return the value of a set as one tree, for W = 0, 1, ...; -inf where W cannot be.

        Value is w1 Q, and what devices save by the steps that the server runs for them, without what the server costs.
        """
        start = sum(self._quality[mask][n, 0] for n in members(mask))
        return np.asarray(start + self._best(mask, mask, 0))

    def work_of(self, blocks: tuple[int, ...], picks: IntArray) -> tuple[int, ...]:
        """Return W of each set, from the places of choices among its possible W."""
        possible = [np.flatnonzero(np.isfinite(self.block(mask))) for mask in blocks]
        return tuple(int(work[pick]) for work, pick in zip(possible, picks, strict=True))

    def _best(self, prompt: int, users: int, done: int) -> FloatArray:
        """Value of users in a phase with the prompt of a set after some steps, from here on, over further steps."""
        if not users:
            return np.zeros(1)
        key = (prompt, users, done)
        if key not in self._cache:
            found = [self._after_exit(prompt, users, done, n) for n in members(users)]
            if done < self.instance.steps.common_max:
                found.append(self._after_step(prompt, users, done))
            if self.nested:
                found += [self._best(users, users, done)] if prompt != users else self._after_splits(users, done)
            self._cache[key] = _largest(found)
        return self._cache[key]

    def _after_exit(self, prompt: int, users: int, done: int, user: int) -> FloatArray:
        steps = self.instance.steps
        own = np.arange(steps.edge_max + 1) * self._device[user]
        own[: steps.edge_min] = -np.inf
        return convolved(self._best(prompt, users & ~(1 << user), done), own)

    def _after_step(self, prompt: int, users: int, done: int) -> FloatArray:
        quality = self._quality[prompt]
        gain = sum(self._device[n] + quality[n, done + 1] - quality[n, done] for n in members(users))
        return np.concatenate([[-np.inf], gain + self._best(prompt, users, done + 1)])

    def _after_splits(self, users: int, done: int) -> list[FloatArray]:
        first = users & -users
        return [
            convolved(self._best(part, part, done), self._best(users ^ part, users ^ part, done))
            for part in subsets(users)
            if part & first and part != users
        ]


@dataclass(frozen=True)
class Best:
    """The best partition, as bit masks, its server steps W_m, its utility, and a proven upper bound."""

    blocks: tuple[int, ...]
    work: tuple[int, ...]
    utility: float
    bound: float


def solve(instance: Instance, *, nested: bool = True) -> Best:
    """Return the optimum over partitions into at most M trees (or flat clusters), with real SMs at their best."""
    tables = Nested(instance, nested)
    energy, budget = edge_step_energy_cost(instance), instance.sm_budget
    constant = -transmission_cost(instance) - instance.steps.total * float(device_step_cost(instance).sum())
    gains: dict[int, tuple[FloatArray, FloatArray]] = {}
    for mask in range(1, 1 << instance.users):
        value = tables.block(mask)
        work = np.flatnonzero(np.isfinite(value))
        cost = float(edge_work_cost(instance, np.array(mask.bit_count())))
        gains[mask] = (value[work] - energy * work, np.sqrt(cost * work))
    best, bound = None, -np.inf
    for blocks in partitions(instance.users, instance.max_clusters):
        parts = [gains[mask] for mask in blocks]
        offsets = np.concatenate([[0], np.cumsum([len(gain) for gain, _ in parts])])
        gain, load = (np.concatenate([part[k] for part in parts]) for k in (0, 1))
        found = scalar_coupling.maximise(gain, load, offsets, budget, constant=constant)
        bound = max(bound, constant + found.bound)
        if best is None or constant + found.value > best.utility:
            best = Best(blocks, tables.work_of(blocks, found.choice - offsets[:-1]), constant + found.value, 0.0)
    if best is None:
        raise InputError("max_clusters: leaves no partition")
    return Best(best.blocks, best.work, best.utility, bound)


def members(mask: int) -> Iterator[int]:
    """Yield the users of a set."""
    n = 0
    while mask >> n:
        if mask >> n & 1:
            yield n
        n += 1


def subsets(mask: int) -> Iterator[int]:
    """Yield the non-empty subsets of a set."""
    part = mask
    while part:
        yield part
        part = (part - 1) & mask


def partitions(users: int, most: int) -> Iterator[tuple[int, ...]]:
    """Yield the partitions of users into at most so many sets."""

    def rest(left: int, allowed: int) -> Iterator[tuple[int, ...]]:
        if not left:
            yield ()
        elif allowed:
            first = left & -left
            for part in subsets(left):
                if part & first:
                    yield from ((part, *others) for others in rest(left ^ part, allowed - 1))

    yield from rest((1 << users) - 1, most)


def convolved(one: FloatArray, other: FloatArray) -> FloatArray:
    """Return the (max, +) convolution: the best value for each sum of steps."""
    short, long = sorted((one, other), key=len)
    found = np.full(len(short) + len(long) - 1, -np.inf)
    for shift in np.flatnonzero(short > -np.inf):
        np.maximum(found[shift : shift + len(long)], long + short[shift], out=found[shift : shift + len(long)])
    return found


def _largest(found: list[FloatArray]) -> FloatArray:
    best = np.full(max(map(len, found)), -np.inf)
    for one in found:
        np.maximum(best[: len(one)], one, out=best[: len(one)])
    return best
