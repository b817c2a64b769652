"""What several models share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyomo.environ as pyo

from hisopt.decision import Decision
from hisopt.equations import breakdown, icc_breakdown, quality_at_bins, steps_sms, with_slivers
from hisopt.instances import Instance

if TYPE_CHECKING:
    from collections.abc import Callable

    from hisopt.arrays import BoolArray, FloatArray, IntArray
    from hisopt.instances import IccInstance
    from hisopt.problems import Allocation, Clustering, Full, Joint

# Factor on bounds that the optimum may attain: a solver's tolerances would cut off a point that lies on one.
ROOM = 1.01
_PARTS = 1000.0  # of the budget, in which real SMs are stated: a solver's absolute tolerances are worth less of it


def rounded(variable: Any) -> int:
    """Return the whole number that a Pyomo variable stands for."""
    return round(float(pyo.value(variable)))


def sms_budget(problem: Allocation | Joint | Full) -> float:
    """V, or its whole part where SMs are whole."""
    budget = problem.instance.sm_budget
    return float(np.floor(budget)) if problem.whole_sms else budget


def utility_unit(instance: Instance | IccInstance) -> float:
    """Return a utility of the size of the optimum's terms, in units of which models state costs and their objective.

    General solvers compare with absolute tolerances, so what they are given must be of the order of one, whatever the
    weights. It is the scale (`hisopt.Evaluation`) of the better of two plans: as many steps on the devices as may be,
    or on the server. The instance has clusters.
    """
    steps, users, scales = instance.steps, instance.users, []
    for served in (steps.served_min, steps.served_max):
        common = np.full(users, min(served - steps.edge_min, steps.common_max))
        steps_edge = served - common
        if isinstance(instance, Instance):
            sms = steps_sms(instance, common, steps_edge)
            plan = Decision.of_steps(steps.total, common, steps_edge, sms, instance.labels)
            scales.append(breakdown(instance, plan).scale(instance))
        else:
            scales.append(icc_breakdown(instance, Decision.of_steps(steps.total, common, steps_edge)).scale(instance))
    return min(scales) or 1.0


def point_units(problem: Clustering) -> tuple[float, float]:
    """Return the length of the longest point and the criterion's value of one such point: units, as in `utility_unit`."""
    length = float(np.linalg.norm(problem.points, axis=1).max()) or 1.0
    return length, length if problem.criterion == "centroid" else length**2


def add_sms(
    model: pyo.ConcreteModel,
    problem: Allocation | Joint | Full,
    work_cost: Callable[[int], Any],
    most: Callable[[int], float],
    least: int = 0,
) -> None:
    """Add the SMs v_m of ``model.clusters``, sum v_m <= V, and the costs t_m with t_m v_m >= c_m W_m.

    Costs are in units of ``model.unit``, real SMs in thousandths of V. ``work_cost`` gives c_m W_m and ``most`` a bound on t_m
    at the optimum, both in utility; ``least`` bounds whole SMs from below.
    """
    budget, unit = sms_budget(problem), model.unit
    model.cost = pyo.Var(model.clusters, bounds=lambda _, k: (0, ROOM * most(k) / unit))
    if problem.whole_sms:
        model.sms = pyo.Var(model.clusters, domain=pyo.Integers, bounds=(least, max(budget, least)))
        amount, part, limit = model.sms, 1.0, budget
    else:
        model.share = pyo.Var(model.clusters, bounds=(0, _PARTS))
        model.sms = pyo.Expression(model.clusters, rule=lambda m, k: budget / _PARTS * m.share[k])
        amount, part, limit = model.share, budget / _PARTS, _PARTS
    model.definition = pyo.Constraint(
        model.clusters, rule=lambda m, k: m.cost[k] * amount[k] >= work_cost(k) / (unit * part)
    )
    if model.clusters:
        model.budget = pyo.Constraint(expr=sum(amount[k] for k in model.clusters) <= limit)


def insert_sms(model: pyo.ConcreteModel, problem: Allocation | Joint | Full, sms: FloatArray, cost: FloatArray) -> None:
    """Set the variables of `add_sms` to the SMs of each cluster and its c_m W_m, both of shape (M,)."""
    for k in model.clusters:
        if problem.whole_sms:
            model.sms[k].set_value(float(sms[k]))
        else:
            model.share[k].set_value(float(sms[k]) / sms_budget(problem) * _PARTS)
        model.cost[k].set_value(float(cost[k]) / float(sms[k]) / model.unit if cost[k] else 0.0)


