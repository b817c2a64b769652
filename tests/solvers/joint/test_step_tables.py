"""The candidates of clusters against loops over users, steps and plans; instances on which an X nearly goes."""

from __future__ import annotations

from itertools import pairwise, product
from typing import Any

import numpy as np
import pytest

from hisopt import Instance, Limits
from hisopt.equations import device_step_cost, edge_step_energy_cost, edge_work_cost, public_similarity
from hisopt.experiments.campaigns.random_instances import draw_instance
from hisopt.instances import Gpu, Latent, Radio, StepLimits, Weights
from hisopt.problems import Joint
from hisopt.solvers.joint import bound_steps, step_tables
from hisopt.solvers.joint.exact import JointExact
from hisopt.solvers.joint.step_tables import Members, StepTables


def drawn(seed: int, *, binds: bool, clusters: int = 3, users: int = 6) -> Instance:
    rng = np.random.default_rng(seed)
    while True:
        instance = draw_instance(rng, users, clusters)
        assert isinstance(instance, Instance)
        limits = instance.steps
        if limits.device_binds == binds and limits.common_max <= 6 and limits.edge_max <= 4:
            weights = Weights(
                quality=float(rng.choice([0.3, 1.0])), delay=instance.weights.delay, energy=instance.weights.energy
            )
            speed = np.asarray(instance.devices.sms).copy()
            speed[::2] = speed[0]  # some users alike
            return instance.replace(
                weights=weights, devices=instance.devices.replace(sms=speed), given_common=None, given_edge=None,
                edge=instance.edge.replace(sms=float(10 ** rng.uniform(-1, 3))),
            )  # fmt: skip


def members_of(instance: Instance) -> Members:
    similarity = public_similarity(instance, instance.labels)
    return Members(instance, instance.labels, instance.max_clusters, similarity, device_step_cost(instance))


@pytest.mark.parametrize("clusters", [1, 2, 255, 65_535, 65_536, 65_537, 200_000])
def test_users_are_ordered_by_cluster_and_by_what_a_step_saves(clusters: int) -> None:
    rng = np.random.default_rng(clusters)
    labels, saved = rng.integers(0, clusters, 3000), rng.integers(0, 40, 3000).astype(float)
    labels[:2] = 0, clusters - 1
    members = Members(drawn(0, binds=False), labels, clusters, saved, saved)
    expected = sorted(range(3000), key=lambda n: (labels[n], -saved[n], n))
    assert members.by_saved().tolist() == expected


def qualities(members: Members) -> np.ndarray:
    """w1 Q_n(x), from the published coefficients, interpolated in the similarity."""
    table, steps = members.instance.quality, np.arange(members.limits.common_max + 1)
    rows = table.coefficients
    at = rows[:, [0]] / (1 + np.exp(rows[:, [1]] * (steps - rows[:, [2]]))) + rows[:, [3]]
    knots = np.asarray(table.similarity)
    clipped = np.clip(members.similarity, knots[0], knots[-1])
    return members.instance.weights.quality * np.stack([np.interp(clipped, knots, at[:, k]) for k in steps], axis=1)


