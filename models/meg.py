"""Mobile edge generation as a linear program over occupancies d(h, a) = nu(h) pi(a | h).

Where slots are independent, a row a bin says that its occupancies sum to its probability. For a Markov channel the rows are
the flow balance of `hisopt.models.cmdp`, which knows nothing of nu: an independent way to the same optimum.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyomo.environ as pyo

from hisopt.decision import Decision
from hisopt.models import cmdp
from hisopt.models.common import linear

if TYPE_CHECKING:
    from hisopt.problems import Meg

LARGEST = 2_000_000  # coefficients of a flow balance that are stated in reasonable time and memory


def coefficients(problem: Meg) -> int:
    """Return how many coefficients the balance may have."""
    bins, actions = problem.shapes["policy"]
    return bins * actions * (1 if problem.instance.channel.transition is None else bins)


# What the variables say of the decision, for readers of the model's file.
DECISION = {
    "policy": "probability of action a in bin h: occupancy[h,a] over the sum of occupancy[h,.]",
}


def build(problem: Meg) -> pyo.ConcreteModel:
    """State the program; variables ``occupancy[h,a]`` of the actions that keep every slot's limits."""
    process, channel = problem.process, problem.instance.channel
    if channel.transition is not None:
        moves = np.broadcast_to(channel.transition[:, None, :], (*problem.shapes["policy"], channel.bins))
        start = channel.probability if channel.start is None else channel.start
        gamma = problem.instance.discount
        return cmdp.build(process.reward, process.costs, process.limits, moves, start, gamma, process.allowed)
    model = pyo.ConcreteModel(name="meg")
    bins, actions = process.reward.shape
    model.states, model.actions = pyo.RangeSet(0, bins - 1), pyo.RangeSet(0, actions - 1)
    model.pairs = pyo.Set(initialize=[(int(h), int(a)) for h, a in np.argwhere(process.allowed)], dimen=2)
    model.occupancy = pyo.Var(model.pairs, bounds=(0, None))
    taken = list(model.occupancy.values())
    model.value = pyo.Objective(expr=linear(process.reward[process.allowed], taken), sense=pyo.maximize)
    model.limit = pyo.Constraint(
        range(len(process.limits)),
        rule=lambda _, k: linear(process.costs[k][process.allowed], taken) <= float(process.limits[k]),
    )
    inside = [[m for m in range(actions) if process.allowed[h, m]] for h in range(bins)]
    model.marginal = pyo.Constraint(
        [h for h in range(bins) if inside[h]],
        rule=lambda m, h: (
            linear(np.ones(len(inside[h])), [m.occupancy[h, a] for a in inside[h]]) == float(process.probability[h])
        ),
    )
    return model


def insert(model: pyo.ConcreteModel, problem: Meg, decision: Decision) -> None:
    """Set the variables to a policy's occupancies; what it does beyond the limits of a slot is left out."""
    occupancy = problem.process.probability[:, None] * decision.probabilities
    for pair, variable in model.occupancy.items():
        variable.set_value(float(occupancy[pair]))


def extract(model: pyo.ConcreteModel, problem: Meg) -> Decision:
    """Return the policy; bins that never occur take their first allowed action."""
    occupancy = np.maximum(cmdp.extract(model), 0.0)
    sums = occupancy.sum(axis=1, keepdims=True)
    never = np.flatnonzero(sums[:, 0] <= 0)
    occupancy[never, problem.allowed[never].argmax(axis=1)] = 1.0
    sums[never] = 1.0
    return Decision(policy=occupancy / sums)
