"""The clustering program (26) as printed, for HiGHS and SCIP."""

from __future__ import annotations

from dataclasses import dataclass

from hisopt.problem import Problem
from hisopt.result import Guarantee, Limits, SolverResult
from hisopt.solvers.external import solve_model
from hisopt.solvers.interface import Solver


@dataclass(frozen=True)
class IlpHighs(Solver):
    """(26) with linearised products in HiGHS; of the three criteria only ``sum`` is linear."""

    name = "ilp-highs"
    kinds = ("clustering",)
    guarantee = Guarantee.EXACT
    packages = ("highspy", "pyomo")
    requires = ("highspy",)

    @classmethod
    def serves(cls, problem: Problem) -> bool:
        """The criterion ``sum``, with or without limits on sizes."""
        return problem.kind == "clustering" and problem.criterion == "sum"

    def solve(self, problem: Problem, limits: Limits) -> SolverResult:
        """See the class."""
        from hisopt.models import assignment

        return solve_model("highs", assignment, problem, limits)


@dataclass(frozen=True)
class IlpScip(Solver):
    """The variables of (26) in SCIP: ``sum`` as printed, ``mean`` and ``centroid`` with quadratic definitions."""

    name = "ilp-scip"
    kinds = ("clustering",)
    guarantee = Guarantee.EXACT
    packages = ("pyscipopt", "pyomo")
    requires = ("pyscipopt",)

    @classmethod
    def serves(cls, problem: Problem) -> bool:
        """Every criterion, with or without limits on sizes."""
        return problem.kind == "clustering"

    def solve(self, problem: Problem, limits: Limits) -> SolverResult:
        """See the class."""
        from hisopt.models import assignment

        return solve_model("scip_direct", assignment, problem, limits)
