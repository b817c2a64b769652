"""P_II^B, the SMs given the steps, for solvers of nonlinear programs; real or whole SMs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyomo.environ as pyo

from hisopt.decision import Decision
from hisopt.equations import given_busy, given_work_costs
from hisopt.models.common import add_sms, insert_sms, sms_budget, within_budget

if TYPE_CHECKING:
    from hisopt.problems import Allocation

# What the variables say of the decision, for readers of the model's file.
DECISION = {
    "sms": "of cluster m: share[m] V / 1000, or sms[m] where SMs are whole",
}


def build(problem: Allocation) -> pyo.ConcreteModel:
    """State min sum t_m, t_m v_m >= A_m, sum v_m <= V over the clusters with work."""
    cost = given_work_costs(problem.instance)
    model = pyo.ConcreteModel(name="allocation")
    model.clusters = pyo.Set(initialize=[int(m) for m in np.flatnonzero(given_busy(problem.instance))])
    optimum = float(np.sqrt(cost).sum() ** 2 / problem.instance.sm_budget)  # with real SMs
    model.unit = optimum or 1.0
    most = float(cost.sum()) if problem.whole_sms else optimum  # whole SMs cost at most what one each costs
    add_sms(model, problem, lambda k: float(cost[k]), lambda _: most, least=1)
    model.value = pyo.Objective(expr=model.unit * sum(model.cost[k] for k in model.clusters), sense=pyo.minimize)
    return model


def insert(model: pyo.ConcreteModel, problem: Allocation, decision: Decision) -> None:
    """Set the variables to a decision."""
    insert_sms(model, problem, decision.cluster_sms, given_work_costs(problem.instance))


def extract(model: pyo.ConcreteModel, problem: Allocation) -> Decision:
    """Return the SMs; clusters without work get none."""
    sms = np.zeros(problem.instance.max_clusters)
    for k in model.clusters:
        sms[k] = pyo.value(model.sms[k])
    busy = given_busy(problem.instance)
    return Decision(sms=within_budget(sms, sms_budget(problem), integer=problem.whole_sms, busy=busy))
