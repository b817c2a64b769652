"""Whole SMs against enumeration from the formulas, on instances drawn where the rules of the search bind."""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import pytest
from whole_instances import tiny

from hisopt import PRESETS, Decision, Limits, Problem, Termination
from hisopt.instances import StepLimits, Weights
from hisopt.problems import Allocation, Joint
from hisopt.result import relative_gap
from hisopt.solvers.allocation.whole import IntegerAllocation, RoundDown
from hisopt.solvers.joint import whole as joint_integer
from hisopt.solvers.joint.whole import JointExactInteger
from hisopt.solvers.joint.whole_sms import Merged, Options, merge

LIMITS = Limits(time_s=60)


def best_by_enumeration(
    labels: np.ndarray, device_cost: np.ndarray, sms: int, steps: StepLimits, wait: float, power: float, energy: float
) -> float:
    """Every user's (x, y), every split of the SMs; the delays and energies that depend on them, from the formulas."""
    pairs = np.array(
        [
            (x, y)
            for x in range(steps.common_max + 1)
            for y in range(steps.edge_min, steps.edge_max + 1)
            if steps.device_min <= steps.total - x - y <= steps.device_max
        ]
    )
    best = np.zeros(sms + 1)
    for cluster in range(labels.max() + 1):
        own = np.flatnonzero(labels == cluster)
        if not len(own):
            continue
        plans = np.array(list(product(range(len(pairs)), repeat=len(own))))
        x, y = pairs[plans, 0], pairs[plans, 1]
        work = x.max(axis=1) + y.sum(axis=1)
        device = wait * ((steps.total - x - y) * device_cost[own]).sum(axis=1)
        value = np.empty(sms + 1)
        for v in range(sms + 1):
            edge_cost = work * (wait * len(own) + power) / v if v else np.where(work > 0, np.inf, 0.0)
            value[v] = (-device - edge_cost - energy * work).max()
        best = np.array([max(best[u - v] + value[v] for v in range(u + 1)) for u in range(sms + 1)])
    return float(best[sms])


def draw(seed: int) -> tuple[Problem, float] | None:
    """An instance with V between M - 1 and 2 M + 2, forced work, equal users, zero and huge weights; and its optimum."""
    rng = np.random.default_rng(seed)
    users = int(rng.integers(1, 6))
    clusters = int(rng.integers(1, min(users, 4) + 1))
    labels = rng.integers(0, clusters, users)
    labels[-1] = clusters - 1
    total, least = int(rng.integers(1, 4)), int(rng.random() < 0.3)
    device_min = int(rng.integers(0, 2)) if rng.random() < 0.4 else 0
    device_max = int(rng.integers(0, total + 1)) if rng.random() < 0.4 else total
    common, edge_max = int(rng.integers(0, 3)), int(rng.integers(least, least + 2))
    if least + device_min > total or common + edge_max + device_max < total or device_min > device_max:
        return None
    steps = StepLimits(
        total=total,
        common_max=common,
        edge_min=least,
        edge_max=edge_max,
        device_min=device_min,
        device_max=device_max,
    )
    sms = float(rng.integers(max(clusters - 1, 1), 2 * clusters + 3)) + (rng.random() if rng.random() < 0.3 else 0)
    wait = float(rng.choice([1, 1, 1, 0, 1e-6, 1e6]))
    cost = rng.choice([0.3, 0.5, 0.9, 0.96, 1, 1.5, 2, 5], users) + (rng.random() < 0.5) * rng.uniform(0, 0.1, users)
    if rng.random() < 0.1:
        cost[:] = 1.0
    energy, per_sm, static = (float(rng.choice(values)) for values in ([0, 0, 1], [0, 0.2], [0, 0.3]))
    instance = tiny(labels.tolist(), cost.tolist(), sms, clusters, steps=steps)
    instance = instance.replace(
        edge=instance.edge.replace(power_per_sm=per_sm, power_static=static),
        weights=Weights(quality=0, delay=wait, energy=energy),
    )
    sent = users / (1e9 * np.log2(1 + 1e9 / (instance.radio.noise_w_per_hz * 1e9))) / 2
    constant = -(wait + energy) * sent
    best = best_by_enumeration(labels, cost, int(sms), steps, wait, energy * static, energy * per_sm)
    return Joint(instance, whole_sms=True), best + constant


