"""P_I by assignment binaries with linearised products: (26) as printed, and the other criteria on the same variables."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyomo.environ as pyo

from hisopt.decision import Decision
from hisopt.equations import clustering_value
from hisopt.models.common import ROOM, extract_labels, linear, point_units

if TYPE_CHECKING:
    from hisopt.arrays import FloatArray
    from hisopt.problems import Clustering

# What the variables say of the decision, for readers of the model's file.
DECISION = {
    "clusters": "of user n: the m with assigned[n,m] = 1",
}


def build(problem: Clustering) -> pyo.ConcreteModel:
    """State P_I: ``assigned[n, m]``, ``together[i, j, m]`` their product for i < j.

    ``sum`` is the integer linear program (26). ``mean`` bounds a cluster's value t_m by t_m |N_m| <= |s_m|^2
    (bilinear), ``centroid`` by t_m^2 <= |s_m|^2 (convex). Limits on sizes hold for clusters that are not empty.
    Lengths are in units of the longest point's, and so the values; ``unit`` is what one is worth.
    """
    length, unit = point_units(problem)
    similarity = problem.similarity_matrix / length**2
    model = pyo.ConcreteModel(name=f"assignment_{problem.criterion}")
    model.unit = unit
    users, count = problem.users, problem.clusters
    model.users, model.clusters = pyo.RangeSet(0, users - 1), pyo.RangeSet(0, count - 1)
    model.pairs = pyo.Set(initialize=[(i, j) for i in range(users) for j in range(i + 1, users)], dimen=2)
    model.assigned = pyo.Var(model.users, model.clusters, domain=pyo.Binary)
    model.together = pyo.Var(model.pairs, model.clusters, bounds=(0, 1))
    model.assign = pyo.Constraint(model.users, rule=lambda m, n: sum(m.assigned[n, k] for k in m.clusters) == 1)
    model.first = pyo.Constraint(
        model.pairs, model.clusters, rule=lambda m, i, j, k: m.together[i, j, k] <= m.assigned[i, k]
    )
    model.second = pyo.Constraint(
        model.pairs, model.clusters, rule=lambda m, i, j, k: m.together[i, j, k] <= m.assigned[j, k]
    )
    model.both = pyo.Constraint(
        model.pairs,
        model.clusters,
        rule=lambda m, i, j, k: m.together[i, j, k] >= m.assigned[i, k] + m.assigned[j, k] - 1,
    )
    model.size = pyo.Expression(model.clusters, rule=lambda m, k: sum(m.assigned[n, k] for n in m.users))
    least, most = problem.sizes.least, problem.sizes.most
    if most is not None:
        model.largest = pyo.Constraint(model.clusters, rule=lambda m, k: m.size[k] <= most)
    if least > 1:
        model.open = pyo.Var(model.clusters, domain=pyo.Binary)
        model.smallest = pyo.Constraint(model.clusters, rule=lambda m, k: m.size[k] >= least * m.open[k])
        model.used = pyo.Constraint(model.users, model.clusters, rule=lambda m, n, k: m.assigned[n, k] <= m.open[k])
    model.square = pyo.Expression(model.clusters, rule=lambda m, k: _square(m, similarity, k))
    if problem.criterion == "sum":
        model.value = pyo.Objective(expr=unit * sum(model.square[k] for k in model.clusters), sense=pyo.maximize)
        return model
    largest = ROOM * len(similarity)  # no cluster's value exceeds its number of users: no point is longer than one
    model.worth = pyo.Var(model.clusters, bounds=(0, largest))
    if problem.criterion == "mean":
        model.definition = pyo.Constraint(model.clusters, rule=lambda m, k: m.worth[k] * m.size[k] <= m.square[k])
        model.empty = pyo.Constraint(model.clusters, rule=lambda m, k: m.worth[k] <= largest * m.size[k])
    else:
        model.definition = pyo.Constraint(model.clusters, rule=lambda m, k: m.worth[k] ** 2 <= m.square[k])
        # what a solver's tolerance on a square leaves to an empty cluster, and to others when `limit_worth` says so
        model.empty = pyo.Constraint(model.clusters, rule=lambda m, k: m.worth[k] <= ROOM * m.size[k])
    model.limits = pyo.ConstraintList()
    model.value = pyo.Objective(expr=unit * sum(model.worth[k] for k in model.clusters), sense=pyo.maximize)
    return model


def insert(model: pyo.ConcreteModel, problem: Clustering, decision: Decision) -> None:
    """Set the variables to a partition."""
    labels = decision.labels
    for n in model.users:
        for k in model.clusters:
            model.assigned[n, k].set_value(int(labels[n] == k))
    for i, j in model.pairs:
        for k in model.clusters:
            model.together[i, j, k].set_value(int(labels[i] == k == labels[j]))
    for k in model.clusters:
        if hasattr(model, "open"):
            model.open[k].set_value(int((labels == k).any()))
        if problem.criterion != "sum":
            square, size = max(pyo.value(model.square[k]), 0.0), pyo.value(model.size[k])
            worth = square / max(size, 1) if problem.criterion == "mean" else np.sqrt(square)
            model.worth[k].set_value(worth)


def limit_worth(model: pyo.ConcreteModel, problem: Clustering, decision: Decision) -> bool:
    """Add t_m <= |s(C)| + |N_m xor C| for every cluster C of a partition and every m; False if they were there.

    For ``centroid``: a user more or less changes |s| by at most its own length, 1, so the cuts hold for all partitions;
    they state the value of C itself without a square.
    """
    points = problem.points / point_units(problem)[0]
    known = model.__dict__.setdefault("_limited", set())
    members = {tuple(np.flatnonzero(decision.labels == label).tolist()) for label in decision.labels} - known
    for cluster in sorted(members):
        value = clustering_value(problem.criterion, points[list(cluster)], np.zeros(len(cluster), dtype=np.int64))
        for k in model.clusters:
            differing = len(cluster) - sum(model.assigned[n, k] for n in cluster)
            differing += sum(model.assigned[n, k] for n in model.users if n not in cluster)
            model.limits.add(model.worth[k] <= value + ROOM * differing)
    known.update(members)
    return bool(members)


def extract(model: pyo.ConcreteModel, _: Clustering) -> Decision:
    """Return the labels."""
    return Decision(clusters=extract_labels(model))


def _square(model: pyo.ConcreteModel, similarity: FloatArray, k: int) -> object:
    """|s_m|^2 = sum over i, j in the cluster of S_ij, linear in the variables."""
    pairs = list(model.pairs)
    coefficients = [similarity[n, n] for n in model.users] + [2 * similarity[i, j] for i, j in pairs]
    return linear(
        coefficients, [model.assigned[n, k] for n in model.users] + [model.together[i, j, k] for i, j in pairs]
    )
