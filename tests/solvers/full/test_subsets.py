"""The full problem by subsets, against the joint optimum of every partition; its parts against loops over partitions."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise, product
from typing import Any

import numpy as np
import pytest

from hisopt import Instance, Limits, Termination
from hisopt.experiments.campaigns.random_instances import draw_instance
from hisopt.problems import Full, Joint
from hisopt.solvers.base import Deadline
from hisopt.solvers.full import subsets
from hisopt.solvers.full.subsets import Subsets, _Search
from hisopt.solvers.joint import scalar_coupling
from hisopt.solvers.joint.exact import JointExact
from hisopt.solvers.run.progress import listening

LIMITS = Limits(time_s=600)


def drawn(seed: int) -> Instance:
    rng = np.random.default_rng(seed)
    while True:
        instance = draw_instance(rng, 4, int(rng.integers(1, 4)))
        assert isinstance(instance, Instance)
        if instance.steps.common_max <= 4 and partitions(instance):
            budget = float(instance.edge.sms) * 10 ** rng.uniform(-2.5, 0)  # where SMs are dear, sharing them matters
            return instance.replace(edge=instance.edge.replace(sms=budget), given_common=None, given_edge=None)


def searching(instance: Instance, limits: Limits = LIMITS) -> _Search:
    return _Search(instance, Deadline(limits), lambda partition, bound: None)


def partitions(instance: Instance) -> list[np.ndarray]:
    """All labels that the number and the sizes of clusters allow."""
    found = []
    most = instance.cluster_size_max or instance.users
    for labels in product(range(instance.max_clusters), repeat=instance.users):
        if all(label <= max(labels[:i], default=-1) + 1 for i, label in enumerate(labels)):
            sizes = np.bincount(labels)
            if sizes.min() >= instance.cluster_size_min and sizes.max() <= most:
                found.append(np.array(labels))
    return found


def masks(labels: np.ndarray) -> list[int]:
    return [int((1 << np.flatnonzero(labels == m)).sum()) for m in range(labels.max() + 1)]


def joint_optimum(instance: Instance, labels: np.ndarray) -> float:
    problem = Joint(instance.with_clusters(labels))
    result = JointExact().solve(problem, LIMITS)
    assert result.termination is Termination.OPTIMAL
    assert result.decision is not None
    objective = problem.evaluate(result.decision).objective
    assert objective is not None
    return objective


@pytest.mark.parametrize("block", range(2))
def test_the_best_partition_is_found_and_proven(block: int) -> None:
    for seed in range(8 * block, 8 * block + 8):
        instance = drawn(seed)
        problem = Full(instance)
        best = max(joint_optimum(instance, labels) for labels in partitions(instance))
        result = Subsets().solve(problem, LIMITS)
        assert result.termination is Termination.OPTIMAL, seed
        assert result.decision is not None
        assert result.bound is not None
        scored = problem.evaluate(result.decision)
        assert scored.feasible
        assert scored.objective == pytest.approx(best, rel=1e-9, abs=1e-12 * scored.scale), seed
        assert result.bound >= best - 1e-13 * scored.scale, seed
        assert result.bound <= best + 1e-6 * abs(best) + 1e-9 * scored.scale, seed
        assert result.details["dual_bound"] >= best - 1e-13 * scored.scale


def dual(search: _Search, every: list[np.ndarray], multiplier: float) -> tuple[float, list[float]]:
    """h(lambda) over all partitions, and the loads of those that attain it."""
    tables, found = search.tables, []
    for labels in every:
        worth = load = 0.0
        for mask in masks(labels):
            part = range(tables.offsets[mask], tables.offsets[mask + 1])
            priced = [tables.gain[k] - 2 * multiplier / search.budget * tables.load[k] for k in part]
            worth, load = worth + max(priced), load + tables.load[part[int(np.argmax(priced))]]
        found.append((worth, load))
    top = max(worth for worth, _ in found)
    return multiplier**2 / search.budget + top, [load for worth, load in found if worth >= top - 1e-12 * (1 + abs(top))]


def test_prices_and_their_minimum_are_those_of_all_partitions(monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in range(8):
        instance = drawn(seed)
        search, every = searching(instance), partitions(instance)
        scale = abs(search.tables.constant) + np.abs(search.tables.gain).max()
        for multiplier in (0.0, 0.3, 2.0, 11.0):
            value, load = search._price(multiplier)
            expected, loads = dual(search, every, multiplier)
            assert value == pytest.approx(expected, abs=1e-11 * scale)
            assert any(load == pytest.approx(own, abs=1e-9) for own in loads)
        assert search.solved == 4
        walked: list[float] = []
        monkeypatch.setattr(search, "_walk", lambda left, count, bound, *rest, seen=walked: seen.append(bound))
        search.run()
        low, high = 0.0, float(search.tables.load.max() * instance.max_clusters) + 1.0
        for _ in range(60):
            a, b = low + (high - low) / 3, high - (high - low) / 3
            low, high = (low, b) if dual(search, every, a)[0] <= dual(search, every, b)[0] else (a, high)
        assert search.dual == pytest.approx(dual(search, every, low)[0], rel=1e-8, abs=1e-8 * scale), seed
        assert search.dual >= dual(search, every, low)[0] - 1e-8 * scale
        at = math.sqrt(walked[0] * search.budget)
        assert dual(search, every, at)[0] == pytest.approx(search.dual, abs=1e-11 * scale)


@pytest.mark.parametrize("rank", [0, 2, 5])
def test_partitions_that_are_not_searched_are_bounded(rank: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the incumbent held at the best value or below it."""
    left_out = 0
    for seed in range(8):
        instance = drawn(seed)
        search, every = searching(instance), partitions(instance)
        worth = [joint_optimum(instance, labels) - search.tables.constant for labels in every]
        search.value = sorted(worth)[::-1][min(rank, len(worth) - 1)]
        seen: set[tuple[int, ...]] = set()
        monkeypatch.setattr(search, "_offer", lambda partition, seen=seen: seen.add(tuple(sorted(partition))))
        search.run()
        scale = abs(search.tables.constant) + max(map(abs, worth))
        assert seen <= {tuple(sorted(masks(labels))) for labels in every}
        for labels, own in zip(every, worth, strict=True):
            if tuple(sorted(masks(labels))) not in seen:
                assert search.bound >= own - 1e-12 * scale, seed
                assert own <= search.value + search.slack + 1e-12 * scale
                left_out += 1
        assert search.slack == pytest.approx(
            max(1e-10 * abs(search.tables.constant + search.value),
                1e-14 * (abs(search.dual) + abs(search.value) + abs(search.tables.constant)))
        )  # fmt: skip
        assert search.complete
    assert left_out > 3


