"""Kelley's cutting planes on the Lagrangian dual of a constrained Markov decision process; the column generation of its policies.

For multipliers mu the dual's value g(mu) = mu l + max over policies of (r - mu c) is attained by a deterministic policy, which an
oracle finds. g is convex and piecewise linear; cutting planes (Kelley, SIAM J. Applied Mathematics 8(4), 1960) minimise it over a
program of one row a limit and one column a policy seen. Its solution mixes at most one policy more than there are limits; as
occupancies are linear in the mixture, the mixture is itself a policy with the mixed means (Dantzig and Wolfe, 1960).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from scipy.optimize import OptimizeResult, linprog

if TYPE_CHECKING:
    from hisopt.arrays import FloatArray, IntArray

_CLOSED = 1e-12  # relative distance of the bound at which the program has ended
_REPEATED = 1e-15  # relative size of a policy's difference to one seen, at which rounding alone tells them apart
_INFEASIBLE = 1e-9  # relative violation from which limits cannot be met
_PASSES = 1000


@dataclass(frozen=True)
class Column:
    """A deterministic policy: its actions (S,), mean reward and mean costs (K,), and how often it visits each state (S,)."""

    actions: IntArray
    reward: float
    costs: FloatArray
    visits: FloatArray


class Oracle(Protocol):
    """Finds the best deterministic policy at some multipliers."""

    def __call__(self, multipliers: FloatArray, *, with_reward: bool) -> Column:
        """Return the one with the largest mean of r - mu c, or without the reward the one with the least mean of mu c."""
        ...


@dataclass(frozen=True)
class Mixture:
    """The columns and their shares, a bound on every policy within the limits, and the multipliers (K,) that give it.

    ``columns`` are empty where no policy meets the limits; ``violation`` is then the least possible largest one, relative.
    """

    columns: tuple[Column, ...]
    shares: FloatArray
    bound: float
    multipliers: FloatArray
    violation: float
    passes: int

    def policy(self, states: int, actions: int) -> FloatArray:
        """Return the policy of the mixed occupancies, shape (S, A); states that are never visited mix the actions alone."""
        occupancy, plain = np.zeros((states, actions)), np.zeros((states, actions))
        rows = np.arange(states)
        for share, column in zip(self.shares, self.columns, strict=True):
            occupancy[rows, column.actions] += share * column.visits
            plain[rows, column.actions] += share
        visited = occupancy.sum(axis=1) > 0
        found = np.where(visited[:, None], occupancy, plain)
        return np.asarray(found / found.sum(axis=1, keepdims=True))


class _Master:
    """The program over the columns seen."""

    def __init__(self, oracle: Oracle, limits: FloatArray, scale: FloatArray) -> None:
        self._oracle, self.limits, self._scale = oracle, limits, scale
        self.columns: list[Column] = []
        self.repeated = False  # whether the last column was there before: no multiplier leads further

    def take(self, multipliers: FloatArray, *, with_reward: bool) -> Column:
        """Take in the best policy at the multipliers."""
        found = self._oracle(multipliers, with_reward=with_reward)
        self.repeated = any(
            abs(found.reward - known.reward) <= _REPEATED * abs(found.reward)
            and (np.abs(found.costs - known.costs) <= _REPEATED * np.abs(found.costs)).all()
            for known in self.columns
        )
        self.columns.append(found)
        return found

    def mix(self, *, elastic: bool) -> tuple[OptimizeResult, FloatArray]:
        """Return the best mixture within the limits (elastic: of least violation), and the multipliers, shape (K,)."""
        count = len(self.columns)
        rows = np.array([column.costs for column in self.columns]).T / self._scale[:, None]
        gain, one = -np.array([column.reward for column in self.columns]), np.ones((1, count))
        if elastic:
            rows = np.hstack([rows, -np.ones((len(rows), 1))])
            gain, one = np.append(np.zeros(count), 1.0), np.append(one, [[0.0]], axis=1)
        found = linprog(
            gain, A_ub=rows, b_ub=self.limits / self._scale, A_eq=one, b_eq=[1.0], bounds=(0, None), method="highs-ds",
            options={"dual_feasibility_tolerance": 1e-10, "primal_feasibility_tolerance": 1e-10},
        )  # fmt: skip
        if found.status != 0:
            raise ArithmeticError(f"HiGHS: {found.message}")
        return found, np.maximum(-found.ineqlin.marginals, 0.0) / self._scale


def cutting_planes(
    oracle: Oracle, limits: FloatArray, scale: FloatArray, time_limit_s: float | None = None
) -> Mixture | None:
    """Maximise the mean reward within the limits, violations relative to ``scale``, both (K,); None where the time ran out."""
    end = np.inf if time_limit_s is None else time.perf_counter() + time_limit_s
    master, count = _Master(oracle, limits, scale), len(limits)
    for k in range(count):
        master.take(np.eye(count)[k] / scale[k], with_reward=False)
    violation = np.inf
    for _ in range(_PASSES):  # phase one: the least violation
        found, price = master.mix(elastic=True)
        violation = float(found.x[-1])
        if violation <= 0:
            break
        costs = master.take(price, with_reward=False).costs
        if master.repeated or violation - float(price @ (costs - limits)) <= _CLOSED * max(1.0, violation):
            break
        if time.perf_counter() > end:
            return None
    if violation > _INFEASIBLE:
        return Mixture((), np.zeros(0), -np.inf, np.zeros(count), violation, len(master.columns))
    bound, multipliers = np.inf, np.zeros(count)
    master.take(np.zeros(count), with_reward=True)
    for _ in range(_PASSES):
        found, price = master.mix(elastic=False)
        column = master.take(price, with_reward=True)
        value = column.reward - float(price @ (column.costs - limits))
        if value < bound:
            bound, multipliers = value, price
        if master.repeated or bound + found.fun <= _CLOSED * max(1.0, abs(bound)):
            break
        if time.perf_counter() > end:
            return None
    used = np.flatnonzero(found.x > 0)
    return Mixture(tuple(master.columns[i] for i in used), found.x[used], bound, multipliers, 0.0, len(master.columns))
