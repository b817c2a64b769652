"""Where training's decision points come from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from hisopt.solvers.policy.step_game import StepGame
from hisopt.text.corpus import shipped

if TYPE_CHECKING:
    from collections.abc import Callable

    from hisopt.instances import IccInstance, Instance
    from hisopt.solvers.policy.settings import Settings


class Contexts:
    """Decision points: instances of a scenario with HAC's clusters, some replaced by fresh ones now and then."""

    def __init__(
        self, settings: Settings, clustered: Callable[[Instance | IccInstance], Instance | IccInstance]
    ) -> None:
        self.scenario, self.clustered, self.next_seed = settings.scenario, clustered, 1 + settings.seed * 1_000_003
        self.corpus = shipped().part("training") if settings.split_subjects else None
        self.game = StepGame.of([self._draw() for _ in range(settings.instances)], torch.float32)

    def _draw(self) -> Instance | IccInstance:
        self.next_seed += 1
        return self.clustered(self.scenario.sample(self.next_seed, self.corpus))

    def refresh(self, count: int, generator: torch.Generator) -> None:
        """Replace some instances by new ones."""
        for place in torch.randperm(len(self.game), generator=generator)[:count].tolist():
            self.game.put(place, StepGame.of([self._draw()], torch.float32))

    def draw(self, count: int, generator: torch.Generator) -> StepGame:
        """Return instances at random, with repetition."""
        return self.game.take(torch.randint(len(self.game), (count,), generator=generator))
