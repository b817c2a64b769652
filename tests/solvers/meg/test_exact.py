"""The linear program, the dual and brute force say the same about small processes."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy.optimize import linprog

from hisopt.cmdp import Cmdp
from hisopt.instances.meg import MegChannel, MegInstance
from hisopt.meg_equations import tables
from hisopt.solvers.meg import dual, occupancy, vertex


def tiny(seed: int) -> Cmdp:
    rng = np.random.default_rng(seed)
    states, actions, limits = rng.integers(1, 5), rng.integers(1, 5), rng.integers(1, 3)
    costs = rng.uniform(0, 1, (limits, states, actions))
    probability = rng.dirichlet(np.ones(states))
    if seed % 5 == 0 and states > 1:  # a state that never occurs
        probability[0] = 0
        probability /= probability.sum()
    return Cmdp.of(probability, rng.uniform(-1, 1, (states, actions)), costs, rng.uniform(0.15, 0.7, limits))


def brute_force(process: Cmdp) -> tuple[float | None, float]:
    """The best mixture of all deterministic policies, and the least relative violation of any."""
    states, actions = process.reward.shape
    index = np.array(list(product(range(actions), repeat=states)))
    rewards = (process.reward[np.arange(states), index] * process.probability).sum(axis=1)
    costs = (process.costs[:, np.arange(states), index] * process.probability).sum(axis=2) / process.limits[:, None]
    count = len(index)
    loose = linprog(np.append(np.zeros(count), 1), np.hstack([costs, -np.ones((len(costs), 1))]), np.ones(len(costs)),
                    np.append(np.ones(count), 0)[None], [1.0])  # fmt: skip
    if loose.fun > 1e-9:
        return None, float(loose.fun)
    return -float(linprog(-rewards, costs, np.ones(len(costs)), np.ones((1, count)), [1.0]).fun), 0.0


@pytest.mark.parametrize("solve", [occupancy.solve, dual.solve], ids=["lp", "dual"])
def test_tiny_processes_against_brute_force(solve) -> None:  # type: ignore[no-untyped-def]
    infeasible = 0
    for seed in range(200):
        process = tiny(seed)
        optimum, violation = brute_force(process)
        found = solve(process)
        if optimum is None:
            infeasible += 1
            assert found.policy is None
            assert found.violation == pytest.approx(violation, abs=1e-8)
            continue
        reward, costs = process.mean(found.policy)
        assert reward == pytest.approx(optimum, abs=1e-8), seed
        assert found.bound == pytest.approx(optimum, abs=1e-8), seed
        assert (costs <= process.limits + 1e-8).all()
        assert (found.policy >= 0).all() and np.allclose(found.policy.sum(axis=1), 1)
        assert np.abs(found.multipliers * (costs - process.limits)).max() < 1e-8  # complementary slackness
        assert found.randomised == int(((found.policy > 0).sum(axis=1) > 1).sum())
        if solve is occupancy.solve:
            assert found.randomised <= int((costs > process.limits - 1e-8).sum())
        else:
            assert found.randomised <= len(process.limits)
    assert 20 < infeasible < 180


@pytest.mark.parametrize("seed", range(30))
def test_a_purified_policy_costs_the_same_and_is_no_worse(seed: int) -> None:
    process = tiny(seed)
    rng = np.random.default_rng(seed)
    policy = rng.dirichlet(np.full(process.reward.shape[1], 0.5), len(process.reward))
    found = vertex.purified(process, policy)
    assert ((found > 0).sum(axis=1) > 1).sum() <= len(process.limits)
    assert (found >= 0).all() and np.allclose(found.sum(axis=1), 1, atol=1e-12)
    assert ((found > 0) <= (policy > 0)).all()
    (reward, costs), (before, was) = process.mean(found), process.mean(policy)
    assert costs == pytest.approx(was, abs=1e-12)
    assert reward >= before - 1e-12


@pytest.mark.parametrize("solve", [occupancy.solve, dual.solve], ids=["lp", "dual"])
def test_thousands_of_bins(solve) -> None:  # type: ignore[no-untyped-def]
    """Where the program is solved by the interior point method, it still ends in a vertex, and both bounds agree."""
    process = default_process(bins=700)
    found = solve(process)
    reward, costs = process.mean(found.policy)
    assert found.randomised <= 2 and (costs <= process.limits * (1 + 1e-9)).all()
    assert reward == pytest.approx(found.bound, abs=1e-9)
    assert found.bound == pytest.approx(4.3210284, abs=1e-7)
    assert found.iterations < 100


def default_process(bins: int = 64) -> Cmdp:
    instance = MegInstance(channel=MegChannel.uniform_distance(bins))
    values = tables(instance)
    limits = np.array([instance.latency_limit_s, instance.energy_limit_j])
    return Cmdp.of(instance.channel.probability, values.reward, np.stack([values.latency, values.energy]), limits)


def test_default_instance() -> None:
    """Both limits of the default instance bind, and both methods agree."""
    process = default_process()
    exact, other = occupancy.solve(process), dual.solve(process)
    assert exact is not None and other is not None and exact.policy is not None and other.policy is not None
    reward, costs = process.mean(exact.policy)
    assert exact.bound == pytest.approx(other.bound, rel=1e-10)
    assert reward == pytest.approx(exact.bound, rel=1e-9)
    assert costs == pytest.approx(process.limits, rel=1e-9)
    assert exact.randomised <= 2


@pytest.mark.parametrize("solve", [occupancy.solve, dual.solve], ids=["lp", "dual"])
def test_forbidden_actions_are_never_taken(solve) -> None:  # type: ignore[no-untyped-def]
    process = default_process()
    allowed = process.costs[0] <= 4.0
    hard = Cmdp.of(process.probability, process.reward, process.costs, process.limits, allowed)
    found = solve(hard)
    assert found.policy[~allowed].sum() == 0
    assert found.bound <= solve(process).bound + 1e-12


@pytest.mark.parametrize("solve", [occupancy.solve, dual.solve], ids=["lp", "dual"])
def test_a_limit_below_the_cheapest_action_has_its_least_violation(solve) -> None:  # type: ignore[no-untyped-def]
    process = default_process()
    cheapest = float(process.costs[0].min(axis=1) @ process.probability)
    limits = np.array([cheapest / 1.25, 1e9])
    found = solve(Cmdp.of(process.probability, process.reward, process.costs, limits))
    assert found.policy is None
    assert found.violation == pytest.approx(0.25, rel=1e-9)
