"""P_II with the SMs eliminated, as a mixed-integer linear program refined by tangents."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyomo.environ as pyo

from hisopt.decision import Decision
from hisopt.equations import cluster_sizes, edge_work_cost, steps_sms
from hisopt.models.common import extract_steps, insert_steps, linear
from hisopt.models.joint.natural import add_work, most_work, separable_utility

if TYPE_CHECKING:
    from hisopt.problems import Joint

_TANGENTS = 17
_TOLERANCE = 1e-9  # of the coupling term, relative to the utility or its terms


def build(problem: Joint) -> pyo.ConcreteModel:
    """State max of the separable utility minus q, q >= the tangents of S^2 / V, S = sum_m sqrt(c_m W_m).

    ``at_work[m, w]`` are binaries for W_m = w, so that the square roots are linear. The program is a relaxation of
    P_II, and `refine` makes it exact at a point.
    """
    instance = problem.instance
    cost = edge_work_cost(instance, cluster_sizes(instance.labels, instance.max_clusters))
    most = most_work(instance).astype(int)
    model = pyo.ConcreteModel(name="joint_milp")
    add_work(model, instance)
    levels = [(k, w) for k in model.clusters for w in range(most[k] + 1)]
    model.levels = pyo.Set(initialize=levels, dimen=2)
    model.at_work = pyo.Var(model.levels, domain=pyo.Binary)
    model.one_level = pyo.Constraint(
        model.clusters, rule=lambda m, k: sum(m.at_work[k, w] for w in range(most[k] + 1)) == 1
    )
    model.level = pyo.Constraint(
        model.clusters,
        rule=lambda m, k: m.work[k] == linear(range(most[k] + 1), [m.at_work[k, w] for w in range(most[k] + 1)]),
    )
    roots = [float(np.sqrt(cost[k] * w)) for k, w in levels]
    model.total_load = pyo.Expression(expr=linear(roots, [model.at_work[key] for key in levels]))
    model.coupling = pyo.Var(bounds=(0, None))
    model.tangents = pyo.ConstraintList()
    for point in np.linspace(0, np.sqrt(cost * most).sum(), _TANGENTS):
        _add_tangent(model, problem, float(point))
    model.value = pyo.Objective(
        expr=separable_utility(model, instance) - model.unit * model.coupling, sense=pyo.maximize
    )
    return model


def refine(model: pyo.ConcreteModel, problem: Joint, tolerance: float) -> bool:
    """Add the tangent at the model's current point; False if q is already within ``tolerance`` of S^2 / V there."""
    load = float(pyo.value(model.total_load))
    if load**2 / problem.instance.sm_budget - model.unit * pyo.value(model.coupling) <= tolerance:
        return False
    _add_tangent(model, problem, load)
    return True


def tolerance(model: pyo.ConcreteModel) -> float:
    """Return the error of the coupling term that is none at the model's current point."""
    return _TOLERANCE * max(float(model.unit), abs(float(pyo.value(model.value))))


def insert(model: pyo.ConcreteModel, problem: Joint, decision: Decision) -> None:
    """Set the variables to a decision's steps; its SMs are taken to be those of Theorem 1."""
    instance = problem.instance
    common, steps_edge = decision.server_steps
    insert_steps(model, common, steps_edge)
    for k in model.clusters:
        model.common_max[k].set_value(int(common[instance.labels == k].max()))
    for k, w in model.levels:
        model.at_work[k, w].set_value(int(w == round(pyo.value(model.work[k]))))
    model.coupling.set_value(pyo.value(model.total_load) ** 2 / instance.sm_budget / model.unit)


def extract(model: pyo.ConcreteModel, problem: Joint) -> Decision:
    """Return the steps, with SMs by Theorem 1."""
    instance = problem.instance
    common, steps_edge = extract_steps(model)
    return Decision.of_steps(
        instance.steps.total, common, steps_edge, steps_sms(instance, common, steps_edge), instance.labels
    )


def _add_tangent(model: pyo.ConcreteModel, problem: Joint, point: float) -> None:
    budget = problem.instance.sm_budget * model.unit
    model.tangents.add(model.coupling >= (2 * point / budget) * model.total_load - point**2 / budget)
