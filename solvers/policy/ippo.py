"""Independent proximal policy optimisation (IPPO) for the users' steps, in plain torch.

Every user has an actor and a critic of its own, unless they share one; all networks of a kind are one batched matrix
product, so nothing loops over users. Equation numbers are the journal paper's, defaults its Table II; what it leaves
open is said at `Settings`. Contexts are drawn afresh at every decision point and do not depend on actions, so a discount
above zero only adds noise: it is zero by default, and GAE then is reward minus value.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, fields
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium.wrappers.utils import RunningMeanStd
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from hisopt.errors import InputError
from hisopt.files import write_bytes_atomically
from hisopt.instances import IccInstance, Instance, StepLimits, Weights
from hisopt.instances.scenario import PRESETS, Scenario
from hisopt.solvers.policy.step_game import OBSERVATIONS, REWARDS, StepGame
from hisopt.text.corpus import shipped

FORMAT = 1

# ours: what ended nearest the optimum at the paper preset (see hisopt.experiments.campaigns.policies)
TUNED: dict[str, Any] = {
    "reward": "coalition", "reward_scale": "pooled", "observation": "cluster", "shared": True, "hidden": (128, 128),
    "learning_rate": 0.002, "batch": 512, "epochs": 2, "fresh": 16, "anneal": True, "together": 0.5, "updates": 1200,
}  # fmt: skip

# the ICC paper's HID: its own hyperparameters, and one reward (20) for all, scaled by the deviation of the running return
HID: dict[str, Any] = {
    "algorithm": "hid", "preset": "icc", "reward": "team", "reward_scale": "return", "hidden": (128, 128, 128),
    "learning_rate": 0.0005,
}  # fmt: skip

# "vanilla" of the ablations: no normalisation, and neither the ratio (34) nor the value (37) truncated
VANILLA: dict[str, Any] = {"normalise_advantages": False, "normalise_rewards": False, "clip": None, "value_clip": None}

REWARD_SCALES = ("agent", "pooled", "return")


@dataclass(frozen=True)
class Settings:
    """What a training run is; Table II's values as defaults.

    ``reward_scale`` says how rewards are normalised, where they are: ``agent`` by each agent's own running mean and
    deviation (journal paper), ``pooled`` by those of all agents together (ours), ``return`` by the deviation of the
    running discounted return, mean kept (ICC paper, after Engstrom et al., Implementation Matters in Deep RL, 2020).
    ``clip`` and ``value_clip`` are the half-widths of the truncations in (34) and (37); None leaves them out.

    Open in the paper and chosen here: ``epochs`` passes over each batch in ``minibatches`` parts; gradients cut to norm
    0.5; tanh layers, orthogonal start. ``batch`` decision points make an update, ``horizon`` of them in a row from each
    of ``batch / horizon`` environments (GAE runs along the row). ``anneal`` lowers learning rate and entropy bonus to
    zero over the run. In a share ``together`` of the decision points the users of a cluster explore with common random
    numbers, so that whole clusters are seen to change their mind. ``instances`` are kept to draw decision points from,
    ``fresh`` of them replaced before each update; ``fixed_clusters`` keeps them all as they are. ``split_subjects`` trains on
    half of the corpus's subjects and leaves the others to validation and judgement; else all draw from all prompts.
    """

    algorithm: str = "ippo"
    preset: str = "paper"
    users: int | None = None
    clusters: int | None = None
    weights: tuple[float, float, float] | None = None
    reward: str = "individual"
    observation: str = "published"
    shared: bool = False
    hidden: tuple[int, ...] = (256, 256, 256)
    learning_rate: float = 0.005
    batch: int = 128
    horizon: int = 1
    epochs: int = 4
    minibatches: int = 4
    discount: float = 0.0
    gae_lambda: float = 0.95
    clip: float | None = 0.2
    value_clip: float | None = 0.2
    entropy: float = 0.002
    value_weight: float = 0.5
    normalise_advantages: bool = True
    normalise_rewards: bool = True
    reward_scale: str = "agent"
    anneal: bool = False
    together: float = 0.0
    updates: int = 1000
    instances: int = 512
    fresh: int = 2
    fixed_clusters: bool = False
    split_subjects: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        for name, known in (("algorithm", ("ippo", "hid")), ("reward", REWARDS), ("observation", tuple(OBSERVATIONS)),
                            ("preset", tuple(PRESETS)), ("reward_scale", REWARD_SCALES)):  # fmt: skip
            if getattr(self, name) not in known:
                raise InputError(f"{name}: is {getattr(self, name)!r}, must be one of {', '.join(known)}")
        for name in ("batch", "horizon", "epochs", "minibatches", "updates", "instances"):
            if getattr(self, name) < 1:
                raise InputError(f"{name}: is {getattr(self, name)}, must be >= 1")
        if self.batch % self.horizon:
            raise InputError(f"batch: is {self.batch}, must be a multiple of horizon {self.horizon}")
        if (self.algorithm == "hid") != (self.scenario.model == "icc"):
            raise InputError(f"algorithm: {self.algorithm!r} does not fit the model of preset {self.preset!r}")

    @property
    def scenario(self) -> Scenario:
        """The distribution of decision points."""
        scenario = PRESETS[self.preset]
        if self.users is not None:
            scenario = scenario.with_users(self.users)
        if self.clusters is not None:
            scenario = scenario.replace(max_clusters=self.clusters)
        if self.weights is not None:
            quality, delay, energy = self.weights
            scenario = scenario.replace(weights=Weights(quality=quality, delay=delay, energy=energy))
        return scenario

    def differences(self, other: Settings) -> str:
        """Return in words how another run's settings differ from these; empty where they do not."""
        mine, theirs = asdict(self), asdict(other)
        return ", ".join(
            f"{name} {theirs[name]} there, {mine[name]} here" for name in mine if mine[name] != theirs[name]
        )

    @classmethod
    def from_json(cls, text: str) -> Settings:
        """Return settings from JSON; raise `InputError` for anything else."""
        try:
            values = json.loads(text)
            known = {f.name for f in fields(cls)}
            if not isinstance(values, dict) or set(values) - known:
                raise InputError("settings: not those of a policy")
            for name in ("hidden", "weights"):
                if isinstance(values.get(name), list):
                    values[name] = tuple(values[name])
            return cls(**values)
        except (json.JSONDecodeError, TypeError) as error:
            raise InputError(f"settings: {error}") from None


