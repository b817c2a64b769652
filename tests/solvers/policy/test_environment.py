"""The environment passes PettingZoo's own tests and scores as `evaluate` does."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from pettingzoo.test import parallel_api_test, parallel_seed_test

from hisopt import PRESETS
from hisopt.decision import Decision
from hisopt.equations import optimal_sms, work_costs
from hisopt.instances import Instance, StepLimits
from hisopt.problems import Joint
from hisopt.solvers.policy.environment import StepsEnv

TIGHT = StepLimits(total=8, common_max=5, edge_max=6, edge_min=1, device_min=2, device_max=6)


@pytest.mark.parametrize("preset", ["small", "icc"])
def test_pettingzoo(preset: str) -> None:
    scenario = PRESETS[preset].replace(users=6)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        parallel_api_test(StepsEnv(scenario, decision_points=3), num_cycles=20)
        parallel_seed_test(lambda: StepsEnv(scenario, decision_points=3), num_cycles=6)


@pytest.mark.parametrize("limits", [StepLimits(), TIGHT])
def test_rewards_sum_to_the_utility_of_evaluate(limits: StepLimits) -> None:
    env = StepsEnv(PRESETS["small"].replace(steps=limits))
    env.reset(seed=3)
    rng = np.random.default_rng(0)
    for _ in range(5):
        instance = env.instance
        assert isinstance(instance, Instance)
        actions = {agent: int(rng.integers(len(env.actions))) for agent in env.agents}
        common, steps_edge = env.actions[list(actions.values())].T
        _, rewards, _, _, infos = env.step(actions)
        sms = optimal_sms(work_costs(instance, common, steps_edge), instance.sm_budget)
        decision = Decision.of_steps(limits.total, common, steps_edge, sms, instance.clusters)
        found = Joint(instance).evaluate(decision)
        assert found.feasible
        assert sum(rewards.values()) == pytest.approx(found.objective, abs=1e-6)
        assert infos["user_0"]["utility"] == pytest.approx(found.objective, abs=1e-6)


def test_fixed_decision_points_stay() -> None:
    env = StepsEnv(PRESETS["small"], fixed=True, decision_points=2)
    before, _ = env.reset(seed=0)
    after, _, _, truncated, _ = env.step(dict.fromkeys(env.agents, 0))
    np.testing.assert_array_equal(before["user_0"], after["user_0"])
    assert not any(truncated.values())
    _, _, _, truncated, _ = env.step(dict.fromkeys(env.agents, 0))
    assert all(truncated.values())
    assert env.agents == []


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown"):
        StepsEnv(PRESETS["small"], reward="other")