def test_random_instances_at_the_edge_equal_enumeration() -> None:
    solved = infeasible = 0
    for seed in range(1000):
        drawn = draw(seed)
        if drawn is None:
            continue
        problem, best = drawn
        found = JointExactInteger().solve(problem, LIMITS)
        if best == -np.inf:
            assert (found.termination, found.decision, found.bound) == (Termination.INFEASIBLE, None, None), seed
            infeasible += 1
            continue
        assert found.termination is Termination.OPTIMAL, seed
        assert found.decision is not None
        outcome = problem.evaluate(found.decision)
        assert outcome.feasible, (seed, outcome.violations)
        assert outcome.objective == pytest.approx(best, rel=1e-9, abs=1e-12), seed
        assert found.bound == pytest.approx(best, rel=1e-9, abs=1e-12), seed
        assert found.bound >= best, seed
        solved += 1
    assert solved > 800
    assert infeasible > 10


def test_a_common_step_dearer_than_with_real_sms() -> None:
    """One step serves 25 users or nobody: with real SMs X = 1 always gains, with three whole ones it does not."""
    problem = Joint(tiny([0] * 25 + [1, 2], [0.96] * 25 + [5, 5], 3), whole_sms=True)
    found = JointExactInteger().solve(problem, LIMITS)
    assert found.termination is Termination.OPTIMAL
    assert found.decision is not None
    assert problem.evaluate(found.decision).objective == pytest.approx(-10 - 25 / 3, rel=1e-9)
    assert found.bound == pytest.approx(-10 - 25 / 3, rel=1e-9)


@pytest.mark.parametrize(("labels", "sms"), [([0, 1], 1.0), ([0, 1, 2], 2.0), ([0, 1, 2], 2.9), ([0], 0.5)])
def test_more_busy_clusters_than_whole_sms_is_infeasible(labels: list[int], sms: float) -> None:
    steps = StepLimits(total=2, common_max=1, edge_min=1, edge_max=1, device_min=0, device_max=2)
    for cost in (1.0, 0.0):
        instance = tiny(labels, [1.0] * len(labels), sms, steps=steps, weights=Weights(quality=0, delay=cost, energy=0))
        found = JointExactInteger().solve(Joint(instance, whole_sms=True), LIMITS)
        assert (found.termination, found.decision, found.bound) == (Termination.INFEASIBLE, None, None)
        given = instance.replace(given_common=[0] * len(labels), given_edge=[1] * len(labels))
        problem = Allocation(given, whole_sms=True)
        assert IntegerAllocation().solve(problem, LIMITS).termination is Termination.INFEASIBLE
        assert RoundDown().solve(problem, LIMITS).decision is None


def test_without_a_whole_sm_everything_stays_on_the_devices() -> None:
    problem = Joint(tiny([0, 1], [3.0, 4.0], 0.5), whole_sms=True)
    found = JointExactInteger().solve(problem, LIMITS)
    assert found.termination is Termination.OPTIMAL
    assert found.decision is not None
    assert problem.evaluate(found.decision).feasible
    assert found.bound == pytest.approx(-7, rel=1e-9)


@pytest.mark.parametrize("clusters", [10, 100])
def test_ten_thousand_users(clusters: int) -> None:
    instance = PRESETS["large"].replace(max_clusters=clusters).sample(0)
    problem = Joint(instance, whole_sms=True)
    found = JointExactInteger().solve(problem, LIMITS)
    assert found.termination is Termination.OPTIMAL
    assert found.decision is not None
    outcome = problem.evaluate(found.decision)
    assert outcome.feasible
    assert outcome.objective is not None
    assert found.bound is not None
    assert 0 <= found.bound - outcome.objective <= 1e-6 * abs(found.bound)


def test_time_over_leaves_a_decision_and_a_finite_bound() -> None:
    problem = Joint(PRESETS["large"].with_users(200).replace(max_clusters=10).sample(0), whole_sms=True)
    found = JointExactInteger().solve(problem, Limits(time_s=0.0))
    proven = JointExactInteger().solve(problem, LIMITS)
    assert found.termination is Termination.TIME_LIMIT
    assert found.message == "time ran out"
    assert found.decision is not None
    outcome = problem.evaluate(found.decision)
    assert outcome.feasible
    assert outcome.objective is not None
    assert found.bound is not None
    assert proven.bound is not None
    assert found.bound >= proven.bound - 1e-12 * abs(proven.bound)
    assert relative_gap(outcome.objective, found.bound) < 0.01


