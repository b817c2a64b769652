"""How the policy for every size learns: decision points of all kinds, imitation of optima, then the coalition reward.

Warm start: the loads that the others have at the exact optimum are known, so every point of the grid has a regret, and the
network learns to avoid it. Then each cluster's reward is U minus U without its own server steps (the coalition reward)
given what the others do by the policy itself: the gradient is that of the expected reward over all points of the grid at
sampled others (an all-action policy gradient; Allen et al., Mean Actor Critic, arXiv 1709.00503). No critic is needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from hisopt.instances import Instance, StepLimits, Weights
from hisopt.instances.scenario import PRESETS, Scenario
from hisopt.solvers.clustering.hac import clustered
from hisopt.solvers.joint import scalar_coupling, step_tables
from hisopt.solvers.policy.prices import PricePolicy, replies
from hisopt.text.corpus import Corpus, unit_rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from hisopt.arrays import FloatArray

NOISE = 0.3  # length of what is added to a copy's unit embedding: similarity 0.96 on average


def enlarged(corpus: Corpus, count: int, seed: int = 0) -> Corpus:
    """Return a corpus of at least ``count`` prompts: copies whose embeddings are perturbed and of norm 1 again."""
    copies = -(-count // len(corpus.prompts))
    rng = np.random.default_rng(seed)
    parts = [corpus.embeddings]
    for _ in range(copies - 1):
        noise = rng.normal(size=corpus.embeddings.shape) * (NOISE / np.sqrt(corpus.embeddings.shape[1]))
        parts.append(unit_rows(corpus.embeddings + noise))
    return Corpus(corpus.prompts * copies, corpus.subjects * copies, corpus.negative_prompts * copies,
                  np.concatenate(parts))  # fmt: skip


def any_scenario(rng: np.random.Generator) -> Scenario:
    """Draw what an instance is drawn from: N 8 .. 200, M 1 .. 20, weights and V x 1/4 .. x 4, v_n, subjects, steps."""
    users = int(np.exp(rng.uniform(np.log(8), np.log(201))))
    clusters = min(int(np.exp(rng.uniform(0, np.log(21)))), users)
    quality, delay, energy, room = np.exp2(rng.uniform(-2, 2, 4))
    base, usual = PRESETS["paper"].with_users(users), Weights()
    fast = float(np.exp2(rng.uniform(-1, 1)))
    low = max(int(64 * fast), 1)
    limits = base.steps
    if rng.random() < 0.5:
        total = int(rng.integers(12, 41))
        common, edge = int(rng.integers(2, total)), int(rng.integers(1, total))
        limits = StepLimits(total=total, common_max=common, edge_max=edge, device_min=int(rng.integers(0, 3)),
                            device_max=total)  # fmt: skip
    return base.replace(
        max_clusters=clusters, subjects=int(rng.integers(1, 7)), steps=limits,
        edge_sms=tuple(max(int(v * room), 1) for v in base.edge_sms),
        device_sms=(low, max(int(low * rng.uniform(1, 1.6)), low)),
        weights=Weights(quality=usual.quality * quality, delay=usual.delay * delay, energy=usual.energy * energy),
    )  # fmt: skip


@dataclass(frozen=True)
class Lesson:
    """Decision points with their optima; tensors of shape (B, M, K) and (B, M), clusters that fill up are zero.

    ``best`` is each cluster's load at the optimum, (B, M); ``value`` the utility of replies' units at 1 (|U| V / S^2), (B,).
    """

    gain: Tensor
    load: Tensor
    share: Tensor
    best: Tensor
    value: Tensor

    def take(self, index: Tensor) -> Lesson:
        """Return some of them."""
        return Lesson(self.gain[index], self.load[index], self.share[index], self.best[index], self.value[index])


def lesson(instances: list[Instance], most: int = 20) -> Lesson:
    """Return decision points as tensors, optima proven to 1e-4 relative."""
    rows = []
    for instance in instances:
        tables, budget = step_tables.for_instance(instance), instance.sm_budget
        seen = replies(tables, budget)
        found = scalar_coupling.maximise(
            tables.gain, tables.load, tables.offsets, budget, constant=tables.constant, tolerance=1e-4, enough=1e-4
        )
        scale = max(float(np.maximum.reduceat(tables.load, tables.offsets[:-1]).sum()), 1e-300)
        fill = [(0, most - len(seen.share))]
        rows.append((
            np.pad(seen.gain, [*fill, (0, 0)]), np.pad(seen.load, [*fill, (0, 0)]), np.pad(seen.share, fill),
            np.pad(tables.load[found.choice] / scale, fill),
            np.array(abs(found.value + tables.constant) * budget / scale**2),
        ))  # fmt: skip
    return Lesson(*(torch.from_numpy(np.stack(column)).float() for column in zip(*rows, strict=True)))


def draws(count: int, seed: int, corpus: Corpus) -> list[Instance]:
    """Return instances of all kinds with HAC's clusters, prompts from a corpus (enlarged to 200)."""
    rng, large = np.random.default_rng(seed), enlarged(corpus, 200, seed)
    found = []
    for _ in range(count):
        instance = clustered(any_scenario(rng).sample(int(rng.integers(2**40)), large))
        assert isinstance(instance, Instance)
        found.append(instance)
    return found


