"""Constrained Markov decision processes whose actions do not move the state: data, and what a policy is worth.

The long-run distribution nu of the state is then given, and with it the value of every policy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
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
        cls,
        probability: FloatArray,
        reward: FloatArray,
        costs: FloatArray,
        limits: FloatArray,
        allowed: BoolArray | None = None,
    ) -> Cmdp:
        """Return the process; every action is allowed by default. ValueError where shapes differ or a state has no action."""
        allowed = np.ones(reward.shape, dtype=bool) if allowed is None else allowed
        if (
            costs.shape != (len(limits), *reward.shape)
            or len(probability) != len(reward)
            or allowed.shape != reward.shape
        ):
            raise ValueError(f"shapes {probability.shape}, {reward.shape}, {costs.shape}, {limits.shape} do not fit")
        if not np.asarray(allowed.any(axis=1))[probability > 0].all():
            raise ValueError("a state that occurs has no allowed action")
        return cls(probability, reward, costs, limits, allowed)

    @property
    def scale(self) -> FloatArray:
        """What violations are relative to: the size of each limit, 1 where it is zero; shape (K,)."""
        return np.where(self.limits != 0, np.abs(self.limits), 1.0)

    def mean(self, policy: FloatArray) -> tuple[float, FloatArray]:
        """Return mean reward and mean costs, shape (K,), of a policy pi(a | s), shape (S, A)."""
        occupancy = self.probability[:, None] * policy
        return float((occupancy * self.reward).sum()), np.einsum("sa,ksa->k", occupancy, self.costs)
