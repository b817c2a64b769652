"""Whole SMs given the steps: exact marginal allocation, and the paper's rounding down."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hisopt.arrays import FloatArray, IntArray
from hisopt.decision import Decision
from hisopt.equations import given_work_costs, optimal_sms
from hisopt.problem import Problem
from hisopt.result import Guarantee, Limits, SolverResult, Termination
from hisopt.solvers.interface import Solver


def marginal_allocation(cost: FloatArray, budget: int) -> IntArray | None:
    """Minimise sum A_m / v_m over whole v_m >= 1 (0 where A_m = 0), sum v_m <= V; None if V is too small.

    A / v is convex, so giving the SMs one by one to the largest gain A / (v (v + 1)) is exact. Starting from Theorem 1
    rounded down leaves few SMs to move: SMs are added greedily, then single SMs move while that helps, and a solution
    that no single move improves is optimal for a separable convex sum (Ibaraki and Katoh, Resource Allocation
    Problems, 1988).
    """
    used = np.flatnonzero(cost > 0)
    if len(used) > budget:
        return None
    sms = np.zeros(len(cost), dtype=np.int64)
    if not len(used):
        return sms
    a = cost[used]
    v = np.maximum(np.floor(optimal_sms(a, float(budget))).astype(np.int64), 1)
    while v.sum() > budget:
        v[np.argmin(np.where(v > 1, a / (v * np.maximum(v - 1, 1)), np.inf))] -= 1
    while v.sum() < budget:
        v[np.argmax(a / (v * (v + 1)))] += 1
    while True:
        gain = a / (v * (v + 1))
        loss = np.where(v > 1, a / (v * np.maximum(v - 1, 1)), np.inf)
        to, source = int(np.argmax(gain)), int(np.argmin(loss))
        if gain[to] <= loss[source] * (1 + 1e-15):
            break
        v[to] += 1
        v[source] -= 1
    sms[used] = v
    return sms


def integer_problem(solver: type[Solver], problem: Problem) -> bool:
    """Whether the problem is one of the solver's kinds with whole SMs."""
    return problem.kind in solver.kinds and problem.integer_sms


@dataclass(frozen=True)
class IntegerAllocation(Solver):
    """Whole SMs by marginal gains, exact."""

    name = "integer"
    kinds = ("allocation",)
    guarantee = Guarantee.EXACT

    @classmethod
    def serves(cls, problem: Problem) -> bool:
        """Allocation with whole SMs."""
        return integer_problem(cls, problem)

    def solve(self, problem: Problem, limits: Limits) -> SolverResult:
        """See the class."""
        cost = given_work_costs(problem.his)
        sms = marginal_allocation(cost, int(float(problem.his.edge.sms)))
        if sms is None:
            return SolverResult(Termination.INFEASIBLE, message="more busy clusters than SMs")
        used = cost > 0
        return SolverResult(
            Termination.OPTIMAL, Decision(sms=sms.astype(np.float64)), float((cost[used] / sms[used]).sum())
        )


@dataclass(frozen=True)
class RoundDown(Solver):
    """Theorem 1 rounded down (the paper's footnote 6), at least one SM a busy cluster."""

    name = "round-down"
    kinds = ("allocation",)
    guarantee = Guarantee.HEURISTIC

    @classmethod
    def serves(cls, problem: Problem) -> bool:
        """Allocation with whole SMs."""
        return integer_problem(cls, problem)

    def solve(self, problem: Problem, limits: Limits) -> SolverResult:
        """See the class."""
        cost = given_work_costs(problem.his)
        sms = np.floor(optimal_sms(cost, float(problem.his.edge.sms)))
        sms[(cost > 0) & (sms < 1)] = 1
        return SolverResult(Termination.COMPLETED, Decision(sms=sms))