def expected_candidates(members: Members, whole: bool, prune: bool) -> list[set[tuple[int, int]]]:
    """(W, X) of every cluster: users filled by falling d_n, ties together, and the X that no rule excludes."""
    instance, limits = members.instance, members.limits
    quality, sizes = qualities(members), np.bincount(members.labels, minlength=members.count)
    cost, budget = edge_work_cost(instance, sizes), instance.sm_budget
    largest = sum(np.sqrt(c * (limits.common_max + limits.edge_max * n)) for c, n in zip(cost, sizes, strict=True))
    found = []
    for m in range(members.count):
        users = sorted(np.flatnonzero(members.labels == m), key=lambda n: -members.saved[n])
        best = [
            sum(max(quality[n, x] - members.saved[n] * (limits.common_max - x) for x in range(top + 1)) for n in users)
            for top in range(limits.common_max + 1)
        ]
        value = [b - edge_step_energy_cost(instance) * top for top, b in enumerate(best)]
        load = [np.sqrt(cost[m] * (limits.edge_min * len(users) + top)) for top in range(len(best))]
        kept = []
        for top in range(len(best)):
            worse = top > 0 and best[top] <= best[top - 1]
            surely = prune and not whole and any(
                value[more] - value[top] > 2 * largest * (load[more] - load[top]) / budget
                for more in range(top + 1, len(best))
            )  # fmt: skip
            if not worse and not surely:
                kept.append(top)
        fills = [0] + [
            k for k in range(1, len(users) + 1)
            if k == len(users) or members.saved[users[k]] != members.saved[users[k - 1]]
        ] * bool(users and limits.edge_max > limits.edge_min)  # fmt: skip
        span = limits.edge_max - limits.edge_min
        found.append({(top + limits.edge_min * len(users) + span * k, top) for top in kept for k in fills})
    return found


def gain_of(members: Members, m: int, work: int, top: int) -> float:
    """The utility of a candidate, users' devices measured against their fewest steps, without the load."""
    quality, limits = qualities(members), members.limits
    users = sorted(np.flatnonzero(members.labels == m), key=lambda n: -members.saved[n])
    left, total = work - top - limits.edge_min * len(users), 0.0
    for n in users:
        steps_edge = limits.edge_min + min(left, limits.edge_max - limits.edge_min)
        left -= steps_edge - limits.edge_min
        total += max(quality[n, x] - members.saved[n] * (limits.common_max - x) for x in range(top + 1))
        total -= members.saved[n] * (limits.edge_max - steps_edge)
    return float(total - edge_step_energy_cost(members.instance) * work)


def check_tables(tables: StepTables, members: Members, expected: list[set[tuple[int, int]]]) -> None:
    sizes = np.bincount(members.labels, minlength=members.count)
    cost = edge_work_cost(members.instance, sizes)
    for m, own in enumerate(expected):
        part = slice(tables.offsets[m], tables.offsets[m + 1])
        pairs = list(zip(tables.work[part].tolist(), tables.common[part].tolist(), strict=True))
        assert len(pairs) == len(set(pairs))
        assert set(pairs) == own, m
        for k, (work, top) in enumerate(pairs, start=int(tables.offsets[m])):
            assert tables.gain[k] == pytest.approx(gain_of(members, m, work, top), rel=1e-9, abs=1e-9)
            assert tables.load[k] == pytest.approx(np.sqrt(cost[m] * work), rel=1e-12)


@pytest.mark.parametrize("whole", [False, True])
def test_candidates_are_those_that_the_rules_leave(whole: bool) -> None:
    pruned = 0
    for seed in range(25):
        members = members_of(drawn(seed, binds=False))
        everyone = len(set(members.labels.tolist())) == members.count  # a table of empty clusters is left as it is
        check_tables(step_tables.build(members, whole=whole), members, expected_candidates(members, whole, everyone))
        pruned += expected_candidates(members, whole, True) != expected_candidates(members, whole, False)
    assert whole or pruned > 3


def test_tables_of_alternative_clusters_leave_out_nothing_for_the_others() -> None:
    """Clusters that do not stand side by side: their total load bounds nothing."""
    pruned = 0
    for seed in range(12):
        instance = drawn(seed, binds=False, clusters=2, users=4)
        base = members_of(instance)
        users = np.array([0, 1, 2, 3, 0, 1, 2, 3])
        labels = np.array([0, 1, 2, 3, 4, 4, 4, 5])
        members = Members(instance, labels, 6, base.similarity[users], base.saved[users])
        check_tables(step_tables.build(members), members, expected_candidates(members, False, False))
        pruned += expected_candidates(members, False, True) != expected_candidates(members, False, False)
    assert pruned > 1


