"""How far a policy under training is from proven optima, on instances that training never draws."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hisopt.arrays import FloatArray
from hisopt.instance import IccInstance, Instance
from hisopt.problem import Problem
from hisopt.result import Limits
from hisopt.scenario import Scenario
from hisopt.solvers.hac import clustered
from hisopt.solvers.icc import Enumeration
from hisopt.solvers.ippo import Trainer
from hisopt.solvers.joint_exact import JointExact
from hisopt.solvers.step_game import StepGame

HELD_OUT, VALIDATION = 10**12, 2 * 10**12  # first seeds; training's are smaller


def held_out(scenario: Scenario, count: int, first: int = HELD_OUT) -> list[Instance | IccInstance]:
    """Return seeded instances with HAC's clusters."""
    return [clustered(scenario.sample(first + k)) for k in range(count)]


class PolicyGap:
    """The gap of a trainer's policy to the proven optima of some instances."""

    def __init__(self, instances: Sequence[Instance | IccInstance]) -> None:
        self.game = StepGame.of(instances)
        kind, solver = ("joint", JointExact()) if self.game.shared_sms else ("steps", Enumeration())
        bounds = [solver.solve(Problem(kind, i), Limits()).bound for i in instances]  # type: ignore[arg-type]
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
