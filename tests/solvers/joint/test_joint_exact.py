"""`exact` against every plan, scored from the formulas; near ties, useless devices, zero weights, deadlines."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

from hisopt import Instance, Limits, Termination
from hisopt.errors import InputError
from hisopt.instances import Gpu, Latent, Radio, StepLimits, Weights
from hisopt.problems import Joint
from hisopt.result import relative_gap
from hisopt.solvers.base import Deadline, OutOfTime
from hisopt.solvers.joint import bound_steps, step_tables
from hisopt.solvers.joint.exact import JointExact
from hisopt.solvers.joint.milp import JointMilp

ONE: dict[str, Any] = {
    "frequency_hz": 1.0, "flop_per_cycle": 1.0, "utilisation": 1.0, "energy_coefficient": 1.0, "power_per_sm": 0.0,
}  # fmt: skip


def plain(
    labels: np.ndarray, device: np.ndarray, budget: float, steps: StepLimits, phi: np.ndarray, weights: Weights,
    power_static: float = 0.0, power_per_sm: float = 0.0,
) -> Instance:  # fmt: skip
    """c_m = w2 N_m + w3 mu2, d_n = (w2) device_n, e = w3 mu1; receiving costs nothing to speak of."""
    edge = {**ONE, "power_static": power_static, "power_per_sm": power_per_sm}
    return Instance(
        users=len(labels), max_clusters=int(labels.max()) + 1, edge=Gpu(sms=budget, **edge),
        devices=Gpu(sms=1 / device, power_static=0.0, **ONE), radio=Radio(bandwidth_hz=1e9, power_w=1.0, gain=1e9),
        latent=Latent(height=1, width=1, channels=1, bits=1), steps=steps, weights=weights, flop_edge=1.0,
        flop_device=1.0, clusters=labels, similarity=phi,
    )  # fmt: skip


def drawn(seed: int) -> Instance:
    rng = np.random.default_rng(seed)
    users = int(rng.integers(1, 6))
    labels = rng.integers(0, int(rng.integers(1, 4)), users)
    labels = np.unique(labels, return_inverse=True)[1]
    common, edge_max = (1, 2) if users > 3 else (int(rng.integers(0, 4)), int(rng.integers(0, 4)))
    low = int(rng.integers(0, edge_max + 1)) if rng.random() < 0.3 else 0
    total = common + edge_max + int(rng.integers(0, 2))
    total = max(total, 1)
    cut = int(rng.integers(0, 3))
    fewest = min(cut, total - low)
    most = max(total - low - int(rng.integers(0, 2)), fewest, total - common - edge_max)
    steps = StepLimits(
        total=total, common_max=common, edge_min=low, edge_max=edge_max, device_min=fewest, device_max=most
    )  # fmt: skip
    device = rng.choice([rng.uniform(0.01, 0.1), 0.05], users) * rng.choice([1, 1, 3], users)
    if seed % 5 == 0:
        device[0] = 10.0 ** rng.integers(6, 16)
    weights = Weights(
        quality=float(rng.choice([0.0, 1.0, 1.0])), delay=float(rng.choice([0.0, 1.0, 1.0])),
        energy=float(rng.choice([0.0, 1.0, 1.0])),
    )  # fmt: skip
    return plain(
        labels, device, float(10 ** rng.uniform(1, 4)), steps, rng.uniform(0.1, 0.8, users), weights,
        power_static=float(rng.choice([0.0, 3.0])), power_per_sm=float(rng.choice([0.0, 0.01])),
    )  # fmt: skip


def best_by_plan(instance: Instance) -> float:
    """The optimum over all plans, from the formulas: c_m = w2 N_m + w3 mu2, e = w3 mu1, Theorem 1's value."""
    w, limits, labels = instance.weights, instance.steps, instance.clusters
    assert labels is not None
    assert instance.similarity is not None
    slow = 1 / np.asarray(instance.devices.sms)
    knots, rows = instance.quality.similarity, instance.quality.coefficients
    x = np.arange(limits.common_max + 1)
    at = rows[:, [0]] / (1 + np.exp(rows[:, [1]] * (x - rows[:, [2]]))) + rows[:, [3]]
    quality = np.stack(
        [np.interp(np.clip(instance.similarity, knots[0], knots[-1]), knots, at[:, k]) for k in x], axis=1
    )
    rate = 1e9 * np.log1p(1e9 / (instance.radio.noise_w_per_hz * 1e9)) / np.log(2)
    sent = (w.delay + w.energy) * instance.latent.payload_bits / rate * instance.users
    cost = w.delay * np.bincount(labels) + w.energy * float(instance.edge.power_static)
    one = [
        (x, y)
        for x in range(limits.common_max + 1)
        for y in range(limits.edge_min, limits.edge_max + 1)
        if limits.device_min <= limits.total - x - y <= limits.device_max
    ]
    best = -np.inf
    for plan in product(one, repeat=instance.users):
        xs, ys = np.array(plan).T
        top = np.array([xs[labels == m].max() for m in range(labels.max() + 1)])
        work = top + np.bincount(labels, weights=ys)
        value = w.quality * quality[np.arange(len(xs)), xs].sum() - sent
        value -= (
            w.delay * (slow * (limits.total - xs - ys)).sum()
            + w.energy * float(instance.edge.power_per_sm) * work.sum()
        )
        best = max(best, value - np.sqrt(cost * work).sum() ** 2 / instance.sm_budget)
    return float(best)


