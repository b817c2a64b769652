"""The parts of IPPO against slow or closed-form versions, and whole runs that learn, stop and go on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from hisopt import PRESETS
from hisopt.errors import InputError
from hisopt.instance import StepLimits
from hisopt.solvers import ippo
from hisopt.solvers.hac import clustered
from hisopt.solvers.ippo import AgentNetworks, Contexts, Policy, RunningScale, Settings, Trainer, advantages
from hisopt.solvers.step_game import StepGame

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


def test_the_running_scale_is_that_of_all_values() -> None:
    values = torch.randn(30, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 3 + 5
    running = RunningScale()
    for part in values.split([4, 1, 25]):
        running.update(part)
    assert running.mean == pytest.approx(values.mean().item())
    assert running.variance == pytest.approx(values.var(unbiased=False).item())


@pytest.mark.parametrize(
    "limits", [StepLimits(), StepLimits(total=8, common_max=5, edge_max=6, edge_min=1, device_min=2, device_max=6)]
)
def test_policies_take_allowed_steps_with_the_probability_they_say(limits: StepLimits) -> None:
    instance = clustered(PRESETS["small"].replace(steps=limits).sample(0))
    game = StepGame.of([instance] * 400, torch.float32)
    policy = Policy(QUICK, limits, 10)
    observation = policy.scaled(game)
    common, edge, log_probability = policy.act(observation, torch.Generator().manual_seed(0))
    device = limits.total - common - edge
    assert ((edge >= limits.edge_min) & (edge <= limits.edge_max) & (common <= limits.common_max)).all()
    assert ((device >= limits.device_min) & (device <= limits.device_max)).all()
    again, entropy = policy.judge(observation, common, edge)
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
    common, edge, _ = policy.act(observation, torch.Generator().manual_seed(0), groups)
    same = groups[0] == groups[0, 0]
    assert (common[:, same] == common[:, :1]).all()
    assert (edge[:, same] == edge[:, :1]).all()
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
    log_probability, _ = trainer.policy.judge(batch["observation"], batch["common"], batch["edge"])
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
    assert whole.rewards == second.rewards
    other = replace(QUICK, seed=1)
    with pytest.raises(InputError, match="other settings"):
        Trainer(other, Contexts(other, clustered)).resume(tmp_path / "run")


def test_an_exported_policy_decides_as_the_trainer_did(tmp_path: Path) -> None:
    trainer = Trainer(QUICK, Contexts(QUICK, clustered))
    trainer.step()
    ippo.export(trainer, tmp_path / "policy.safetensors")
    policy = ippo.load(tmp_path / "policy.safetensors")
    instance = clustered(PRESETS["small"].sample(3))
    common, edge = ippo.decide(policy, instance)
    assert common.shape == edge.shape == (10,)
    assert np.issubdtype(common.dtype, np.integer)
    with pytest.raises(InputError, match="not a checkpoint"):
        trainer.resume(tmp_path / "policy.safetensors")


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
