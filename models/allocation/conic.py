"""P_II^B, the SMs given the steps, as a disciplined parametrised convex program."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cvxpy as cp
import numpy as np

from hisopt.decision import Decision
from hisopt.equations import given_busy, given_work_costs
from hisopt.models.common import within_budget

if TYPE_CHECKING:
    from hisopt.arrays import IntArray
    from hisopt.problems import Allocation


@dataclass(frozen=True)
class Model:
    """The program over the shares v_m / V of the clusters with A_m > 0, and its parameter, their costs by the sum."""

    program: cp.Problem
    clusters: IntArray  # those whose work costs something
    costs: cp.Parameter
    shares: cp.Variable
    budget: cp.Constraint
    scale: float  # objective of P_II^B per unit of the program's


def build(problem: Allocation) -> Model:
    """State min sum A_m / v_m, sum v_m <= V, scaled to shares of one; ValueError where no cluster's work costs anything."""
    cost = given_work_costs(problem.instance)
    clusters = np.flatnonzero(cost)
    if not len(clusters):
        raise ValueError("no cluster has steps on the server that cost anything: nothing to allocate")
    cost, total = cost[clusters], float(cost.sum())
    costs = cp.Parameter(len(cost), nonneg=True, value=cost / total)
    shares = cp.Variable(len(cost))
    budget = cp.sum(shares) <= 1
    program = cp.Problem(cp.Minimize(costs @ cp.inv_pos(shares)), [budget])
    return Model(program, clusters, costs, shares, budget, total / problem.instance.sm_budget)


def insert(model: Model, problem: Allocation, decision: Decision) -> None:
    """Set the shares to a decision's."""
    model.shares.save_value(np.asarray(decision.cluster_sms)[model.clusters] / problem.instance.sm_budget)


def extract(model: Model, problem: Allocation) -> Decision:
    """Return the SMs."""
    budget = problem.instance.sm_budget
    sms = np.zeros(problem.instance.max_clusters)
    sms[model.clusters] = model.shares.value * budget
    return Decision(sms=within_budget(sms, budget, integer=False, busy=given_busy(problem.instance)))


def price(model: Model, problem: Allocation) -> float:
    """Return the multiplier beta of the budget, the shadow price of an SM, (45)."""
    return float(model.budget.dual_value) * model.scale / problem.instance.sm_budget


def dual_value(problem: Allocation, price: float) -> float:
    """Return 2 sqrt(beta) sum sqrt(A) - beta V, a lower bound on P_II^B for every beta >= 0."""
    price = max(price, 0.0)
    return float(
        2 * np.sqrt(price) * np.sqrt(given_work_costs(problem.instance)).sum() - price * problem.instance.sm_budget
    )