@pytest.mark.parametrize("block", range(4))
def test_every_plan(block: int) -> None:
    for seed in range(60 * block, 60 * (block + 1)):
        instance = drawn(seed)
        if len(instance.steps.pairs()) ** instance.users > 3000:
            continue
        problem = Joint(instance)
        best, result = best_by_plan(instance), JointExact().solve(problem, Limits())
        assert result.decision is not None
        assert result.bound is not None
        scored = problem.evaluate(result.decision)
        assert scored.feasible, seed
        assert result.termination is Termination.OPTIMAL
        assert scored.objective == pytest.approx(best, rel=1e-9, abs=1e-10), seed
        assert result.bound >= scored.objective
        assert result.bound >= best - 1e-13 * abs(best)
        assert result.bound == pytest.approx(best, rel=1e-9, abs=1e-10)


def ties(clusters: int) -> Instance:
    """One common step a cluster; all halves of the clusters nearly tie."""
    sizes, static, budget = np.arange(2, 2 + clusters), 1e4, 1000.0
    load = np.sqrt(sizes + static)
    apart = 0.5 * load.mean()
    total = clusters // 2 * load.mean() + apart
    gain = 2 * total * load / budget - 2 * apart * (load - load.mean()) / budget
    users = int(sizes.sum())
    return plain(
        np.repeat(np.arange(clusters), sizes), np.repeat(gain / sizes, sizes), budget,
        StepLimits(total=2, common_max=1, edge_max=0, device_min=0, device_max=2), np.full(users, 0.5),
        Weights(quality=0, delay=1, energy=1), power_static=static,
    )  # fmt: skip


@pytest.mark.parametrize("clusters", [24, 60])
def test_near_ties_are_proven(clusters: int) -> None:
    problem = Joint(ties(clusters))
    result = JointExact().solve(problem, Limits(time_s=60))
    assert result.decision is not None
    assert result.bound is not None
    objective = problem.evaluate(result.decision).objective
    assert objective is not None
    assert result.termination is Termination.OPTIMAL
    assert relative_gap(objective, result.bound) <= 1e-6
    if clusters == 24:
        other = JointMilp().solve(problem, Limits(time_s=60))
        assert other.decision is not None
        assert other.bound is not None
        other_objective = problem.evaluate(other.decision).objective
        assert other_objective is not None
        assert result.bound >= other_objective
        assert other.bound >= objective - 1e-8 * abs(objective)


@pytest.mark.parametrize("useless", [1e8, 1e12, 1e15, 1e18])
def test_a_useless_device_costs_the_others_no_digits(useless: float) -> None:
    rng = np.random.default_rng(1)
    device = rng.uniform(0.01, 0.03, 10)
    results = []
    for first in (useless, 1e3):
        device[0] = first
        instance = plain(
            np.repeat([0, 1], 5), device, 300.0, StepLimits(total=6, common_max=3, edge_max=3, device_min=0, device_max=6),
            np.full(10, 0.5), Weights(quality=1, delay=1, energy=0),
        )  # fmt: skip
        result = JointExact().solve(Joint(instance), Limits())
        assert result.decision is not None
        results.append((result.bound, Joint(instance).evaluate(result.decision).objective))
    (bound, objective), (_, known) = results
    assert objective == pytest.approx(known, rel=1e-13)
    assert known <= bound == pytest.approx(known, rel=1e-9)  # type: ignore[operator]


@pytest.mark.parametrize("device_min", [0, 4])
def test_no_time_leaves_a_decision_and_a_bound(device_min: int, small: Instance) -> None:
    limits = small.steps
    instance = small.replace(
        steps=limits.replace(device_min=device_min + limits.device_min, device_max=limits.total),
        given_common=None, given_edge=None,
    )  # fmt: skip
    problem = Joint(instance)
    optimum = JointExact().solve(problem, Limits()).bound
    result = JointExact().solve(problem, Limits(time_s=0))
    assert result.decision is not None
    assert result.bound is not None
    assert result.termination is Termination.TIME_LIMIT
    assert problem.evaluate(result.decision).feasible
    assert optimum is not None
    assert optimum <= result.bound < np.inf
    with pytest.raises(OutOfTime):
        step_tables.for_instance(instance, deadline=Deadline(Limits(time_s=0)))


def test_envelopes_skip_dents() -> None:
    value = np.array([[0.0, 1.0, 4.0, 5.0], [0.0, 3.0, 5.0, 6.0], [0.0, 1.0, 2.0, 9.0]])
    user, first, last = bound_steps._envelope(value, np.arange(4))
    assert list(zip(user, first, last, strict=True)) == [
        (0, 0, 2), (0, 2, 3), (1, 0, 1), (1, 1, 2), (1, 2, 3), (2, 0, 3),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"flop_edge": 1e300}, "edge"),
        ({"flop_device": 1e300}, "devices"),
        ({"weights": {"quality": 1e250}}, "quality"),
        ({"weights": {"delay": 1e250}}, "edge"),
        ({"latent": {"compression": 1e-300}}, "radio, latent"),
    ],
)
def test_costs_beyond_the_floating_point_range_are_refused(change: dict[str, Any], place: str, small: Instance) -> None:
    with pytest.raises(InputError, match=f"{place}.*must stay below 1e200"):
        Joint(small.replace(**change))
