"""Actors and critics: every user has one of its own, or all share one; all of a kind are one batched matrix product."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from hisopt.solvers.policy.kernels import choice, perceptrons, pick
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
        outputs = self.by_agent(inputs)
        if len(outputs) == 1:
            return outputs[0].T.reshape(*inputs.shape[:2], -1)
        return outputs.permute(2, 0, 1)

    def by_agent(self, inputs: Tensor) -> Tensor:
        """Return the outputs of inputs (B, N, inputs) as computed: (N, outputs, B), or (1, outputs, B N) if shared."""
        shared = len(self.weights[0]) == 1
        columns = inputs.reshape(1, -1, inputs.shape[2]).mT if shared else inputs.permute(1, 2, 0)
        return perceptrons(columns, tuple(self.weights), tuple(self.biases))


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
        return self.scale(game.observation(self.settings.observation))

    def scale(self, seen: Tensor) -> Tensor:
        """Return observations standardised."""
        return (seen.to(self.centre.dtype) - self.centre) / self.spread

    def fit_scale(self, seen: Tensor) -> None:
        """Set the scale of observations (B, N, features) from some."""
        seen = seen.to(self.centre.dtype).flatten(0, 1)
        self.centre.copy_(seen.mean(dim=0))
        self.spread.copy_(seen.std(dim=0).clamp(min=1e-6))

    @torch.no_grad()
    def act(
        self, observation: Tensor, generator: torch.Generator | None = None, groups: Tensor | None = None,
        places: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        """Return x, y (B, N) and their log-probability: sampled, or the most likely ones without a generator.

        Users of the same group (B, N) draw with the same random numbers, each from its own distribution. ``places`` says
        which of the observations each of the B decision points sees, where these repeat.
        """
        rows = self._rows(places)
        logits, raw = self._logits(observation)
        shape = (len(observation if places is None else places), observation.shape[1])
        draws: list[Tensor | None] = [None, None]
        if generator is not None:
            numbers = 1 - torch.rand(2, *shape, generator=generator, device=observation.device)
            if groups is not None:
                numbers = numbers.gather(2, groups.expand_as(numbers))
            draws = [self._by_agent(part) for part in numbers]
        common = pick(logits, draws[0], rows)
        edge_logits, edge_rows = self._edge_logits(raw, common, rows)
        steps_edge = pick(edge_logits, draws[1], edge_rows)
        log_probability = choice(logits, common, rows)[0] + choice(edge_logits, steps_edge, edge_rows)[0]
        common, steps_edge, log_probability = (
            self._by_user(part, shape) for part in (common, steps_edge, log_probability)
        )
        return common, steps_edge + self.limits.edge_min, log_probability

    def judge(
        self, observation: Tensor, common: Tensor, steps_edge: Tensor, places: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the log-probability and the entropy of actions, (B, N); y's entropy is that given x; ``places`` as `act`."""
        rows = self._rows(places)
        logits, raw = self._logits(observation)
        x, y = self._by_agent(common), self._by_agent(steps_edge - self.limits.edge_min)
        edge_logits, edge_rows = self._edge_logits(raw, x, rows)
        first, second = choice(logits, x, rows), choice(edge_logits, y, edge_rows)
        log_probability, entropy = (self._by_user(a + b, common.shape) for a, b in zip(first, second, strict=True))
        return log_probability, entropy

    def value(self, observation: Tensor, places: Tensor | None = None) -> Tensor:
        """Return each critic's value, (B, N); ``places`` as `act`."""
        value = self.critic.by_agent(observation)[:, 0]
        rows = self._rows(places)
        count = len(observation) if places is None else len(places)
        return self._by_user(value if rows is None else value.index_select(1, rows), (count, observation.shape[1]))

    # agents first: (N, B), or (1, B N) where all share one network; such tensors have the rows last

    def _by_agent(self, values: Tensor) -> Tensor:
        return values.reshape(1, -1) if self.settings.shared else values.T

    def _by_user(self, values: Tensor, shape: tuple[int, ...]) -> Tensor:
        return values.reshape(shape) if self.settings.shared else values.T

    def _rows(self, places: Tensor | None) -> Tensor | None:
        if places is None or not self.settings.shared:
            return places
        return (places[:, None] * self.users + torch.arange(self.users, device=places.device)).flatten()

    def _logits(self, observation: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of x and of y without regard to x, shapes (agents, X, rows) and (agents, Y, rows)."""
        common, steps_edge = torch.split(
            self.actor.by_agent(observation), [self.values_common, self.values_edge], dim=1
        )
        allowed = self.allowed.any(dim=1)
        if not allowed.all():
            common = common.masked_fill(~allowed.to(common.device)[:, None], -torch.inf)
        return common, steps_edge

    def _edge_logits(self, steps_edge: Tensor, common: Tensor, rows: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Logits of y given x, and the rows of them that decision points see: all alike where y is free of x."""
        if self.allowed.all():
            return steps_edge, rows
        steps_edge = steps_edge if rows is None else steps_edge.index_select(2, rows)
        return steps_edge.masked_fill(~self.allowed.to(steps_edge.device)[common].mT, -torch.inf), None
