"""What the learners of mobile edge generation share: the simulated slots, the policy network, and policies as files."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from hisopt.errors import InputError
from hisopt.files import write_bytes_atomically

if TYPE_CHECKING:
    from pathlib import Path

    from hisopt.arrays import FloatArray, IntArray
    from hisopt.instances import MegChannel
    from hisopt.problems import Meg

FORMAT = "hisopt meg policy 1"


@dataclass(frozen=True)
class Batch:
    """Slots lived through: bins (T,), actions (T,), rewards (T,), costs (T, K), and the next slots' bins (T,)."""

    bins: IntArray
    actions: IntArray
    rewards: FloatArray
    costs: FloatArray
    next_bins: IntArray


class Slots:
    """Simulates slots of a channel in bins; parallel episodes go on from slot to slot where the channel is Markov."""

    def __init__(self, problem: Meg, seed: int, episodes: int = 64) -> None:
        self.problem = problem
        self.process = problem.process
        self._rng = np.random.default_rng(seed)
        channel = problem.instance.channel
        self._steps = None if channel.transition is None else np.cumsum(channel.transition, axis=1)
        self._long_run = np.cumsum(channel.probability)
        self._bins = self._draw(np.tile(self._long_run, (episodes, 1)))

    def _draw(self, cumulative: FloatArray) -> IntArray:
        """Draw one index from each row's cumulative probabilities."""
        uniform = self._rng.random((len(cumulative), 1)) * cumulative[:, -1:]
        return np.asarray(np.minimum((cumulative < uniform).sum(axis=1), cumulative.shape[1] - 1), dtype=np.int64)

    def live(self, policy: FloatArray, slots: int) -> Batch:
        """Follow a policy, shape (H, A), for at least so many slots over all episodes."""
        bins, actions, following = [], [], []
        cumulative = np.cumsum(policy, axis=1)
        for _ in range(-(-slots // len(self._bins))):
            bins.append(self._bins)
            actions.append(self._draw(cumulative[self._bins]))
            rows = np.tile(self._long_run, (len(self._bins), 1)) if self._steps is None else self._steps[self._bins]
            self._bins = self._draw(rows)
            following.append(self._bins)
        h, a = np.concatenate(bins), np.concatenate(actions)
        return Batch(h, a, self.process.reward[h, a], self.process.costs[:, h, a].T, np.concatenate(following))


def features(problem: Meg, reference: MegChannel | None = None) -> Tensor:
    """What a network sees of each bin, shape (H, 1): the gain in dB, as deviations from its mean.

    Mean and deviation are those of the ``reference``, the problem's own channel by default.
    """
    gain = 10 * np.log10(problem.instance.channel.gain)
    known = problem.instance.channel if reference is None else reference
    nu, values = known.probability, 10 * np.log10(known.gain)
    mean = nu @ values
    return torch.tensor((gain - mean) / max(np.sqrt(nu @ (values - mean) ** 2), 1e-9), dtype=torch.float32)[:, None]


def action_features(problem: Meg) -> Tensor:
    """What a critic sees of each action, shape (A, 2): n and beta scaled to [-1, 1]."""
    instance = problem.instance
    pairs = np.stack(np.meshgrid(instance.steps, instance.ratios, indexing="ij"), axis=-1).reshape(-1, 2)
    low, high = pairs.min(axis=0), pairs.max(axis=0)
    return torch.tensor(2 * (pairs - low) / np.maximum(high - low, 1e-9) - 1, dtype=torch.float32)


def network(inputs: int, outputs: int, hidden: int) -> nn.Sequential:
    """Two hidden layers of tanh units."""
    return nn.Sequential(
        nn.Linear(inputs, hidden), nn.Tanh(), nn.Linear(hidden, hidden), nn.Tanh(), nn.Linear(hidden, outputs)
    )


def policy_of(actor: nn.Module, problem: Meg, reference: MegChannel | None = None) -> FloatArray:
    """Return an actor's probabilities in every bin, shape (H, A), summing to one in double precision.

    The ``reference`` is that of `features`.
    """
    with torch.no_grad():
        found = torch.softmax(actor(features(problem, reference)).double(), dim=1).numpy()
    return np.asarray(found / found.sum(axis=1, keepdims=True))


def write_policy(path: Path, actor: nn.Module, problem: Meg, told: dict[str, object]) -> None:
    """Write an actor as safetensors, with the instance it was trained on and what is ``told`` of its training (JSON)."""
    about = {"format": FORMAT, "instance": problem.content_hash, "told": json.dumps(told)}
    write_bytes_atomically(path, save({k: v.detach().contiguous() for k, v in actor.state_dict().items()}, about))


def read_policy(path: Path) -> nn.Sequential:
    """Read an actor; raise `InputError` where the file is none."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: not a policy of MEG: {' '.join(str(error).split())}") from None
    if metadata.get("format") != FORMAT:
        raise InputError(f"{path}: not a policy of MEG of this release (format {metadata.get('format')!r})")
    try:
        hidden, inputs = tensors["0.weight"].shape
        actor = network(inputs, len(tensors["4.bias"]), hidden)
        actor.load_state_dict(tensors)
    except (KeyError, ValueError, RuntimeError) as error:
        raise InputError(f"{path}: not a policy of MEG: {' '.join(str(error).split())}") from None
    return actor.eval()
