"""What the exact algorithms share: a solution, and the Lagrangian of a process whose actions do not move the state.

States s with long-run probabilities nu, rewards r(s, a), costs c_i(s, a) with limits l_i: maximise the mean reward with mean
costs within limits. Occupancies d(s, a) = nu(s) pi(a | s) make it a linear program (Altman, Constrained Markov Decision
Processes, 1999).

A Markov channel changes nothing. Sum the discounted flow balance over actions, x(s) = sum_a d(s, a): as P does not depend on
a, x = (1 - gamma) nu + gamma x P. I - gamma P is regular, and nu = nu P solves the equation, so x = nu whatever the policy.
On average x = x P, which nu solves alone where the chain is irreducible. Either way the occupancies are those d >= 0 with
sum_a d(s, a) = nu(s): the same set for every discount and every transition matrix with this nu.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from hisopt.arrays import FloatArray, IntArray
    from hisopt.cmdp import Cmdp

_CHUNK = 1 << 20  # pairs looked at together


@dataclass(frozen=True)
class CmdpSolution:
    """A policy (S, A), a bound on the mean reward of every feasible one, and the multipliers of the limits (K,).

    ``policy`` is None where no policy meets the limits; ``violation`` is then the least possible largest violation, relative to
    each limit, and 0 otherwise. ``randomised`` counts the states with more than one action.
    """

    policy: FloatArray | None
    bound: float
    multipliers: FloatArray
    violation: float = 0.0
    randomised: int = 0
    iterations: int = 0


def worth(process: Cmdp, multipliers: FloatArray, *, with_reward: bool = True) -> FloatArray:
    """r - mu c of every pair, shape (S, A); without r where only costs count; -inf where not allowed."""
    value = process.reward.copy() if with_reward else np.zeros_like(process.reward)
    for price, cost in zip(multipliers, process.costs, strict=True):
        value -= price * cost
    value[~process.allowed] = -np.inf
    return value


def best_actions(process: Cmdp, multipliers: FloatArray, *, with_reward: bool = True) -> IntArray:
    """Return each state's best action at the multipliers, shape (S,); a slice of states at a time, to keep within caches."""
    best = np.empty(len(process.reward), dtype=np.int64)
    step = max(1, _CHUNK // max(process.reward.shape[1], 1))
    for start in range(0, len(best), step):
        part = slice(start, start + step)
        value = process.reward[part].copy() if with_reward else np.zeros_like(process.reward[part])
        for price, cost in zip(multipliers, process.costs, strict=True):
            value -= price * cost[part]
        value[~process.allowed[part]] = -np.inf
        best[part] = value.argmax(axis=1)
    return best


def means_of(process: Cmdp, actions: IntArray) -> tuple[float, FloatArray]:
    """Return mean reward and mean costs, shape (K,), of a deterministic policy, actions (S,)."""
    states = np.arange(len(actions))
    return float(process.probability @ process.reward[states, actions]), process.costs[
        :, states, actions
    ] @ process.probability


def lagrangian_bound(process: Cmdp, multipliers: FloatArray) -> float:
    """g(mu) = mu l + sum_s nu(s) max_a [r - mu c]: an upper bound on the optimum for every mu >= 0."""
    reward, costs = means_of(process, best_actions(process, multipliers))
    return reward - float(multipliers @ (costs - process.limits))