def within_budget(sms: FloatArray, budget: float, *, integer: bool, busy: BoolArray | None = None) -> FloatArray:
    """Remove a solver's tolerance from SMs: none negative, whole or else summing to V, some for every busy cluster."""
    sms = np.maximum(np.asarray(sms, dtype=np.float64), 0.0)
    if integer:
        return np.round(sms)
    total = float(sms.sum())
    share = sms / total if total > 0 else sms
    return budget * (share if busy is None else with_slivers(share, busy))


def linear(coefficients: Any, variables: Any) -> Any:
    """Return a Pyomo linear expression, zero coefficients left out."""
    from pyomo.core.expr import LinearExpression

    pairs = [(float(c), v) for c, v in zip(coefficients, variables, strict=True) if c]
    return LinearExpression(constant=0.0, linear_coefs=[c for c, _ in pairs], linear_vars=[v for _, v in pairs])


def quality_knots(instance: Instance) -> tuple[FloatArray, FloatArray]:
    """Return similarities that reach over every possible phi_n, (knots,), and w1 Q there, (knots, x_max + 1).

    Outside the table the quality is constant.
    """
    rule = instance.public_prompt
    reach = ROOM if rule.rule != "affine" else ROOM * abs(rule.slope) + abs(rule.intercept)
    knots = np.asarray(instance.quality.similarity)
    values = instance.weights.quality * quality_at_bins(instance.quality, np.arange(instance.steps.common_max + 1))
    if knots[0] > -reach:
        knots, values = np.concatenate([[-reach], knots]), np.concatenate([values[:1], values])
    if knots[-1] < reach:
        knots, values = np.concatenate([knots, [reach]]), np.concatenate([values, values[-1:]])
    return knots, values


def add_steps(model: pyo.ConcreteModel, instance: Instance | IccInstance) -> None:
    """Add x_n (by binaries ``chosen`` over its values), y_n and the bounds (28b-d, f); z_n is what is left of T."""
    limits = instance.steps
    model.users = pyo.RangeSet(0, instance.users - 1)
    model.common_values = pyo.RangeSet(0, limits.common_max)
    model.chosen = pyo.Var(model.users, model.common_values, domain=pyo.Binary)
    model.steps_edge = pyo.Var(  # a value for users whose y nothing holds and nobody pays for: no solver gives it one
        model.users, domain=pyo.Integers, bounds=(limits.edge_min, limits.edge_max), initialize=limits.edge_min
    )
    model.common = pyo.Expression(
        model.users, rule=lambda m, n: linear(m.common_values, [m.chosen[n, x] for x in m.common_values])
    )
    model.choose = pyo.Constraint(model.users, rule=lambda m, n: sum(m.chosen[n, x] for x in m.common_values) == 1)
    if limits.device_binds:
        model.served = pyo.Constraint(
            model.users,
            rule=lambda m, n: (limits.served_min, m.common[n] + m.steps_edge[n], limits.served_max),
        )


def insert_steps(model: pyo.ConcreteModel, common: IntArray, steps_edge: IntArray) -> None:
    """Set the variables of `add_steps`."""
    for n in model.users:
        model.steps_edge[n].set_value(int(steps_edge[n]))
        for x in model.common_values:
            model.chosen[n, x].set_value(int(x == common[n]))


def extract_labels(model: pyo.ConcreteModel) -> IntArray:
    """Return the cluster of each user by the binaries ``assigned``, shape (N,)."""
    assigned = [[float(pyo.value(model.assigned[n, k])) for k in model.clusters] for n in model.users]
    return np.asarray(np.argmax(assigned, axis=1), dtype=np.int64)


def extract_steps(model: pyo.ConcreteModel) -> tuple[IntArray, IntArray]:
    """Return x_n and y_n, shapes (N,)."""
    common = np.array([sum(x * rounded(model.chosen[n, x]) for x in model.common_values) for n in model.users])
    steps_edge = np.array([rounded(model.steps_edge[n]) for n in model.users])
    return common, steps_edge
