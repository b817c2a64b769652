"""Constrained Markov decision processes in general, as the linear program over occupancy measures.

Here actions may move the state; in MEG they do not, and the balance becomes the given probabilities (`hisopt.models.meg`).
E. Altman, Constrained Markov Decision Processes, Chapman & Hall, 1999, chapters 3 and 4.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyomo.environ as pyo

from hisopt.models.common import linear

if TYPE_CHECKING:
    from hisopt.arrays import BoolArray, FloatArray


def build(
    reward: FloatArray,
    costs: FloatArray,
    limits: FloatArray,
    transition: FloatArray,
    start: FloatArray | None = None,
    discount: float | None = None,
    allowed: BoolArray | None = None,
) -> pyo.ConcreteModel:
    """State the program: maximise sum d r with sum d c_k <= l_k over occupancies d(s, a) >= 0 that balance.

    Discounted, d counts visits times (1 - gamma): sum_a d(s', a) = (1 - gamma) start(s') + gamma sum_{s, a} d(s, a) P(s' | s, a).
    On average (``discount`` None): the same with gamma = 1, and d sums to one.

    Shapes: ``reward`` (S, A), ``costs`` (K, S, A), ``limits`` (K,), ``transition`` (S, A, S), ``start`` (S,). Variables:
    ``occupancy[s,a]``, of the ``allowed`` pairs alone, shape (S, A), where those are given.
    """
    states, actions = reward.shape
    if discount is not None and start is None:
        raise ValueError("start: missing, and the discounted program needs it")
    model = pyo.ConcreteModel(name="cmdp")
    model.states, model.actions = pyo.RangeSet(0, states - 1), pyo.RangeSet(0, actions - 1)
    kept = np.ones(reward.shape, dtype=bool) if allowed is None else allowed
    model.pairs = pyo.Set(initialize=[(int(s), int(a)) for s, a in np.argwhere(kept)], dimen=2)
    model.occupancy = pyo.Var(model.pairs, bounds=(0, None))
    pairs = list(model.occupancy.values())
    model.value = pyo.Objective(expr=linear(reward[kept], pairs), sense=pyo.maximize)
    model.limit = pyo.Constraint(
        range(len(limits)), rule=lambda _, k: linear(costs[k][kept], pairs) <= float(limits[k])
    )
    gamma = 1.0 if discount is None else discount
    # coefficient of d(s, a) in the balance of s': 1 where s = s', less gamma P(s' | s, a)
    balance = np.eye(states)[:, None, :] - gamma * transition
    entering = np.zeros(states) if discount is None or start is None else (1 - discount) * start
    model.balance = pyo.Constraint(
        model.states, rule=lambda _, s: linear(balance[:, :, s][kept], pairs) == float(entering[s])
    )
    if discount is None:
        model.whole = pyo.Constraint(expr=linear(np.ones(len(pairs)), pairs) == 1.0)
    return model


def extract(model: pyo.ConcreteModel) -> FloatArray:
    """Return the occupancies d(s, a), shape (S, A)."""
    found = np.zeros((len(model.states), len(model.actions)))
    for pair, variable in model.occupancy.items():
        found[pair] = pyo.value(variable)
    return found
