"""Trained policies as solvers: the most likely steps, SMs by Theorem 1."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from hisopt.decision import Decision
from hisopt.equations import steps_sms
from hisopt.errors import InputError
from hisopt.problem import Problem
from hisopt.result import Guarantee, Limits, SolverResult, Termination
from hisopt.solvers.base import Solver

SUFFIX = ".safetensors"


@dataclass(frozen=True)
class _Learned(Solver):
    guarantee = Guarantee.LEARNED
    packages = ("torch",)
    requires = ("torch", "safetensors")

    policy: str = ""  # a file; the shipped one if empty

    def prepare(self) -> None:
        """Import torch."""
        import hisopt.solvers.policy.ippo  # noqa: F401

    def _path(self) -> Path:
        shipped = resources.files("hisopt") / "data" / f"{self.name}{SUFFIX}"
        return Path(self.policy) if self.policy else Path(str(shipped))

    def solve(self, problem: Problem, limits: Limits) -> SolverResult:
        """See the class."""
        from hisopt.solvers.policy import ippo

        policy, instance = ippo.load(self._path()), problem.instance
        if policy.settings.algorithm != self.name:
            return _refused(f"the policy is {policy.settings.algorithm}'s")
        if policy.limits != instance.steps:
            return _refused("the policy was trained with other step limits")
        if not policy.settings.shared and policy.users != instance.users:
            return _refused(f"the policy has networks for {policy.users} users, the instance has {instance.users}")
        common, edge = ippo.decide(policy, instance)
        sms = steps_sms(problem.his, common, edge) if self.name == "ippo" else None
        decision = Decision.of_steps(instance.steps.total, common, edge, sms, instance.clusters)
        settings = policy.settings
        trained_on = f"trained on {settings.preset}, N = {policy.users}, reward {settings.reward}"
        return SolverResult(Termination.COMPLETED, decision, message=trained_on)


def _refused(reason: str) -> SolverResult:
    return SolverResult(Termination.UNAVAILABLE, message=reason)


@dataclass(frozen=True)
class Ippo(_Learned):
    """A policy trained by IPPO (hisopt.train); the shipped one, for the paper preset, unless --policy names another."""

    name = "ippo"
    kinds = ("joint",)


@dataclass(frozen=True)
class Hid(_Learned):
    """HID, the ICC model's policy, trained by IPPO on the utility as everyone's reward; the shipped one, or --policy."""

    name = "hid"
    kinds = ("steps",)


def trained(file: str) -> type[Solver]:
    """Return the solver of a policy file; raise `InputError` if it is none, or torch is missing."""
    if reason := Ippo.unavailable():
        raise InputError(f"{file}: a policy {reason}")
    from hisopt.solvers.policy import ippo

    path = Path(file).resolve()
    if not path.is_file():
        raise InputError(f"{file}: no such file")
    base = {"ippo": Ippo, "hid": Hid}[ippo.load(path).settings.algorithm]
    body: dict[str, Any] = {"__annotations__": {"policy": str}, "policy": str(path), "__doc__": base.__doc__}
    solver: type[Solver] = dataclass(frozen=True)(type(base.__name__, (base,), body))
    solver._source = f"{path}:policy"  # type: ignore[attr-defined]
    return solver
