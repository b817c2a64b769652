"""Best-response dynamics end where enumeration says that nobody gains."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch

from hisopt import PRESETS, Limits, Termination
from hisopt.instances import Instance, StepLimits, Weights
from hisopt.problems import Joint
from hisopt.solvers.clustering.hac import clustered
from hisopt.solvers.joint.exact import JointExact
from hisopt.solvers.policy.best_response import BestResponse, play, regret
from hisopt.solvers.policy.step_game import StepGame

LIMITS = Limits(time_s=60)


@pytest.mark.parametrize("reward", ["individual", "marginal"])
def test_the_end_is_an_equilibrium(reward: str) -> None:
    for seed in range(5):
        problem = Joint(clustered(PRESETS["small"].sample(seed)))
        found = BestResponse(reward=reward).solve(problem, LIMITS)
        assert found.termination is Termination.COMPLETED
        assert found.decision is not None
        assert problem.evaluate(found.decision).feasible
        game = StepGame.of([problem.instance])
        steps = found.decision.steps_common, found.decision.steps_edge
        assert regret(game, reward, *map(torch.from_numpy, steps)) <= 1e-8  # type: ignore[arg-type]


def test_equilibria_of_a_tiny_game_are_those_of_enumeration() -> None:
    limits = StepLimits(total=4, common_max=2, edge_max=1)
    instance = clustered(PRESETS["small"].replace(users=3, max_clusters=2, steps=limits, edge_sms=(64, 64)).sample(1))
    game = StepGame.of([instance])
    actions = list(product(range(3), range(2)))
    equilibria = set()
    for profile in product(actions, repeat=3):
        common, steps_edge = (torch.tensor(part) for part in zip(*profile, strict=True))
        now = game.reward("individual", common[None], steps_edge[None])[0]
        better = False
        for user, (x, y) in product(range(3), actions):
            other_common, other_edge = common.clone(), steps_edge.clone()
            other_common[user], other_edge[user] = x, y
            better |= bool(game.reward("individual", other_common[None], other_edge[None])[0, user] > now[user] + 1e-8)
        if not better:
            equilibria.add(profile)
    assert equilibria
    for start in product(actions, repeat=3):
        common, steps_edge = (torch.tensor(part) for part in zip(*start, strict=True))
        found = play(game, "individual", common, steps_edge)
        if found.equilibrium:
            assert tuple(zip(found.common.tolist(), found.steps_edge.tolist(), strict=True)) in equilibria


def test_three_users_without_an_equilibrium() -> None:
    """A counterexample: reward (33) need not have a pure equilibrium, and best replies then go round for ever."""
    base = PRESETS["small"].replace(users=3, max_clusters=1).sample(0)
    assert isinstance(base, Instance)
    instance = base.replace(
        clusters=np.zeros(3, dtype=int), similarity=np.array([0.45, 0.45, 0.5]),
        steps=StepLimits(total=12, common_max=6, edge_min=1, edge_max=1, device_min=2, device_max=12),
        weights=Weights(quality=1, delay=0.003, energy=5e-7), edge=base.edge.replace(sms=120),
        devices=base.devices.replace(sms=np.array([140.0, 130.0, 64.0])),
    )  # fmt: skip
    game = StepGame.of([instance])
    steps_edge = torch.ones(3, dtype=torch.int64)
    for profile in product(range(7), repeat=3):
        common = torch.tensor(profile)
        assert regret(game, "individual", common, steps_edge) > 1e-6
        assert not play(game, "individual", common, steps_edge).equilibrium
    found = BestResponse().solve(Joint(instance), LIMITS)
    assert found.termination is Termination.ITERATION_LIMIT
    assert found.details["cycled"]
    assert play(game, "marginal", torch.zeros(3, dtype=torch.int64), steps_edge).equilibrium


def test_marginal_rewards_climb_the_utility_and_the_optimum_is_an_equilibrium() -> None:
    problem = Joint(clustered(PRESETS["small"].sample(0)))
    game = StepGame.of([problem.instance])
    optimum = JointExact().solve(problem, LIMITS).decision
    assert optimum is not None
    assert optimum.steps_common is not None and optimum.steps_edge is not None
    best = torch.from_numpy(optimum.steps_common), torch.from_numpy(optimum.steps_edge)
    assert regret(game, "marginal", *best) <= 1e-7
    rng = np.random.default_rng(0)
    start = torch.from_numpy(rng.integers(0, 17, 10)), torch.from_numpy(rng.integers(0, 12, 10))
    found = play(game, "marginal", *start)
    assert found.equilibrium
    assert game.utility(found.common[None], found.steps_edge[None]) >= game.utility(start[0][None], start[1][None])


def test_time_runs_out_with_a_decision() -> None:
    problem = Joint(clustered(PRESETS["paper"].sample(0)))
    found = BestResponse().solve(problem, Limits(time_s=1e-9))
    assert found.termination is Termination.TIME_LIMIT
    assert found.decision is not None