def test_bounds_of_partitions_that_stay_open_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """A joint problem that ends with a gap leaves that gap in the bound."""
    maximise = scalar_coupling.maximise

    def loose(*given: Any, **options: Any) -> scalar_coupling.Choice:
        found = maximise(*given, **options)
        return replace(found, bound=found.bound + 0.25)

    monkeypatch.setattr(subsets.scalar_coupling, "maximise", loose)
    instance = drawn(1)
    search = searching(instance)
    search.dual = math.inf
    search._offer(masks(partitions(instance)[0]))
    value = search.value
    assert search.unsearched == value + 0.25 == search.bound
    search.unsearched = value + 9.0
    search._offer(masks(partitions(instance)[0]))
    assert (search.unsearched, search.value, search.solved) == (value + 9.0, value, 2)
    search.dual = value + 5.0
    assert search.bound == value + 5.0
    search.dual, search.unsearched, search.complete = value + 5.0, value + 1.0, False
    assert search.bound == value + 5.0


def test_no_time_leaves_the_dual_bound() -> None:
    for seed in range(4):
        instance = drawn(seed)
        search = searching(instance, Limits(time_s=0))
        search.run()
        assert not search.complete
        best = max(joint_optimum(instance, labels) for labels in partitions(instance))
        assert search.bound == search.dual >= best - search.tables.constant - 1e-9
        result = Subsets().solve(Full(instance), Limits(time_s=0))
        assert result.termination in (Termination.TIME_LIMIT, Termination.OPTIMAL)
        assert result.bound is not None
        assert result.bound >= best - 1e-9


