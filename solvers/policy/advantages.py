"""What learning makes of rewards: generalised advantages, and the ways to normalise."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium.wrappers.utils import RunningMeanStd
from torch import Tensor


def advantages(rewards: Tensor, values: Tensor, discount: float, gae_lambda: float) -> Tensor:
    """Generalised advantage estimates along the first axis; rewards (T, ...), values (T + 1, ...)."""
    found, running = torch.empty_like(rewards), torch.zeros_like(rewards[0])
    for t in range(len(rewards) - 1, -1, -1):
        error = rewards[t] + discount * values[t + 1] - values[t]
        running = error + discount * gae_lambda * running
        found[t] = running
    return found


class RewardScale:
    """Normalises rewards by what was seen so far, in one of the ways of `REWARD_SCALES`."""

    def __init__(self, kind: str, agents: int, discount: float) -> None:
        self.kind, self.discount = kind, discount
        self.seen = RunningMeanStd(epsilon=0.0, shape=(agents,) if kind == "agent" else ())
        self._returns: np.ndarray | None = None

    def __call__(self, rewards: Tensor) -> Tensor:
        """Take in rewards (T, environments, agents), one decision point after the other, and return them normalised."""
        values = rewards.detach().double().cpu().numpy()
        if self.kind == "return":
            values = self._discounted(values)
        self.seen.update(values.reshape(-1, values.shape[-1]) if self.kind == "agent" else values.ravel())
        deviation = torch.as_tensor(np.sqrt(self.seen.var + 1e-8)).to(rewards)
        centre = 0.0 if self.kind == "return" else torch.as_tensor(self.seen.mean).to(rewards)
        return (rewards - centre) / deviation

    def _discounted(self, rewards: np.ndarray) -> np.ndarray:
        running = np.zeros_like(rewards[0]) if self._returns is None else self._returns
        found = np.empty_like(rewards)
        for t, reward in enumerate(rewards):
            found[t] = running = self.discount * running + reward
        self._returns = running
        return found

    def state(self) -> dict[str, Any]:
        """Return what `restore` needs, as JSON values."""
        returns = None if self._returns is None else self._returns.tolist()
        return {"count": self.seen.count, "mean": self.seen.mean.tolist(), "variance": self.seen.var.tolist(),
                "returns": returns}  # fmt: skip

    def restore(self, state: dict[str, Any]) -> None:
        """Take up what `state` returned."""
        self.seen.count = state["count"]
        self.seen.mean, self.seen.var = np.asarray(state["mean"]), np.asarray(state["variance"])
        self._returns = None if state["returns"] is None else np.asarray(state["returns"])