def test_chunks_of_users_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in range(4):
        members = members_of(drawn(seed, binds=bool(seed % 2)))
        whole = step_tables.build(members)
        picks = whole.steps(whole.offsets[:-1])
        monkeypatch.setattr(step_tables, "_CHUNK", 2)
        monkeypatch.setattr(bound_steps, "_CHUNK", 2)
        parts = step_tables.build(members)
        np.testing.assert_allclose(parts.gain, whole.gain, rtol=1e-12)
        np.testing.assert_array_equal(parts.steps(parts.offsets[:-1]), picks)
        monkeypatch.undo()


ONE: dict[str, Any] = {
    "frequency_hz": 1.0, "flop_per_cycle": 1.0, "utilisation": 1.0, "energy_coefficient": 1.0, "power_per_sm": 0.0,
}  # fmt: skip


def one_common_step(sizes: np.ndarray, gained: np.ndarray, budget: float) -> Instance:
    """Clusters that choose between X = 0 and X = 1, which gains ``gained`` in all; each user has one step of his own."""
    users = int(sizes.sum())
    labels = np.repeat(np.arange(len(sizes)), sizes)
    return Instance(
        users=users, max_clusters=len(sizes), edge=Gpu(sms=budget, power_static=0.0, **ONE),
        devices=Gpu(sms=1 / np.repeat(gained / sizes, sizes), power_static=0.0, **ONE),
        radio=Radio(bandwidth_hz=1e9, power_w=1.0, gain=1e9), latent=Latent(height=1, width=1, channels=1, bits=1),
        steps=StepLimits(total=3, common_max=1, edge_min=1, edge_max=1, device_min=0, device_max=3),
        weights=Weights(quality=0, delay=1, energy=0), flop_edge=1.0, flop_device=1.0, clusters=labels,
        similarity=np.full(users, 0.5),
    )  # fmt: skip


@pytest.mark.parametrize("clusters", [3, 8, 20])
def test_an_optimal_x_next_to_the_edge_of_the_rule_stays(clusters: int) -> None:
    """One cluster's common step gains a hair less than it costs, while all others are at their largest work."""
    sizes, budget = np.arange(1, clusters + 1), 50.0
    load = [np.sqrt(sizes * (sizes + top)) for top in (0, 1)]
    for m in range(clusters):
        rise = load[1][m] - load[0][m]
        worth = rise * (2 * load[1].sum() - rise) / budget  # what the step costs once all others have theirs
        gained = np.full(clusters, 10 * load[1].sum() ** 2 / budget)
        for share, top in ((0.999, 0), (1.001, 1)):
            gained[m] = share * worth
            result = JointExact().solve(Joint(one_common_step(sizes, gained, budget)), Limits())
            assert result.decision is not None
            assert result.decision.steps_common is not None
            common = result.decision.steps_common
            labels = np.repeat(np.arange(clusters), sizes)
            assert (common[labels != m] == 1).all()
            assert (common[labels == m] == top).all(), (m, share)
        for share, left in ((0.999, [0, 1]), (1.001, [1])):  # of what it can cost at most
            gained[m] = share * 2 * rise * load[1].sum() / budget
            tables = step_tables.for_instance(one_common_step(sizes, gained, budget))
            assert tables.common[tables.offsets[m] : tables.offsets[m + 1]].tolist() == left