def regret(part: Lesson, others: Tensor) -> Tensor:
    """What each point of the grid loses a cluster, given the load of the others (B, M), over |U|; shape (B, M, K)."""
    reward = part.gain - part.load**2 - 2 * others.unsqueeze(2) * part.load
    lost = reward.amax(dim=2, keepdim=True) - reward
    return torch.where(part.share.unsqueeze(2) > 0, lost / part.value[:, None, None].clamp(min=1e-9), 0.0)


def gaps(policy: PricePolicy, part: Lesson) -> FloatArray:
    """Return the relative gap of the most likely points to the optimum that ``best`` has, shape (B,)."""
    with torch.no_grad():
        point = policy(part.gain, part.load, part.share).argmax(dim=2, keepdim=True)
    return np.asarray(_short(part, point).numpy())


def _short(part: Lesson, point: Tensor) -> Tensor:
    gain, load = (v.gather(2, point).squeeze(2).double() for v in (part.gain, part.load))
    best = part.best.double()
    near = (part.load.double() - best.unsqueeze(2)).abs().argmin(dim=2, keepdim=True)
    top = part.gain.gather(2, near).squeeze(2).double()
    return ((top - gain).sum(dim=1) - best.sum(dim=1) ** 2 + load.sum(dim=1) ** 2) / part.value.double().clamp(min=1e-9)


def fit(
    policy: PricePolicy,
    points: Lesson,
    updates: int,
    seed: int = 0,
    *,
    warm: float = 0.5,
    batch: int = 256,
    rate: float = 2e-3,
    report: Callable[[int, float], None] = lambda *_: None,
) -> None:
    """Train in place: a share ``warm`` of the updates imitates optima, the rest learns by the coalition reward."""
    rng = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(policy.parameters(), lr=rate, foreach=True)
    for done in range(updates):
        left = 1 - done / updates
        for group in optimiser.param_groups:
            group["lr"] = rate * min(left * 1.2, 1.0)
        part = points.take(torch.randint(len(points.value), (batch,), generator=rng))
        chance = policy(part.gain, part.load, part.share)
        if done < warm * updates:
            others = part.best.sum(dim=1, keepdim=True) - part.best
            lost = regret(part, others)
            near = -(chance - lost / 1e-3).logsumexp(dim=2)
            loss = near.clamp(max=8).sum(dim=1).mean() + 20 * (chance.exp() * lost.clamp(max=1)).sum(dim=(1, 2)).mean()
        else:
            with torch.no_grad():
                drawn = torch.multinomial(chance.exp().flatten(0, 1), 1, generator=rng).reshape(*chance.shape[:2], 1)
                taken = part.load.gather(2, drawn).squeeze(2)
            lost = regret(part, taken.sum(dim=1, keepdim=True) - taken)
            entropy = -(chance.exp() * chance).sum(dim=(1, 2)).mean()
            loss = 100 * (chance.exp() * lost.clamp(max=1)).sum(dim=(1, 2)).mean() - 1e-3 * left * entropy
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
        optimiser.step()
        report(done + 1, loss.item())
