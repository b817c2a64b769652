"""Steps at random."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from typing_extensions import override

from hisopt.problems import Joint
from hisopt.result import Guarantee, Limits, SolverResult, Termination
from hisopt.solvers.base import Solver
from hisopt.solvers.joint.exact import with_optimal_sms


@dataclass(frozen=True)
class RandomSteps(Solver[Joint]):
    """Each user's (x, y) uniform over what is feasible, SMs by Theorem 1."""

    name = "random"
    problems = (Joint,)
    guarantee = Guarantee.HEURISTIC
    numpy_only = True

    @override
    def solve(self, problem: Joint, limits: Limits) -> SolverResult:
        common, steps_edge = problem.instance.steps.pairs().T
        pick = np.random.default_rng(limits.seed).integers(len(common), size=problem.instance.users)
        return SolverResult(Termination.COMPLETED, with_optimal_sms(problem.instance, common[pick], steps_edge[pick]))
