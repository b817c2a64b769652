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

MOST_DOUBTS = 20  # a million combinations


@dataclass(frozen=True)
class LearnedPrices(Solver[Joint]):
    """A policy for every N, M, weights and step limits: a network picks each cluster's reply, and says where it doubts.

    Of all combinations of the ``doubts`` replies that come next, in likelihood or in what they lose at lambda, the one with the
    best utility is taken, which is not learned; with 0 the decision is the network's alone.
    """

    name = "learned-prices"
    problems = (Joint,)
    guarantee = Guarantee.LEARNED
    packages = ("torch",)
    requires = ("torch", "safetensors")

    policy: str = ""  # a file; the shipped one if empty
    doubts: int = 10

    def __post_init__(self) -> None:
        require_file(self.policy)
        if not 0 <= self.doubts <= MOST_DOUBTS:
            raise InputError(f"doubts: is {self.doubts}, must be from 0 to {MOST_DOUBTS}")

    def prepare(self) -> None:
        """Import torch."""
        import hisopt.solvers.policy.prices  # noqa: F401

    @override
    def solve(self, problem: Joint, limits: Limits) -> SolverResult:
        from hisopt.solvers.policy import prices

        shipped = str(resources.files("hisopt") / "data" / "prices.safetensors")
        steps = prices.decide(prices.read(Path(self.policy or shipped)), problem.instance, self.doubts)
        return SolverResult(Termination.COMPLETED, with_optimal_sms(problem.instance, *steps))
