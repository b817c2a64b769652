"""Trained policies as solvers: the most likely steps, SMs by Theorem 1."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from typing_extensions import override

from hisopt.decision import Decision
from hisopt.equations import steps_sms
from hisopt.errors import InputError
from hisopt.files import require_file
from hisopt.problems import Joint, Steps
from hisopt.result import Guarantee, Limits, SolverResult, Termination
from hisopt.solvers.base import P, Solver

if TYPE_CHECKING:
    from hisopt.arrays import FloatArray, IntArray

_SUFFIX = ".safetensors"


@dataclass(frozen=True)
class _Learned(Solver[P]):
    guarantee = Guarantee.LEARNED
    packages = ("torch",)
    requires = ("torch", "safetensors")

    policy: str = ""  # a file; the shipped one if empty

    def __post_init__(self) -> None:
        require_file(self.policy)

    def prepare(self) -> None:
        """Import torch."""
        import hisopt.solvers.policy.ippo  # noqa: F401

    def _path(self) -> Path:
        shipped = resources.files("hisopt") / "data" / f"{self.name}{_SUFFIX}"
        return Path(self.policy) if self.policy else Path(str(shipped))

    def _sms(self, problem: P, common: IntArray, steps_edge: IntArray) -> FloatArray | None:
        raise NotImplementedError

    @override
    def solve(self, problem: P, limits: Limits) -> SolverResult:
        from hisopt.solvers.policy import ippo

        policy, instance = ippo.load(self._path()), problem.instance  # type: ignore[attr-defined]
        if policy.settings.algorithm != self.name:
            return _refused(f"the policy is {policy.settings.algorithm}'s")
        if policy.limits != instance.steps:
            return _refused("the policy was trained with other step limits")
        if not policy.settings.shared and policy.users != instance.users:
            return _refused(f"the policy has networks for {policy.users} users, the instance has {instance.users}")
        common, steps_edge = ippo.decide(policy, instance)
        sms = self._sms(problem, common, steps_edge)
        decision = Decision.of_steps(instance.steps.total, common, steps_edge, sms, instance.labels)
        settings = policy.settings
        trained_on = f"trained on {settings.preset}, N = {policy.users}, reward {settings.reward}"
        return SolverResult(Termination.COMPLETED, decision, message=trained_on)


def _refused(reason: str) -> SolverResult:
    return SolverResult(Termination.UNAVAILABLE, message=reason)


@dataclass(frozen=True)
class Ippo(_Learned[Joint]):
    """A policy trained by IPPO (hisopt.train); the shipped one, for the paper preset, unless --policy names another."""

    name = "ippo"
    problems = (Joint,)

    @override
    def _sms(self, problem: Joint, common: IntArray, steps_edge: IntArray) -> FloatArray:
        return steps_sms(problem.instance, common, steps_edge)


@dataclass(frozen=True)
class Hid(_Learned[Steps]):
    """HID, the ICC model's policy, trained by IPPO on the utility as everyone's reward; the shipped one, or --policy."""

    name = "hid"
    problems = (Steps,)

    @override
    def _sms(self, problem: Steps, common: IntArray, steps_edge: IntArray) -> None:
        return None


def solver_of(file: str) -> Solver[Joint] | Solver[Steps]:
    """Return the solver that a policy file is for; raise `InputError` if it is none, or torch is missing."""
    if reason := Ippo().unavailable():
        raise InputError(f"{file}: a policy {reason}")
    from hisopt.solvers.policy import ippo

    path = Path(file).resolve()
    if not path.is_file():
        raise InputError(f"{file}: no such file")
    learner = ippo.load(path).settings.algorithm
    return Hid(policy=str(path)) if learner == Hid.name else Ippo(policy=str(path))
