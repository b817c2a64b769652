"""The Peng-Wei semidefinite bound on clustering."""

from __future__ import annotations

import math
from dataclasses import dataclass

from typing_extensions import override

from hisopt.decision import Decision
from hisopt.problems import Clustering, Problem
from hisopt.result import Guarantee, Limits, SolverResult, Termination
from hisopt.solvers.base import Deadline, Solver
from hisopt.solvers.clustering.branch_bound.size_limits import impossible
from hisopt.solvers.clustering.moves import refine


@dataclass(frozen=True)
class PengWeiSdp(Solver[Clustering]):
    """A bound on ``mean`` from the semidefinite relaxation, and on ``centroid`` by Cauchy-Schwarz: sqrt(N mean*).

    The bound is computed from SCS's multipliers so that it holds however inexact they are; the decision is the
    rounded matrix, refined. It claims no optimum.
    """

    name = "sdp"
    problems = (Clustering,)
    guarantee = Guarantee.BOUND
    up_to = 5_000  # it holds the matrix of pairs many times
    packages = ("cvxpy", "scs", "scikit-learn")
    requires = ("scs",)

    def serves(self, problem: Problem) -> bool:
        """``mean`` and ``centroid``; limits on sizes are relaxed."""
        return (
            isinstance(problem, Clustering)
            and self.too_large(problem) is None
            and problem.criterion in ("mean", "centroid")
        )

    @override
    def prepare(self) -> None:
        super().prepare()
        import hisopt.models.clustering.peng_wei  # noqa: F401 - before the clock

    @override
    def solve(self, problem: Clustering, limits: Limits) -> SolverResult:
        import cvxpy as cp

        from hisopt.models.clustering import peng_wei

        deadline = Deadline(limits)
        if (answer := impossible(problem)) is not None:
            return answer
        model = peng_wei.build(problem)
        try:
            model.program.solve(
                solver="SCS", eps_abs=1e-7, eps_rel=1e-7, max_iters=100_000, time_limit_secs=limits.time_s
            )
        except cp.SolverError as error:
            return SolverResult(Termination.NUMERICAL_ERROR, message=str(error).splitlines()[0])
        if model.matrix.value is None or model.rows.dual_value is None:
            return SolverResult(Termination.NUMERICAL_ERROR, message=f"SCS: {model.program.status}")
        bound = peng_wei.safe_bound(
            problem.similarity_matrix,
            model.unit * model.rows.dual_value,
            model.unit * model.nonnegative.dual_value,
            problem.clusters,
        )
        decision = peng_wei.extract(model, problem)
        labels = refine(problem.points, decision.labels, problem.clusters, problem.criterion, deadline)
        if problem.criterion == "centroid":
            bound = math.sqrt(problem.users * max(bound, 0.0))
        decision = Decision(clusters=labels)
        allowed = problem.evaluate(decision).feasible
        return SolverResult(Termination.COMPLETED, decision if allowed else None, bound, f"SCS: {model.program.status}")
