"""The general program with flow balance agrees with the one that knows that actions do not move the channel."""

from __future__ import annotations

import numpy as np
import pyomo.environ as pyo
import pytest

from hisopt.cmdp import Cmdp
from hisopt.models.cmdp import build, extract
from hisopt.solvers.meg import occupancy


@pytest.mark.parametrize("discount", [None, 0.0, 0.6, 0.97])
@pytest.mark.parametrize("seed", range(4))
def test_flow_balance_changes_nothing_where_actions_do_not_move(discount: float | None, seed: int) -> None:
    rng = np.random.default_rng(seed)
    states, actions = 5, 3
    chain = rng.dirichlet(np.ones(states), states)
    stationary = np.linalg.matrix_power(chain, 512)[0]
    stationary /= stationary.sum()
    reward, costs = rng.normal(size=(states, actions)), rng.uniform(size=(2, states, actions))
    limits = costs.min(axis=2) @ stationary + np.array([0.25, 0.3])
    found = occupancy.solve(Cmdp.of(stationary, reward, costs, limits))
    assert found is not None and found.policy is not None
    moves = np.broadcast_to(chain[:, None, :], (states, actions, states))
    model = build(reward, costs, limits, moves, stationary, discount)
    pyo.SolverFactory("appsi_highs").solve(model)
    assert pyo.value(model.value) == pytest.approx(found.bound, abs=1e-7)
    assert extract(model).sum(axis=1) == pytest.approx(stationary, abs=1e-7)


def test_actions_that_move_the_state() -> None:
    """Two states, stay or go: the good one costs, and three tenths of the time there are allowed."""
    moves = np.zeros((2, 2, 2))
    for s in range(2):
        moves[s, 0, s] = moves[s, 1, 1 - s] = 1.0
    reward = np.array([[0.0, 0.0], [1.0, 1.0]])
    model = build(reward, reward[None], np.array([0.3]), moves)
    pyo.SolverFactory("appsi_highs").solve(model)
    assert pyo.value(model.value) == pytest.approx(0.3, abs=1e-9)


def test_discounted_needs_a_start() -> None:
    with pytest.raises(ValueError, match="start"):
        build(np.zeros((1, 1)), np.zeros((0, 1, 1)), np.zeros(0), np.ones((1, 1, 1)), discount=0.5)
