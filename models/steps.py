"""The ICC model's steps as a mixed-integer linear program."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyomo.environ as pyo

from hisopt.decision import Decision
from hisopt.equations import cluster_sizes, given_quality, icc_step_costs, transmission_cost
from hisopt.models.common import add_steps, extract_steps, insert_steps, linear, utility_unit

if TYPE_CHECKING:
    from hisopt.problems import Steps

# What the variables say of the decision, for readers of the model's file.
DECISION = {
    "steps_common": "of user n: the x with chosen[n,x] = 1",
    "steps_edge": "of user n: steps_edge[n]",
    "steps_device": "of user n: T less the other two",
}


def build(problem: Steps) -> pyo.ConcreteModel:
    """State the ICC utility over x_n, y_n and each group's X_m >= x_n; all costs are linear."""
    instance = problem.instance
    labels, limits = instance.labels, instance.steps
    model = pyo.ConcreteModel(name="icc")
    model.unit = utility_unit(instance)
    add_steps(model, instance)
    model.groups = pyo.Set(initialize=[int(m) for m in np.unique(labels)])
    model.common_max = pyo.Var(model.groups, bounds=(0, limits.common_max))
    model.longest = pyo.Constraint(model.users, rule=lambda m, n: m.common_max[int(labels[n])] >= m.common[n])
    edge_cost, device, wait, energy = icc_step_costs(instance)
    sizes = cluster_sizes(labels, instance.max_clusters)
    group = wait * sizes + energy
    constant = -transmission_cost(instance) - float(limits.total * device.sum())
    worth = given_quality(instance)
    keys = [(n, x) for n in model.users for x in model.common_values]
    model.value = pyo.Objective(
        expr=constant
        + linear([worth[n, x] + device[n] * x for n, x in keys], [model.chosen[key] for key in keys])
        + linear(device - edge_cost, [model.steps_edge[n] for n in model.users])
        - linear([group[k] for k in model.groups], [model.common_max[k] for k in model.groups]),
        sense=pyo.maximize,
    )
    return model


def insert(model: pyo.ConcreteModel, problem: Steps, decision: Decision) -> None:
    """Set the variables to a decision."""
    common, steps_edge = decision.server_steps
    insert_steps(model, common, steps_edge)
    for k in model.groups:
        model.common_max[k].set_value(int(common[problem.instance.labels == k].max()))


def extract(model: pyo.ConcreteModel, problem: Steps) -> Decision:
    """Return the steps."""
    common, steps_edge = extract_steps(model)
    return Decision.of_steps(problem.instance.steps.total, common, steps_edge)
