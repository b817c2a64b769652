"""Whole SMs given the steps: exact marginal allocation, and the paper's rounding down."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from typing_extensions import override

from hisopt.decision import Decision
from hisopt.equations import given_busy, given_work_costs, optimal_sms
from hisopt.problems import Allocation, Problem
from hisopt.result import Guarantee, Limits, SolverResult, Termination
from hisopt.solvers.base import Solver

if TYPE_CHECKING:
    from hisopt.arrays import BoolArray, FloatArray, IntArray

MOST_SMS = 2**53  # whole SMs beyond are not told apart in double precision


def marginal_allocation(cost: FloatArray, budget: int, busy: BoolArray | None = None) -> IntArray | None:
    """Minimise sum A_m / v_m over whole v_m >= 1 of the busy clusters, sum v_m <= V; None if V is too small.

    ``busy`` are the clusters with work, by default those with A_m > 0; others get no SM. Work that costs nothing gets
    one. A / v is convex, so giving the SMs one by one to the largest gain A / (v (v + 1)) is exact. Starting from
    Theorem 1 rounded down leaves few SMs to move: SMs are added greedily, then single SMs move while that helps, and a
    solution that no single move improves is optimal for a separable convex sum (Ibaraki and Katoh, Resource Allocation
    Problems, 1988).
    """
    busy = cost > 0 if busy is None else busy
    free = busy & ~(cost > 0)
    budget -= int(free.sum())
    used = np.flatnonzero(busy & (cost > 0))
    if len(used) > budget or budget < 0:
        return None
    sms = free.astype(np.int64)
    if not len(used):
        return sms
    a = cost[used]
    v = np.maximum(np.floor(optimal_sms(a, float(budget))), 1.0)
    while v.sum() > budget:
        v[np.argmin(_loss(a, v))] -= 1
    while v.sum() < budget:
        v[np.argmax(a / (v * (v + 1)))] += 1
    while True:
        gain, loss = a / (v * (v + 1)), _loss(a, v)
        to, source = int(np.argmax(gain)), int(np.argmin(loss))
        if gain[to] <= loss[source]:
            break
        v[to] += 1
        v[source] -= 1
    sms[used] = v.astype(np.int64)
    return sms


def _loss(cost: FloatArray, sms: FloatArray) -> FloatArray:
    """What one SM less costs each cluster; infinite for its last."""
    return np.where(sms > 1, cost / (sms * np.maximum(sms - 1, 1)), np.inf)


@dataclass(frozen=True)
class IntegerAllocation(Solver[Allocation]):
    """Whole SMs by marginal gains, exact."""

    name = "integer"
    problems = (Allocation,)
    guarantee = Guarantee.EXACT
    numpy_only = True

    def serves(self, problem: Problem) -> bool:
        """Allocation with whole SMs."""
        return isinstance(problem, Allocation) and problem.whole_sms

    @override
    def solve(self, problem: Allocation, limits: Limits) -> SolverResult:
        cost, budget = given_work_costs(problem.instance), problem.instance.sm_budget
        if budget > MOST_SMS:
            return SolverResult(Termination.UNAVAILABLE, message=f"whole SMs are counted up to {MOST_SMS}")
        sms = marginal_allocation(cost, int(budget), given_busy(problem.instance))
        if sms is None:
            return SolverResult(Termination.INFEASIBLE, message="more busy clusters than SMs")
        used = cost > 0
        return SolverResult(
            Termination.OPTIMAL, Decision(sms=sms.astype(np.float64)), float((cost[used] / sms[used]).sum())
        )


@dataclass(frozen=True)
class RoundDown(Solver[Allocation]):
    """Theorem 1 rounded down (the paper's footnote 6), at least one SM a busy cluster, taken from the largest shares."""

    name = "round-down"
    problems = (Allocation,)
    guarantee = Guarantee.HEURISTIC
    numpy_only = True

    def serves(self, problem: Problem) -> bool:
        """Allocation with whole SMs."""
        return isinstance(problem, Allocation) and problem.whole_sms

    @override
    def solve(self, problem: Allocation, limits: Limits) -> SolverResult:
        budget, busy = problem.instance.sm_budget, given_busy(problem.instance)
        if busy.sum() > budget:
            return SolverResult(Termination.COMPLETED, message="more busy clusters than SMs")
        sms = np.floor(optimal_sms(given_work_costs(problem.instance), budget, busy))
        sms[busy & (sms < 1)] = 1
        while sms.sum() > budget:
            sms[np.argmax(sms)] -= 1
        return SolverResult(Termination.COMPLETED, Decision(sms=sms))
