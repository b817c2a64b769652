"""Constrained Markov decision processes in general, whose actions may move the state: policy iteration on the Lagrangian.

For multipliers mu Howard's policy iteration (Dynamic Programming and Markov Processes, 1960) finds the best deterministic policy
of r - mu c, discounted or on average; the rest is `hisopt.solvers.meg.columns`. Nothing here uses that a channel's transitions do
not depend on the action, so for mobile edge generation it is an independent check of what does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hisopt.solvers.meg.cmdp import CmdpSolution
from hisopt.solvers.meg.columns import Column, cutting_planes

if TYPE_CHECKING:
    from hisopt.arrays import BoolArray, FloatArray, IntArray

_GAIN = 1e-13  # relative to the values: below it a change of action is rounding
_ROUNDS = 1000


@dataclass(frozen=True)
class MovingCmdp:
    """``reward`` (S, A), ``costs`` (K, S, A), ``limits`` (K,), ``allowed`` (S, A), ``start`` (S,), and how states follow.

    ``transition`` is (S, A, S), or (S, S) where it is the same for every action. ``discount`` None: the average in the long run,
    which every policy must reach from every state alike (one recurrent class).
    """

    reward: FloatArray
    costs: FloatArray
    limits: FloatArray
    allowed: BoolArray
    transition: FloatArray
    start: FloatArray
    discount: float | None = None

    @property
    def scale(self) -> FloatArray:
        """What violations are relative to: the size of each limit, 1 where it is zero; shape (K,)."""
        return np.where(self.limits != 0, np.abs(self.limits), 1.0)

    def moves(self, actions: IntArray) -> FloatArray:
        """Return the transition matrix of a deterministic policy, shape (S, S)."""
        if self.transition.ndim == 2:
            return self.transition
        return self.transition[np.arange(len(actions)), actions]

    def ahead(self, values: FloatArray) -> FloatArray:
        """Return the mean of the next state's value for every pair, shape (S, A) or (S, 1)."""
        found = self.transition @ values
        return found[:, None] if found.ndim == 1 else found


def visits(process: MovingCmdp, actions: IntArray) -> FloatArray:
    """Return how often a deterministic policy is in each state, shape (S,): of all slots, or weighed (1 - gamma) gamma^t."""
    moves, size = process.moves(actions), len(actions)
    if process.discount is None:  # one balance follows from the others; the sum takes its place
        balance, entering = np.eye(size) - moves.T, np.zeros(size)
        balance[0], entering[0] = 1.0, 1.0
    else:
        balance = np.eye(size) - process.discount * moves.T
        entering = (1 - process.discount) * process.start
    return np.asarray(np.maximum(np.linalg.solve(balance, entering), 0.0))


def best_policy(process: MovingCmdp, worth: FloatArray) -> IntArray:
    """Return the deterministic policy, shape (S,), with the largest mean ``worth``, shape (S, A), -inf where not allowed."""
    actions: IntArray = worth.argmax(axis=1)
    size = len(worth)
    states = np.arange(size)
    gamma = 1.0 if process.discount is None else process.discount
    for _ in range(_ROUNDS):
        matrix = np.eye(size) - gamma * process.moves(actions)
        if process.discount is None:  # relative values: that of state 0 is zero, and its column holds the mean
            matrix[:, 0] = 1.0
        values: FloatArray = np.asarray(np.linalg.solve(matrix, worth[states, actions]), dtype=np.float64)
        if process.discount is None:
            values[0] = 0.0
        total = worth + gamma * process.ahead(values)
        better = total.argmax(axis=1)
        gained = total[states, better] - total[states, actions]
        size_of = np.maximum(1e-300, np.abs(worth[states, actions]) + np.abs(values).max())
        change = gained > _GAIN * size_of
        if not change.any():
            return actions
        actions = np.where(change, better, actions)
    return actions


def solve(process: MovingCmdp, time_limit_s: float | None = None) -> CmdpSolution | None:
    """Maximise mean reward within the limits; None where the time ran out. See the module."""
    states = np.arange(len(process.reward))

    def oracle(multipliers: FloatArray, *, with_reward: bool) -> Column:
        worth = -np.tensordot(multipliers, process.costs, axes=1) + (process.reward if with_reward else 0.0)
        actions = best_policy(process, np.where(process.allowed, worth, -np.inf))
        seen = visits(process, actions)
        costs = process.costs[:, states, actions] @ seen
        return Column(actions, float(seen @ process.reward[states, actions]), costs, seen)

    found = cutting_planes(oracle, process.limits, process.scale, time_limit_s)
    if found is None:
        return None
    if not found.columns:
        nothing = np.zeros(len(process.limits))
        return CmdpSolution(None, -np.inf, nothing, violation=found.violation, iterations=found.passes)
    policy = found.policy(*process.reward.shape)
    randomised = int(((policy > 0).sum(axis=1) > 1).sum())
    return CmdpSolution(policy, found.bound, found.multipliers, randomised=randomised, iterations=found.passes)