def test_too_little_memory_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = Joint(PRESETS["large"].with_users(200).replace(max_clusters=10).sample(0), whole_sms=True)
    real = joint_integer.scalar_coupling.maximise
    monkeypatch.setattr(joint_integer, "_QUICK", 0.0)  # the bound with real SMs first
    assert JointExactInteger().solve(problem, Limits(time_s=60, memory_gb=1e-9)).termination in (
        Termination.MEMORY_LIMIT,
        Termination.OPTIMAL,
    )
    calls = []
    monkeypatch.setattr(joint_integer.scalar_coupling, "maximise", lambda *a, **k: calls.append(1) or real(*a, **k))
    monkeypatch.setattr(joint_integer, "PROVEN", 0.0)
    found = JointExactInteger().solve(problem, Limits(time_s=60, memory_gb=1e-9))
    assert calls
    assert found.termination is Termination.MEMORY_LIMIT
    assert "memory" in found.message
    assert found.bound is not None


@pytest.mark.parametrize("reason", [Termination.TIME_LIMIT, Termination.MEMORY_LIMIT])
def test_a_merge_that_stops_proves_nothing(monkeypatch: pytest.MonkeyPatch, reason: Termination) -> None:
    instance = PRESETS["large"].with_users(50).replace(max_clusters=3).sample(0)
    monkeypatch.setattr(joint_integer, "_QUICK", np.inf)  # the merge first, without the bound with real SMs
    monkeypatch.setattr(joint_integer, "merge", lambda *_: Merged(None, reason))
    found = JointExactInteger().solve(Joint(instance, whole_sms=True), LIMITS)
    assert found.termination is reason
    assert found.message
    assert found.bound is not None
    assert found.bound >= found.details["bound_by_price"]


# the parts, on planted optima


