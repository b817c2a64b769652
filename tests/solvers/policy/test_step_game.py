"""The batched game scores as the equations do, and its rewards are what they are called."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from hisopt.equations import breakdown, icc_step_costs, work_costs
from hisopt.equations import optimal_sms as theorem_1
from hisopt.experiments.campaigns.random_instances import draw_decision, draw_problems
from hisopt.instances import IccInstance, Instance
from hisopt.solvers.base import whole_sms
from hisopt.solvers.policy.rewards import REWARDS
from hisopt.solvers.policy.step_game import OBSERVATIONS, StepGame

if TYPE_CHECKING:
    from hisopt import Problem


def problems(kind: str, count: int = 25) -> list[Problem]:
    found = [p for seed in range(3 * count) for p in draw_problems(seed) if p.kind == kind and not whole_sms(p)]
    return found[:count]


def steps(problem: Problem, seed: int) -> tuple[np.ndarray, np.ndarray]:
    decision = draw_decision(np.random.default_rng(seed), problem)
    assert decision.steps_common is not None and decision.steps_edge is not None
    return decision.steps_common, decision.steps_edge


def value(problem: Problem, common: np.ndarray, steps_edge: np.ndarray) -> float:
    """U by `evaluate`'s equations, SMs by Theorem 1, whether or not the steps are within their bounds."""
    from hisopt.decision import Decision

    instance = problem.instance
    assert instance.clusters is not None
    if isinstance(instance, IccInstance):
        from hisopt.equations import icc_breakdown

        return icc_breakdown(
            instance, Decision.of_steps(instance.steps.total, common, steps_edge, clusters=instance.clusters)
        ).utility(instance)
    assert isinstance(instance, Instance)
    sms = theorem_1(work_costs(instance, common, steps_edge), instance.sm_budget)
    return breakdown(
        instance, Decision.of_steps(instance.steps.total, common, steps_edge, sms, instance.clusters)
    ).utility(instance)


def row(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.asarray(array))[None]


@pytest.mark.parametrize("kind", ["joint", "steps"])
def test_utility_is_that_of_evaluate(kind: str) -> None:
    for seed, problem in enumerate(problems(kind)):
        common, steps_edge = steps(problem, seed)
        game = StepGame.of([problem.instance])
        found = game.utility(row(common), row(steps_edge)).item()
        assert found == pytest.approx(value(problem, common, steps_edge), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("kind", ["joint", "steps"])
def test_rewards(kind: str) -> None:
    for seed, problem in enumerate(problems(kind)):
        common, steps_edge = steps(problem, seed)
        game = StepGame.of([problem.instance])
        total = game.utility(row(common), row(steps_edge)).item()
        reward = {name: game.reward(name, row(common), row(steps_edge))[0].numpy() for name in REWARDS}
        assert reward["individual"].sum() == pytest.approx(total, rel=1e-9, abs=1e-9)
        np.testing.assert_allclose(reward["team"], total)
        for user in range(problem.instance.users):
            without_common, without_edge = common.copy(), steps_edge.copy()
            without_common[user] = without_edge[user] = 0
            lost = total - value(problem, without_common, without_edge)
            assert reward["marginal"][user] == pytest.approx(lost, rel=1e-7, abs=1e-7)
            labels = problem.instance.clusters
            assert labels is not None
            together = labels == labels[user]
            lost = total - value(problem, np.where(together, 0, common), np.where(together, 0, steps_edge))
            assert reward["coalition"][user] == pytest.approx(lost, rel=1e-7, abs=1e-7)


def test_batches_are_their_instances() -> None:
    from hisopt import PRESETS
    from hisopt.solvers.clustering.hac import average_linkage

    instances = []
    for seed in range(4):
        instance = PRESETS["small"].sample(seed)
        assert instance.embeddings is not None
        instances.append(instance.replace(clusters=average_linkage(instance.embeddings, 3)))
    game = StepGame.of(instances)
    rng = torch.Generator().manual_seed(0)
    common = torch.randint(0, 17, (4, 10), generator=rng)
    steps_edge = torch.randint(0, 12, (4, 10), generator=rng)
    for kind in REWARDS:
        whole = game.reward(kind, common, steps_edge)
        for i, instance in enumerate(instances):
            alone = StepGame.of([instance]).reward(kind, common[i : i + 1], steps_edge[i : i + 1])
            torch.testing.assert_close(whole[i : i + 1], alone)
    assert len(game.take(torch.tensor([2, 0]))) == 2
    for kind, names in OBSERVATIONS.items():
        seen = game.observation(kind)
        assert seen.shape == (4, 10, len(names))
        assert torch.isfinite(seen).all()


def test_ranks_count_the_smaller_ones_of_the_cluster() -> None:
    from hisopt import PRESETS

    instance = PRESETS["small"].sample(0).replace(clusters=np.arange(10) % 3)
    game = StepGame.of([instance])
    rank = game.observation("cluster")[0, :, OBSERVATIONS["cluster"].index("similarity_rank")].numpy()
    assert instance.clusters is not None
    phi = game.similarity[0].numpy()
    for user in range(10):
        same = instance.clusters == instance.clusters[user]
        assert rank[user] == pytest.approx((phi[same] < phi[user]).sum() / same.sum())


def test_icc_costs_have_the_shapes_they_say() -> None:
    instance = problems("steps", 1)[0].instance
    edge_cost, device, wait, energy = icc_step_costs(instance)
    assert edge_cost.shape == device.shape == (instance.users,)
    assert np.ndim(wait) == np.ndim(energy) == 0
    assert problems("steps", 1)[0].evaluate(draw_decision(np.random.default_rng(0), problems("steps", 1)[0])).feasible
