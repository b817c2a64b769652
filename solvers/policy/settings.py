"""What a training run of the learned policies is: the journal paper's Table II as defaults, and the usual departures from it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from typing import Any

from hisopt.errors import InputError
from hisopt.instances import IccInstance, Weights
from hisopt.instances.scenario import PRESETS, Scenario
from hisopt.solvers.policy.rewards import REWARDS
from hisopt.solvers.policy.step_game import OBSERVATIONS

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
    ``fresh`` of them replaced before each update; ``fixed_clusters`` keeps them all as they are. An instance drawn makes
    ``repeats`` decision points of the batch: steps are drawn anew each time, its observation is judged once.
    ``split_subjects`` trains on half of the corpus's subjects and leaves the others to validation and judgement; else all
    draw from all prompts.
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
    repeats: int = 1
    fresh: int = 2
    fixed_clusters: bool = False
    split_subjects: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        for name, known in (("algorithm", ("ippo", "hid")), ("reward", REWARDS), ("observation", tuple(OBSERVATIONS)),
                            ("preset", tuple(PRESETS)), ("reward_scale", REWARD_SCALES)):  # fmt: skip
            if getattr(self, name) not in known:
                raise InputError(f"{name}: is {getattr(self, name)!r}, must be one of {', '.join(known)}")
        for name in ("batch", "horizon", "epochs", "minibatches", "updates", "instances", "repeats"):
            if getattr(self, name) < 1:
                raise InputError(f"{name}: is {getattr(self, name)}, must be >= 1")
        if self.batch % self.horizon:
            raise InputError(f"batch: is {self.batch}, must be a multiple of horizon {self.horizon}")
        if (self.algorithm == "hid") != (self.scenario.model == IccInstance.model):
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
