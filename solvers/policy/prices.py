"""A policy for every size: a network says how likely each of a cluster's best replies is in the optimum.

Clusters meet only in the total load S = sum sqrt(c_m W_m), and of each cluster only a few best replies can be in an optimum
(`hisopt.solvers.policy.replies`). One pass finds the scalar lambda at which the loads it calls for sum to it. What it
leaves open, where a cluster's load is a large part of S, the network settles: it sees what each reply loses at lambda and
at the loads that the others are expected to have, in units of a cluster's usual load, and means over the replies of a
cluster and over the clusters; then expects other loads, twice over (an unrolled mean field). Nothing in it depends on
N, M, V, the weights or the step limits. On means in policies for every size see Wu, Sun, Yang, arXiv 2204.13972.

The decision is the most likely replies; or, with ``doubts``, the utility being a function of two sums, the best by utility of all
combinations of the replies that come next (`reply_of`).

Shapes: T replies (of all clusters of all instances in a batch), C clusters, B instances.
"""

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
from hisopt.solvers.joint import step_tables
from hisopt.solvers.policy.doubts import settle
from hisopt.solvers.policy.replies import Replies, lost_at_price, replies, utility

if TYPE_CHECKING:
    from pathlib import Path

    from hisopt.arrays import FloatArray, IntArray
    from hisopt.instances import Instance

FORMAT = "hisopt price policy 2"
_HIDDEN = 32
_ROUNDS = 2
_SEEN = 11  # numbers that a reply is described by
_SMALLEST = 1e-12


@dataclass(frozen=True)
class Batch:
    """Replies of some instances: gain and load in the units of `Replies`, shape (T,); price, shape (B,).

    ``cluster`` names the cluster of each reply, shape (T,), and ``instance`` the instance of each cluster, shape (C,).
    """

    gain: Tensor
    load: Tensor
    price: Tensor
    cluster: Tensor
    instance: Tensor

    @classmethod
    def of(cls, found: list[Replies]) -> Batch:
        """Return a batch of the replies of instances."""
        counts = np.concatenate([one.own.sum(axis=1) for one in found])
        sizes = [len(one.own) for one in found]
        return cls(
            torch.from_numpy(np.concatenate([one.gain[one.own] for one in found])).float(),
            torch.from_numpy(np.concatenate([one.load[one.own] for one in found])).float(),
            torch.tensor([one.price for one in found]),
            torch.from_numpy(np.repeat(np.arange(len(counts)), counts)),
            torch.from_numpy(np.repeat(np.arange(len(found)), sizes)),
        )


class _Groups:
    """Sums, largest values and means over the replies of a cluster, and over the clusters of an instance."""

    def __init__(self, batch: Batch) -> None:
        self.cluster, self.instance = batch.cluster, batch.instance
        self.clusters, self.instances = len(batch.instance), len(batch.price)
        one = torch.ones_like(batch.load)
        self.replies = self.sum(one)  # of each cluster
        self.size = self.total(torch.ones(self.clusters))  # clusters of each instance
        self.whose = batch.instance[batch.cluster]  # each reply's instance

    def sum(self, values: Tensor) -> Tensor:
        return values.new_zeros(self.clusters, *values.shape[1:]).index_add(0, self.cluster, values)

    def total(self, values: Tensor) -> Tensor:
        return values.new_zeros(self.instances, *values.shape[1:]).index_add(0, self.instance, values)

    def largest(self, values: Tensor) -> Tensor:
        return values.new_full((self.clusters,), -torch.inf).scatter_reduce(0, self.cluster, values, "amax")

    def behind(self, values: Tensor) -> Tensor:
        """How far each reply is behind the best of its cluster, shape (T,)."""
        return self.largest(values)[self.cluster] - values

    def log_softmax(self, logits: Tensor) -> Tensor:
        shifted = logits - self.largest(logits.detach())[self.cluster]
        return shifted - self.sum(shifted.exp()).log()[self.cluster]