def test_vertices_support_all_sums_of_personalised_steps() -> None:
    """For each X and each price of a step, the best vertex is the best of all y; and every vertex is attained."""
    for seed in range(25):
        members = members_of(drawn(seed, binds=True))
        limits, quality = members.limits, qualities(members)
        sizes = np.bincount(members.labels, minlength=members.count)
        for top in range(limits.common_max + 1):
            allowed = [y for y in range(limits.edge_min, limits.edge_max + 1)
                       if any(limits.served_min <= x + y <= limits.served_max for x in range(top + 1))]  # fmt: skip
            bounds = bound_steps._range(members, top)
            assert list(bounds) == allowed
            if not allowed:
                continue
            value = np.array([
                [max(quality[n, x] + members.saved[n] * (x + y - limits.served_max) for x in range(top + 1)
                     if limits.served_min <= x + y <= limits.served_max) for y in allowed]
                for n in range(len(members.labels))
            ])  # fmt: skip
            cluster, steps_edge, gain = bound_steps.vertices(members, top, sizes, None)
            slopes = np.unique(np.diff(value, axis=1)) if len(allowed) > 1 else np.zeros(1)
            prices = np.concatenate([slopes[:1] - 1, slopes, (slopes[1:] + slopes[:-1]) / 2, slopes[-1:] + 1])
            for m in range(members.count):
                own = cluster == m
                assert own.any()
                users = members.labels == m
                assert steps_edge[own].min() >= min(allowed) * sizes[m]
                assert steps_edge[own].max() <= max(allowed) * sizes[m]
                for price in prices:
                    best = (value[users] - price * np.array(allowed)).max(axis=1).sum()
                    assert (gain[own] - price * steps_edge[own]).max() == pytest.approx(best, rel=1e-9, abs=1e-9), seed
                sums = {0: 0.0}  # the best of each sum of y, by (max, +) steps
                for row in value[users]:
                    new: dict[int, float] = {}
                    for done, worth in sums.items():
                        for y, more in zip(allowed, row, strict=True):
                            new[done + y] = max(new.get(done + y, -np.inf), worth + more)
                    sums = new
                for done, worth in zip(steps_edge[own], gain[own], strict=True):
                    assert sums[int(done)] == pytest.approx(worth, rel=1e-9, abs=1e-9)


