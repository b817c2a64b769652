"""The decision process of the learned policies in batches, in torch alone: what an environment of TorchRL needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from hisopt.solvers.policy.advantages import RewardScale

if TYPE_CHECKING:
    from torch import Tensor

    from hisopt.solvers.policy.contexts import Contexts
    from hisopt.solvers.policy.settings import Settings
    from hisopt.solvers.policy.step_game import StepGame


class BatchedSteps:
    """Decision points in batches: the contexts, observations and rewards that `hisopt.solvers.policy.trainer` learns from.

    Parameters
    ----------
    settings, contexts
        As the trainer takes them; contexts are replaced and drawn by the trainer's own code, once a batch.
    count
        Decision points of a batch, B.
    seed
        Of the draws.

    Attributes
    ----------
    actions
        Pairs (x, y) by the index of an action, shape (K, 2).
    raw
        Mean reward of each batch taken, before normalisation.
    """

    def __init__(self, settings: Settings, contexts: Contexts, count: int, seed: int = 0) -> None:
        self.settings, self.contexts, self.count = settings, contexts, count
        self.actions = torch.from_numpy(contexts.scenario.steps.pairs())
        self.generator = torch.Generator().manual_seed(seed)
        self.rewards = RewardScale(settings.reward_scale, contexts.scenario.users, settings.discount)
        seen = contexts.seen.flatten(0, 1)
        self.centre, self.spread = seen.mean(dim=0), seen.std(dim=0).clamp(min=1e-6)
        self.raw: list[float] = []
        self.game: StepGame

    def draw(self) -> Tensor:
        """Return the standardised observations of new decision points, shape (B, N, features)."""
        drawn = self.contexts.draw(self.count, self.generator)
        self.game = self.contexts.game.take(drawn)
        return (self.contexts.seen[drawn] - self.centre) / self.spread

    def step(self, action: Tensor) -> tuple[Tensor, Tensor]:
        """Return the rewards of actions by index, shape (B, N), and the observations of the next decision points."""
        common, steps_edge = self.actions[action].unbind(dim=2)
        raw = self.game.reward(self.settings.reward, common, steps_edge)
        self.raw.append(raw.mean().item())
        reward = self.rewards(raw.unsqueeze(0)).squeeze(0) if self.settings.normalise_rewards else raw
        if not self.settings.fixed_clusters:
            self.contexts.refresh(self.settings.fresh, self.generator)
        return reward, self.draw()
