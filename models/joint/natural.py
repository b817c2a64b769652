"""P_II, steps and SMs given the clusters, as the natural mixed-integer nonlinear program; real or whole SMs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyomo.environ as pyo

from hisopt.decision import Decision
from hisopt.equations import (
    cluster_sizes,
    device_only_utility,
    device_step_cost,
    edge_step_energy_cost,
    edge_work_cost,
    given_quality,
    steps_sms,
    work_costs,
)
from hisopt.models.common import (
    add_sms,
    add_steps,
    extract_steps,
    insert_sms,
    insert_steps,
    linear,
    sms_budget,
    utility_unit,
    within_budget,
)

if TYPE_CHECKING:
    from hisopt.arrays import FloatArray
    from hisopt.instances import Instance
    from hisopt.problems import Joint


def add_work(model: pyo.ConcreteModel, instance: Instance) -> None:
    """Add the unit, the users' steps and W_m = X_m + Y_m of each given cluster that has users, with X_m >= x_n."""
    labels, limits = instance.labels, instance.steps
    model.unit = utility_unit(instance)
    add_steps(model, instance)
    model.clusters = pyo.Set(initialize=[int(m) for m in np.unique(labels)])
    model.common_max = pyo.Var(model.clusters, bounds=(0, limits.common_max))
    model.longest = pyo.Constraint(model.users, rule=lambda m, n: m.common_max[int(labels[n])] >= m.common[n])
    members = {k: [int(n) for n in np.flatnonzero(labels == k)] for k in model.clusters}
    model.work = pyo.Expression(
        model.clusters, rule=lambda m, k: m.common_max[k] + sum(m.steps_edge[n] for n in members[k])
    )


def most_work(instance: Instance) -> FloatArray:
    """Largest W_m of each cluster, shape (M,)."""
    sizes = cluster_sizes(instance.labels, instance.max_clusters)
    return np.where(sizes > 0, instance.steps.common_max + instance.steps.edge_max * sizes, 0)


def separable_utility(model: pyo.ConcreteModel, instance: Instance) -> Any:
    """The utility without the costs c_m W_m / v_m: qualities, devices' costs, transmission and e W_m."""
    worth, saved = given_quality(instance), device_step_cost(instance)
    common = range(instance.steps.common_max + 1)
    keys = [(n, x) for n in model.users for x in common]
    return (
        device_only_utility(instance)
        + linear([worth[n, x] + saved[n] * x for n, x in keys], [model.chosen[key] for key in keys])
        + linear([saved[n] for n in model.users], [model.steps_edge[n] for n in model.users])
        - edge_step_energy_cost(instance) * sum(model.work[k] for k in model.clusters)
    )


# What the variables say of the decision, for readers of the model's file.
DECISION = {
    "steps_common": "of user n: the x with chosen[n,x] = 1",
    "steps_edge": "of user n: steps_edge[n]",
    "steps_device": "of user n: T less the other two",
    "sms": "of cluster m: sms[m] where SMs are whole, else those of Theorem 1 for the steps (share[m] V / 1000 up to tolerances)",
}


def build(problem: Joint) -> pyo.ConcreteModel:
    """State P_II: binaries for x_n, whole y_n, t_m v_m >= c_m W_m for the cost t_m of a cluster's work, sum v_m <= V."""
    instance = problem.instance
    cost = edge_work_cost(instance, cluster_sizes(instance.labels, instance.max_clusters))
    model = pyo.ConcreteModel(name="joint")
    add_work(model, instance)
    # With SMs by Theorem 1 a cluster's cost is sqrt(c W) times the sum of these, over V; whole ones are at least one.
    load = np.sqrt(cost * most_work(instance))
    most = load**2 if problem.whole_sms else load * load.sum() / instance.sm_budget
    add_sms(model, problem, lambda k: float(cost[k]) * model.work[k], lambda k: float(most[k]))
    if problem.whole_sms:  # work that costs nothing needs an SM, too
        largest = most_work(instance)
        model.served_by = pyo.Constraint(
            model.clusters,
            rule=lambda m, k: (float(largest[k]) * m.sms[k] >= m.work[k]) if largest[k] else pyo.Constraint.Skip,
        )
    model.value = pyo.Objective(
        expr=separable_utility(model, instance) - model.unit * sum(model.cost[k] for k in model.clusters),
        sense=pyo.maximize,
    )
    return model


def insert(model: pyo.ConcreteModel, problem: Joint, decision: Decision) -> None:
    """Set the variables to a decision."""
    instance = problem.instance
    common, steps_edge = decision.server_steps
    insert_steps(model, common, steps_edge)
    for k in model.clusters:
        model.common_max[k].set_value(int(common[instance.labels == k].max()))
    insert_sms(model, problem, decision.cluster_sms, work_costs(instance, common, steps_edge))


def extract(model: pyo.ConcreteModel, problem: Joint) -> Decision:
    """Return steps and SMs; real SMs are those of Theorem 1 for the steps found, free of the solver's tolerances."""
    instance = problem.instance
    common, steps_edge = extract_steps(model)
    sms = np.zeros(instance.max_clusters)
    if problem.whole_sms:
        for k in model.clusters:
            sms[k] = pyo.value(model.sms[k])
        sms = within_budget(sms, sms_budget(problem), integer=True)
    else:
        sms = steps_sms(instance, common, steps_edge)
    return Decision.of_steps(instance.steps.total, common, steps_edge, sms, instance.labels)