def test_vertices_of_any_values_of_users(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of values with dents, at uneven numbers of steps, with edges of users that tie."""
    members = members_of(drawn(0, binds=True))
    sizes = np.bincount(members.labels, minlength=members.count)
    for seed in range(40):
        rng = np.random.default_rng(seed)
        points = np.cumsum(rng.integers(1, 4, int(rng.integers(2, 6))))
        value = rng.integers(-9, 9, (6, len(points))) / 4 if seed % 2 else rng.normal(size=(6, len(points)))
        monkeypatch.setattr(bound_steps, "_values", lambda *_, both=(points, value): both)
        monkeypatch.setattr(bound_steps, "_range", lambda *_, ends=range(points[0], points[-1] + 1): ends)
        cluster, steps_edge, gain = bound_steps.vertices(members, 0, sizes, None)
        slopes = np.unique(np.round([
            (row[j] - row[i]) / (points[j] - points[i]) for row in value for j in range(len(points)) for i in range(j)
        ], 12))  # fmt: skip
        prices = np.concatenate([slopes[:1] - 1, (slopes[1:] + slopes[:-1]) / 2, slopes[-1:] + 1])
        for m in range(members.count):
            own, users = cluster == m, members.labels == m
            best = (value[users][:, None, :] - prices[:, None] * points).max(axis=2).sum(axis=0)
            np.testing.assert_allclose((gain[own] - prices[:, None] * steps_edge[own]).max(axis=1), best, atol=1e-9)
            assert len(set(steps_edge[own].tolist())) == own.sum()


def test_the_best_x_is_kept_for_every_work_and_rebuilt() -> None:
    for seed in range(20):
        members = members_of(drawn(seed, binds=True))
        limits = members.limits
        sizes = np.bincount(members.labels, minlength=members.count)
        expected: dict[tuple[int, int], float] = {(m, 0): 0.0 for m in range(members.count) if sizes[m] == 0}
        for top in range(limits.common_max + 1):
            if not bound_steps._range(members, top):
                continue
            for m, steps_edge, gain in zip(*bound_steps.vertices(members, top, sizes, None), strict=True):
                if sizes[m]:
                    at = (int(m), int(steps_edge) + top)
                    expected[at] = max(expected.get(at, -np.inf), float(gain))
        found = dict(zip(zip(*(part.tolist() for part in bound_steps.candidates(members)[:2]), strict=True),
                         bound_steps.candidates(members)[2].tolist(), strict=True))  # fmt: skip
        assert found == expected
        tables = step_tables.build(members)
        assert (np.diff(tables.offsets) > 0).all()
        quality, rng = qualities(members), np.random.default_rng(seed)
        for _ in range(6):
            choice = rng.integers(tables.offsets[:-1], tables.offsets[1:])
            x, y = tables.steps(choice)
            assert ((limits.served_min <= x + y) & (x + y <= limits.served_max)).all()
            assert ((limits.edge_min <= y) & (y <= limits.edge_max) & (x >= 0)).all()
            for m in range(members.count):
                own = members.labels == m
                worth = quality[own, x[own]] + members.saved[own] * (x[own] + y[own] - limits.served_max)
                work = tables.work[choice[m]]
                assert x[own].max(initial=0) <= tables.common[choice[m]]
                assert x[own].max(initial=0) + y[own].sum() <= work
                energy = edge_step_energy_cost(members.instance) * work
                assert worth.sum() - energy == pytest.approx(tables.gain[choice[m]], rel=1e-9, abs=1e-9)


def test_a_dent_is_more_than_rounding() -> None:
    points = np.arange(3)
    rows = np.array(
        [[0.1, 0.2, 0.1 + 0.2], [1.0, 2.0, 3.0 + 1e-12], [-3.0, -2.0, -1.0 + 1e-12], [1.0, 2.0, 3.0 - 1e-12]]
    )
    user, first, last = bound_steps._envelope(rows, points)
    assert list(zip(user.tolist(), first.tolist(), last.tolist(), strict=True)) == [
        (0, 0, 1), (0, 1, 2), (1, 0, 2), (2, 0, 2), (3, 0, 1), (3, 1, 2),
    ]  # fmt: skip


def test_clusters_whose_users_gain_alike_keep_their_own_vertices() -> None:
    """Equal slopes in two clusters, in powers of two so that they are equal to the last digit."""
    instance = one_common_step(np.array([1, 3]), np.array([0.25, 0.75]), 50.0)
    limits = StepLimits(total=6, common_max=1, edge_min=0, edge_max=4, device_min=2, device_max=6)
    instance = instance.replace(
        steps=limits, devices=instance.devices.replace(sms=1 / np.array([0.25, 0.5, 0.25, 0.125]))
    )
    members = members_of(instance)
    assert limits.device_binds
    cluster, steps_edge, _ = bound_steps.vertices(members, 0, np.array([1, 3]), None)
    assert list(zip(cluster.tolist(), steps_edge.tolist(), strict=True))[-3:] == [(1, 4), (1, 8), (1, 12)]
    assert sorted(zip(cluster.tolist(), steps_edge.tolist(), strict=True)) == [
        (0, 0),
        (0, 4),
        (1, 0),
        (1, 4),
        (1, 8),
        (1, 12),
    ]


def test_envelopes_are_those_of_all_pairs() -> None:
    rng = np.random.default_rng(0)
    for size, step in product((1, 2, 5, 7), (1, 3)):
        points = np.arange(size) * step + 2
        value = rng.choice([rng.normal(size=(30, size)), rng.integers(0, 4, (30, size)).astype(float)])
        user, first, last = bound_steps._envelope(value, points)
        for n in range(30):
            edges = [(int(a), int(b)) for u, a, b in zip(user, first, last, strict=True) if u == n]
            assert [a for a, _ in edges] + [size - 1] * bool(edges) == [0] * bool(edges) + [b for _, b in edges]
            hull = np.interp(
                np.arange(size), [a for a, _ in edges] + [size - 1], value[n, [a for a, _ in edges] + [size - 1]]
            )
            assert (hull >= value[n] - 1e-12).all()
            slopes = [(value[n, b] - value[n, a]) / (b - a) for a, b in edges]
            assert all(left >= right - 1e-12 for left, right in pairwise(slopes))
