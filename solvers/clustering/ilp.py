"""The clustering program (26) as printed, for HiGHS and SCIP."""

from __future__ import annotations

from dataclasses import dataclass, replace

from typing_extensions import override

from hisopt.problems import Clustering, Problem
from hisopt.result import Guarantee, Limits, SolverResult, Termination
from hisopt.solvers.backend import optimise, proven_only, solve_model
from hisopt.solvers.base import Deadline, Solver
from hisopt.solvers.clustering.branch_bound.size_limits import impossible

_SHARP = 1e-7  # gap up to which SCIP's bound stands beside its partition


@dataclass(frozen=True)
class IlpHighs(Solver[Clustering]):
    """(26) with linearised products in HiGHS; of the three criteria only ``sum`` is linear."""

    name = "ilp-highs"
    problems = (Clustering,)
    guarantee = Guarantee.EXACT
    packages = ("highspy", "pyomo")
    requires = ("highspy",)

    def serves(self, problem: Problem) -> bool:
        """The criterion ``sum``, with or without limits on sizes."""
        return isinstance(problem, Clustering) and problem.criterion == "sum"

    @override
    def solve(self, problem: Clustering, limits: Limits) -> SolverResult:
        from hisopt.models.clustering import assignment

        if (answer := impossible(problem)) is not None:
            return answer
        return solve_model("highs", assignment, problem, limits)


@dataclass(frozen=True)
class IlpScip(Solver[Clustering]):
    """The variables of (26) in SCIP: ``sum`` as printed, ``mean`` and ``centroid`` with quadratic definitions.

    SCIP's tolerance of 1e-8 on t^2 <= |s|^2 lets t be 1e-4 where s vanishes. Where its bound lies above the value of its
    partition by more than a proof allows, the values of that partition's clusters are stated as linear cuts
    (`hisopt.models.clustering.assignment.limit_worth`) and the model is solved again.
    """

    name = "ilp-scip"
    problems = (Clustering,)
    guarantee = Guarantee.EXACT
    packages = ("pyscipopt", "pyomo")
    requires = ("pyscipopt",)

    def serves(self, problem: Problem) -> bool:
        """Every criterion, with or without limits on sizes."""
        return isinstance(problem, Clustering)

    @override
    def solve(self, problem: Clustering, limits: Limits) -> SolverResult:
        from hisopt.models.clustering import assignment

        if (refusal := impossible(problem)) is not None:
            return refusal
        deadline = Deadline(limits)
        model = assignment.build(problem)
        while True:
            answer = optimise("scip_direct", model, limits, deadline, lambda: assignment.extract(model, problem))
            decision = assignment.extract(model, problem) if answer.solved else None
            result = SolverResult(answer.termination, decision, answer.bound, answer.message)
            if result.termination is not Termination.OPTIMAL or decision is None or answer.bound is None:
                return result
            if problem.criterion != "centroid" or problem.gap(decision, answer.bound) <= _SHARP:
                return proven_only(problem, result)
            if deadline.passed or not assignment.limit_worth(model, problem, decision):
                return replace(result, termination=Termination.NUMERICAL_ERROR)