class PricePolicy(nn.Module):
    """The network: a batch of replies to their log-probabilities, shape (T,)."""

    def __init__(self, hidden: int = _HIDDEN, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.first = nn.Sequential(nn.Linear(_SEEN, hidden), nn.SiLU())
            self.replies = nn.ModuleList(nn.Linear(hidden + 4, hidden) for _ in range(_ROUNDS))
            self.clusters = nn.ModuleList(nn.Linear(hidden, hidden, bias=False) for _ in range(_ROUNDS))
            self.instances = nn.ModuleList(nn.Linear(hidden, hidden, bias=False) for _ in range(_ROUNDS))
            self.last = nn.ModuleList(nn.Linear(hidden, hidden) for _ in range(_ROUNDS))
            self.heads = nn.ModuleList(nn.Linear(hidden, 1) for _ in range(_ROUNDS + 1))
            for head in self.heads:  # untrained, it ranks replies by what they lose
                nn.init.zeros_(head.weight)  # type: ignore[arg-type]
                nn.init.zeros_(head.bias)  # type: ignore[arg-type]

    def forward(self, batch: Batch) -> Tensor:
        """Return the log-probabilities after the last round."""
        return self.rounds(batch)[-1]

    def rounds(self, batch: Batch) -> list[Tensor]:
        """Return log-probabilities before the first round and after each, which training judges all."""
        groups = _Groups(batch)
        gain, load, cluster, whose = batch.gain, batch.load, batch.cluster, groups.whose
        span = groups.largest(load) - groups.sum(load) / groups.replies
        usual = (groups.total(span**2) / groups.size).sqrt().clamp(min=_SMALLEST)
        unit = usual[whose]
        lost = groups.behind(gain - 2 * batch.price[whose] * load) / unit**2
        likely = groups.log_softmax(-lost)
        expected = groups.sum(likely.exp() * load)
        chosen = groups.sum((lost <= 0) * load)
        missing = (batch.price - groups.total(chosen)) / usual
        seen = torch.stack([
            *_near(lost), load / unit, (load - chosen[cluster]) / unit, (load - expected[cluster]) / unit,
            (span[groups.cluster] / unit), torch.asinh(missing)[whose], batch.price[whose], usual[whose].log() / 4,
            groups.replies[cluster].log() / 2,
        ], dim=1)  # fmt: skip
        hidden = self.first(seen)
        found = [groups.log_softmax(self.heads[0](hidden).squeeze(1) - lost)]
        for k in range(_ROUNDS):
            chance = found[-1].exp()
            expected = groups.sum(chance * load)
            others = groups.total(expected)[batch.instance] - expected
            regret = groups.behind(gain - load * (load + 2 * others[cluster])) / unit**2
            own = groups.sum(chance.unsqueeze(1) * hidden)
            mean = groups.total(own) / groups.size.unsqueeze(1)
            told = self.clusters[k](own) + self.instances[k](mean)[batch.instance]
            heard = self.replies[k](torch.cat([hidden, torch.stack([*_near(regret), chance], dim=1)], dim=1))
            hidden = hidden + self.last[k](nn.functional.silu(heard + told[cluster]))
            found.append(groups.log_softmax(self.heads[k + 1](hidden).squeeze(1) - regret))
        return found


def _near(lost: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Describe losses >= 0 near 0 and far from it."""
    return torch.tanh(lost), torch.tanh(10 * lost), (lost + 1e-4).log() / 4


@torch.inference_mode()
def likelihoods(policy: PricePolicy, seen: list[Replies]) -> list[FloatArray]:
    """Return the log-probability of each reply of some instances, shapes (M, R), -inf for repetitions."""
    flat, found, first = policy(Batch.of(seen)).numpy(), [], 0
    for one in seen:
        count = int(one.own.sum())
        likely = np.full(one.own.shape, -np.inf)
        likely[one.own], first = flat[first : first + count], first + count
        found.append(likely)
    return found


def reply_of(seen: Replies, likely: FloatArray, doubts: int) -> IntArray:
    """Return a reply of each cluster, shape (M,): the most likely ones, or with doubts the best of two searches.

    Both searches try combinations (`hisopt.solvers.policy.doubts.settle`): one in the order of the network's likelihoods, the
    other in that of what replies lose at lambda, so that a network which errs with confidence costs nothing.
    """
    orders = [likely, -lost_at_price(seen)] if doubts else [likely]
    return max((settle(seen, order, doubts) for order in orders), key=lambda reply: utility(seen, reply))


def decide(policy: PricePolicy, instance: Instance, doubts: int = 0) -> tuple[IntArray, IntArray]:
    """Return x_n and y_n, shapes (N,), on the given clusters; see `reply_of`."""
    tables = step_tables.for_instance(instance)
    seen = replies(tables, instance.sm_budget)
    reply = reply_of(seen, likelihoods(policy, [seen])[0], doubts)
    return tables.steps(seen.option[np.arange(len(reply)), reply])


def write(policy: PricePolicy, path: Path, about: dict[str, object]) -> None:
    """Write a policy in half precision; ``about`` says how it was trained."""
    tensors = {name: tensor.detach().half().contiguous() for name, tensor in policy.state_dict().items()}
    metadata = {"format": FORMAT, "about": json.dumps(about)}
    write_bytes_atomically(path, save(tensors, metadata))


def read(path: Path) -> PricePolicy:
    """Read a policy; raise `InputError` if the file is none."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
        if metadata.get("format") != FORMAT:
            raise InputError(f"{path}: not a policy of prices (format {metadata.get('format')!r})")
        policy = PricePolicy(hidden=len(tensors["first.0.bias"]))
        policy.load_state_dict(tensors)
    except (OSError, SafetensorError, KeyError, RuntimeError) as error:
        raise InputError(f"{path}: not a policy of prices: {' '.join(str(error).split())}") from None
    return policy.eval()
