"""P_I by pair variables: free of the labels' symmetry, and linear for ``sum`` and ``mean``."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import pyomo.environ as pyo

from hisopt.decision import Decision
from hisopt.models.common import linear, point_units

if TYPE_CHECKING:
    from collections.abc import Callable

    from hisopt.arrays import IntArray
    from hisopt.problems import Clustering, Sizes, SumOfSquares

# What the variables say of the decision, for readers of the model's file.
DECISION = {
    "clusters": "users i < j share a cluster where together[i,j] = 1",
}


def build(problem: Clustering, watch: Callable[[], None] = lambda: None) -> pyo.ConcreteModel:
    """State P_I: ``together[i, j]`` for i < j, made transitive by triangle inequalities.

    ``sum``: at most M users are representatives (the lowest of their cluster). ``mean``: ``in_size[n, k]`` says that
    n's cluster has k users, and ``share[i, j]`` = together / size is the Peng-Wei matrix Z, whose trace counts the
    clusters; its rows sum to one and its diagonal dominates, which makes it exact on whole ``together``. ``watch`` is called
    between triangles, of which there are some users^3 / 2; what it raises ends the building.
    """
    if problem.criterion not in ("sum", "mean"):
        raise ValueError(f"pair variables state sum and mean, not {problem.criterion}")
    model = pyo.ConcreteModel(name=f"pairs_{problem.criterion}")
    model.unit = point_units(problem)[1]
    sizes = state_together(model, problem.users, problem.sizes, watch)
    if problem.criterion == "sum":
        _state_sum(model, problem.similarity_matrix, problem.clusters)
    else:
        _state_mean(model, problem.similarity_matrix, problem.clusters, sizes)
    return model


def state_together(model: pyo.ConcreteModel, users: int, sizes: Sizes, watch: Callable[[], None]) -> range:
    """State who is together, transitively and within limits on sizes; return the sizes that a cluster may have."""
    model.users = pyo.RangeSet(0, users - 1)
    model.pairs = pyo.Set(initialize=list(combinations(range(users), 2)), dimen=2)
    model.together = pyo.Var(model.pairs, domain=pyo.Binary)
    model.triangles = pyo.ConstraintList()
    for i, j, k in combinations(range(users), 3):
        if k == j + 1:
            watch()
        a, b, c = model.together[i, j], model.together[j, k], model.together[i, k]
        model.triangles.add(a + b - c <= 1)
        model.triangles.add(a + c - b <= 1)
        model.triangles.add(b + c - a <= 1)
    model.others = pyo.Expression(model.users, rule=lambda m, n: sum(_others(m.together, n, users)))
    least, most = sizes.least, sizes.most or users
    if least > 1 or most < users:
        model.sizes = pyo.Constraint(model.users, rule=lambda m, n: (least - 1, m.others[n], most - 1))
    return range(least, min(most, users) + 1)


def insert(model: pyo.ConcreteModel, problem: Clustering, decision: Decision) -> None:
    """Set the variables to a partition."""
    labels = decision.labels
    if problem.criterion == "mean":
        insert_shares(model, labels)
        return
    _insert_together(model, labels)
    for n in model.users:
        model.representative[n].set_value(int(labels[n] not in labels[:n]))


def insert_shares(model: pyo.ConcreteModel, labels: IntArray) -> None:
    """Set the variables of `state_shares` to a partition."""
    _insert_together(model, labels)
    for n in model.users:
        size = int((labels == labels[n]).sum())
        for k in model.size_values:
            model.in_size[n, k].set_value(int(k == size))
    for i, j in model.pairs:
        model.share[i, j].set_value(float(labels[i] == labels[j]) / (labels == labels[i]).sum())


def _insert_together(model: pyo.ConcreteModel, labels: IntArray) -> None:
    for i, j in model.pairs:
        model.together[i, j].set_value(int(labels[i] == labels[j]))


def extract(model: pyo.ConcreteModel, problem: Clustering | SumOfSquares) -> Decision:
    """Return the labels, 0 .. M-1 in the order of the representatives."""
    labels = np.full(problem.users, -1, dtype=np.int64)
    count = 0
    for i in model.users:
        if labels[i] < 0:
            labels[i], count = count, count + 1
            for j in range(i + 1, len(labels)):
                if labels[j] < 0 and pyo.value(model.together[i, j]) > 0.5:
                    labels[j] = labels[i]
    return Decision(clusters=labels)


def _others(pairs: Any, n: int, users: int) -> list[Any]:
    return [pairs[min(n, j), max(n, j)] for j in range(users) if j != n]


def _state_sum(model: pyo.ConcreteModel, similarity: np.ndarray, count: int) -> None:
    model.representative = pyo.Var(model.users, domain=pyo.Binary)
    model.lowest = pyo.Constraint(
        model.users,
        rule=lambda m, n: m.representative[n] + sum(m.together[i, n] for i in range(n)) >= 1,
    )
    model.at_most = pyo.Constraint(expr=sum(model.representative[n] for n in model.users) <= count)
    pairs = list(model.pairs)
    model.value = pyo.Objective(
        expr=float(np.trace(similarity))
        + linear([2 * similarity[p] for p in pairs], [model.together[p] for p in pairs]),
        sense=pyo.maximize,
    )


def _state_mean(model: pyo.ConcreteModel, similarity: np.ndarray, count: int, sizes: range) -> None:
    state_shares(model, count, sizes)
    pairs = list(model.pairs)
    model.value = pyo.Objective(
        expr=sum(similarity[n, n] * model.own_share[n] for n in model.users)
        + linear([2 * similarity[p] for p in pairs], [model.share[p] for p in pairs]),
        sense=pyo.maximize,
    )


def state_shares(model: pyo.ConcreteModel, count: int, sizes: range) -> None:
    """State the matrix Z of ``together``, its diagonal ``own_share``, and at most ``count`` clusters."""
    users = len(model.users)
    model.size_values = pyo.Set(initialize=list(sizes))
    model.in_size = pyo.Var(model.users, model.size_values, domain=pyo.Binary)
    model.share = pyo.Var(model.pairs, bounds=(0, 0.5))
    model.own_share = pyo.Expression(model.users, rule=lambda m, n: sum(m.in_size[n, k] / k for k in m.size_values))
    model.one_size = pyo.Constraint(model.users, rule=lambda m, n: sum(m.in_size[n, k] for k in m.size_values) == 1)
    model.its_size = pyo.Constraint(
        model.users, rule=lambda m, n: 1 + m.others[n] == sum(k * m.in_size[n, k] for k in m.size_values)
    )
    model.rows = pyo.Constraint(model.users, rule=lambda m, n: m.own_share[n] + sum(_others(m.share, n, users)) == 1)
    model.only_together = pyo.Constraint(model.pairs, rule=lambda m, i, j: m.share[i, j] <= m.together[i, j] / 2)
    model.below_first = pyo.Constraint(model.pairs, rule=lambda m, i, j: m.share[i, j] <= m.own_share[i])
    model.below_second = pyo.Constraint(model.pairs, rule=lambda m, i, j: m.share[i, j] <= m.own_share[j])
    model.at_most = pyo.Constraint(expr=sum(model.own_share[n] for n in model.users) <= count)
