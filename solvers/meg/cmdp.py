"""Constrained Markov decision processes whose actions do not move the state: what MEG is, in arrays.

States s with long-run probabilities nu, rewards r(s, a), costs c_i(s, a) with limits l_i: maximise the mean reward with mean costs
within limits. Occupancies d(s, a) = nu(s) pi(a | s) make it a linear program (Altman, Constrained Markov Decision Processes,
1999); because actions do not move the state, the discounted criterion from the long-run start has the same occupancies.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hisopt.arrays import BoolArray, FloatArray


@dataclass(frozen=True)
class Cmdp:
    """``probability`` (S,), ``reward`` (S, A), ``costs`` (K, S, A), ``limits`` (K,), ``allowed`` (S, A) actions."""

    probability: FloatArray
    reward: FloatArray
    costs: FloatArray
    limits: FloatArray
    allowed: BoolArray

    @classmethod
    def of(
        cls, probability: FloatArray, reward: FloatArray, costs: FloatArray, limits: FloatArray, allowed: BoolArray | None = None
    ) -> Cmdp:
        """Return the process; every action is allowed by default. ValueError where shapes differ or a state has no action."""
        allowed = np.ones(reward.shape, dtype=bool) if allowed is None else allowed
        if costs.shape != (len(limits), *reward.shape) or len(probability) != len(reward) or allowed.shape != reward.shape:
            raise ValueError(f"shapes {probability.shape}, {reward.shape}, {costs.shape}, {limits.shape} do not fit")
        if not allowed.any(axis=1)[probability > 0].all():
            raise ValueError("a state that occurs has no allowed action")
        return cls(probability, reward, costs, limits, allowed)

    def mean(self, policy: FloatArray) -> tuple[float, FloatArray]:
        """Return mean reward and mean costs, shape (K,), of a policy pi(a | s), shape (S, A)."""
        occupancy = self.probability[:, None] * policy
        return float((occupancy * self.reward).sum()), np.einsum("sa,ksa->k", occupancy, self.costs)


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


def lagrangian_bound(process: Cmdp, multipliers: FloatArray) -> float:
    """g(mu) = mu l + sum_s nu(s) max_a [r - mu c]: an upper bound on the optimum for every mu >= 0."""
    worth = np.where(process.allowed, process.reward - np.tensordot(multipliers, process.costs, axes=1), -np.inf)
    best = np.where(process.probability > 0, worth.max(axis=1), 0.0)
    return float(multipliers @ process.limits + process.probability @ best)


def deterministic(process: Cmdp, multipliers: FloatArray) -> FloatArray:
    """Return a policy that is best for the Lagrangian at the multipliers, shape (S, A)."""
    worth = np.where(process.allowed, process.reward - np.tensordot(multipliers, process.costs, axes=1), -np.inf)
    policy = np.zeros_like(process.reward)
    policy[np.arange(len(worth)), worth.argmax(axis=1)] = 1.0
    return policy
