"""Clustering by pair variables in HiGHS."""

from __future__ import annotations

from dataclasses import dataclass

from typing_extensions import override

from hisopt.problems import Clustering, Problem
from hisopt.result import Guarantee, Limits, SolverResult
from hisopt.solvers.backend import solve_model
from hisopt.solvers.base import Solver
from hisopt.solvers.clustering.branch_bound.size_limits import impossible


@dataclass(frozen=True)
class PairsHighs(Solver[Clustering]):
    """Pair variables with triangle inequalities: ``sum`` with representatives, ``mean`` with sizes as binaries."""

    name = "pairs-highs"
    problems = (Clustering,)
    guarantee = Guarantee.EXACT
    packages = ("highspy", "pyomo")
    requires = ("highspy",)

    def serves(self, problem: Problem) -> bool:
        """The criteria ``sum`` and ``mean``, with or without limits on sizes."""
        return isinstance(problem, Clustering) and problem.criterion in ("sum", "mean")

    @override
    def solve(self, problem: Clustering, limits: Limits) -> SolverResult:
        from hisopt.models.clustering import pairs

        if (answer := impossible(problem)) is not None:
            return answer
        return solve_model("highs", pairs, problem, limits, watched=True)
