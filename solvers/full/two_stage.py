"""The papers' way to the full problem."""

from __future__ import annotations

from dataclasses import dataclass

from typing_extensions import override

from hisopt.problems import Full, Joint, Problem
from hisopt.result import Guarantee, Limits, SolverResult, Termination
from hisopt.solvers.base import Solver, sized
from hisopt.solvers.clustering.hac import average_linkage
from hisopt.solvers.joint.exact import JointExact
from hisopt.solvers.joint.whole import JointExactInteger


@dataclass(frozen=True)
class TwoStage(Solver[Full]):
    """HAC for the clusters, then P_II exactly: the loss against the optimum is all the clustering's."""

    name = "two-stage"
    problems = (Full,)
    guarantee = Guarantee.HEURISTIC
    packages = ("scipy",)

    def serves(self, problem: Problem) -> bool:
        """The full problem, real or whole SMs, without limits on cluster sizes."""
        return isinstance(problem, Full) and not sized(problem)

    @override
    def solve(self, problem: Full, limits: Limits) -> SolverResult:
        instance = problem.instance
        labels = average_linkage(instance.vectors, instance.max_clusters)
        given = Joint(instance.with_clusters(labels), whole_sms=problem.whole_sms)
        solver = JointExactInteger() if problem.whole_sms else JointExact()
        result = solver.solve(given, limits)
        return SolverResult(Termination.COMPLETED, result.decision, message=f"P_II: {result.termination}")
