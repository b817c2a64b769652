"""How far a policy under training is from proven optima, on instances that training never draws."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hisopt.problems import problem_of
from hisopt.result import Limits
from hisopt.solvers.clustering.hac import clustered
from hisopt.solvers.joint.exact import JointExact
from hisopt.solvers.policy.step_game import StepGame
from hisopt.solvers.steps.enumeration import Enumeration
from hisopt.text.corpus import shipped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hisopt.arrays import FloatArray
    from hisopt.instances import IccInstance, Instance
    from hisopt.instances.scenario import Scenario
    from hisopt.solvers.policy.trainer import Trainer

# first seeds of three sets that training, whose seeds are smaller, never draws: one judges what is reported, one chooses
# among the parameters of a run, and settings are chosen by the third, so that the first never chose anything
HELD_OUT, VALIDATION, CHOOSING = 10**12, 2 * 10**12, 3 * 10**12


def held_out(
    scenario: Scenario, count: int, first: int = HELD_OUT, *, split_subjects: bool = False
) -> list[Instance | IccInstance]:
    """Return seeded instances with HAC's clusters.

    They are other draws from the same prompts as training's, unless ``split_subjects``: then from subjects that training
    does not see, others for judgement than for validation and choice.
    """
    corpus = shipped().part("judgement" if first == HELD_OUT else "validation") if split_subjects else None
    return [clustered(scenario.sample(first + k, corpus)) for k in range(count)]


class PolicyGap:
    """The gap of a trainer's policy to the proven optima of some instances."""

    def __init__(self, instances: Sequence[Instance | IccInstance]) -> None:
        self.game = StepGame.of(instances)
        kind, solver = ("joint", JointExact()) if self.game.shared_sms else ("steps", Enumeration())
        bounds = [solver.solve(problem_of(kind, i), Limits()).bound for i in instances]  # type: ignore[arg-type]
        self.optimum = np.array(bounds, dtype=np.float64)

    def __call__(self, trainer: Trainer) -> dict[str, float]:
        """Return the mean and the largest relative gap of the most likely actions."""
        gap = self.gaps(trainer)
        return {"gap_mean": float(gap.mean()), "gap_worst": float(gap.max())}

    def tail(self, trainer: Trainer) -> float:
        """Return the mean gap of the worst twentieth of the instances."""
        gap = np.sort(self.gaps(trainer))
        return float(gap[-max(len(gap) // 20, 1) :].mean())

    def gaps(self, trainer: Trainer) -> FloatArray:
        """Return the relative gap of each instance, shape (instances,)."""
        return np.asarray((self.optimum - trainer.utility(self.game).numpy()) / abs(self.optimum))
