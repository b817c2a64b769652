"""Trained policies of mobile edge generation as solvers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from typing_extensions import override

from hisopt.decision import Decision
from hisopt.errors import InputError
from hisopt.files import require_file
from hisopt.problems import Meg
from hisopt.result import Guarantee, Limits, SolverResult, Termination
from hisopt.solvers.base import Solver
from hisopt.solvers.meg.baselines import thriftiest, within

if TYPE_CHECKING:
    from hisopt.arrays import FloatArray


@dataclass(frozen=True)
class MegPolicy(Solver[Meg]):
    """A policy that ``hisopt.train --algorithm cvpo`` or ``ppo-lagrangian`` wrote, moved within the limits where it breaks one.

    It is moved towards the thriftiest actions, no further than the limits need; the message says how far. It serves any
    channel, with the actions that it was trained with.
    """

    name = "meg-policy"
    problems = (Meg,)
    guarantee = Guarantee.LEARNED
    packages = ("torch",)
    requires = ("torch", "safetensors")

    policy: str = ""

    def __post_init__(self) -> None:
        require_file(self.policy)

    @override
    def prepare(self) -> None:
        import hisopt.solvers.meg.learning  # noqa: F401 - before the clock

    @override
    def solve(self, problem: Meg, limits: Limits) -> SolverResult:
        from hisopt.solvers.meg.learning import policy_of, read_policy

        if not self.policy:
            return SolverResult(Termination.UNAVAILABLE, message="none is shipped: name one, meg-policy:policy=FILE")
        actor = read_policy(Path(self.policy))
        actions = problem.instance.actions
        if actor[-1].out_features != actions:
            reason = f"the policy chooses among {actor[-1].out_features} actions, the instance has {actions}"
            return SolverResult(Termination.UNAVAILABLE, message=reason)
        if problem.blocked is not None:
            return SolverResult(Termination.COMPLETED, message="no action keeps the limits of a slot in some bin")
        found = kept_in_slots(problem, policy_of(actor, problem))
        moved = within(problem, found)
        if moved is None:
            return SolverResult(Termination.COMPLETED, message="the thriftiest actions do not meet the limits")
        share = float(np.abs(moved - found).sum(axis=1).max() / 2)
        message = f"moved within the limits: at most {share:.2%} of a bin's probability" if share > 0 else ""
        return SolverResult(Termination.COMPLETED, Decision(policy=moved), message=message)


def kept_in_slots(problem: Meg, policy: FloatArray) -> FloatArray:
    """Return the policy without actions beyond the limits of a slot; the thriftiest one where nothing is left."""
    found = np.where(problem.allowed, policy, 0.0)
    sums = found.sum(axis=1, keepdims=True)
    return np.asarray(np.where(sums > 0, found / np.maximum(sums, 1e-300), thriftiest(problem)))


def policy_solver(file: str) -> MegPolicy:
    """Return the solver of a policy file; raise `InputError` where it is none, or torch is missing."""
    if reason := MegPolicy().unavailable():
        raise InputError(f"{file}: a policy {reason}")
    from hisopt.solvers.meg.learning import read_policy

    path = Path(file).resolve()
    if not path.is_file():
        raise InputError(f"{file}: no such file")
    read_policy(path)
    return MegPolicy(policy=str(path))
