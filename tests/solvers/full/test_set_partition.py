"""The set partitioning program over subsets: equal to the dynamic program over sets, and to enumeration of partitions."""

from __future__ import annotations

import numpy as np
import pytest

from hisopt import PRESETS, Instance, Limits, Termination
from hisopt.experiments.campaigns import brute_force
from hisopt.experiments.campaigns.random_instances import draw_instance
from hisopt.problems import Full, Joint
from hisopt.solvers.base import Deadline
from hisopt.solvers.full import subset_tables
from hisopt.solvers.full.partition_prices import PriceProgram
from hisopt.solvers.full.set_partition import SetPartition
from hisopt.solvers.full.subsets import Subsets
from hisopt.solvers.joint.exact import JointExact
from hisopt.solvers.joint.whole import JointExactInteger

LIMITS = Limits(time_s=60.0, seed=1)


def draw(seed: int, most: int, whole: bool = False) -> Full:
    rng = np.random.default_rng(seed)
    users = int(rng.integers(1, most))
    instance = draw_instance(rng, users, int(rng.integers(1, min(users, 4) + 1)))
    assert isinstance(instance, Instance)
    return Full(instance, whole_sms=whole)


def partitions(users: int, count: int) -> list[list[int]]:
    """Every partition of the users into at most ``count`` sets, as lists of bit masks."""
    found: list[list[int]] = [[]]
    for user in range(users):
        found = [
            [*sets[:k], sets[k] | 1 << user, *sets[k + 1 :]] if k < len(sets) else [*sets, 1 << user]
            for sets in found
            for k in range(min(len(sets) + 1, count))
        ]
    return found


@pytest.mark.parametrize("seed", range(30))
def test_equal_to_the_program_over_sets(seed: int) -> None:
    problem = draw(seed, 9)
    found, other = SetPartition().solve(problem, LIMITS), Subsets().solve(problem, LIMITS)
    assert found.termination is other.termination
    if other.decision is None:
        return
    assert found.decision is not None
    assert found.bound is not None
    objective = problem.evaluate(found.decision).objective
    assert objective == pytest.approx(problem.evaluate(other.decision).objective, rel=1e-6)
    assert problem.gap(found.decision, found.bound) <= 1e-6


@pytest.mark.parametrize("seed", range(16))
def test_whole_sms_equal_enumeration(seed: int) -> None:
    problem = draw(seed, 7, whole=True)
    found = SetPartition().solve(problem, LIMITS)
    values = []
    for sets in partitions(problem.instance.users, problem.instance.max_clusters):
        labels = np.zeros(problem.instance.users, dtype=np.int64)
        for label, subset in enumerate(sets):
            labels[[u for u in range(problem.instance.users) if subset >> u & 1]] = label
        result = JointExactInteger().solve(Joint(problem.instance.with_clusters(labels), whole_sms=True), LIMITS)
        if result.decision is not None:
            value, feasible = brute_force.score(problem, result.decision)
            values += [value] if feasible and value is not None else []
    if not values:
        assert found.termination is Termination.INFEASIBLE
        return
    assert found.termination is Termination.OPTIMAL
    assert found.decision is not None
    assert brute_force.score(problem, found.decision)[0] == pytest.approx(max(values), rel=2e-6, abs=1e-12)


@pytest.mark.parametrize("seed", range(8))
def test_prices_bound_every_partition(seed: int) -> None:
    """At any price of load, a partition is worth at most the bound less the losses of its sets."""
    problem = draw(seed, 7)
    instance, budget = problem.instance, float(problem.instance.edge.sms)
    tables = subset_tables.build(instance, Deadline(LIMITS))
    program = PriceProgram(instance.users, instance.max_clusters, 1 << np.arange(instance.users))
    rng = np.random.default_rng(seed)
    for theta in (0.0, *(tables.load.max() * rng.uniform(size=3))):
        value, load = tables.best(2 * theta / budget)
        value[0] = 0.0
        prices = program.solve(value, load)
        for sets in partitions(instance.users, instance.max_clusters):
            unused = instance.max_clusters - len(sets)
            allowed = prices.bound - prices.loss[sets].sum() - unused * prices.loss[0]
            assert value[sets].sum() <= allowed + 1e-9 * (1 + abs(prices.bound))
        assert (prices.loss[1:] >= -1e-12 * (1 + np.abs(value[1:]))).all()


@pytest.mark.parametrize("seed", range(6))
def test_envelopes_price_every_set_as_its_candidates_do(seed: int) -> None:
    """Dropping candidates changes no set's value: a set alone is worth what its joint problem says."""
    problem = draw(seed, 6)
    instance, budget = problem.instance, float(problem.instance.edge.sms)
    tables = subset_tables.build(instance, Deadline(LIMITS))
    everybody = (1 << instance.users) - 1
    everyone = np.zeros(instance.users, dtype=np.int64)
    one = instance.replace(max_clusters=1, cluster_size_min=1, cluster_size_max=None, clusters=everyone)
    result = JointExact().solve(Joint(one), LIMITS)
    assert result.bound is not None
    thetas = np.linspace(0, tables.load.max() + 1e-9, 400)
    dual = min(t * t / budget + tables.best(2 * t / budget)[0][everybody] for t in thetas) + tables.constant
    assert result.bound <= dual + 1e-9 * (1 + abs(dual))


def test_sixteen_users_of_the_preset_are_proven() -> None:
    problem = Full(PRESETS["paper"].replace(users=16).sample(0))
    result = SetPartition().solve(problem, LIMITS)
    assert result.termination is Termination.OPTIMAL


def test_stops_at_the_deadline_with_a_decision() -> None:
    problem = Full(PRESETS["paper"].replace(users=18).sample(0))
    result = SetPartition().solve(problem, Limits(time_s=0.2))
    assert result.termination is Termination.TIME_LIMIT
    assert result.decision is not None
    assert problem.evaluate(result.decision).feasible
