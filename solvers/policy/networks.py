"""Actors and critics: every user has one of its own, or all share one; all of a kind are one batched matrix product."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from hisopt.solvers.policy.step_game import OBSERVATIONS, StepGame

if TYPE_CHECKING:
    from hisopt.instances import StepLimits
    from hisopt.solvers.policy.settings import Settings


class AgentNetworks(nn.Module):
    """One multilayer perceptron per agent as batched products: (B, N, inputs) -> (B, N, outputs); one for all if shared.

    Weights are orthogonal, or zero where there is no generator: those of a policy that is read are replaced at once.
    """

    def __init__(
        self, agents: int, sizes: tuple[int, ...], last_gain: float, generator: torch.Generator | None
    ) -> None:
        super().__init__()
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for i, (rows, columns) in enumerate(pairwise(sizes)):
            gain = last_gain if i == len(sizes) - 2 else math.sqrt(2)
            weight = torch.zeros(agents, rows, columns)
            for agent in range(agents) if generator is not None else ():
                nn.init.orthogonal_(weight[agent], gain, generator=generator)
            self.weights.append(nn.Parameter(weight))
            self.biases.append(nn.Parameter(torch.zeros(agents, 1, columns)))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the outputs."""
        shared = len(self.weights[0]) == 1
        hidden = inputs.reshape(1, -1, inputs.shape[2]) if shared else inputs.transpose(0, 1)
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            hidden = torch.baddbmm(bias, hidden, weight)
            if i < len(self.weights) - 1:
                hidden = torch.tanh(hidden)
        return hidden.reshape(*inputs.shape[:2], -1) if shared else hidden.transpose(0, 1)


class Policy(nn.Module):
    """Actors and critics, the scale of observations, and the distribution of x_n and then of y_n within their bounds."""

    centre: Tensor
    spread: Tensor

    def __init__(self, settings: Settings, limits: StepLimits, users: int, seed: int | None = 0) -> None:
        super().__init__()
        self.settings, self.limits, self.users = settings, limits, users
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        inputs = len(OBSERVATIONS[settings.observation])
        self.values_common, self.values_edge = limits.common_max + 1, limits.edge_max - limits.edge_min + 1
        agents = 1 if settings.shared else users
        outputs = self.values_common + self.values_edge
        self.actor = AgentNetworks(agents, (inputs, *settings.hidden, outputs), 0.01, generator)
        self.critic = AgentNetworks(agents, (inputs, *settings.hidden, 1), 1.0, generator)
        self.register_buffer("centre", torch.zeros(inputs))
        self.register_buffer("spread", torch.ones(inputs))
        common = torch.arange(self.values_common)[:, None]
        served = common + limits.edge_min + torch.arange(self.values_edge)[None, :]
        self.allowed = (served >= limits.served_min) & (served <= limits.served_max)

    def scaled(self, game: StepGame) -> Tensor:
        """Return standardised observations, (B, N, features)."""
        seen = game.observation(self.settings.observation).to(self.centre.dtype)
        return (seen - self.centre) / self.spread

    def fit_scale(self, game: StepGame) -> None:
        """Set the scale of observations from instances."""
        seen = game.observation(self.settings.observation).to(self.centre.dtype).flatten(0, 1)
        self.centre.copy_(seen.mean(dim=0))
        self.spread.copy_(seen.std(dim=0).clamp(min=1e-6))

    def _logits(self, observation: Tensor) -> tuple[Tensor, Tensor]:
        common, edge = self.actor(observation).split((self.values_common, self.values_edge), dim=2)
        allowed = self.allowed.any(dim=1).to(common.device)
        return common.masked_fill(~allowed, -torch.inf).log_softmax(dim=2), edge

    def _edge_logits(self, edge: Tensor, common: Tensor) -> Tensor:
        if bool(self.allowed.all()):
            return edge.log_softmax(dim=2)
        return edge.masked_fill(~self.allowed.to(edge.device)[common], -torch.inf).log_softmax(dim=2)

    @torch.no_grad()
    def act(
        self, observation: Tensor, generator: torch.Generator | None = None, groups: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return x, y (B, N) and their log-probability: sampled, or the most likely ones without a generator.

        Users of the same group (B, N) draw with the same random numbers, each from its own distribution.
        """
        common_logits, edge = self._logits(observation)
        common = _pick(common_logits, generator, groups)
        edge_logits = self._edge_logits(edge, common)
        index = _pick(edge_logits, generator, groups)
        log_probability = _at(common_logits, common) + _at(edge_logits, index)
        return common, index + self.limits.edge_min, log_probability

    def judge(self, observation: Tensor, common: Tensor, edge: Tensor) -> tuple[Tensor, Tensor]:
        """Return the log-probability and the entropy of actions, (B, N); y's entropy is that given x."""
        common_logits, raw = self._logits(observation)
        edge_logits = self._edge_logits(raw, common)
        log_probability = _at(common_logits, common) + _at(edge_logits, edge - self.limits.edge_min)
        return log_probability, _entropy(common_logits) + _entropy(edge_logits)

    def value(self, observation: Tensor) -> Tensor:
        """Return each critic's value, (B, N)."""
        return self.critic(observation).squeeze(2)  # type: ignore[no-any-return]


def _pick(logits: Tensor, generator: torch.Generator | None, groups: Tensor | None) -> Tensor:
    if generator is None:
        return logits.argmax(dim=2)
    noise = torch.rand(logits.shape, generator=generator, device=logits.device).clamp(min=1e-20)
    if groups is not None:
        noise = noise.gather(1, groups.unsqueeze(2).expand_as(logits))
    return (logits - (-noise.log()).log()).argmax(dim=2)  # Gumbel


def _at(logits: Tensor, index: Tensor) -> Tensor:
    return logits.gather(2, index.unsqueeze(2)).squeeze(2)


def _entropy(logits: Tensor) -> Tensor:
    return -(logits.exp() * logits.clamp(min=-1e9)).sum(dim=2)