class AgentNetworks(nn.Module):
    """One multilayer perceptron per agent as batched products: (B, N, inputs) -> (B, N, outputs); one for all if shared."""

    def __init__(self, agents: int, sizes: tuple[int, ...], last_gain: float, generator: torch.Generator) -> None:
        super().__init__()
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for i, (rows, columns) in enumerate(pairwise(sizes)):
            gain = last_gain if i == len(sizes) - 2 else math.sqrt(2)
            weight = torch.empty(agents, rows, columns)
            for agent in range(agents):
                nn.init.orthogonal_(weight[agent], gain, generator=generator)
            self.weights.append(nn.Parameter(weight))
            self.biases.append(nn.Parameter(torch.zeros(agents, 1, columns)))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the outputs."""
        shared = len(self.weights[0]) == 1
        hidden = inputs.reshape(1, -1, inputs.shape[2]) if shared else inputs.transpose(0, 1)
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            hidden = torch.baddbmm(bias, hidden, weight)
            if i < len(self.weights) - 1:
                hidden = torch.tanh(hidden)
        return hidden.reshape(*inputs.shape[:2], -1) if shared else hidden.transpose(0, 1)


class Policy(nn.Module):
    """Actors and critics, the scale of observations, and the distribution of x_n and then of y_n within their bounds."""

    centre: Tensor
    spread: Tensor

    def __init__(self, settings: Settings, limits: StepLimits, users: int, seed: int = 0) -> None:
        super().__init__()
        self.settings, self.limits, self.users = settings, limits, users
        generator = torch.Generator().manual_seed(seed)
        inputs = len(OBSERVATIONS[settings.observation])
        self.values_common, self.values_edge = limits.common_max + 1, limits.edge_max - limits.edge_min + 1
        agents = 1 if settings.shared else users
        outputs = self.values_common + self.values_edge
        self.actor = AgentNetworks(agents, (inputs, *settings.hidden, outputs), 0.01, generator)
        self.critic = AgentNetworks(agents, (inputs, *settings.hidden, 1), 1.0, generator)
        self.register_buffer("centre", torch.zeros(inputs))
        self.register_buffer("spread", torch.ones(inputs))
        common = torch.arange(self.values_common)[:, None]
        served = common + limits.edge_min + torch.arange(self.values_edge)[None, :]
        self.allowed = (served >= limits.served_min) & (served <= limits.served_max)

    def scaled(self, game: StepGame) -> Tensor:
        """Return standardised observations, (B, N, features)."""
        seen = game.observation(self.settings.observation).to(self.centre.dtype)
        return (seen - self.centre) / self.spread

    def fit_scale(self, game: StepGame) -> None:
        """Set the scale of observations from instances."""
        seen = game.observation(self.settings.observation).to(self.centre.dtype).flatten(0, 1)
        self.centre.copy_(seen.mean(dim=0))
        self.spread.copy_(seen.std(dim=0).clamp(min=1e-6))

    def _logits(self, observation: Tensor) -> tuple[Tensor, Tensor]:
        common, edge = self.actor(observation).split((self.values_common, self.values_edge), dim=2)
        allowed = self.allowed.any(dim=1).to(common.device)
        return common.masked_fill(~allowed, -torch.inf).log_softmax(dim=2), edge

    def _edge_logits(self, edge: Tensor, common: Tensor) -> Tensor:
        if bool(self.allowed.all()):
            return edge.log_softmax(dim=2)
        return edge.masked_fill(~self.allowed.to(edge.device)[common], -torch.inf).log_softmax(dim=2)

    @torch.no_grad()
    def act(
        self, observation: Tensor, generator: torch.Generator | None = None, groups: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return x, y (B, N) and their log-probability: sampled, or the most likely ones without a generator.

        Users of the same group (B, N) draw with the same random numbers, each from its own distribution.
        """
        common_logits, edge = self._logits(observation)
        common = _pick(common_logits, generator, groups)
        edge_logits = self._edge_logits(edge, common)
        index = _pick(edge_logits, generator, groups)
        log_probability = _at(common_logits, common) + _at(edge_logits, index)
        return common, index + self.limits.edge_min, log_probability

    def judge(self, observation: Tensor, common: Tensor, edge: Tensor) -> tuple[Tensor, Tensor]:
        """Return the log-probability and the entropy of actions, (B, N); y's entropy is that given x."""
        common_logits, raw = self._logits(observation)
        edge_logits = self._edge_logits(raw, common)
        log_probability = _at(common_logits, common) + _at(edge_logits, edge - self.limits.edge_min)
        return log_probability, _entropy(common_logits) + _entropy(edge_logits)

    def value(self, observation: Tensor) -> Tensor:
        """Return each critic's value, (B, N)."""
        return self.critic(observation).squeeze(2)  # type: ignore[no-any-return]


