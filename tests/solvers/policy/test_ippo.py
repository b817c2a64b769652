"""The parts of IPPO against slow or closed-form versions, and whole runs that learn, stop and go on."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from hisopt import PRESETS
from hisopt.errors import InputError
from hisopt.instances import StepLimits
from hisopt.solvers.clustering.hac import clustered
from hisopt.solvers.policy import ippo
from hisopt.solvers.policy.ippo import AgentNetworks, Contexts, Policy, RewardScale, Settings, Trainer, advantages
from hisopt.solvers.policy.policy_gap import CHOOSING, held_out
from hisopt.solvers.policy.step_game import StepGame
from hisopt.text.corpus import shipped

if TYPE_CHECKING:
    from pathlib import Path

QUICK = Settings(
    preset="small", reward="marginal", observation="cluster", shared=True, hidden=(16,), batch=16, minibatches=2,
    updates=6, instances=8, fresh=1,
)  # fmt: skip


def test_batched_networks_are_one_network_per_agent() -> None:
    networks = AgentNetworks(3, (4, 8, 2), 1.0, torch.Generator().manual_seed(0))
    inputs = torch.randn(5, 3, 4, generator=torch.Generator().manual_seed(1))
    outputs = networks(inputs)
    for agent in range(3):
        hidden = torch.tanh(inputs[:, agent] @ networks.weights[0][agent] + networks.biases[0][agent])
        alone = hidden @ networks.weights[1][agent] + networks.biases[1][agent]
        torch.testing.assert_close(outputs[:, agent], alone)


def test_generalised_advantages_are_discounted_sums_of_errors() -> None:
    rng = torch.Generator().manual_seed(0)
    rewards, values = torch.randn(6, 2, generator=rng), torch.randn(7, 2, generator=rng)
    found = advantages(rewards, values, 0.9, 0.8)
    errors = rewards + 0.9 * values[1:] - values[:-1]
    for t in range(6):
        expected = sum((0.9 * 0.8) ** (k - t) * errors[k] for k in range(t, 6))
        torch.testing.assert_close(found[t], expected)
    torch.testing.assert_close(advantages(rewards, values, 0.0, 0.95), rewards - values[:-1])


def test_each_agents_rewards_are_normalised_by_its_own_statistics() -> None:
    values = torch.randn(30, 1, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 3
    values += torch.tensor([5.0, -100.0, 0.0])
    scale = RewardScale("agent", 3, 0.0)
    for part in values.split([4, 1, 25]):
        found = scale(part)
    seen = values[:, 0]
    expected = (values[5:] - seen.mean(dim=0)) / seen.std(dim=0, unbiased=False)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)
    pooled = RewardScale("pooled", 3, 0.0)
    torch.testing.assert_close(
        pooled(values), (values - values.mean()) / values.std(unbiased=False), rtol=1e-6, atol=1e-6
    )


def test_rewards_are_scaled_by_the_deviation_of_the_running_discounted_return() -> None:
    values = torch.randn(6, 2, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 4
    scale = RewardScale("return", 1, 0.9)
    first = scale(values[:2])
    again = RewardScale("return", 1, 0.9)
    again.restore(json.loads(json.dumps(scale.state())))
    found = again(values[2:])
    returns, running = [], torch.zeros(2, 1, dtype=torch.float64)
    for reward in values:
        running = 0.9 * running + reward
        returns.append(running)
    deviation = torch.stack(returns).std(unbiased=False)
    torch.testing.assert_close(found, values[2:] / deviation, rtol=1e-6, atol=1e-6)  # the mean stays
    torch.testing.assert_close(first, values[:2] / torch.stack(returns[:2]).std(unbiased=False), rtol=1e-6, atol=1e-6)


def test_defaults_are_the_journal_papers_and_hid_is_the_icc_papers() -> None:
    table = Settings()
    assert (table.learning_rate, table.hidden, table.reward_scale) == (0.005, (256, 256, 256), "agent")
    assert (table.clip, table.value_clip, table.entropy, table.batch) == (0.2, 0.2, 0.002, 128)
    hid = Settings(**ippo.HID)
    assert (hid.learning_rate, hid.hidden, hid.reward_scale, hid.reward) == (0.0005, (128,) * 3, "return", "team")


def test_vanilla_truncates_nothing() -> None:
    """With a policy far from the one that acted, the truncated losses stop the gradient and the plain ones do not."""
    moved = {}
    for name, change in {"truncated": {}, "vanilla": ippo.VANILLA}.items():
        settings = replace(QUICK, **{"normalise_advantages": False, "normalise_rewards": False} | change)  # type: ignore[arg-type]
        trainer = Trainer(settings, Contexts(settings, clustered))
        batch = trainer._collect()
        batch["log_probability"] = batch["log_probability"] - 1.0  # the ratio is e > 1.2 everywhere
        batch["advantage"] = batch["advantage"].abs() + 1.0
        before = [p.detach().clone() for p in trainer.policy.actor.parameters()]
        trainer._learn(batch, 0.0)
        after = trainer.policy.actor.parameters()
        moved[name] = max((a - b).abs().max().item() for a, b in zip(after, before, strict=True))
    assert moved["truncated"] == 0.0
    assert moved["vanilla"] > 0.0


def test_a_split_by_subjects_trains_and_judges_on_different_prompts() -> None:
    parts = {name: set(shipped().part(name).prompts) for name in ("training", "validation", "judgement")}  # type: ignore[arg-type]
    assert not parts["training"] & parts["validation"] | parts["judgement"] & (parts["training"] | parts["validation"])
    assert sum(map(len, parts.values())) == len(shipped().prompts)
    settings = replace(QUICK, split_subjects=True, instances=4)
    drawn = {p for i in held_out(settings.scenario, 3, split_subjects=True) for p in i.prompts or ()}
    assert drawn <= parts["judgement"]
    chosen = {p for i in held_out(settings.scenario, 3, CHOOSING, split_subjects=True) for p in i.prompts or ()}
    assert chosen <= parts["validation"]
    contexts = Contexts(settings, clustered)
    assert contexts.corpus is not None and set(contexts.corpus.prompts) == parts["training"]


@pytest.mark.parametrize(
    "limits", [StepLimits(), StepLimits(total=8, common_max=5, edge_max=6, edge_min=1, device_min=2, device_max=6)]
)
def test_policies_take_allowed_steps_with_the_probability_they_say(limits: StepLimits) -> None:
    instance = clustered(PRESETS["small"].replace(steps=limits).sample(0))
    game = StepGame.of([instance] * 400, torch.float32)
    policy = Policy(QUICK, limits, 10)
    observation = policy.scaled(game)
    common, steps_edge, log_probability = policy.act(observation, torch.Generator().manual_seed(0))
    device = limits.total - common - steps_edge
    assert ((steps_edge >= limits.edge_min) & (steps_edge <= limits.edge_max) & (common <= limits.common_max)).all()
    assert ((device >= limits.device_min) & (device <= limits.device_max)).all()
    again, entropy = policy.judge(observation, common, steps_edge)
    torch.testing.assert_close(again, log_probability)
    assert torch.isfinite(entropy).all()
    total = 0.0  # the probabilities of all actions of one user sum to one
    for x in range(limits.common_max + 1):
        for y in range(limits.edge_min, limits.edge_max + 1):
            if limits.served_min <= x + y <= limits.served_max:
                one = torch.full((1, 10), x), torch.full((1, 10), y)
                total += policy.judge(observation[:1], *one)[0][0, 0].exp().item()
    assert total == pytest.approx(1.0, abs=1e-5)


def test_groups_draw_together_each_from_its_own_distribution() -> None:
    instance = clustered(PRESETS["small"].sample(0))
    game = StepGame.of([instance] * 2000, torch.float32)
    policy = Policy(QUICK, instance.steps, 10)
    observation = policy.scaled(game)
    observation = observation[:, :1].expand_as(observation)  # all users alike
    groups = game.clusters
    common, steps_edge, _ = policy.act(observation, torch.Generator().manual_seed(0), groups)
    same = groups[0] == groups[0, 0]
    assert (common[:, same] == common[:, :1]).all()
    assert (steps_edge[:, same] == steps_edge[:, :1]).all()
    assert (common[:, ~same] != common[:, :1]).any()
    alone, _, _ = policy.act(observation, torch.Generator().manual_seed(1))
    share = torch.bincount(common[:, 0], minlength=17) / 2000  # the same marginal distribution
    torch.testing.assert_close(share, torch.bincount(alone[:, 0], minlength=17) / 2000, rtol=0, atol=0.04)


@pytest.mark.parametrize("shared", [True, False])
def test_training_raises_the_utility(shared: bool) -> None:
    settings = replace(QUICK, shared=shared, updates=15, batch=64, learning_rate=0.01)
    trainer = Trainer(settings, Contexts(settings, clustered))
    game = StepGame.of([clustered(PRESETS["small"].sample(10**12 + k)) for k in range(10)], torch.float32)
    before = trainer.utility(game).mean()
    while trainer.done < settings.updates:
        trainer.step()
    assert trainer.utility(game).mean() > before


def test_independent_agents_do_not_move_each_other() -> None:
    settings = replace(QUICK, shared=False)
    trainer = Trainer(settings, Contexts(settings, clustered))
    batch = trainer._collect()
    trainer.policy.zero_grad()
    log_probability, _ = trainer.policy.judge(
        *(batch[name] for name in ("observation", "common", "steps_edge", "places"))
    )
    log_probability[:, 0].sum().backward()
    for parameter in trainer.policy.actor.parameters():
        assert parameter.grad is not None
        assert parameter.grad[1:].abs().max() == 0


def test_a_resumed_run_ends_where_an_unbroken_one_does(tmp_path: Path) -> None:
    whole = Trainer(QUICK, Contexts(QUICK, clustered))
    for _ in range(6):
        whole.step()
    first = Trainer(QUICK, Contexts(QUICK, clustered))
    for _ in range(3):
        first.step()
    first.save(tmp_path / "run")
    second = Trainer(QUICK, Contexts(QUICK, clustered))
    second.resume(tmp_path / "run")
    for _ in range(3):
        second.step()
    for a, b in zip(whole.policy.parameters(), second.policy.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)
    assert whole.rewards.state() == second.rewards.state()
    other = replace(QUICK, seed=1)
    with pytest.raises(InputError, match=r"other settings \(seed 0 there, 1 here\)"):
        Trainer(other, Contexts(other, clustered)).resume(tmp_path / "run")


def test_an_exported_policy_decides_as_the_trainer_did(tmp_path: Path) -> None:
    trainer = Trainer(QUICK, Contexts(QUICK, clustered))
    trainer.step()
    ippo.export(trainer, tmp_path / "policy.safetensors")
    policy = ippo.load(tmp_path / "policy.safetensors")
    instance = clustered(PRESETS["small"].sample(3))
    common, steps_edge = ippo.decide(policy, instance)
    assert common.shape == steps_edge.shape == (10,)
    assert np.issubdtype(common.dtype, np.integer)
    with pytest.raises(InputError, match="not a checkpoint"):
        trainer.resume(tmp_path / "policy.safetensors")
    trainer.save(tmp_path / "checkpoint")
    with pytest.raises(InputError, match="a checkpoint of training, not a policy"):
        ippo.load(tmp_path / "checkpoint")
    torch.save({"weight": torch.zeros(3)}, tmp_path / "other.pt")
    with pytest.raises(InputError, match=r"other\.pt: not a policy \(a safetensors file written by hisopt\.train\)"):
        ippo.load(tmp_path / "other.pt")


@pytest.mark.parametrize("content", [b"", b"not a policy", b"\x08\0\0\0\0\0\0\0{}      "])
def test_files_that_are_no_policies(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.safetensors"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"bad\.safetensors: not a policy"):
        ippo.load(path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"reward": "other"}, "reward"),
        ({"observation": "other"}, "observation"),
        ({"batch": 0}, "batch"),
        ({"horizon": 3}, "multiple of horizon"),
        ({"algorithm": "hid"}, "does not fit"),
        ({"preset": "none"}, "preset"),
    ],
)
def test_settings_that_cannot_be(change: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        replace(QUICK, **change)  # type: ignore[arg-type]