def random_options(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Gains, costs, work and offsets of a few clusters; some without an idle option, some whose work is free."""
    sizes = rng.integers(1, 6, int(rng.integers(1, 5)))
    work = np.concatenate([np.sort(rng.integers(0, 9, size)) for size in sizes])
    rate = np.repeat(rng.choice([0.0, 1.0, 4.0, 4.0], len(sizes)), sizes)
    gain = np.round(rng.uniform(0.5, 1.0, len(work)) * (1 + rate) * work, int(rng.integers(0, 3)))
    return gain, rate * work, work, np.concatenate([[0], np.cumsum(sizes)])


def by_enumeration(gain: np.ndarray, cost: np.ndarray, work: np.ndarray, offsets: np.ndarray, budget: int) -> float:
    """The best over options and SMs, one cluster after the other."""
    best = np.zeros(budget + 1)
    for low, high in pairwise(offsets):
        value = np.full(budget + 1, -np.inf)
        for k in range(low, high):
            for v in range(budget + 1):
                if work[k] == 0 or v > 0:
                    value[v] = max(value[v], gain[k] - (cost[k] / v if work[k] else 0.0))
        best = np.array([max(best[u - v] + value[v] for v in range(u + 1)) for u in range(budget + 1)])
    return float(best[budget])


def test_merge_finds_what_loses_exactly_the_gap() -> None:
    """With the loss of the optimum as limit it is found; with a little less, nothing is: the pruning is tight."""
    tight = 0
    for seed in range(500):
        rng = np.random.default_rng(seed)
        gain, cost, work, offsets = random_options(rng)
        budget = int(rng.integers(len(offsets) - 1, 2 * len(offsets) + 1))
        options = Options.of(gain, cost, work, offsets)
        best = by_enumeration(gain, cost, work, offsets, budget)
        price, dual, sms = options.minimise_dual(budget)
        assert sms.sum() <= budget
        assert dual >= best - 1e-12
        _pick, sms, value = options.improve(sms, budget)
        assert value <= best + 1e-12
        loss = dual - best
        limit = loss + 1e-12
        found_all = options.candidates(price, budget, limit)
        assert found_all is not None
        merged = merge(*found_all, budget, price, limit, lambda: False, 1e9)
        assert merged.stopped is None
        assert merged.sms is not None, seed
        assert merged.sms.sum() <= budget
        assert options.respond(merged.sms)[1] == pytest.approx(best, rel=1e-12, abs=1e-12), seed
        if loss > 1e-6:
            less = options.candidates(price, budget, loss * (1 - 1e-6))
            assert less is not None
            assert merge(*less, budget, price, loss * (1 - 1e-6), lambda: False, 1e9).sms is None, seed
            tight += 1
    assert tight > 20


def test_candidates_are_all_and_only_those_within_the_loss() -> None:
    for seed in range(300):
        rng = np.random.default_rng(seed)
        gain, cost, work, offsets = random_options(rng)
        budget, price, loss = (
            int(rng.integers(1, 12)),
            float(rng.choice([0.0, 0.1, 0.7])),
            float(rng.choice([0, 0.3, 2.0])),
        )
        options = Options.of(gain, cost, work, offsets)
        found = options.candidates(price, budget, loss)
        assert found is not None
        for m, (low, high) in enumerate(pairwise(offsets)):
            worth: dict[int, float] = {}
            for k in range(low, high):
                for v in (0,) if work[k] == 0 else range(1, (budget if cost[k] else 1) + 1):
                    value = gain[k] - (cost[k] / v if work[k] else 0.0) - price * v
                    worth[v] = max(worth.get(v, -np.inf), value)
            top = max(worth.values())
            lost = {int(v): float(r) for v, r in zip(found[0][m], found[1][m], strict=True)}
            for v, value in worth.items():
                if top - value < loss - 1e-9:
                    assert lost[v] == pytest.approx(top - value, abs=1e-9), (seed, m, v)
            assert all(top - worth[v] <= loss + 1e-9 for v in lost)


def test_merge_in_arrays_equals_merge_in_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    from hisopt.solvers.joint import whole_sms

    for seed in range(40):
        rng = np.random.default_rng(seed)
        clusters, budget = int(rng.integers(2, 6)), int(rng.integers(10, 60))
        sms = [np.sort(rng.choice(30, int(rng.integers(1, 20)), replace=False)) for _ in range(clusters)]
        lost = [rng.uniform(0, 1, len(own)) for own in sms]
        answers = []
        for paired in (1 << 20, 0):
            monkeypatch.setattr(whole_sms, "_PAIRED", paired)
            answers.append(merge(sms, lost, budget, 0.05, 3.0, lambda: False, 1e9).sms)
        table = np.full(budget + 1, np.inf)
        table[0] = 0.0
        for own, losses in zip(sms, lost, strict=True):
            new = np.full(budget + 1, np.inf)
            for v, r in zip(own, losses, strict=True):
                if v <= budget:
                    new[v:] = np.minimum(new[v:], table[: budget + 1 - v] + r)
            table = new
        total = table + 0.05 * (budget - np.arange(budget + 1))
        for found in answers:
            if total.min() > 3.0:
                assert found is None
                continue
            assert found is not None
            own = sum(float(r[v == f][0]) for v, r, f in zip(sms, lost, found, strict=True))
            assert own + 0.05 * (budget - found.sum()) == pytest.approx(total.min(), abs=1e-12)


def test_merge_stops_for_time_and_memory() -> None:
    sms, lost = [np.arange(50)] * 4, [np.linspace(1, 0, 50) ** 2] * 4
    assert merge(sms, lost, 100, 0.0, 9.0, lambda: True, 1e9).stopped is Termination.TIME_LIMIT
    assert merge(sms, lost, 100, 0.0, 9.0, lambda: False, 100.0).stopped is Termination.MEMORY_LIMIT
    assert merge(sms, lost, 100, 0.0, 9.0, lambda: False, 1e9).stopped is None


def test_candidates_beyond_the_limit_are_refused() -> None:
    options = Options.of(np.array([0.0, 5.0]), np.array([0.0, 1.0]), np.array([0, 1]), np.array([0, 2]))
    assert options.candidates(0.01, 1000, 1.0, most=10) is None
    assert options.candidates(0.01, 1000, 1.0) is not None


# what whole means


@pytest.mark.parametrize(
    ("total", "sms", "fault"),
    [
        (2.0, [1, 1, 1.9e-9], "whole"),
        (1e9, [0.5e9 + 0.5, 0.5e9 - 1, 0.25], "whole"),
        (1674.0, [1672, 1, 1.0000000016], "whole"),
        (1e12, [1e12 - 2, 1, 2], "budget"),
        (3.9, [1, 1, 2], "budget"),
        (3.9, [1, 1, 1], None),
    ],
)
def test_whole_sms_are_whole_without_tolerance(total: float, sms: list[float], fault: str | None) -> None:
    problem = Joint(tiny([0, 1, 2], [1.0, 1.0, 1e10], total), whole_sms=True)
    decision = Decision.of_steps(1, np.ones(3, dtype=int), np.zeros(3, dtype=int), np.array(sms, dtype=float))
    violations = problem.evaluate(decision).violations
    assert (not violations) if fault is None else any(fault in line for line in violations)
