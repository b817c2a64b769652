"""The papers' way to the full problem."""

from __future__ import annotations

from dataclasses import dataclass

from hisopt.problem import Problem
from hisopt.result import Guarantee, Limits, SolverResult, Termination
from hisopt.solvers.base import Solver, sized
from hisopt.solvers.clustering.hac import average_linkage
from hisopt.solvers.joint.exact import JointExact
from hisopt.solvers.joint.whole import JointExactInteger


@dataclass(frozen=True)
class TwoStage(Solver):
    """HAC for the clusters, then P_II exactly: the loss against the optimum is all the clustering's."""

    name = "two-stage"
    kinds = ("full",)
    guarantee = Guarantee.HEURISTIC
    packages = ("scipy",)

    @classmethod
    def serves(cls, problem: Problem) -> bool:
        """The full problem, real or whole SMs, without limits on cluster sizes."""
        return problem.kind == "full" and not sized(problem)

    def solve(self, problem: Problem, limits: Limits) -> SolverResult:
        """See the class."""
        instance = problem.his
        assert instance.embeddings is not None
        labels = average_linkage(instance.embeddings, instance.max_clusters)
        given = Problem("joint", instance.replace(clusters=labels, similarity=None), integer_sms=problem.integer_sms)
        solver = JointExactInteger() if problem.integer_sms else JointExact()
        result = solver.solve(given, limits)
        return SolverResult(Termination.COMPLETED, result.decision, message=f"P_II: {result.termination}")