def _pick(logits: Tensor, generator: torch.Generator | None, groups: Tensor | None) -> Tensor:
    if generator is None:
        return logits.argmax(dim=2)
    noise = torch.rand(logits.shape, generator=generator, device=logits.device).clamp(min=1e-20)
    if groups is not None:
        noise = noise.gather(1, groups.unsqueeze(2).expand_as(logits))
    return (logits - (-noise.log()).log()).argmax(dim=2)  # Gumbel


def _at(logits: Tensor, index: Tensor) -> Tensor:
    return logits.gather(2, index.unsqueeze(2)).squeeze(2)


def _entropy(logits: Tensor) -> Tensor:
    return -(logits.exp() * logits.clamp(min=-1e9)).sum(dim=2)


class Contexts:
    """Decision points: instances of a scenario with HAC's clusters, some replaced by fresh ones now and then."""

    def __init__(
        self, settings: Settings, clustered: Callable[[Instance | IccInstance], Instance | IccInstance]
    ) -> None:
        self.scenario, self.clustered, self.next_seed = settings.scenario, clustered, 1 + settings.seed * 1_000_003
        self.corpus = shipped().part("training") if settings.split_subjects else None
        self.game = StepGame.of([self._draw() for _ in range(settings.instances)], torch.float32)

    def _draw(self) -> Instance | IccInstance:
        self.next_seed += 1
        return self.clustered(self.scenario.sample(self.next_seed, self.corpus))

    def refresh(self, count: int, generator: torch.Generator) -> None:
        """Replace some instances by new ones."""
        for place in torch.randperm(len(self.game), generator=generator)[:count].tolist():
            self.game.put(place, StepGame.of([self._draw()], torch.float32))

    def draw(self, count: int, generator: torch.Generator) -> StepGame:
        """Return instances at random, with repetition."""
        return self.game.take(torch.randint(len(self.game), (count,), generator=generator))


def advantages(rewards: Tensor, values: Tensor, discount: float, gae_lambda: float) -> Tensor:
    """Generalised advantage estimates along the first axis; rewards (T, ...), values (T + 1, ...)."""
    found, running = torch.empty_like(rewards), torch.zeros_like(rewards[0])
    for t in range(len(rewards) - 1, -1, -1):
        error = rewards[t] + discount * values[t + 1] - values[t]
        running = error + discount * gae_lambda * running
        found[t] = running
    return found


