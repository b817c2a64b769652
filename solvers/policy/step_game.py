"""The users' steps as a one-shot game, for batches of instances in torch: utility, rewards and observations.

SMs follow the steps by Theorem 1 (in the ICC model there are none), so a user's action is (x_n, y_n). Every coefficient
comes from `hisopt.equations`; this file only combines them, without a loop over instances or users. Shapes: B instances,
N users, M clusters, X = x_max + 1.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from hisopt.equations import (
    device_step_cost,
    edge_step_energy_cost,
    edge_work_cost,
    given_quality,
    icc_step_costs,
    public_similarity,
    transmission,
)
from hisopt.instances import IccInstance, Instance, StepLimits
from hisopt.solvers.policy.rewards import REWARDS

if TYPE_CHECKING:
    from collections.abc import Sequence

OBSERVATIONS = {
    "published": ("similarity", "device", "budget"),
    "cluster": (
        "similarity", "device", "size", "similarity_mean", "similarity_deviation", "similarity_least",
        "similarity_most", "similarity_rank", "device_mean", "device_rank", "similarity_of_all",
        "pressure", "share", "share_largest", "concentration", "cluster_rank",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class StepGame:
    """Instances of one size and one set of step limits, clusters given.

    Attributes
    ----------
    quality
        w1 Q_n(x), shape (B, N, X).
    gain_common, gain_edge
        Utility of a user's own step x or y before any cost that clusters share, shapes (B, N).
    constant
        Utility of a user whose device runs every step, quality aside, shape (B, N).
    clusters
        Labels, shape (B, N).
    wait, power, step
        Costs of a cluster's work: each user waits at ``wait / v_m`` a step and the energy costs ``step + power / v_m``;
        in the ICC model v_m is 1 and only common steps count. Shapes (B, M).
    similarity, device, budget
        phi_n and v_n (f_n in the ICC model), shapes (B, N); V, shape (B,), or 0.
    limits
        The bounds on the steps.
    count
        M.
    shared_sms
        Whether SMs are shared by Theorem 1 (the journal model).
    """

    quality: Tensor
    gain_common: Tensor
    gain_edge: Tensor
    constant: Tensor
    clusters: Tensor
    wait: Tensor
    power: Tensor
    step: Tensor
    similarity: Tensor
    device: Tensor
    budget: Tensor
    limits: StepLimits
    count: int
    shared_sms: bool

    @classmethod
    def of(cls, instances: Sequence[Instance | IccInstance], dtype: torch.dtype = torch.float64) -> StepGame:
        """Return the game of instances of one size, model and step limits, with clusters; ValueError if they differ."""
        first = instances[0]
        alike = {(type(i), i.users, i.max_clusters, i.steps) for i in instances}
        if len(alike) > 1 or any(i.clusters is None for i in instances):
            raise ValueError("instances: must share model, users, clusters and step limits, and have clusters")
        rows = [_his_row(i) if isinstance(i, Instance) else _icc_row(i) for i in instances]
        tensors = {name: torch.from_numpy(np.stack([row[name] for row in rows])) for name in rows[0]}
        for name, tensor in tensors.items():
            tensors[name] = tensor.to(torch.int64 if name == "clusters" else dtype)
        return cls(**tensors, limits=first.steps, count=first.max_clusters, shared_sms=isinstance(first, Instance))

    def __len__(self) -> int:
        return len(self.quality)

    @property
    def users(self) -> int:
        """N."""
        return self.quality.shape[1]

    def _mapped(self, function: object) -> StepGame:
        tensors = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(self, **{k: function(v) for k, v in tensors.items() if isinstance(v, Tensor)})  # type: ignore[operator]

    def take(self, index: Tensor) -> StepGame:
        """Return the instances of an index."""
        return self._mapped(lambda tensor: tensor[index])

    def to(self, device: torch.device | str) -> StepGame:
        """Return the game on a device."""
        return self._mapped(lambda tensor: tensor.to(device))

    def put(self, index: Tensor, other: StepGame) -> None:
        """Overwrite the instances of an index by another game's."""
        for name in (f.name for f in fields(self)):
            mine = getattr(self, name)
            if isinstance(mine, Tensor):
                mine[index] = getattr(other, name).to(mine)

    # what clusters do

    def sum_of(self, values: Tensor) -> Tensor:
        """Sum of the users' values (B, N) in every cluster, shape (B, M)."""
        zero = torch.zeros(values.shape[0], self.count, dtype=values.dtype, device=values.device)
        return zero.scatter_add(1, self.clusters, values)

    def max_of(self, values: Tensor) -> Tensor:
        """Largest of the users' values (B, N) in every cluster, -inf in empty ones, shape (B, M)."""
        low = torch.full((len(values), self.count), -torch.inf, dtype=values.dtype, device=values.device)
        return low.scatter_reduce(1, self.clusters, values, "amax")

    def of_users(self, per_cluster: Tensor) -> Tensor:
        """Values of clusters (B, M) at each of their users, shape (B, N)."""
        return per_cluster.gather(1, self.clusters)

    def sizes(self) -> Tensor:
        """|N_m|, shape (B, M)."""
        return self.sum_of(torch.ones_like(self.similarity))

    def work(self, common_max: Tensor, edge_sum: Tensor) -> Tensor:
        """W_m of the largest common step and the sum of personalised ones, all of one shape."""
        return common_max + edge_sum if self.shared_sms else common_max

    def work_cost(self) -> Tensor:
        """c_m: what a step of a cluster's work costs on one SM, shape (B, M)."""
        return self.sizes() * self.wait + self.power

    def own_value(self, common: Tensor, steps_edge: Tensor) -> Tensor:
        """Each user's utility before any cost that clusters share, shape (B, N)."""
        quality = self.quality.gather(2, common.long().unsqueeze(2)).squeeze(2)
        return quality + self.gain_common * common + self.gain_edge * steps_edge + self.constant

    def utility(self, common: Tensor, steps_edge: Tensor) -> Tensor:
        """U, (23), of integer steps (B, N); shape (B,)."""
        common, steps_edge = common.to(self.quality.dtype), steps_edge.to(self.quality.dtype)
        work = self.work(self.max_of(common).clamp(min=0), self.sum_of(steps_edge))
        total = self.own_value(common, steps_edge).sum(dim=1) - (self.step * work).sum(dim=1)
        if self.shared_sms:
            return total - (self.work_cost() * work).sqrt().sum(dim=1) ** 2 / self.budget
        return total - (self.work_cost() * work).sum(dim=1)

    def reward(self, kind: str, common: Tensor, steps_edge: Tensor) -> Tensor:
        """Each user's reward of a kind of `hisopt.solvers.policy.rewards.REWARDS`, for integer steps (B, N); shape (B, N)."""
        if kind not in REWARDS:
            raise ValueError(f"reward: {kind!r} is none of {', '.join(REWARDS)}")
        return REWARDS[kind](self, common.to(self.quality.dtype), steps_edge.to(self.quality.dtype))

    def observation(self, kind: str) -> Tensor:
        """What each user sees, shape (B, N, features).

        ``published`` is (31). ``cluster`` adds what describes the user's cluster, its place among the clusters and the
        pressure on the server, (sum_m sqrt(c_m))^2 / (V N), and does not depend on the scale of N and V.
        """
        size = self.of_users(self.sizes())
        seen = {
            "similarity": self.similarity,
            "device": self.device,
            "budget": self.budget[:, None].expand_as(self.similarity),
        }
        if kind == "cluster":
            mean = self.of_users(self.sum_of(self.similarity)) / size
            square = self.of_users(self.sum_of(self.similarity**2)) / size
            load = self.work_cost().sqrt()
            share = load / load.sum(dim=1, keepdim=True)
            order = self.sizes() + torch.arange(self.count, device=load.device) / (2 * self.count)  # no ties
            room = self.budget[:, None].clamp(min=1)
            seen |= {
                "size": size / self.users,
                "similarity_mean": mean,
                "similarity_deviation": (square - mean**2).clamp(min=0).sqrt(),
                "similarity_least": -self.of_users(self.max_of(-self.similarity)),
                "similarity_most": self.of_users(self.max_of(self.similarity)),
                "similarity_rank": self._rank(self.similarity) / size,
                "device_mean": self.of_users(self.sum_of(self.device)) / size,
                "device_rank": self._rank(self.device) / size,
                "pressure": (load.sum(dim=1, keepdim=True) ** 2 / (room * self.users)).expand_as(size),
                "share": self.of_users(share),
                "share_largest": share.amax(dim=1, keepdim=True).expand_as(size),
                "concentration": (share**2).sum(dim=1, keepdim=True).expand_as(size),
                "cluster_rank": self.of_users((order[:, None, :] < order[:, :, None]).sum(dim=2).to(size.dtype))
                / self.count,
                "similarity_of_all": self.similarity.mean(dim=1, keepdim=True).expand_as(size),
            }
        return torch.stack([seen[name] for name in OBSERVATIONS[kind]], dim=2)

    def _rank(self, values: Tensor) -> Tensor:
        """How many users of the same cluster have a smaller value, shape (B, N)."""
        order = values.argsort(dim=1, stable=True)
        order = order.gather(1, self.clusters.gather(1, order).argsort(dim=1, stable=True))
        position = torch.empty_like(order)
        position.scatter_(1, order, torch.arange(self.users, device=values.device).expand_as(order).contiguous())
        sizes = self.sizes()
        return position - self.of_users(sizes.cumsum(dim=1) - sizes)


