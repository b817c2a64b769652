"""PPO-Lagrangian for mobile edge generation: clipped policy gradients on r - lambda c, with lambda by dual ascent.

A. Ray, J. Achiam, D. Amodei, "Benchmarking Safe Exploration in Deep Reinforcement Learning", 2019. Slots do not depend on
actions before, so an advantage is a slot's own value less that of its bin.

Two things keep it from swinging between policies that break one limit each. At the right prices the best actions of a bin are
equally good, and advantages divided by their deviation would blow up what is left of a difference: they are divided by the first
batch's. And the price has a term in proportion to the present violation (A. Stooke, J. Achiam, P. Abbeel, "Responsive Safety in
Reinforcement Learning by PID Lagrangian Methods", ICML 2020). What is returned is the average of the weights over the last part
of the iterations, as the average of the iterates is what dual ascent brings to the optimum.
"""

from __future__ import annotations

import copy
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
    """Hyperparameters; see the module.

    ``price_rate`` is the step of the dual ascent on relative violations, ``proportional`` the part of the price that goes with
    the present one; the weight of ``entropy`` falls to ``entropy_end``; ``normalise`` divides by each batch's deviation, as
    published; ``averaged`` is the share of the iterations, the last ones, over which weights are averaged, 0 for none.
    """

    iterations: int = 200
    slots: int = 2048  # of each iteration
    epochs: int = 10
    clip: float = 0.2
    entropy: float = 0.03
    entropy_end: float = 0.003
    hidden: int = 64
    rate: float = 1e-3
    price_rate: float = 2.0  # .5 follows too slowly: a limit stays broken by .2 to .3 %; 5 costs twice the reward
    proportional: float = 2.0
    normalise: bool = False
    averaged: float = 0.25
    seed: int = 0


PLAIN = PpoSettings(
    entropy=0.001, entropy_end=0.001, rate=3e-3, price_rate=2.0, proportional=0.0, normalise=True, averaged=0.0
)
"""Without the proportional term, the fixed scale of advantages, the average and the falling entropy."""


def train(problem: Meg, settings: PpoSettings, tell: Callable[[int, FloatArray], None] = lambda *_: None) -> nn.Module:
    """Train an actor; ``tell`` gets the iteration and the policy (H, A) before each. The same seed gives the same actor."""
    torch.manual_seed(settings.seed)
    slots, seen, process = Slots(problem, settings.seed), features(problem), problem.process
    actor, critic = network(1, problem.shapes["policy"][1], settings.hidden), network(1, 1, settings.hidden)
    optimiser = torch.optim.Adam([*actor.parameters(), *critic.parameters()], lr=settings.rate)
    schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.05, settings.iterations)
    integral, deviation = np.zeros(len(process.limits)), 0.0
    average, averaged = copy.deepcopy(actor), 0
    for iteration in range(settings.iterations):
        policy = policy_of(actor, problem)
        tell(iteration, policy_of(average, problem) if averaged else policy)
        batch = slots.live(policy, settings.slots)
        costs = batch.costs / process.scale
        violation = costs.mean(axis=0) - process.limits / process.scale
        integral = np.maximum(0.0, integral + settings.price_rate * violation)
        prices = np.maximum(0.0, integral + settings.proportional * violation)
        worth = torch.from_numpy((batch.rewards - costs @ prices) / (1 + prices.sum())).float()
        bins, actions = torch.from_numpy(batch.bins), torch.from_numpy(batch.actions)
        old = torch.from_numpy(np.log(np.maximum(policy, 1e-300))[batch.bins, batch.actions]).float()
        with torch.no_grad():
            advantage = worth - critic(seen)[bins, 0]
            if settings.normalise or not iteration:
                deviation = float(advantage.std()) + 1e-8
            advantage = (advantage - advantage.mean()) / deviation
        share = iteration / max(settings.iterations - 1, 1)
        entropy = (1 - share) * settings.entropy + share * settings.entropy_end
        for _ in range(settings.epochs):
            log_policy = torch.log_softmax(actor(seen), dim=1)
            ratio = (log_policy[bins, actions] - old).exp()
            clipped = ratio.clamp(1 - settings.clip, 1 + settings.clip)
            gain = torch.minimum(ratio * advantage, clipped * advantage).mean()
            spread = -(log_policy.exp() * log_policy).sum(dim=1)[bins].mean()
            missed = ((critic(seen)[bins, 0] - worth) ** 2).mean()
            loss = missed - gain - entropy * spread
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        schedule.step()
        if iteration >= (1 - settings.averaged) * settings.iterations:
            averaged += 1
            with torch.no_grad():
                for mean, value in zip(average.parameters(), actor.parameters(), strict=True):
                    mean.add_((value - mean) / averaged)
    return average if averaged else actor