def test_sizes_that_nothing_meets_are_infeasible() -> None:
    instance = (
        drawn(0)
        .with_clusters(np.zeros(4, dtype=np.int64))
        .replace(max_clusters=2, cluster_size_min=3, cluster_size_max=3)
    )
    assert Subsets().solve(Full(instance), LIMITS).termination is Termination.INFEASIBLE
    for clusters, least, most in product((1, 2, 3, 4), (1, 2, 3), (1, 2, 3, 4)):
        if least <= most and clusters * most >= 4:
            limited = instance.replace(max_clusters=clusters, cluster_size_min=least, cluster_size_max=most)
            assert searching(limited).possible == bool(partitions(limited)), (clusters, least, most)
    assert not Subsets().serves(Full(instance, whole_sms=True))
    assert Subsets().serves(Full(instance))


def test_partitions_and_bounds_are_told_as_they_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each bound holds, a partition is told once, and the last one told is the answer."""
    monkeypatch.setattr("hisopt.solvers.run.progress.PACE_S", -1.0)
    for seed in range(4):
        instance = drawn(seed)
        problem, told = Full(instance), []
        with listening(lambda decision, bound, told=told: told.append((decision, bound))):
            result = Subsets().solve(problem, LIMITS)
        assert result.decision is not None
        best = problem.evaluate(result.decision).objective
        assert best is not None
        bounds = [bound for _, bound in told if bound is not None]
        assert told[0][0] is not None
        assert bounds and all(bound >= best - 1e-9 * abs(best) for bound in bounds)
        values = [problem.evaluate(decision).objective for decision, _ in told if decision is not None]
        assert values == sorted(values) and values[-1] == pytest.approx(best, rel=1e-12)
        assert all(first < second for first, second in pairwise(values))
        assert bounds[-1] == pytest.approx(result.details["dual_bound"], rel=1e-12)
    tell, calls = subsets._telling(instance), []
    with listening(lambda decision, bound: calls.append((decision, bound))):
        tell(masks(partitions(instance)[0]), math.inf)
        tell(masks(partitions(instance)[0]), 7.0)
    assert [(decision is None, bound) for decision, bound in calls] == [(False, None), (True, 7.0)]
    monkeypatch.setattr("hisopt.solvers.run.progress.PACE_S", 60.0)
    quiet: list[Any] = []
    with listening(lambda decision, bound: quiet.append(decision)):
        subsets._telling(instance)(masks(partitions(instance)[0]), 7.0)
    assert not quiet


def test_a_wide_margin_leaves_partitions_out_and_counts_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a margin of 5 % in place of 1e-10 the incumbent can be beaten by what is left out, and the bound says so."""
    monkeypatch.setattr(subsets, "_CLOSE", 0.05)
    beaten = 0
    for seed in range(8):
        instance = drawn(seed)
        search = searching(instance)
        worth = [joint_optimum(instance, labels) - search.tables.constant for labels in partitions(instance)]
        monkeypatch.setattr(search, "_offer", lambda partition: None)  # nothing better is found
        search.value = sorted(worth)[::-1][min(1, len(worth) - 1)]
        search.run()
        scale = abs(search.tables.constant) + max(map(abs, worth))
        if max(worth) <= search.value + search.slack:  # the best is among what is left out
            assert search.bound >= max(worth) - 1e-12 * scale, seed
            beaten += max(worth) > search.value + 1e-9 * scale
    assert beaten


def test_sizes_of_clusters_hold() -> None:
    """Of four users two and two, or one and three, whatever the best clusters without limits are."""
    binds = 0
    for seed in range(6):
        instance = drawn(seed).with_clusters(np.zeros(4, dtype=np.int64)).replace(cluster_size_max=None)
        free = instance.replace(max_clusters=2, cluster_size_min=1)
        for least, most in ((2, 2), (1, 3)):
            limited = free.replace(cluster_size_min=least, cluster_size_max=most)
            best = max(joint_optimum(limited, labels) for labels in partitions(limited))
            result = Subsets().solve(Full(limited), LIMITS)
            assert result.decision is not None and result.termination is Termination.OPTIMAL
            scored = Full(limited).evaluate(result.decision)
            assert scored.feasible and scored.objective == pytest.approx(best, rel=1e-9), (seed, least)
            binds += best < max(joint_optimum(free, labels) for labels in partitions(free)) - 1e-9
    assert binds
