"""Everyone alone: no common phase."""

from __future__ import annotations

from dataclasses import dataclass

from typing_extensions import override

from hisopt.problems import Joint
from hisopt.result import Guarantee, Limits, SolverResult, Termination
from hisopt.solvers.base import Deadline, Solver
from hisopt.solvers.joint import scalar_coupling, step_tables
from hisopt.solvers.joint.exact import with_optimal_sms


@dataclass(frozen=True)
class NoSharing(Solver[Joint]):
    """No common phase (IIS, CLIF): x = 0, the personalised steps and SMs at their optimum."""

    name = "no-sharing"
    problems = (Joint,)
    guarantee = Guarantee.HEURISTIC
    numpy_only = True

    @override
    def solve(self, problem: Joint, limits: Limits) -> SolverResult:
        instance = problem.instance
        steps = instance.steps
        if steps.edge_max + steps.device_max < steps.total:
            return SolverResult(Termination.COMPLETED, message="without common steps no user reaches the total")
        tables = step_tables.for_instance(instance, common_phase=False)
        found = scalar_coupling.maximise(tables.gain, tables.load, tables.offsets, instance.sm_budget, Deadline(limits))
        return SolverResult(Termination.COMPLETED, with_optimal_sms(instance, *tables.steps(found.choice)))
