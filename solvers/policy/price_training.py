"""How the policy for every size learns: decision points of all kinds, and the replies that are in their proven optima.

Each cluster's reply in the optimum is a label; the loss is the labels' negative log-likelihood after every round of the
network, the later the heavier. Likelihoods, not only the most likely reply, are what the decision needs: they say which
replies to try (`hisopt.solvers.policy.doubts`). Nothing but the optima is learned from; no reward is sampled.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from hisopt.instances import Instance, StepLimits, Weights
from hisopt.instances.scenario import PRESETS, Scenario
from hisopt.solvers.clustering.hac import clustered
from hisopt.solvers.joint import scalar_coupling, step_tables
from hisopt.solvers.policy.prices import Batch, PricePolicy, likelihoods, reply_of
from hisopt.solvers.policy.replies import Replies, replies, utility
from hisopt.text.corpus import Corpus, unit_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hisopt.arrays import IntArray

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
        common, edge_max = int(rng.integers(2, total)), int(rng.integers(1, total))
        limits = StepLimits(total=total, common_max=common, edge_max=edge_max, device_min=int(rng.integers(0, 3)),
                            device_max=total)  # fmt: skip
    return base.replace(
        max_clusters=clusters, subjects=int(rng.integers(1, 7)), steps=limits,
        edge_sms=tuple(max(int(v * room), 1) for v in base.edge_sms),
        device_sms=(low, max(int(low * rng.uniform(1, 1.6)), low)),
        weights=Weights(quality=usual.quality * quality, delay=usual.delay * delay, energy=usual.energy * energy),
    )  # fmt: skip


@dataclass(frozen=True)
class Lesson:
    """Decision points with their optima.

    ``best`` is each cluster's reply at the optimum, shape (M,); ``worth`` the optimum above the clusters' first replies and
    ``size`` |U|, both in the units of the replies.
    """

    seen: Replies
    best: IntArray
    worth: float
    size: float

    def gap(self, reply: IntArray) -> float:
        """Return the relative gap of one reply a cluster to the optimum's bound."""
        return float((self.worth - utility(self.seen, reply)) / max(self.size, 1e-300))


def lesson(instance: Instance, tolerance: float = 1e-6) -> Lesson:
    """Return a decision point; its optimum is proven to ``tolerance`` relative."""
    tables, budget = step_tables.for_instance(instance), instance.sm_budget
    seen = replies(tables, budget)
    counts = seen.own.sum(axis=1)
    offsets = np.concatenate([[0], np.cumsum(counts)])
    flat = seen.option[seen.own]
    found = scalar_coupling.maximise(
        tables.gain[flat], tables.load[flat], offsets, budget,
        constant=tables.constant, tolerance=tolerance, enough=tolerance,
    )  # fmt: skip
    first = float(tables.gain[seen.option[:, 0]].sum())
    return Lesson(seen, found.choice - offsets[:-1], (found.bound - first) * seen.unit,
                  abs(found.bound + tables.constant) * seen.unit)  # fmt: skip


def draws(count: int, seed: int, corpus: Corpus) -> Iterator[Instance]:
    """Draw instances of all kinds with HAC's clusters, prompts from a corpus (enlarged to 200)."""
    rng, large = np.random.default_rng(seed), enlarged(corpus, 200, seed)
    for _ in range(count):
        instance = clustered(any_scenario(rng).sample(int(rng.integers(2**40)), large))
        assert isinstance(instance, Instance)
        yield instance


def capped_gap(policy: PricePolicy, points: list[Lesson]) -> float:
    """Return the mean relative gap of a network alone, where gaps above 10 % count as 10 %.

    Utilities pass through zero, and near it one gap would outweigh all others.
    """
    likely = likelihoods(policy, [one.seen for one in points])
    found = [one.gap(reply_of(one.seen, own, 0)) for one, own in zip(points, likely, strict=True)]
    return float(np.minimum(found, 0.1).mean())


def fit(
    policy: PricePolicy,
    points: list[Lesson],
    updates: int,
    seed: int = 0,
    *,
    batch: int = 128,
    rate: float = 3e-3,
    report: Callable[[int, float], None] = lambda *_: None,
) -> None:
    """Train in place by Adam, with a learning rate that rises for a twentieth of the updates and falls to zero."""
    rng = np.random.default_rng(seed)
    optimiser = torch.optim.Adam(policy.parameters(), lr=rate, foreach=True)
    for done in range(updates):
        share = done / updates
        for group in optimiser.param_groups:
            group["lr"] = rate * min(20 * (share + 1 / updates), 1 - share)
        part = [points[k] for k in rng.integers(len(points), size=batch)]
        likely = policy.rounds(Batch.of([one.seen for one in part]))
        starts = np.cumsum([0] + [count for one in part for count in one.seen.own.sum(axis=1)])[:-1]
        label = torch.from_numpy(starts + np.concatenate([one.best for one in part]))
        loss = torch.zeros(())
        for chance in likely:
            loss = loss / 2 - chance[label].sum() / batch
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
        optimiser.step()
        report(done + 1, loss.item())
