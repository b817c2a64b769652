"""Decision points in batches, for other trainers, are those of the environment of one: same sights, rewards and actions."""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from hisopt.experiments.benchmarks.batched_steps import BatchedSteps
from hisopt.solvers.clustering.hac import clustered
from hisopt.solvers.policy.environment import StepsEnv
from hisopt.solvers.policy.ippo import Contexts, Settings, Trainer
from hisopt.solvers.policy.step_game import StepGame

SETTINGS = Settings(
    preset="small", reward="individual", observation="cluster", shared=True, hidden=(8,), batch=12, minibatches=2,
    epochs=1, instances=5, fresh=0, normalise_rewards=False,
)  # fmt: skip


def with_benchmarl(test: Any) -> Any:
    absent = importlib.util.find_spec("benchmarl") is None
    return pytest.mark.filterwarnings("ignore")(pytest.mark.skipif(absent, reason="BenchMARL is no dependency")(test))


def steps(settings: Settings = SETTINGS, seed: int = 0) -> BatchedSteps:
    return BatchedSteps(settings, Contexts(settings, clustered), settings.batch, seed)


def test_a_batch_is_its_rows_in_the_environment_of_one() -> None:
    batched = steps()
    first = batched.contexts.next_seed - SETTINGS.instances + 1
    instances = [clustered(SETTINGS.scenario.sample(first + k)) for k in range(SETTINGS.instances)]
    single = batched.contexts.game
    batched.contexts.game = StepGame.of(
        instances
    )  # in double precision, as there: ranks of equal similarities are rounding's
    batched.contexts.observe()
    torch.testing.assert_close(single.quality, batched.contexts.game.quality.float())
    drawn = batched.contexts.draw(SETTINGS.batch, torch.Generator().manual_seed(0))
    seen = batched.draw() * batched.spread + batched.centre
    action = torch.randint(len(batched.actions), (SETTINGS.batch, 10), generator=torch.Generator().manual_seed(1))
    reward, following = batched.step(action)
    assert following.shape == seen.shape == (SETTINGS.batch, 10, 16)
    for row, index in enumerate(drawn.tolist()):
        env = StepsEnv(
            SETTINGS.scenario, SETTINGS.reward, SETTINGS.observation, cluster=lambda _, index=index: instances[index]
        )
        sights, _ = env.reset(seed=0)
        np.testing.assert_allclose(seen[row].numpy(), list(sights.values()), rtol=1e-6, atol=1e-6)
        _, rewards, *_ = env.step(dict(zip(env.agents, action[row].tolist(), strict=True)))
        np.testing.assert_allclose(reward[row].numpy(), list(rewards.values()), rtol=1e-6, atol=1e-6)


def test_a_batch_is_what_the_trainer_collects() -> None:
    settings = replace(SETTINGS, normalise_rewards=True, instances=30)
    trainer, batched = Trainer(settings, Contexts(settings, clustered)), steps(settings, settings.seed)
    batch, seen = trainer._collect(), batched.draw()
    torch.testing.assert_close(batch["observation"][batch["places"]], seen)
    index = {tuple(pair): k for k, pair in enumerate(batched.actions.tolist())}
    taken = torch.stack([batch["common"], batch["steps_edge"]], dim=2).tolist()
    reward, _ = batched.step(torch.tensor([[index[tuple(pair)] for pair in row] for row in taken]))
    torch.testing.assert_close(reward, batch["target"])  # at a discount of zero
    assert batched.raw == [pytest.approx(batch["raw"].mean().item())]


def test_instances_are_replaced_and_repeated_as_the_settings_say() -> None:
    settings = replace(SETTINGS, fresh=2, repeats=3, instances=40)
    batched = steps(settings)
    before, seed = batched.contexts.seen.clone(), batched.contexts.next_seed
    seen = batched.draw()
    torch.testing.assert_close(seen, seen[::3].repeat_interleave(3, dim=0), rtol=0, atol=0)
    batched.step(torch.zeros(settings.batch, 10, dtype=torch.int64))
    assert batched.contexts.next_seed == seed + 2
    assert (batched.contexts.seen != before).flatten(1).any(dim=1).sum() == 2
    torch.testing.assert_close(batched.contexts.seen, batched.contexts.game.observation("cluster"))


@with_benchmarl
@pytest.mark.parametrize("two_heads", [True, False])
def test_benchmarl_trains_on_it(two_heads: bool) -> None:
    benchmarl_steps: Any = importlib.import_module("hisopt.experiments.benchmarks.benchmarl_steps")
    from torchrl.envs.utils import check_env_specs

    check_env_specs(benchmarl_steps.StepsEnv(steps()))
    made, called = [], []

    def make(count: int) -> BatchedSteps:
        made.append(BatchedSteps(SETTINGS, Contexts(SETTINGS, clustered), count))
        return made[-1]

    benchmarl_steps.run(SETTINGS, make, 3, lambda: called.append(None), two_heads=two_heads)
    assert len(called) == 3
    assert len(made[-1].raw) >= 3
    assert made[-1].count == SETTINGS.batch


@with_benchmarl
def test_two_heads_are_the_product_of_their_categories() -> None:
    benchmarl_steps: Any = importlib.import_module("hisopt.experiments.benchmarks.benchmarl_steps")
    logits = torch.randn(4, 7, generator=torch.Generator().manual_seed(0))
    heads = benchmarl_steps.TwoHeads(logits, (3, 4))
    pairs = (logits[:, :3].log_softmax(1)[:, :, None] + logits[:, 3:].log_softmax(1)[:, None]).flatten(1)
    plain = torch.distributions.Categorical(logits=pairs)
    for action in range(12):
        index = torch.full((4,), action)
        torch.testing.assert_close(heads.log_prob(index), plain.log_prob(index))
    torch.testing.assert_close(heads.entropy(), plain.entropy())
    assert heads.mode.tolist() == pairs.argmax(dim=1).tolist()
    assert ((heads.sample() >= 0) & (heads.sample() < 12)).all()
