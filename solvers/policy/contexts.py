"""Where training's decision points come from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from hisopt.solvers.policy.step_game import StepGame
from hisopt.text.corpus import shipped

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from hisopt.instances import IccInstance, Instance
    from hisopt.solvers.policy.settings import Settings


class Contexts:
    """Decision points: instances of a scenario with HAC's clusters, some replaced by fresh ones now and then."""

    def __init__(
        self, settings: Settings, clustered: Callable[[Instance | IccInstance], Instance | IccInstance]
    ) -> None:
        self.scenario, self.clustered, self.next_seed = settings.scenario, clustered, 1 + settings.seed * 1_000_003
        self.corpus = shipped().part("training") if settings.split_subjects else None
        self.kind, self.repeats = settings.observation, settings.repeats
        self.game = self._fresh(settings.instances)
        self.observe()

    def _fresh(self, count: int) -> StepGame:
        first, self.next_seed = self.next_seed + 1, self.next_seed + count
        return StepGame.of(
            [self.clustered(self.scenario.sample(first + k, self.corpus)) for k in range(count)], torch.float32
        )

    def observe(self) -> None:
        """Compute what users see, ``seen`` (instances, N, features), anew."""
        self.seen = self.game.observation(self.kind)

    def refresh(self, count: int, generator: torch.Generator) -> None:
        """Replace some instances by new ones."""
        places = torch.randperm(len(self.game), generator=generator)[:count]
        if len(places):
            fresh = self._fresh(len(places))
            self.game.put(places, fresh)
            self.seen[places] = fresh.observation(self.kind)

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Return which instances come next, at random, with repetition, each ``repeats`` times in a row, shape (count,)."""
        drawn = torch.randint(len(self.game), (-(-count // self.repeats),), generator=generator)
        return drawn.repeat_interleave(self.repeats)[:count]
