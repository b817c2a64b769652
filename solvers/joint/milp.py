"""P_II as a mixed-integer linear program in HiGHS, tangents added until it is exact."""

from __future__ import annotations

from dataclasses import dataclass, replace

from typing_extensions import override

from hisopt.problems import Joint
from hisopt.result import Guarantee, Limits, SolverResult, Termination
from hisopt.solvers.backend import optimise, proven_only
from hisopt.solvers.base import Deadline, Solver
from hisopt.solvers.run.progress import report

_TOLERANCE = 1e-9  # of the coupling term, relative to the utility or its terms
_ROUNDS = 30


@dataclass(frozen=True)
class JointMilp(Solver[Joint]):
    """HiGHS on the program of `hisopt.models.joint.milp`: a relaxation, refined at each of its optima."""

    name = "milp-highs"
    problems = (Joint,)
    guarantee = Guarantee.EXACT
    packages = ("highspy", "pyomo")
    requires = ("highspy",)

    @override
    def solve(self, problem: Joint, limits: Limits) -> SolverResult:
        import pyomo.environ as pyo

        from hisopt.models.joint import milp as joint_milp

        deadline = Deadline(limits)
        model = joint_milp.build(problem)
        bound, decision = None, None
        for rounds in range(1, _ROUNDS + 1):
            answer = optimise("highs", model, limits, deadline)
            if answer.bound is not None:  # every round's program is a relaxation of P_II
                bound = answer.bound if bound is None else min(bound, answer.bound)
            if not answer.solved:
                break
            decision = joint_milp.extract(model, problem)
            report(decision, bound)
            tolerance = _TOLERANCE * max(model.unit, abs(pyo.value(model.value)))
            refined = joint_milp.refine(model, problem, tolerance)
            if answer.termination is not Termination.OPTIMAL or not refined:
                break
            if deadline.passed:
                answer = replace(answer, termination=Termination.TIME_LIMIT)
                break
        else:
            answer = replace(answer, termination=Termination.ITERATION_LIMIT)
        result = SolverResult(answer.termination, decision, bound, answer.message, {"rounds": rounds})
        return proven_only(problem, result)
