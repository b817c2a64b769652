"""The sum of squares by pair variables: sum over pairs of |x_i - x_j|^2 Z_ij, Z the Peng-Wei matrix of the partition."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyomo.environ as pyo

from hisopt.models.clustering.pairs import extract, insert_shares, state_shares, state_together
from hisopt.models.common import linear

if TYPE_CHECKING:
    from collections.abc import Callable

    from hisopt.decision import Decision
    from hisopt.problems import SumOfSquares

__all__ = ["DECISION", "build", "extract", "insert"]

# What the variables say of the decision, for readers of the model's file.
DECISION = {
    "clusters": "points i < j share a cluster where together[i,j] = 1",
}


def build(problem: SumOfSquares, watch: Callable[[], None] = lambda: None) -> pyo.ConcreteModel:
    """State minimum sum-of-squares clustering on the variables of `hisopt.models.clustering.pairs`.

    The squared distances of a cluster to its centre add up to those of its pairs over its size, so that differences of
    points enter and no norms. Must-link and cannot-link pairs fix ``together``. ``watch`` is as in `pairs.build`.
    """
    points = problem.points
    model = pyo.ConcreteModel(name="pairs_sse")
    model.pair_squares = {
        (i, j): float(np.square(points[i] - points[j]).sum())
        for i in range(len(points)) for j in range(i + 1, len(points))
    }  # fmt: skip
    model.unit = max(model.pair_squares.values(), default=0.0) or 1.0
    sizes = state_together(model, problem.users, problem.sizes, watch)
    state_shares(model, problem.clusters, sizes)
    model.linked = pyo.ConstraintList()
    for links, together in ((problem.together, 1), (problem.apart, 0)):
        for i, j in np.sort(links, axis=1).tolist():
            if i != j:
                model.linked.add(model.together[i, j] == together)
            elif not together:
                model.linked.add(model.own_share[i] <= 0)  # a point apart from itself is nowhere
    pairs = list(model.pairs)
    model.value = pyo.Objective(
        expr=linear([model.pair_squares[p] for p in pairs], [model.share[p] for p in pairs]), sense=pyo.minimize
    )
    return model


def insert(model: pyo.ConcreteModel, _: SumOfSquares, decision: Decision) -> None:
    """Set the variables to a partition."""
    insert_shares(model, decision.labels)
