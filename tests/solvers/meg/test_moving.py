"""Processes whose actions move the state: programs, policy iteration, value iteration and brute force say the same."""

from __future__ import annotations

import numpy as np
import pytest

from hisopt import Limits, Meg, MegInstance, Termination
from hisopt.experiments.campaigns import meg_tiny
from hisopt.instances import Chance, MegChannel
from hisopt.solvers.meg import dual, policy_iteration
from hisopt.solvers.meg.exact import LagrangianDual, MegHighs, OccupancyLp, PolicyIteration, moving


def test_tiny_processes_are_the_same_in_every_way() -> None:
    infeasible = 0
    for seed in range(60):
        found = meg_tiny.answers(meg_tiny.draw(seed))
        told = meg_tiny.differences(found)
        assert max(told.values()) < 1e-8, (seed, told)
        assert len(found) == (6 if seed % 3 == 0 else 4)
        infeasible += found["brute force"][0] is None
    assert 10 < infeasible < 50


def test_a_wrong_answer_is_told() -> None:
    found = {"brute force": (0.5, 0.0), "right": (0.5, 0.0), "off": (0.4, 0.0), "none": (None, 0.1)}
    assert meg_tiny.differences(found) == {"brute force": 0.0, "right": 0.0, "off": pytest.approx(0.1), "none": np.inf}


@pytest.mark.parametrize("seed", range(8))
def test_occupancies_balance_and_multipliers_are_complementary(seed: int) -> None:
    """The policy's own chain has the occupancies of a feasible program, and only limits that bind have a price."""
    process = meg_tiny.draw(seed)
    found = policy_iteration.solve(process)
    assert found is not None
    if found.policy is None:
        assert found.violation > 0
        return
    moves = process.transition if process.transition.ndim == 3 else process.transition[:, None, :]
    chain = (found.policy[:, :, None] * moves).sum(axis=1)
    gamma = 1.0 if process.discount is None else process.discount
    reward, costs = meg_tiny.worth_of(process, found.policy)
    mixed = np.zeros(len(chain))
    row = process.start.copy()
    for t in range(4000):  # the sum over slots, without a linear solve
        weight = (1 - gamma) * gamma**t if process.discount is not None else (t >= 2000) / 2000
        mixed += weight * row
        row = row @ chain
    occupancy = mixed[:, None] * found.policy
    assert (occupancy * process.reward).sum() == pytest.approx(reward, abs=1e-9)
    entering = (1 - gamma) * process.start
    inflow = entering + gamma * np.einsum(
        "sa,sat->t", occupancy, np.broadcast_to(moves, (*occupancy.shape, len(chain)))
    )
    assert occupancy.sum(axis=1) == pytest.approx(inflow, abs=1e-9)
    assert np.abs(found.multipliers * (costs - process.limits)).max() < 1e-9
    assert (costs <= process.limits + 1e-9).all()


SMALL = MegInstance(
    channel=MegChannel.gauss_markov(5, 0.8), steps=np.array([4.0, 8.0, 12.0]), ratios=np.array([0.0, 0.5])
)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"discount": 0.9},
        {"discount": 0.9, "channel": SMALL.channel.replace(start=[0.0, 0.0, 0.0, 0.0, 1.0])},
        {"latency_cap_s": 2.9},
        {"energy_chance": Chance(level=1500.0, probability=0.4)},
        {"latency_limit_s": 1.0},
    ],
    ids=["average", "discounted", "start", "cap", "chance", "too tight"],
)
def test_a_markov_channel_in_four_ways(change: dict[str, object]) -> None:
    """Policy iteration knows the transitions alone, the others that actions do not move the channel."""
    problem = Meg(SMALL.replace(**change))
    results = [s.solve(problem, Limits()) for s in (PolicyIteration(), OccupancyLp(), LagrangianDual(), MegHighs())]
    if "latency_limit_s" in change:
        assert {r.termination for r in results} == {Termination.INFEASIBLE}
        violations = [r.details["least_violation"] for r in results[:3]]
        assert violations == pytest.approx([violations[0]] * 3, abs=1e-9)
        return
    values = [problem.evaluate(r.decision).objective for r in results if r.decision is not None]
    assert len(values) == 4 and {r.termination for r in results} == {Termination.OPTIMAL}
    assert values == pytest.approx([values[0]] * 4, abs=1e-8)
    assert results[0].details["randomised_bins"] <= len(problem.limit_names)


def test_independent_slots_as_a_chain() -> None:
    problem = Meg(MegInstance(channel=MegChannel.uniform_distance(6)))
    assert not PolicyIteration().serves(problem) and PolicyIteration().serves(Meg(SMALL))
    found, other = policy_iteration.solve(moving(problem)), dual.solve(problem.process)
    assert found is not None and other is not None and found.bound == pytest.approx(other.bound, abs=1e-10)
