"""Updates of independent proximal policy optimisation: collect a batch, learn from it; checkpoints that lose nothing."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from hisopt.errors import InputError
from hisopt.solvers.policy import storage
from hisopt.solvers.policy.advantages import RewardScale, advantages
from hisopt.solvers.policy.networks import Policy
from hisopt.solvers.policy.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hisopt.solvers.policy.contexts import Contexts
    from hisopt.solvers.policy.step_game import StepGame


@dataclass
class Trainer:
    """A training run: `step` makes an update; `save` and `resume` keep everything that the next update depends on."""

    settings: Settings
    contexts: Contexts
    device: str = "cpu"
    done: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    best: dict[str, Tensor] | None = None  # the parameters that `keep` found best
    best_score: float = math.inf

    def __post_init__(self) -> None:
        settings = self.settings
        seed = settings.seed
        self.policy = Policy(settings, self.contexts.scenario.steps, self.contexts.scenario.users, seed)
        self.policy.fit_scale(self.contexts.seen)
        self.policy.to(self.device)
        self.optimiser = torch.optim.Adam(self.policy.parameters(), lr=settings.learning_rate, eps=1e-5, fused=True)
        self.generator = torch.Generator().manual_seed(seed)
        self.sampler = torch.Generator(self.device).manual_seed(seed)
        self.rewards = RewardScale(settings.reward_scale, self.contexts.scenario.users, settings.discount)

    def step(self) -> dict[str, float]:
        """Collect a batch and update on it; return what happened."""
        settings = self.settings
        if not settings.fixed_clusters and self.done:
            self.contexts.refresh(settings.fresh, self.generator)
        left = 1 - self.done / settings.updates if settings.anneal else 1.0
        for group in self.optimiser.param_groups:
            group["lr"] = settings.learning_rate * left
        batch = self._collect()
        losses = [
            self._learn(part, settings.entropy * left) for _ in range(settings.epochs) for part in self._parts(batch)
        ]
        self.done += 1
        policy_loss, value_loss, entropy = torch.tensor(losses).mean(dim=0).tolist()
        return {"update": self.done, "reward": batch["raw"].mean().item(), "policy_loss": policy_loss,
                "value_loss": value_loss, "entropy": entropy}  # fmt: skip

    def _collect(self) -> dict[str, Tensor]:
        settings = self.settings
        drawn = self.contexts.draw(settings.batch, self.generator)
        game = self.contexts.game.take(drawn).to(self.device)
        distinct, places = drawn.to(self.device).unique(return_inverse=True)  # type: ignore[no-untyped-call]
        observation = self.policy.scale(self.contexts.seen.to(self.device)[distinct])
        groups = None
        if settings.together > 0:
            together = torch.rand(len(game), 1, generator=self.sampler, device=self.device) < settings.together
            groups = torch.where(together, game.clusters, torch.arange(game.users, device=self.device))
        common, steps_edge, log_probability = self.policy.act(observation, self.sampler, groups, places)
        raw = game.reward(settings.reward, common, steps_edge)
        rows = (settings.horizon, settings.batch // settings.horizon)
        reward = self.rewards(raw.reshape(*rows, -1)) if settings.normalise_rewards else raw
        with torch.no_grad():
            value = self.policy.value(observation, places)
        # the state after the last is one more draw from the same contexts: the mean value stands for it
        after = value.mean(dim=0, keepdim=True).expand(1, rows[1], -1)
        values = torch.cat([value.reshape(*rows, -1), after])
        advantage = advantages(reward.reshape(*rows, -1), values, settings.discount, settings.gae_lambda)
        advantage = advantage.reshape(settings.batch, -1)
        return {"observation": observation, "places": places, "common": common, "steps_edge": steps_edge,
                "log_probability": log_probability, "value": value, "advantage": advantage,
                "target": advantage + value, "raw": raw}  # fmt: skip

    def _parts(self, batch: dict[str, Tensor]) -> Iterator[dict[str, Tensor]]:
        """Minibatches at random, draws of the same instance side by side: its observation is then judged only once."""
        observation, places = batch["observation"], batch["places"]
        order = torch.randperm(len(observation), generator=self.generator).to(self.device)[places].argsort()
        drawn = {name: tensor for name, tensor in batch.items() if name not in ("observation", "places", "raw")}
        for index in order.chunk(self.settings.minibatches):
            distinct, within = places[index].unique_consecutive(return_inverse=True)  # type: ignore[no-untyped-call]
            seen = {"observation": observation[distinct], "places": within}
            yield seen | {name: tensor[index] for name, tensor in drawn.items()}

    def _learn(self, part: dict[str, Tensor], entropy_weight: float) -> list[float]:
        settings, advantage = self.settings, part["advantage"]
        if settings.normalise_advantages:
            axes = (0, 1) if settings.shared else (0,)
            deviation = advantage.std(dim=axes, keepdim=True, unbiased=False)
            advantage = (advantage - advantage.mean(dim=axes, keepdim=True)) / (deviation + 1e-8)
        log_probability, entropy = self.policy.judge(
            part["observation"], part["common"], part["steps_edge"], part["places"]
        )
        ratio = (log_probability - part["log_probability"]).exp()
        gain = ratio * advantage
        if settings.clip is not None:
            gain = torch.minimum(gain, ratio.clamp(1 - settings.clip, 1 + settings.clip) * advantage)
        policy_loss = -gain  # (34)
        value = self.policy.value(part["observation"], part["places"])
        value_loss = (value - part["target"]) ** 2
        if settings.value_clip is not None:
            near = part["value"] + (value - part["value"]).clamp(-settings.value_clip, settings.value_clip)
            value_loss = torch.maximum(value_loss, (near - part["target"]) ** 2)  # (37)
        loss = policy_loss + settings.value_weight * value_loss - entropy_weight * entropy  # (35)
        # every agent's own loss is a mean over decision points; independent networks do not share gradients
        total = loss.mean() if settings.shared else loss.mean(dim=0).sum()
        self.optimiser.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        _cut_gradients(self.policy, 0.5, settings.shared)
        self.optimiser.step()
        return [policy_loss.mean().item(), value_loss.mean().item(), entropy.mean().item()]

    def keep(self, score: float) -> None:
        """Remember the parameters as they are if no smaller score was seen."""
        if score <= self.best_score:
            self.best_score = score
            self.best = {name: tensor.detach().cpu().clone() for name, tensor in self.policy.state_dict().items()}

    def take_best(self) -> None:
        """Go back to the parameters remembered."""
        if self.best is not None:
            self.policy.load_state_dict(self.best)

    @torch.no_grad()
    def utility(self, game: StepGame) -> Tensor:
        """Return the utility of the most likely actions, shape (B,)."""
        common, steps_edge, _ = self.policy.act(self.policy.scaled(game.to(self.device)))
        return game.to(self.device).utility(common, steps_edge).cpu()

    def save(self, path: Path) -> None:
        """Write a checkpoint, in one piece: tensors and JSON in one safetensors file."""
        tensors = {f"policy.{k}": v for k, v in self.policy.state_dict().items()}
        for index, state in self.optimiser.state_dict()["state"].items():
            tensors |= {f"adam.{index}.{k}": torch.as_tensor(v) for k, v in state.items()}
        tensors |= {"generator": self.generator.get_state(), "sampler": self.sampler.get_state()}
        tensors |= {f"game.{k}": v for k, v in vars(self.contexts.game).items() if isinstance(v, Tensor)}
        tensors |= {f"best.{k}": v for k, v in (self.best or {}).items()}
        progress = {
            "done": self.done, "best_score": self.best_score if self.best else None, "history": self.history,
            "next_seed": self.contexts.next_seed, "rewards": self.rewards.state(),
        }  # fmt: skip
        storage.write(path, tensors, self.settings, self.contexts.scenario, progress, self.done)

    def resume(self, path: Path) -> None:
        """Take up a checkpoint of the same settings; raise `InputError` otherwise."""
        tensors, metadata = storage.read(path)
        if "progress" not in metadata:
            raise InputError(f"{path}: a finished policy, not a checkpoint")
        if changed := self.settings.differences(Settings.from_json(metadata["settings"])):
            raise InputError(f"{path}: a checkpoint of other settings ({changed}); choose another file or remove it")
        progress = json.loads(metadata["progress"])
        if "returns" not in progress.get("rewards", {}):
            raise InputError(f"{path}: a checkpoint of an earlier release; choose another file or remove it")
        self.policy.load_state_dict(storage.part_of(tensors, "policy."))
        state = self.optimiser.state_dict()
        for index in range(len(list(self.policy.parameters()))):
            if found := storage.part_of(tensors, f"adam.{index}."):
                state["state"][index] = found
        self.optimiser.load_state_dict(state)
        self.generator.set_state(tensors["generator"])
        self.sampler.set_state(tensors["sampler"])
        for name, tensor in storage.part_of(tensors, "game.").items():
            getattr(self.contexts.game, name).copy_(tensor)
        self.contexts.observe()
        if progress["best_score"] is not None:
            self.best, self.best_score = storage.part_of(tensors, "best."), progress["best_score"]
        self.done, self.history = progress["done"], progress["history"]
        self.contexts.next_seed = progress["next_seed"]
        self.rewards.restore(progress["rewards"])


def _cut_gradients(policy: Policy, norm: float, shared: bool) -> None:
    if shared:
        nn.utils.clip_grad_norm_(policy.parameters(), norm)
        return
    for network in (policy.actor, policy.critic):  # each agent's own norm
        gradients = [p.grad for p in network.parameters() if p.grad is not None]
        size = sum(g.flatten(1).square().sum(dim=1) for g in gradients)
        factor = (norm / (torch.as_tensor(size).sqrt() + 1e-6)).clamp(max=1.0)
        for gradient in gradients:
            gradient.mul_(factor[:, None, None])
