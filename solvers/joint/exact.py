"""Steps and SMs together, exactly: the clusters meet only in one scalar."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from typing_extensions import override

from hisopt.decision import Decision
from hisopt.equations import device_step_cost, quality_at_bins, steps_sms, transmission_cost
from hisopt.problems import Joint
from hisopt.result import PROVEN, Guarantee, Limits, SolverResult, Termination, relative_gap
from hisopt.solvers.base import Deadline, OutOfTime, Solver
from hisopt.solvers.joint import scalar_coupling, step_tables
from hisopt.solvers.run.progress import Pace, report

if TYPE_CHECKING:
    from hisopt.arrays import IntArray
    from hisopt.instances import Instance

_CLOSE = 5e-10  # relative; a bound this close needs no more search
_ENOUGH = 5e-7  # relative; from here on a few more cells are searched


@dataclass(frozen=True)
class JointExact(Solver[Joint]):
    """P_II by tables G_m(W), the scalar dual, reduced-cost fixing and a merge over Pareto frontiers.

    Proves optimality within 1e-9 relative where its merges are exact, which they are with the papers' parameters. Where
    clusters nearly tie in very many ways they are rounded: it aims at 1e-9 and may stop within 1e-6, the most that
    OPTIMAL allows; ``bound`` says which. Else it stops at the time limit with a certified gap. ``details`` carry the
    multiplier of the dual bound, a certificate that can be rechecked without trusting the search.

    ``bound`` includes a margin for rounding, so that no objective that `hisopt.evaluate` computes in floating point
    should lie above it: (32 + 4 sqrt(N)) 2^-52 times the size of the terms, 2 N w1 max |Q| + |U|. Sums of N terms err
    by at most about sqrt(N) units in the last place; the costs of a decision near the optimum are at most N w1 max |Q| - U.

    When the tables alone outlast the limit, the decision is one plan for all, and the bound what the users' quality
    and their fewest device steps allow with the server for free.
    """

    name = "exact"
    problems = (Joint,)
    guarantee = Guarantee.EXACT
    numpy_only = True

    @override
    def solve(self, problem: Joint, limits: Limits) -> SolverResult:
        instance, deadline = problem.instance, Deadline(limits)
        try:
            tables = step_tables.for_instance(instance, deadline=deadline)
        except OutOfTime:
            return _out_of_time(instance)
        pace = Pace()

        def tell(choice: IntArray, value: float, bound: float) -> None:
            if pace.due:
                margin = rounding_margin(instance, tables.constant + value)
                report(with_optimal_sms(instance, *tables.steps(choice)), tables.constant + max(bound, value) + margin)

        found = scalar_coupling.maximise(
            tables.gain,
            tables.load,
            tables.offsets,
            instance.sm_budget,
            deadline,
            constant=tables.constant,
            tolerance=_CLOSE,
            enough=_ENOUGH,
            tell=tell,
        )
        common, steps_edge = tables.steps(found.choice)
        value, bound = tables.constant + found.value, tables.constant + found.bound
        bound += rounding_margin(instance, value)
        decision = with_optimal_sms(instance, common, steps_edge)
        # the first is the search's own and costs nothing; a value that nearly cancels is measured by its parts
        proven = relative_gap(value, bound) <= PROVEN or problem.gap(decision, bound) <= PROVEN
        return SolverResult(
            Termination.OPTIMAL if proven else Termination.TIME_LIMIT,
            decision,
            bound,
            details={
                "multiplier": found.multiplier,
                "dual_bound": tables.constant + found.dual_bound,
                "candidates": len(tables.gain),
                "cells": found.cells,
            },
        )


def rounding_margin(instance: Instance, value: float) -> float:
    """How far rounding can move the bound or an objective near ``value``; see `JointExact`."""
    return lost_in_sums(instance.users) * (2 * most_quality(instance) + abs(value))


def lost_in_sums(users: int) -> float:
    """What sums over N users may lose, relative to their terms: (32 + 4 sqrt(N)) 2^-52; see `hisopt.solvers.joint.sums`."""
    return 2.0**-52 * (32 + 4 * float(np.sqrt(users)))


def most_quality(instance: Instance) -> float:
    """N w1 max |Q|."""
    bins = quality_at_bins(instance.quality, np.arange(instance.steps.common_max + 1))
    return float(instance.users * instance.weights.quality * np.abs(bins).max())


def _out_of_time(instance: Instance) -> SolverResult:
    x, y = instance.steps.middle()
    decision = with_optimal_sms(instance, np.full(instance.users, x), np.full(instance.users, y))
    fewest = instance.steps.total - instance.steps.served_max
    bound = most_quality(instance) - transmission_cost(instance)
    bound -= fewest * float(device_step_cost(instance).sum())
    bound += rounding_margin(instance, bound)
    return SolverResult(Termination.TIME_LIMIT, decision, bound, "the tables of the clusters were not finished")


def with_optimal_sms(instance: Instance, common: np.ndarray, steps_edge: np.ndarray) -> Decision:
    """Return the steps with SMs by Theorem 1 on the instance's given clusters."""
    sms = steps_sms(instance, common, steps_edge)
    return Decision.of_steps(instance.steps.total, common, steps_edge, sms, instance.labels)
