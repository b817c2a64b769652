"""A policy for every size: a network names each cluster the load of the others, and the cluster replies best to it.

Clusters meet only in the total load S = sum sqrt(c_m W_m) of the joint problem: given the load Z of the others, the best
reply of a cluster maximises ``gain - (2 Z load + load^2) / V`` over its own candidates (`hisopt.solvers.joint.step_tables`),
and an optimum is a profile of best replies. What no cluster knows is Z. The policy learns it: each cluster observes what it
would do at every Z of a fixed grid, in units of the largest total load, and the same of all clusters by means weighted with
their shares of that load. Nothing in the network depends on N, M, V, the weights or the step limits. The means of what others
do are the aggregation of mean-field policies; see Wu, Sun, Yang, arXiv 2204.13972, on what carries over between sizes.

Shapes: B instances, M clusters, K points of the grid.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from hisopt.errors import InputError
from hisopt.files import write_bytes_atomically
from hisopt.solvers.joint import step_tables

if TYPE_CHECKING:
    from pathlib import Path

    from hisopt.arrays import FloatArray, IntArray
    from hisopt.instances import Instance

FORMAT = "hisopt price policy 1"
GRID = (np.arange(64) / 63) ** 1.5  # Z in units of the largest total load; denser where replies change most
_HIDDEN = 96
_SMALLEST = 1e-300


@dataclass(frozen=True)
class Replies:
    """What the clusters of one instance would do at every point of the grid.

    Attributes
    ----------
    gain, load
        In units of S^2 / V and of S, the largest total load; shapes (M, K). Gains count from the last point's.
    share
        Each cluster's largest load over S, shape (M,).
    option
        The candidate of the tables, shape (M, K).
    """

    gain: FloatArray
    load: FloatArray
    share: FloatArray
    option: IntArray


def replies(tables: step_tables.StepTables, budget: float) -> Replies:
    """Return the best replies of an instance's clusters on the grid; ``budget`` is V > 0."""
    heads = tables.offsets[:-1]
    most = np.maximum.reduceat(tables.load, heads)
    scale = max(float(most.sum()), _SMALLEST)
    load = tables.load / scale
    gain = tables.gain * (budget / max(scale * scale, _SMALLEST))
    alone = gain - load * load
    groups = np.repeat(np.arange(len(heads)), np.diff(tables.offsets))
    option = np.empty((len(heads), len(GRID)), dtype=np.int64)
    places = np.arange(len(gain))
    for k, others in enumerate(GRID):
        value = alone - (2 * others) * load
        best = np.maximum.reduceat(value, heads)
        hits = places[value == best[groups]]
        owner = groups[hits]
        option[owner[::-1], k] = hits[::-1]  # the first of equal ones stays
    found = gain[option]
    return Replies(found - found[:, -1:], load[option], most / scale, option)


class PricePolicy(nn.Module):
    """The network: (B, M, K) replies to (B, M, K) log-probabilities of the points of the grid."""

    def __init__(self, hidden: int = _HIDDEN, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            points = len(GRID)
            self.first = nn.Sequential(nn.Linear(4 * points + 4, hidden), nn.SiLU())
            self.second = nn.Sequential(nn.Linear(2 * hidden, hidden), nn.SiLU())
            self.last = nn.Sequential(nn.Linear(2 * hidden, hidden), nn.SiLU(), nn.Linear(hidden, points))

    def forward(self, gain: Tensor, load: Tensor, share: Tensor) -> Tensor:
        """Return log-probabilities; ``share`` (B, M) is 0 for clusters that only fill up a batch."""
        total = load.sum(dim=1, keepdim=True)
        worth = gain.sum(dim=1, keepdim=True)
        like = torch.stack([
            share, share.amax(dim=1, keepdim=True).expand_as(share),
            (share**2).sum(dim=1, keepdim=True).expand_as(share), (share > 0).to(share).sum(dim=1, keepdim=True).log1p()
            .expand_as(share) / 4,
        ], dim=2)  # fmt: skip
        others = (total - load).expand_as(load)
        seen = torch.cat([load, torch.asinh(10 * gain), others, torch.asinh(10 * (worth - gain)), like], dim=2)
        weight = share.unsqueeze(2)
        hidden = self.first(seen)
        hidden = self.second(torch.cat([hidden, (weight * hidden).sum(dim=1, keepdim=True).expand_as(hidden)], dim=2))
        hidden = self.last(torch.cat([hidden, (weight * hidden).sum(dim=1, keepdim=True).expand_as(hidden)], dim=2))
        return hidden.log_softmax(dim=2)  # type: ignore[no-any-return]


@torch.no_grad()
def decide(policy: PricePolicy, instance: Instance, rounds: int = 0) -> tuple[IntArray, IntArray]:
    """Return x_n and y_n, shapes (N,): the replies to the most likely loads of the others, on the given clusters.

    In each of ``rounds`` the clusters then reply in turn to the loads that the others have: not learned, and never worse.
    """
    tables, budget = step_tables.for_instance(instance), instance.sm_budget
    seen = replies(tables, budget)
    gain, load, share = (torch.from_numpy(v).float()[None] for v in (seen.gain, seen.load, seen.share))
    point = policy(gain, load, share)[0].argmax(dim=1).numpy()
    choice = seen.option[np.arange(len(point)), point]
    for _ in range(rounds):
        for cluster, (first, end) in enumerate(pairwise(tables.offsets)):
            others = tables.load[choice].sum() - tables.load[choice[cluster]]
            own = tables.load[first:end]
            choice[cluster] = first + int(np.argmax(tables.gain[first:end] - own * (own + 2 * others) / budget))
    return tables.steps(choice)


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