class RewardScale:
    """Normalises rewards by what was seen so far, in one of the ways of `REWARD_SCALES`."""

    def __init__(self, kind: str, agents: int, discount: float) -> None:
        self.kind, self.discount = kind, discount
        self.seen = RunningMeanStd(epsilon=0.0, shape=(agents,) if kind == "agent" else ())
        self._returns: np.ndarray | None = None

    def __call__(self, rewards: Tensor) -> Tensor:
        """Take in rewards (T, environments, agents), one decision point after the other, and return them normalised."""
        values = rewards.detach().double().cpu().numpy()
        if self.kind == "return":
            values = self._discounted(values)
        self.seen.update(values.reshape(-1, values.shape[-1]) if self.kind == "agent" else values.ravel())
        deviation = torch.as_tensor(np.sqrt(self.seen.var + 1e-8)).to(rewards)
        centre = 0.0 if self.kind == "return" else torch.as_tensor(self.seen.mean).to(rewards)
        return (rewards - centre) / deviation

    def _discounted(self, rewards: np.ndarray) -> np.ndarray:
        running = np.zeros_like(rewards[0]) if self._returns is None else self._returns
        found = np.empty_like(rewards)
        for t, reward in enumerate(rewards):
            found[t] = running = self.discount * running + reward
        self._returns = running
        return found

    def state(self) -> dict[str, Any]:
        """Return what `restore` needs, as JSON values."""
        returns = None if self._returns is None else self._returns.tolist()
        return {"count": self.seen.count, "mean": self.seen.mean.tolist(), "variance": self.seen.var.tolist(),
                "returns": returns}  # fmt: skip

    def restore(self, state: dict[str, Any]) -> None:
        """Take up what `state` returned."""
        self.seen.count = state["count"]
        self.seen.mean, self.seen.var = np.asarray(state["mean"]), np.asarray(state["variance"])
        self._returns = None if state["returns"] is None else np.asarray(state["returns"])


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
        self.policy.fit_scale(self.contexts.game)
        self.policy.to(self.device)
        self.optimiser = torch.optim.Adam(self.policy.parameters(), lr=settings.learning_rate, eps=1e-5)
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
        game = self.contexts.draw(settings.batch, self.generator).to(self.device)
        observation = self.policy.scaled(game)
        groups = torch.arange(game.users, device=self.device).expand_as(game.clusters)
        together = torch.rand(len(game), 1, generator=self.sampler, device=self.device) < settings.together
        groups = torch.where(together, game.clusters, groups)
        common, edge, log_probability = self.policy.act(observation, self.sampler, groups)
        raw = game.reward(settings.reward, common, edge)
        rows = (settings.horizon, settings.batch // settings.horizon)
        reward = self.rewards(raw.reshape(*rows, -1)) if settings.normalise_rewards else raw
        with torch.no_grad():
            value = self.policy.value(observation)
        # the state after the last is one more draw from the same contexts: the mean value stands for it
        after = value.mean(dim=0, keepdim=True).expand(1, rows[1], -1)
        values = torch.cat([value.reshape(*rows, -1), after])
        advantage = advantages(reward.reshape(*rows, -1), values, settings.discount, settings.gae_lambda)
        advantage = advantage.reshape(settings.batch, -1)
        return {"observation": observation, "common": common, "edge": edge, "log_probability": log_probability,
                "value": value, "advantage": advantage, "target": advantage + value, "raw": raw}  # fmt: skip

    def _parts(self, batch: dict[str, Tensor]) -> Iterator[dict[str, Tensor]]:
        order = torch.randperm(self.settings.batch, generator=self.generator).to(self.device)
        for index in order.chunk(self.settings.minibatches):
            yield {name: tensor[index] for name, tensor in batch.items()}

    def _learn(self, part: dict[str, Tensor], entropy_weight: float) -> list[float]:
        settings, advantage = self.settings, part["advantage"]
        if settings.normalise_advantages:
            axes = (0, 1) if settings.shared else (0,)
            deviation = advantage.std(dim=axes, keepdim=True, unbiased=False)
            advantage = (advantage - advantage.mean(dim=axes, keepdim=True)) / (deviation + 1e-8)
        log_probability, entropy = self.policy.judge(part["observation"], part["common"], part["edge"])
        ratio = (log_probability - part["log_probability"]).exp()
        gain = ratio * advantage
        if settings.clip is not None:
            gain = torch.minimum(gain, ratio.clamp(1 - settings.clip, 1 + settings.clip) * advantage)
        policy_loss = -gain  # (34)
        value = self.policy.value(part["observation"])
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
        common, edge, _ = self.policy.act(self.policy.scaled(game.to(self.device)))
        return game.to(self.device).utility(common, edge).cpu()

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
        _write(path, tensors, self.settings, self.contexts.scenario, progress, self.done)

    def resume(self, path: Path) -> None:
        """Take up a checkpoint of the same settings; raise `InputError` otherwise."""
        tensors, metadata = _read(path)
        if "progress" not in metadata:
            raise InputError(f"{path}: a finished policy, not a checkpoint")
        if changed := self.settings.differences(Settings.from_json(metadata["settings"])):
            raise InputError(f"{path}: a checkpoint of other settings ({changed}); choose another file or remove it")
        progress = json.loads(metadata["progress"])
        if "returns" not in progress.get("rewards", {}):
            raise InputError(f"{path}: a checkpoint of an earlier release; choose another file or remove it")
        self.policy.load_state_dict(_part(tensors, "policy."))
        state = self.optimiser.state_dict()
        for index in range(len(list(self.policy.parameters()))):
            if found := _part(tensors, f"adam.{index}."):
                state["state"][index] = found
        self.optimiser.load_state_dict(state)
        self.generator.set_state(tensors["generator"])
        self.sampler.set_state(tensors["sampler"])
        for name, tensor in _part(tensors, "game.").items():
            getattr(self.contexts.game, name).copy_(tensor)
        if progress["best_score"] is not None:
            self.best, self.best_score = _part(tensors, "best."), progress["best_score"]
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


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _write(
    path: Path, tensors: dict[str, Tensor], settings: Settings, scenario: Scenario, progress: Any, updates: int
) -> None:
    metadata = {"format": f"hisopt policy {FORMAT}", "settings": json.dumps(asdict(settings)),
                "updates": str(updates), "users": str(scenario.users), "steps": scenario.steps.model_dump_json()}  # fmt: skip
    if progress is not None:
        metadata["progress"] = json.dumps(progress)
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_bytes_atomically(path, save(contiguous, metadata))


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: not a policy (a safetensors file written by hisopt.train): {reason}") from None
    if metadata.get("format") != f"hisopt policy {FORMAT}":
        raise InputError(f"{path}: not a policy of this release (format {metadata.get('format')!r})")
    return tensors, metadata


def export(trainer: Trainer, path: Path) -> None:
    """Write the actors alone, in half precision: what a solver needs."""
    tensors = {k: v.half() if k.startswith("actor.") else v for k, v in trainer.policy.state_dict().items()}
    kept = {f"policy.{k}": v for k, v in tensors.items() if not k.startswith("critic.")}
    _write(path, kept, trainer.settings, trainer.contexts.scenario, None, trainer.done)


def trained_updates(path: Path) -> tuple[Settings, int]:
    """Return a policy's settings and the updates it was trained for; raise `InputError` if the file is none."""
    _, metadata = _read(path)
    settings = Settings.from_json(metadata["settings"])
    return settings, int(metadata.get("updates", settings.updates))


def load(path: Path) -> Policy:
    """Read a policy; raise `InputError` if the file is none."""
    tensors, metadata = _read(path)
    if "progress" in metadata:
        raise InputError(f"{path}: a checkpoint of training, not a policy; the command that made it goes on from it")
    try:
        settings, limits = Settings.from_json(metadata["settings"]), StepLimits.model_validate_json(metadata["steps"])
        policy = Policy(settings, limits, int(metadata["users"]))
        found = {name: tensor.float() for name, tensor in _part(tensors, "policy.").items()}
        missing = policy.load_state_dict(found, strict=False)
    except (KeyError, ValueError, RuntimeError) as error:
        raise InputError(f"{path}: not a policy: {' '.join(str(error).split())}") from None
    if missing.unexpected_keys or any(not name.startswith("critic.") for name in missing.missing_keys):
        raise InputError(f"{path}: not a policy: parameters are missing or unknown")
    return policy.eval()


def decide(policy: Policy, instance: Instance | IccInstance) -> tuple[np.ndarray, np.ndarray]:
    """Return the most likely x_n and y_n, shapes (N,)."""
    common, edge, _ = policy.act(policy.scaled(StepGame.of([instance])))
    return common[0].numpy(), edge[0].numpy()
