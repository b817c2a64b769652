"""The learners of mobile edge generation as solvers: they train on the very instance, and tell their policies as they go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from typing_extensions import override

from hisopt.decision import Decision
from hisopt.errors import InputError
from hisopt.problems import Meg
from hisopt.result import Guarantee, Limits, SolverResult, Termination
from hisopt.solvers.base import Deadline, OutOfTime, Solver
from hisopt.solvers.meg.baselines import within
from hisopt.solvers.meg.learned import kept_in_slots
from hisopt.solvers.run.progress import report

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn

    from hisopt.arrays import FloatArray

    Tell = Callable[[int, FloatArray], None]


class _Trained(Solver[Meg]):
    """Trains until its iterations or the time are over; the best policy of all iterations, moved within the limits, counts."""

    problems = (Meg,)
    guarantee = Guarantee.LEARNED
    packages = ("torch",)
    requires = ("torch", "safetensors")

    iterations: int

    def __post_init__(self) -> None:
        if self.iterations < 1:
            raise InputError(f"iterations: is {self.iterations}, must be >= 1")

    def _train(self, problem: Meg, seed: int, tell: Tell) -> nn.Module:
        raise NotImplementedError

    @override
    def solve(self, problem: Meg, limits: Limits) -> SolverResult:
        import torch

        from hisopt.solvers.meg.learning import policy_of

        deadline = Deadline(limits)
        torch.set_num_threads(limits.threads)
        if problem.blocked is not None:
            return SolverResult(Termination.COMPLETED, message="no action keeps the limits of a slot in some bin")
        best = _Best(problem)

        def tell(iteration: int, policy: FloatArray) -> None:
            best.offer(iteration, policy)
            deadline.check()

        try:
            actor = self._train(problem, limits.seed, tell)
            best.offer(self.iterations, policy_of(actor, problem))
            termination = Termination.COMPLETED
        except OutOfTime:
            termination = Termination.TIME_LIMIT
        if best.decision is None:
            return SolverResult(termination, message="the thriftiest actions do not meet the limits")
        details = {"iterations": best.seen, "best_iteration": best.iteration}
        return SolverResult(termination, best.decision, details=details)


@dataclass
class _Best:
    """The best policy offered so far, told whenever it improves."""

    problem: Meg
    decision: Decision | None = None
    reward: float = -np.inf
    iteration: int = 0
    seen: int = 0

    def offer(self, iteration: int, policy: FloatArray) -> None:
        """Move a policy, shape (H, A), within the limits, and keep it where its mean reward is the best."""
        self.seen = iteration
        moved = within(self.problem, kept_in_slots(self.problem, policy))
        if moved is None:
            return
        reward = float(self.problem.process.mean(moved)[0])
        if reward > self.reward:
            self.decision, self.reward, self.iteration = Decision(policy=moved), reward, iteration
            report(self.decision)


@dataclass(frozen=True)
class Cvpo(_Trained):
    """MEG-CVPO trained on the instance within the time limit; ``discount=0.97,constraint=published`` is the paper's.

    Every iteration's policy is moved within the limits, as `MegPolicy` does, and the best of them is the answer.
    """

    name = "cvpo"

    iterations: int = 40
    slots: int = 2048
    discount: float = 0.0
    constraint: str = "corrected"

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_slots(self.slots)
        if not 0 <= self.discount < 1:
            raise InputError(f"discount: is {self.discount:g}, must be in [0, 1)")
        if self.constraint not in ("published", "corrected"):
            raise InputError(f"constraint: {self.constraint!r} is none of published, corrected")

    @override
    def prepare(self) -> None:
        import hisopt.solvers.meg.cvpo  # noqa: F401 - before the clock

    @override
    def _train(self, problem: Meg, seed: int, tell: Tell) -> nn.Module:
        from hisopt.solvers.meg.cvpo import CvpoSettings, train

        settings = CvpoSettings(
            iterations=self.iterations,
            slots=self.slots,
            discount=self.discount,
            constraint="published" if self.constraint == "published" else "corrected",
            seed=seed,
        )
        return train(problem, settings, tell)


@dataclass(frozen=True)
class PpoLagrangian(_Trained):
    """PPO-Lagrangian trained on the instance within the time limit, judged and moved within the limits like `Cvpo`."""

    name = "ppo-lagrangian"

    iterations: int = 200
    slots: int = 2048

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_slots(self.slots)

    @override
    def prepare(self) -> None:
        import hisopt.solvers.meg.ppo_lagrangian  # noqa: F401 - before the clock

    @override
    def _train(self, problem: Meg, seed: int, tell: Tell) -> nn.Module:
        from hisopt.solvers.meg.ppo_lagrangian import PpoSettings, train

        return train(problem, PpoSettings(iterations=self.iterations, slots=self.slots, seed=seed), tell)


def _check_slots(slots: int) -> None:
    if slots < 1:
        raise InputError(f"slots: is {slots}, must be >= 1")
