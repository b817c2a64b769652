"""The decision process of the learned policies as a PettingZoo environment of parallel agents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from gymnasium.spaces import Box, Discrete
from pettingzoo import ParallelEnv

from hisopt.solvers.clustering.hac import clustered
from hisopt.solvers.policy.rewards import REWARDS
from hisopt.solvers.policy.step_game import OBSERVATIONS, StepGame

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from hisopt.instances import IccInstance, Instance
    from hisopt.instances.scenario import Scenario


class StepsEnv(ParallelEnv):  # type: ignore[misc]
    """Every user sees its observation, takes (x_n, y_n) and gets its reward; then the next decision point is drawn.

    Parameters
    ----------
    scenario
        Where instances come from; a new one at every decision point, its users clustered by HAC.
    reward, observation
        One of ``individual`` (33), ``team`` (20), ``marginal``; ``published`` (31) or ``cluster``.
    decision_points
        How many make an episode, after which every agent is truncated.
    fixed
        Whether all decision points of an episode are the same instance.
    cluster
        The clustering in place of HAC.

    Action k of a user is ``actions[k]``, the pair (x, y), shape (K, 2): all pairs within (28b-d, f).
    """

    metadata: ClassVar[dict[str, Any]] = {"name": "hisopt_steps_v0", "render_modes": []}

    def __init__(
        self,
        scenario: Scenario,
        reward: str = "individual",
        observation: str = "published",
        decision_points: int = 10,
        *,
        fixed: bool = False,
        cluster: Callable[[Instance | IccInstance], Instance | IccInstance] = clustered,
    ) -> None:
        if reward not in REWARDS or observation not in OBSERVATIONS or decision_points < 1:
            raise ValueError("reward, observation or decision_points: unknown or < 1")
        self.scenario, self.reward, self.observation = scenario, reward, observation
        self.decision_points, self.fixed, self.cluster = decision_points, fixed, cluster
        self.possible_agents = [f"user_{n}" for n in range(scenario.users)]
        self.actions = scenario.steps.pairs()
        features = len(OBSERVATIONS[observation])
        self.observation_spaces = {a: Box(-np.inf, np.inf, (features,), np.float32) for a in self.possible_agents}
        self.action_spaces = {a: Discrete(len(self.actions)) for a in self.possible_agents}
        self._rng = np.random.default_rng()

    def observation_space(self, agent: str) -> Box:
        """Return an agent's space of observations."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> Discrete:
        """Return an agent's space of actions."""
        return self.action_spaces[agent]

    def reset(
        self,
        seed: int | None = None,
        options: dict[str, Any] | None = None,  # noqa: ARG002
    ) -> tuple[dict[str, NDArray[np.float32]], dict[str, dict[str, Any]]]:
        """Start an episode."""
        if seed is not None:
            self._rng = np.random.default_rng(seed)
        self.agents, self._point = list(self.possible_agents), 0
        self._draw()
        return self._observe(), {agent: {} for agent in self.agents}

    def _draw(self) -> None:
        self.instance = self.cluster(self.scenario.sample(int(self._rng.integers(2**31))))
        self.game = StepGame.of([self.instance])

    def _observe(self) -> dict[str, NDArray[np.float32]]:
        seen = self.game.observation(self.observation)[0].numpy().astype(np.float32)
        return dict(zip(self.agents, seen, strict=True))

    def step(
        self, actions: dict[str, int]
    ) -> tuple[
        dict[str, NDArray[np.float32]], dict[str, float], dict[str, bool], dict[str, bool], dict[str, dict[str, Any]]
    ]:
        """Reward everyone's action and draw the next decision point; infos hold the utility of the last."""
        taken = torch.from_numpy(self.actions[[actions[agent] for agent in self.agents]])
        common, steps_edge = taken[None, :, 0], taken[None, :, 1]
        reward = self.game.reward(self.reward, common, steps_edge)[0].tolist()
        utility = self.game.utility(common, steps_edge).item()
        self._point += 1
        over = self._point >= self.decision_points
        if not self.fixed and not over:
            self._draw()
        agents, seen = self.agents, self._observe()
        if over:
            self.agents = []
        return (
            seen,
            dict(zip(agents, reward, strict=True)),
            dict.fromkeys(agents, False),
            dict.fromkeys(agents, over),
            {agent: {"utility": utility} for agent in agents},
        )

    def render(self) -> None:
        """Show nothing."""

    def close(self) -> None:
        """Hold nothing open."""
