"""PPO-Lagrangian for mobile edge generation: clipped policy gradients on r - lambda c, with lambda by dual ascent.

A. Ray, J. Achiam, D. Amodei, "Benchmarking Safe Exploration in Deep Reinforcement Learning", 2019. Slots do not depend on
actions before, so an advantage is a slot's own value less that of its bin.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from hisopt.solvers.meg.learning import Slots, features, network, policy_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn

    from hisopt.arrays import FloatArray
    from hisopt.problems import Meg


@dataclass(frozen=True)
class PpoSettings:
    """Hyperparameters; ``price_rate`` is the step of the dual ascent on relative violations."""

    iterations: int = 400
    slots: int = 2048  # of each iteration
    epochs: int = 10
    clip: float = 0.2
    entropy: float = 0.001
    hidden: int = 64
    rate: float = 3e-3
    price_rate: float = 2.0
    seed: int = 0


def train(
    problem: Meg, settings: PpoSettings, tell: Callable[[int, FloatArray], None] = lambda i, policy: None
) -> nn.Module:
    """Train an actor; ``tell`` gets the iteration and the policy (H, A) before each. The same seed gives the same actor."""
    torch.manual_seed(settings.seed)
    slots, seen, process = Slots(problem, settings.seed), features(problem), problem.process
    actor, critic = network(1, problem.shapes["policy"][1], settings.hidden), network(1, 1, settings.hidden)
    optimiser = torch.optim.Adam([*actor.parameters(), *critic.parameters()], lr=settings.rate)
    schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.05, settings.iterations)
    prices = np.zeros(len(process.limits))
    for iteration in range(settings.iterations):
        policy = policy_of(actor, problem)
        tell(iteration, policy)
        batch = slots.live(policy, settings.slots)
        costs = batch.costs / process.scale
        prices = np.maximum(0.0, prices + settings.price_rate * (costs.mean(axis=0) - process.limits / process.scale))
        worth = torch.from_numpy((batch.rewards - costs @ prices) / (1 + prices.sum())).float()
        bins, actions = torch.from_numpy(batch.bins), torch.from_numpy(batch.actions)
        old = torch.from_numpy(np.log(np.maximum(policy, 1e-300))[batch.bins, batch.actions]).float()
        with torch.no_grad():
            advantage = worth - critic(seen)[bins, 0]
            advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
        for _ in range(settings.epochs):
            log_policy = torch.log_softmax(actor(seen), dim=1)
            ratio = (log_policy[bins, actions] - old).exp()
            clipped = ratio.clamp(1 - settings.clip, 1 + settings.clip)
            gain = torch.minimum(ratio * advantage, clipped * advantage).mean()
            spread = -(log_policy.exp() * log_policy).sum(dim=1)[bins].mean()
            missed = ((critic(seen)[bins, 0] - worth) ** 2).mean()
            loss = missed - gain - settings.entropy * spread
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        schedule.step()
    return actor
