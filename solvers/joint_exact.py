"""Steps and SMs together, exactly: the clusters meet only in one scalar."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hisopt.decision import Decision
from hisopt.equations import optimal_sms, work_costs
from hisopt.instance import Instance
from hisopt.problem import Problem
from hisopt.result import Guarantee, Limits, SolverResult, Termination, relative_gap
from hisopt.solvers import scalar_coupling, step_tables
from hisopt.solvers.interface import Deadline, Solver

_PROVEN = 1e-6  # relative; what OPTIMAL claims
_CLOSE = 5e-10  # relative; a bound this close needs no more search
_ENOUGH = 5e-7  # relative; from here on a few more cells are searched


@dataclass(frozen=True)
class JointExact(Solver):
    """P_II by tables G_m(W), the scalar dual, reduced-cost fixing and a merge over Pareto frontiers.

    Proves optimality within 1e-9 relative where its merges are exact, which they are with the papers' parameters. Where
    clusters nearly tie in very many ways they are rounded: it aims at 1e-9 and may stop within 1e-6, the most that
    OPTIMAL allows; ``bound`` says which. Else it stops at the time limit with a certified gap. ``details`` carry the
    multiplier of the dual bound, a certificate that can be rechecked without trusting the search.
    """

    name = "exact"
    kinds = ("joint",)
    guarantee = Guarantee.EXACT

    def solve(self, problem: Problem, limits: Limits) -> SolverResult:
        """See the class."""
        instance, deadline = problem.his, Deadline(limits)
        tables = step_tables.for_instance(instance)
        found = scalar_coupling.maximise(
            tables.gain,
            tables.load,
            tables.offsets,
            float(instance.edge.sms),
            deadline,
            constant=tables.constant,
            tolerance=_CLOSE,
            enough=_ENOUGH,
        )
        common, edge = tables.steps(found.choice)
        value, bound = tables.constant + found.value, tables.constant + found.bound
        proven = relative_gap(value, bound) <= _PROVEN
        return SolverResult(
            Termination.OPTIMAL if proven else Termination.TIME_LIMIT,
            with_optimal_sms(instance, common, edge),
            bound,
            details={
                "multiplier": found.multiplier,
                "dual_bound": tables.constant + found.dual_bound,
                "candidates": len(tables.gain),
                "cells": found.cells,
            },
        )


def with_optimal_sms(instance: Instance, common: np.ndarray, edge: np.ndarray) -> Decision:
    """Return the steps with SMs by Theorem 1 on the instance's given clusters."""
    assert instance.clusters is not None
    sms = optimal_sms(work_costs(instance, common, edge), float(instance.edge.sms))
    return Decision.of_steps(instance.steps.total, common, edge, sms, instance.clusters)
