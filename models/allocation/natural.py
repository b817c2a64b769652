"""P_II^B, the SMs given the steps, for solvers of nonlinear programs; real or whole SMs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyomo.environ as pyo

from hisopt.decision import Decision
from hisopt.equations import given_busy, given_work_costs
from hisopt.models.common import ROOM, sms_budget, within_budget

if TYPE_CHECKING:
    from hisopt.problems import Allocation


def build(problem: Allocation) -> pyo.ConcreteModel:
    """State min sum t_m, t_m v_m >= A_m, sum v_m <= V over the clusters with work."""
    cost, budget = given_work_costs(problem.instance), sms_budget(problem)
    model = pyo.ConcreteModel(name="allocation")
    model.clusters = pyo.Set(initialize=[int(m) for m in np.flatnonzero(given_busy(problem.instance))])
    if problem.whole_sms:
        model.sms = pyo.Var(model.clusters, domain=pyo.Integers, bounds=(1, max(budget, 1)))
    else:
        model.sms = pyo.Var(model.clusters, bounds=(0, budget))
    unit = _unit(problem)  # whole SMs cost at most what one each costs
    most = float(cost.sum()) / unit if problem.whole_sms else 1.0
    model.cost = pyo.Var(model.clusters, bounds=(0, ROOM * most))
    model.definition = pyo.Constraint(model.clusters, rule=lambda m, k: m.cost[k] * m.sms[k] >= float(cost[k]) / unit)
    if model.clusters:
        model.budget = pyo.Constraint(expr=sum(model.sms[k] for k in model.clusters) <= budget)
    model.value = pyo.Objective(expr=unit * sum(model.cost[k] for k in model.clusters), sense=pyo.minimize)
    return model


def _unit(problem: Allocation) -> float:
    """The optimum with real SMs, in units of which the model states costs."""
    return float(np.sqrt(given_work_costs(problem.instance)).sum() ** 2 / float(problem.instance.edge.sms)) or 1.0


def insert(model: pyo.ConcreteModel, problem: Allocation, decision: Decision) -> None:
    """Set the variables to a decision."""
    cost = given_work_costs(problem.instance)
    unit = _unit(problem)
    for k in model.clusters:
        model.sms[k].set_value(float(decision.cluster_sms[k]))
        model.cost[k].set_value(cost[k] / unit / float(decision.cluster_sms[k]))


def extract(model: pyo.ConcreteModel, problem: Allocation) -> Decision:
    """Return the SMs; clusters without work get none."""
    sms = np.zeros(problem.instance.max_clusters)
    for k in model.clusters:
        sms[k] = pyo.value(model.sms[k])
    busy = given_busy(problem.instance)
    return Decision(sms=within_budget(sms, sms_budget(problem), integer=problem.whole_sms, busy=busy))
