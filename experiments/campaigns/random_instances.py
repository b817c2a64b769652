"""Seeded instances: the paper preset at other sizes, and random ones in every corner of the model, with random decisions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hisopt.decision import Decision
from hisopt.equations import cluster_work
from hisopt.instances import (
    Chance,
    Gpu,
    IccInstance,
    Instance,
    MegChannel,
    MegInstance,
    PublicPrompt,
    QualityTable,
    Radio,
    StepLimits,
    Weights,
)
from hisopt.instances.scenario import PRESETS, path_gain
from hisopt.meg_equations import tables
from hisopt.problems import CRITERIA, Allocation, Clustering, Full, Joint, Meg, Problem, Steps, problem_of
from hisopt.solvers.base import whole_sms
from hisopt.solvers.meg.baselines import within
from hisopt.text.corpus import shipped, unit_rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hisopt.arrays import FloatArray, IntArray


def paper_preset(users: int, seed: int) -> Instance:
    """Return a seeded instance of the paper preset with that many users, its SM budget scaled along."""
    instance = PRESETS["paper"].with_users(users).sample(seed)
    assert isinstance(instance, Instance)
    return instance


def draw_steps(rng: np.random.Generator) -> StepLimits:
    """Return random bounds on the steps; those on z bind in about half of the draws."""
    total = int(rng.integers(4, 20))
    common, edge_max = int(rng.integers(0, 10)), int(rng.integers(0, 8))
    edge_min = int(rng.integers(0, edge_max + 1)) if rng.random() < 0.3 else 0
    low = max(total - common - edge_max, 0)
    device_max = int(rng.integers(low, total + 1)) if rng.random() < 0.5 else total
    device_min = int(rng.integers(0, min(device_max, total - edge_min) + 1)) if total >= edge_min else 0
    try:
        return StepLimits(
            total=total, common_max=common, edge_min=edge_min, edge_max=edge_max,
            device_min=device_min, device_max=device_max,
        )  # fmt: skip
    except ValueError:
        return draw_steps(rng)


def draw_feasible_steps(rng: np.random.Generator, limits: StepLimits, users: int) -> IntArray:
    """Return each user's (x, y), uniform over what (28b-d, f) allow; shape (users, 2)."""
    feasible = [
        (x, y)
        for x in range(limits.common_max + 1)
        for y in range(limits.edge_min, limits.edge_max + 1)
        if limits.served_min <= x + y <= limits.served_max
    ]
    return np.array(feasible)[rng.integers(0, len(feasible), users)]


def draw_decision(rng: np.random.Generator, problem: Problem) -> Decision:
    """Return a decision that is feasible but for limits on cluster sizes: random clusters, steps and SMs.

    For MEG a random policy, moved within the limits on means where the thriftiest one is within them.
    """
    if isinstance(problem, Meg):
        bins = problem.shapes["policy"][0]
        allowed = np.where(problem.allowed.any(axis=1, keepdims=True), problem.allowed, True)
        policy = rng.exponential(size=allowed.shape) ** rng.integers(1, 9, (bins, 1)) * allowed
        moved = within(problem, policy / policy.sum(axis=1, keepdims=True))
        return Decision(policy=policy / policy.sum(axis=1, keepdims=True) if moved is None else moved)
    drawn = rng.integers(0, problem.max_clusters, problem.users)
    if isinstance(problem, Clustering):
        return Decision(clusters=drawn)
    assert isinstance(problem, (Allocation, Joint, Full, Steps))
    instance = problem.instance
    clusters = drawn if isinstance(problem, Full) else instance.labels
    common, steps_edge = draw_feasible_steps(rng, instance.steps, instance.users).T
    if not isinstance(instance, Instance):
        return Decision.of_steps(instance.steps.total, common, steps_edge, clusters=clusters)
    if isinstance(problem, Allocation):
        common, steps_edge = instance.given_steps
    common_max, edge_sum = cluster_work(clusters, instance.max_clusters, common, steps_edge)
    busy = common_max + edge_sum > 0
    budget = instance.sm_budget
    share = busy * rng.dirichlet(np.ones(instance.max_clusters))
    sms = 0.99 * budget * share / max(float(share.sum()), 1e-300)
    if whole_sms(problem):
        sms = busy + np.floor((budget - busy.sum()) / budget * sms)
    return Decision.of_steps(instance.steps.total, common, steps_edge, sms, clusters)


