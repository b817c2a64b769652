"""Best replies against other ways to them, and the combinations of replies against enumeration."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from hisopt import PRESETS, Limits
from hisopt.instances import Instance, Weights
from hisopt.problems import Joint
from hisopt.solvers.clustering.hac import clustered
from hisopt.solvers.joint import scalar_coupling, step_tables
from hisopt.solvers.joint.exact import JointExact
from hisopt.solvers.policy.doubts import settle
from hisopt.solvers.policy.price_training import draws, lesson
from hisopt.solvers.policy.replies import Replies, hulls, replies
from hisopt.text.corpus import shipped


def instance_of(seed: int) -> Instance:
    instance = clustered(PRESETS["small"].sample(seed))
    assert isinstance(instance, Instance)
    return instance


def chain(x: np.ndarray, y: np.ndarray) -> list[int]:
    """The upper hull from the least x to the largest y, point by point."""
    corners: list[int] = []
    for i in sorted(range(len(x)), key=lambda i: (x[i], -y[i], i)):
        if corners and y[i] <= y[corners[-1]]:
            continue
        while len(corners) > 1:
            a, b = corners[-2:]
            if (y[b] - y[a]) * (x[i] - x[b]) > (y[i] - y[b]) * (x[b] - x[a]):
                break
            corners.pop()
        corners.append(i)
    return corners


@pytest.mark.parametrize("grid", [None, 3, 12])
def test_hulls_of_groups_are_those_of_each_alone(grid: int | None) -> None:
    rng = np.random.default_rng(grid or 0)
    for _ in range(100):
        sizes = rng.integers(1, 30, size=rng.integers(1, 6))
        x, y = rng.random((2, sizes.sum()))
        if grid is not None:  # ties, duplicates, points on a line
            x, y = np.round(x * grid), np.round(y * grid)
        offsets = np.concatenate([[0], np.cumsum(sizes)])
        expected = [a + np.array(chain(x[a:b], y[a:b])) for a, b in itertools.pairwise(offsets)]
        found = hulls(x, y, offsets)
        assert x[found].tolist() == x[np.concatenate(expected)].tolist()
        assert y[found].tolist() == y[np.concatenate(expected)].tolist()


def test_replies_are_best_for_every_load_of_the_others() -> None:
    instance = instance_of(0)
    tables, budget = step_tables.for_instance(instance), instance.sm_budget
    found = replies(tables, budget)
    most = sum(max(tables.load[a:b]) for a, b in itertools.pairwise(tables.offsets))
    for m, (a, b) in enumerate(itertools.pairwise(tables.offsets)):
        for others in np.linspace(0, most, 50):
            values = tables.gain[a:b] - (2 * others * tables.load[a:b] + tables.load[a:b] ** 2) / budget
            assert values[found.option[m] - a].max() == pytest.approx(values.max(), abs=1e-9)


def test_the_price_minimises_the_dual_bound() -> None:
    for seed in range(5):
        instance = instance_of(seed)
        tables, budget = step_tables.for_instance(instance), instance.sm_budget
        found = replies(tables, budget)
        scale = np.sqrt(budget / found.unit)

        def dual(multiplier: float, tables: step_tables.StepTables = tables, budget: float = budget) -> float:
            return scalar_coupling.dual_value(tables.gain, tables.load, tables.offsets, budget, multiplier)

        least = dual(found.price * scale)
        assert all(least <= dual(other) + 1e-9 for other in np.linspace(0, 3 * scale, 200))


def test_optima_consist_of_replies() -> None:
    for instance in draws(40, 11, shipped().part("judgement")):  # half of them with other limits on steps
        point = lesson(instance, 1e-9)
        bound = JointExact().solve(Joint(instance), Limits()).bound
        rows, seen = np.arange(len(point.best)), point.seen
        tables = step_tables.for_instance(instance)
        decided = Joint(instance).evaluate(decision_of(instance, tables, seen.option[rows, point.best]))
        assert decided.feasible and decided.objective is not None and bound is not None
        assert bound - decided.objective <= 1e-6 * max(abs(bound), 1e-3 * decided.scale)
        assert -1e-9 <= point.gap(point.best) <= 1e-5


def decision_of(instance: Instance, tables: step_tables.StepTables, choice: np.ndarray):  # type: ignore[no-untyped-def]
    from hisopt.solvers.joint.exact import with_optimal_sms

    return with_optimal_sms(instance, *tables.steps(choice))


def random_replies(rng: np.random.Generator) -> tuple[Replies, np.ndarray]:
    own = rng.random((4, 3)) < 0.7
    own[:, 0] = True
    gain, load = rng.random((2, 4, 3))
    seen = Replies(gain, load, own, np.zeros((4, 3), dtype=int), 1.0, 1.0)
    return seen, np.where(own, np.log(rng.random((4, 3))), -np.inf)


def value(seen: Replies, choice: np.ndarray) -> float:
    rows = np.arange(len(choice))
    return float(seen.gain[rows, choice].sum() - seen.load[rows, choice].sum() ** 2)


def test_combinations_against_enumeration() -> None:
    rng = np.random.default_rng(2)
    for _ in range(50):
        seen, order = random_replies(rng)
        every = [np.array(c) for c in itertools.product(range(3), repeat=4) if seen.own[np.arange(4), list(c)].all()]
        best = max(value(seen, choice) for choice in every)
        assert value(seen, settle(seen, order, 12)) == pytest.approx(best, abs=1e-12)
        assert settle(seen, order, 0).tolist() == order.argmax(axis=1).tolist()
        found = [value(seen, settle(seen, order, doubts)) for doubts in range(13)]
        assert all(a <= b + 1e-12 for a, b in itertools.pairwise(found))
        assert seen.own[np.arange(4), settle(seen, order, 5)].all()


def test_doubts_open_the_likeliest_replies_only() -> None:
    seen = Replies(np.array([[0.0, 1.0, 2.0]]), np.zeros((1, 3)), np.ones((1, 3), dtype=bool), np.zeros((1, 3), dtype=int), 1.0, 1.0)  # fmt: skip
    order = np.log([[0.6, 0.3, 0.1]])
    assert [settle(seen, order, doubts)[0] for doubts in range(3)] == [0, 1, 2]


def test_no_scale_is_left_in_what_is_seen() -> None:
    instance = instance_of(3)
    usual = instance.weights
    other = instance.replace(weights=Weights(quality=7 * usual.quality, delay=7 * usual.delay, energy=7 * usual.energy))
    seen, again = (replies(step_tables.for_instance(one), one.sm_budget) for one in (instance, other))
    np.testing.assert_allclose(seen.gain, again.gain, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(seen.load, again.load, rtol=1e-9)
    assert seen.price == pytest.approx(again.price)
