"""Steps and SMs in turn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from typing_extensions import override

from hisopt.equations import optimal_sms
from hisopt.problems import Joint
from hisopt.result import Guarantee, Limits, SolverResult, Termination
from hisopt.solvers.base import Solver
from hisopt.solvers.joint import step_tables
from hisopt.solvers.joint.exact import with_optimal_sms


@dataclass(frozen=True)
class Alternating(Solver[Joint]):
    """Steps given SMs, then SMs given steps (Theorem 1), until nothing changes; starts from equal SMs.

    A cluster whose steps drop to zero loses its SMs for good, one reason why this can stop short of the optimum.
    """

    name = "alternating"
    problems = (Joint,)
    guarantee = Guarantee.HEURISTIC
    numpy_only = True
    max_rounds: int = 200

    @override
    def solve(self, problem: Joint, limits: Limits) -> SolverResult:
        instance = problem.instance
        tables = step_tables.for_instance(instance)
        budget = instance.sm_budget
        groups = np.repeat(np.arange(instance.max_clusters), np.diff(tables.offsets))
        sms = np.full(instance.max_clusters, budget / instance.max_clusters)
        choice = np.full(instance.max_clusters, -1)
        for _ in range(self.max_rounds):
            with np.errstate(divide="ignore", invalid="ignore"):
                cost = np.where(tables.load > 0, tables.load**2 / sms[groups], 0.0)
            priced = tables.gain - cost
            best = np.maximum.reduceat(priced, tables.offsets[:-1])
            hits = np.flatnonzero(priced == best[groups])
            picked = hits[np.append(True, groups[hits][1:] != groups[hits][:-1])]
            if (picked == choice).all():
                break
            choice = picked
            sms = optimal_sms(tables.load[choice] ** 2, budget)
        return SolverResult(Termination.COMPLETED, with_optimal_sms(instance, *tables.steps(choice)))