def draw_instance(rng: np.random.Generator, users: int, clusters: int, *, icc: bool = False) -> Instance | IccInstance:
    """Return an instance with every parameter drawn from a wide range, clusters and feasible steps given."""
    if rng.random() < 0.7:
        corpus = shipped().embeddings
        embeddings = corpus[rng.choice(len(corpus), users, replace=False)]
    else:
        embeddings = unit_rows(rng.normal(size=(users, 5)) + rng.uniform(0, 2))
    rule = rng.choice(["ideal", "affine", "medoid"], p=[0.6, 0.3, 0.1])
    limits = draw_steps(rng)
    least = int(rng.integers(1, max(users // clusters, 1) + 1)) if rng.random() < 0.3 else 1
    most = int(rng.integers(max(-(-users // clusters), least), users + 1)) if rng.random() < 0.3 else None
    shared: dict[str, Any] = {
        "users": users,
        "max_clusters": clusters,
        "radio": Radio(
            bandwidth_hz=np.asarray(5e6), power_w=np.asarray(1.0), gain=path_gain(rng.uniform(50, 300, users))
        ),
        "steps": limits,
        "quality": QualityTable.published(modules=bool(rng.random() < 0.5)),
        "public_prompt": PublicPrompt(rule=rule, slope=0.8, intercept=0.15)
        if rule == "affine"
        else PublicPrompt(rule=rule),
        "embeddings": embeddings,
        "clusters": rng.integers(0, clusters, users),
        "cluster_size_min": least,
        "cluster_size_max": most,
    }
    if icc:
        return IccInstance(
            device_frequency_hz=rng.uniform(1.4e9, 1.6e9, users),
            weights=Weights(delay=float(10 ** rng.uniform(-2, 0)), energy=float(10 ** rng.uniform(-3, 0))),
            **shared,
        )
    given = draw_feasible_steps(rng, limits, users)
    whole = rng.random() < 0.5
    device = rng.integers(64, 85, users).astype(float) if whole else rng.uniform(20, 160, users)
    return Instance(
        edge=Gpu(
            sms=np.asarray(float(rng.integers(clusters + 1, 60 * users))),
            frequency_hz=np.asarray(1410e6),
            flop_per_cycle=np.asarray(2048.0),
        ),
        devices=Gpu(sms=device, frequency_hz=np.asarray(1860e6), flop_per_cycle=np.asarray(1024.0)),
        weights=Weights(delay=float(0.01 * 10 ** rng.uniform(-1, 0.5)), energy=float(3e-6 * 10 ** rng.uniform(-1, 1))),
        given_common=given[:, 0],
        given_edge=given[:, 1],
        **shared,
    )


def draw_meg(rng: np.random.Generator) -> MegInstance:
    """Return an instance of MEG with few bins and actions and limits between the least and the largest means, or below."""
    bins = int(rng.integers(1, 6))
    probability = rng.dirichlet(np.ones(bins))
    if bins > 1 and rng.random() < 0.2:  # a bin that never occurs
        probability[0] = 0.0
        probability /= probability.sum()
    channel = MegChannel(gain=10 ** rng.uniform(-13, -10, bins), probability=probability)
    if rng.random() < 0.5:
        channel = MegChannel.from_matrix(channel.gain, rng.dirichlet(np.ones(bins), bins))
    discount = float(rng.uniform(0, 0.99)) if rng.random() < 0.4 else None
    if discount is not None and rng.random() < 0.5:
        channel = channel.replace(start=rng.dirichlet(np.ones(bins)))
    steps = np.sort(rng.choice(np.arange(1, 13), int(rng.integers(1, 4)), replace=False)).astype(np.float64)
    ratios = np.sort(rng.choice(np.linspace(0, 0.75, 7), int(rng.integers(1, 4)), replace=False))
    wide = MegInstance(
        channel=channel, steps=steps, ratios=ratios, distortion=rng.uniform(0.001, 0.2, (len(steps), len(ratios))),
        joules_per_flop=float(10 ** rng.uniform(-13, -10)), discount=discount, latency_limit_s=1e9, energy_limit_j=1e9,
    )  # fmt: skip
    found = tables(wide)

    def between(cost: FloatArray, low: float = -0.1) -> float:
        least, most = float(cost.min(axis=1).mean()), float(cost.max(axis=1).mean())
        return max(least + float(rng.uniform(low, 1.1)) * (most - least), 0.01 * least)

    changes: dict[str, Any] = {"latency_limit_s": between(found.latency), "energy_limit_j": between(found.energy)}
    if rng.random() < 0.3:
        changes["latency_cap_s"] = between(found.latency, 0.2)
    if rng.random() < 0.3:
        changes["latency_chance"] = Chance(level=between(found.latency), probability=float(rng.uniform(0, 0.5)))
    if rng.random() < 0.2:
        changes["energy_chance"] = Chance(level=between(found.energy), probability=float(rng.choice([0.0, 0.1, 0.5])))
    return wide.replace(**changes)


def draw_problems(seed: int) -> Iterator[Problem]:
    """Yield one random problem of every kind, criterion and kind of SMs, small enough for every solver."""
    rng = np.random.default_rng(seed)
    instance = draw_instance(rng, int(rng.integers(2, 8)), int(rng.integers(1, 3)))
    for criterion in CRITERIA:
        yield Clustering.of(instance, criterion)
    users = int(rng.integers(1, 9))
    instance = draw_instance(rng, users, int(rng.integers(1, min(users, 4) + 1)))
    for integer in (False, True):
        yield problem_of(Allocation.kind, instance, whole_sms=integer)
    users = int(rng.integers(1, 6))
    instance = draw_instance(rng, users, int(rng.integers(1, min(users, 3) + 1)))
    for integer in (False, True):
        yield problem_of(Joint.kind, instance, whole_sms=integer)
    users = int(rng.integers(1, 5))
    instance = draw_instance(rng, users, int(rng.integers(1, min(users, 2) + 1)))
    for integer in (False, True):
        yield problem_of(Full.kind, instance, whole_sms=integer)
    users = int(rng.integers(1, 9))
    yield problem_of(Steps.kind, draw_instance(rng, users, int(rng.integers(1, min(users, 3) + 1)), icc=True))
    yield Meg(draw_meg(rng))
