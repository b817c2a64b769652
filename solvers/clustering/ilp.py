"""The clustering program (26) as printed, for HiGHS and SCIP."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from hisopt.problems import Clustering, Problem
from hisopt.solvers.backend import InHighs, InScip
from hisopt.solvers.clustering.branch_bound.size_limits import impossible

if TYPE_CHECKING:
    from hisopt.decision import Decision
    from hisopt.result import SolverResult

_SHARP = 1e-7  # gap up to which SCIP's bound stands beside its partition


@dataclass(frozen=True)
class IlpHighs(InHighs[Clustering]):
    """(26) with linearised products in HiGHS; of the three criteria only ``sum`` is linear."""

    name = "ilp-highs"
    problems = (Clustering,)
    form = "clustering.assignment"
    up_to = 5_000  # it holds the matrix of pairs many times

    def serves(self, problem: Problem) -> bool:
        """The criterion ``sum``, with or without limits on sizes."""
        return isinstance(problem, Clustering) and self.too_large(problem) is None and problem.criterion == "sum"

    @override
    def refused(self, problem: Clustering) -> SolverResult | None:
        return impossible(problem)


@dataclass(frozen=True)
class IlpScip(InScip[Clustering]):
    """The variables of (26) in SCIP: ``sum`` as printed, ``mean`` and ``centroid`` with quadratic definitions.

    SCIP's tolerance of 1e-8 on t^2 <= |s|^2 lets t be 1e-4 where s vanishes. Where its bound lies above the value of its
    partition by more than a proof allows, the values of that partition's clusters are stated as linear cuts
    (`hisopt.models.clustering.assignment.limit_worth`) and the model is solved again.
    """

    name = "ilp-scip"
    problems = (Clustering,)
    form = "clustering.assignment"
    up_to = 5_000  # it holds the matrix of pairs many times
    rounds = 1000

    @override
    def refused(self, problem: Clustering) -> SolverResult | None:
        return impossible(problem)

    @override
    def refine(self, model: Any, problem: Clustering, decision: Decision, bound: float) -> bool:
        from hisopt.models.clustering import assignment

        if problem.criterion != "centroid" or problem.gap(decision, bound) <= _SHARP:
            return False
        return assignment.limit_worth(model, problem, decision)