def _his_row(instance: Instance) -> dict[str, np.ndarray]:
    count, users = instance.max_clusters, instance.users
    saved = device_step_cost(instance)
    base, both = edge_work_cost(instance, np.array([0, 1]))
    return _row(
        instance, saved, saved, instance.steps.total * saved, np.full(count, both - base), np.full(count, base),
        np.full(count, edge_step_energy_cost(instance)),
        np.broadcast_to(np.asarray(instance.devices.sms, dtype=np.float64), (users,)), instance.sm_budget,
    )  # fmt: skip


def _icc_row(instance: IccInstance) -> dict[str, np.ndarray]:
    edge_cost, device, wait, energy = icc_step_costs(instance)
    count = instance.max_clusters
    return _row(
        instance, device, device - edge_cost, instance.steps.total * device, np.broadcast_to(wait, (count,)),
        np.zeros(count), np.broadcast_to(energy, (count,)),
        np.broadcast_to(instance.device_frequency_hz, (instance.users,)), 0.0,
    )  # fmt: skip


def _row(
    instance: Instance | IccInstance, gain_common: np.ndarray, gain_edge: np.ndarray, all_steps: np.ndarray,
    wait: np.ndarray, power: np.ndarray, step: np.ndarray, device: np.ndarray, budget: float,
) -> dict[str, np.ndarray]:  # fmt: skip
    delay, energy = transmission(instance)
    sent = instance.weights.delay * delay + instance.weights.energy * energy
    similarity = public_similarity(instance, instance.labels)
    return {
        "quality": given_quality(instance, similarity),
        "gain_common": gain_common,
        "gain_edge": gain_edge,
        "constant": -(sent + all_steps),
        "clusters": np.asarray(instance.labels),
        "wait": wait,
        "power": power,
        "step": step,
        "similarity": similarity,
        "device": device,
        "budget": np.float64(budget),
    }
