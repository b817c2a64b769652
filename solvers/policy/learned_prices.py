"""The policy for every size as a solver."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from typing_extensions import override

from hisopt.errors import InputError
from hisopt.files import require_file
from hisopt.problems import Joint
from hisopt.result import Guarantee, Limits, SolverResult, Termination
from hisopt.solvers.base import Solver
from hisopt.solvers.joint.exact import with_optimal_sms


@dataclass(frozen=True)
class LearnedPrices(Solver[Joint]):
    """A policy for every N, M, weights and step limits: clusters reply to learned loads of the others, then to real ones.

    ``rounds`` of replies to the others' real loads follow the learned decision; with 0 it is the learned one alone.
    """

    name = "learned-prices"
    problems = (Joint,)
    guarantee = Guarantee.LEARNED
    packages = ("torch",)
    requires = ("torch", "safetensors")

    policy: str = ""  # a file; the shipped one if empty
    rounds: int = 1

    def __post_init__(self) -> None:
        require_file(self.policy)
        if self.rounds < 0:
            raise InputError(f"rounds: is {self.rounds}, must be >= 0")

    def prepare(self) -> None:
        """Import torch."""
        import hisopt.solvers.policy.prices  # noqa: F401

    @override
    def solve(self, problem: Joint, limits: Limits) -> SolverResult:
        from hisopt.solvers.policy import prices

        shipped = str(resources.files("hisopt") / "data" / "prices.safetensors")
        steps = prices.decide(prices.read(Path(self.policy or shipped)), problem.instance, self.rounds)
        return SolverResult(Termination.COMPLETED, with_optimal_sms(problem.instance, *steps))
