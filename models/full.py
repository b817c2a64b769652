"""P_I and P_II together: clusters, steps and SMs as one mixed-integer nonlinear program."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import pyomo.environ as pyo

from hisopt.decision import Decision
from hisopt.equations import (
    device_only_utility,
    device_step_cost,
    edge_step_energy_cost,
    edge_work_cost,
    rule_similarity,
    steps_sms,
    work_costs,
)
from hisopt.models import cancelling
from hisopt.models.common import (
    ROOM,
    add_sms,
    add_steps,
    extract_labels,
    extract_steps,
    insert_sms,
    insert_steps,
    linear,
    quality_knots,
    sms_budget,
    utility_unit,
    within_budget,
)

if TYPE_CHECKING:
    from hisopt.instances import Instance
    from hisopt.problems import Full

# What the variables say of the decision, for readers of the model's file.
DECISION = {
    "clusters": "of user n: the m with assigned[n,m] = 1",
    "steps_common": "of user n: the x with chosen[n,x] = 1",
    "steps_edge": "of user n: steps_edge[n]",
    "steps_device": "of user n: T less the other two",
    "sms": "of cluster m: sms[m] where SMs are whole, else those of Theorem 1 for the rest (share[m] V / 1000 up to tolerances)",
}


def build(problem: Full) -> pyo.ConcreteModel:
    """State the full problem.

    ``assigned[n, m]`` are the clusters, ``together[i, j]`` the pairs that follow. With the ideal public prompt,
    ``norm[n]`` is the length of n's cluster sum, norm^2 = sum of S over the cluster and phi_n norm_n = the sum of S
    from n to its cluster; where embeddings nearly cancel, phi_n is given (`hisopt.models.cancelling`). With the affine
    rule phi_n is linear in that sum over the cluster's size. phi_n is a convex combination of two neighbouring knots of
    the quality table (``segment``), split over the values of x_n (``weight``). t_m v_m >= (c' |N_m| + c'') W_m as in P_II.

    Raises
    ------
    ValueError
        For a public-prompt rule without an algebraic form here (medoid), or where too many embeddings cancel.
    """
    instance = problem.instance
    if instance.public_prompt.rule not in ("ideal", "affine"):
        raise ValueError(f"the public-prompt rule {instance.public_prompt.rule!r} has no form in this model")
    model = pyo.ConcreteModel(name="full")
    model.unit = utility_unit(instance.with_clusters(np.zeros(instance.users, dtype=np.int64)))
    add_steps(model, instance)
    _add_clusters(model, instance)
    _add_quality(model, instance)
    _add_server(model, problem)
    saved = device_step_cost(instance)
    model.value = pyo.Objective(
        expr=device_only_utility(instance)
        + linear([model.worths[k, x] for _, k, x in model.points], [model.weight[p] for p in model.points])
        + sum(saved[n] * (model.common[n] + model.steps_edge[n]) for n in model.users)
        - edge_step_energy_cost(instance) * sum(model.work[m] for m in model.clusters)
        - model.unit * sum(model.cost[m] for m in model.clusters),
        sense=pyo.maximize,
    )
    return model


def _add_clusters(model: pyo.ConcreteModel, instance: Instance) -> None:
    users, count = instance.users, instance.max_clusters
    model.clusters = pyo.RangeSet(0, count - 1)
    model.assigned = pyo.Var(model.users, model.clusters, domain=pyo.Binary)
    model.assign = pyo.Constraint(model.users, rule=lambda m, n: sum(m.assigned[n, k] for k in m.clusters) == 1)
    # Cluster k holds a user only if an earlier user opens k - 1: labels in order of first appearance.
    model.ordered = pyo.Constraint(
        model.users,
        model.clusters,
        rule=lambda m, n, k: (
            pyo.Constraint.Skip if k == 0 else m.assigned[n, k] <= sum(m.assigned[i, k - 1] for i in range(n)) + 0
        ),
    )
    model.pairs = pyo.Set(initialize=list(combinations(range(users), 2)), dimen=2)
    model.together = pyo.Var(model.pairs, bounds=(0, 1))
    model.joined = pyo.ConstraintList()
    for i, j in model.pairs:
        for k in model.clusters:
            a, b, same = model.assigned[i, k], model.assigned[j, k], model.together[i, j]
            model.joined.add(same >= a + b - 1)
            model.joined.add(same <= 1 - a + b)
    model.size = pyo.Expression(model.clusters, rule=lambda m, k: sum(m.assigned[n, k] for n in m.users))
    least, most = instance.cluster_size_min, instance.cluster_size_max or users
    if least > 1 or most < users:
        model.sizes = pyo.Constraint(
            model.users, rule=lambda m, n: (least - 1, sum(_pair(m, n, j) for j in m.users if j != n), most - 1)
        )


def _pair(model: pyo.ConcreteModel, i: int, j: int) -> Any:
    return model.together[min(i, j), max(i, j)]


def _add_quality(model: pyo.ConcreteModel, instance: Instance) -> None:
    similarity = instance.similarity_matrix
    model.phi = pyo.Var(model.users, bounds=(-ROOM, ROOM))
    model.to_sum = pyo.Expression(
        model.users,
        rule=lambda m, n: (
            float(similarity[n, n])
            + linear([similarity[n, j] for j in m.users if j != n], [_pair(m, n, j) for j in m.users if j != n])
        ),
    )
    if instance.public_prompt.rule == "ideal":
        cancelling.add(model, instance, {n: _cluster_square(model, similarity, n) for n in model.users})
    else:
        rule = instance.public_prompt
        model.mean = pyo.Var(model.users, bounds=(-ROOM, ROOM))
        model.means = pyo.Constraint(
            model.users,
            rule=lambda m, n: m.mean[n] * (1 + sum(_pair(m, n, j) for j in m.users if j != n)) == m.to_sum[n],
        )
        model.phi.setlb(None)
        model.phi.setub(None)
        model.law = pyo.Constraint(model.users, rule=lambda m, n: m.phi[n] == rule.slope * m.mean[n] + rule.intercept)
    knots, worths = quality_knots(instance)
    model.worths = {(k, x): float(worths[k, x]) for k in range(len(knots)) for x in model.common_values}
    model.knots, model.gaps = pyo.RangeSet(0, len(knots) - 1), pyo.RangeSet(0, len(knots) - 2)
    model.points = pyo.Set(
        initialize=[(n, k, x) for n in model.users for k in model.knots for x in model.common_values], dimen=3
    )
    model.weight = pyo.Var(model.points, bounds=(0, 1))
    model.segment = pyo.Var(model.users, model.gaps, domain=pyo.Binary)
    model.one_segment = pyo.Constraint(model.users, rule=lambda m, n: sum(m.segment[n, g] for g in m.gaps) == 1)
    model.neighbours = pyo.Constraint(
        model.users,
        model.knots,
        rule=lambda m, n, k: (
            sum(m.weight[n, k, x] for x in m.common_values) <= sum(m.segment[n, g] for g in (k - 1, k) if g in m.gaps)
        ),
    )
    model.split = pyo.Constraint(
        model.users,
        model.common_values,
        rule=lambda m, n, x: sum(m.weight[n, k, x] for k in m.knots) == m.chosen[n, x],
    )
    model.interpolate = pyo.Constraint(
        model.users,
        rule=lambda m, n: (
            m.phi[n] == sum(float(knots[k]) * m.weight[n, k, x] for k in m.knots for x in m.common_values)
        ),
    )


def _cluster_square(model: pyo.ConcreteModel, similarity: np.ndarray, n: int) -> Any:
    """Sum of S over the cluster of n, with ``both[i, j, n]`` the product of i and j being with n."""
    if not hasattr(model, "both"):
        users = list(model.users)
        triples = [(i, j, n) for n in users for i, j in combinations([u for u in users if u != n], 2)]
        model.triples = pyo.Set(initialize=triples, dimen=3)
        model.both = pyo.Var(model.triples, bounds=(0, 1))
        model.products = pyo.ConstraintList()
        for i, j, k in triples:
            model.products.add(model.both[i, j, k] <= _pair(model, i, k))
            model.products.add(model.both[i, j, k] <= _pair(model, j, k))
            model.products.add(model.both[i, j, k] >= _pair(model, i, k) + _pair(model, j, k) - 1)
    others = [u for u in model.users if u != n]
    own = similarity[n, n] + sum((similarity[j, j] + 2 * similarity[n, j]) * _pair(model, n, j) for j in others)
    return own + sum(2 * similarity[i, j] * model.both[i, j, n] for i, j in combinations(others, 2))


def _add_server(model: pyo.ConcreteModel, problem: Full) -> None:
    instance, limits = problem.instance, problem.instance.steps
    users = instance.users
    model.common_max = pyo.Var(model.clusters, bounds=(0, limits.common_max))
    model.longest = pyo.Constraint(
        model.users,
        model.clusters,
        rule=lambda m, n, k: m.common_max[k] >= m.common[n] - limits.common_max * (1 - m.assigned[n, k]),
    )
    # y_n in the cluster of n, y_n = sum over m of part[n, m]
    model.part = pyo.Var(model.users, model.clusters, bounds=(0, limits.edge_max))
    model.parts = pyo.Constraint(
        model.users, rule=lambda m, n: sum(m.part[n, k] for k in m.clusters) == m.steps_edge[n]
    )
    model.placed = pyo.Constraint(
        model.users,
        model.clusters,
        rule=lambda m, n, k: m.part[n, k] <= limits.edge_max * m.assigned[n, k],
    )
    model.work = pyo.Expression(model.clusters, rule=lambda m, k: m.common_max[k] + sum(m.part[n, k] for n in m.users))
    base, both = edge_work_cost(instance, np.array([0, 1]))
    base, slope = float(base), float(both - base)
    load = np.sqrt((base + slope * users) * (limits.common_max + limits.edge_max * users))
    # at the optimum t_m = sqrt(c_m W_m) S / V with S at most M of the largest load; whole SMs are at least 1
    most = float(load**2 if problem.whole_sms else load**2 * instance.max_clusters / instance.sm_budget)
    add_sms(model, problem, lambda k: (base + slope * model.size[k]) * model.work[k], lambda _: most)
    largest = limits.common_max + limits.edge_max * users
    if problem.whole_sms and largest:  # work that costs nothing needs an SM, too
        model.served_by = pyo.Constraint(model.clusters, rule=lambda m, k: largest * m.sms[k] >= m.work[k])


def insert(model: pyo.ConcreteModel, problem: Full, decision: Decision) -> None:
    """Set the variables to a decision, its labels in order of first appearance."""
    instance = problem.instance
    (common, steps_edge), sms = decision.server_steps, decision.cluster_sms
    seen = list(dict.fromkeys(decision.labels.tolist()))
    labels = np.array([seen.index(k) for k in decision.labels])
    sms = np.concatenate([np.asarray(sms)[seen], np.zeros(instance.max_clusters - len(seen))])
    insert_steps(model, common, steps_edge)
    for i, j in model.pairs:
        model.together[i, j].set_value(int(labels[i] == labels[j]))
    for n in model.users:
        for k in model.clusters:
            model.assigned[n, k].set_value(int(labels[n] == k))
            model.part[n, k].set_value(int(steps_edge[n]) * int(labels[n] == k))
    phi = rule_similarity(instance, labels)
    if instance.public_prompt.rule == "ideal":
        for i, j, k in model.triples:
            model.both[i, j, k].set_value(int(labels[i] == labels[j] == labels[k]))
        cancelling.insert(model, instance, labels)
    else:
        for n in model.users:
            model.mean[n].set_value(pyo.value(model.to_sum[n]) / (labels == labels[n]).sum())
    knots, _ = quality_knots(instance)
    for n in model.users:
        model.phi[n].set_value(float(phi[n]))
        gap = int(np.clip(np.searchsorted(knots, phi[n], side="right") - 1, 0, len(knots) - 2))
        upper = (phi[n] - knots[gap]) / (knots[gap + 1] - knots[gap])
        for g in model.gaps:
            model.segment[n, g].set_value(int(g == gap))
        for k in model.knots:
            share = {gap: 1 - upper, gap + 1: upper}.get(k, 0.0)
            for x in model.common_values:
                model.weight[n, k, x].set_value(float(share) * int(x == common[n]))
    for k in model.clusters:
        model.common_max[k].set_value(int(common[labels == k].max(initial=0)))
    insert_sms(model, problem, sms, work_costs(instance.with_clusters(labels), common, steps_edge))


def extract(model: pyo.ConcreteModel, problem: Full) -> Decision:
    """Return clusters, steps and SMs; real SMs are those of Theorem 1 for the rest."""
    instance = problem.instance
    common, steps_edge = extract_steps(model)
    labels = extract_labels(model)
    budget = sms_budget(problem)
    if problem.whole_sms:
        sms = within_budget(np.array([pyo.value(model.sms[k]) for k in model.clusters]), budget, integer=True)
    else:
        sms = steps_sms(instance.with_clusters(labels), common, steps_edge)
    return Decision.of_steps(instance.steps.total, common, steps_edge, sms, labels)
