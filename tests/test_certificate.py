"""The dual bound of the joint problem is rechecked from its multiplier, and in exact arithmetic."""

from __future__ import annotations

from fractions import Fraction
from itertools import product
from math import isqrt

import numpy as np
import pytest

from hisopt import Instance, Limits
from hisopt.certificate import dual_bound
from hisopt.equations import (
    cluster_sizes,
    device_step_cost,
    edge_step_energy_cost,
    edge_work_cost,
    public_similarity,
    quality_table,
    transmission,
)
from hisopt.errors import InputError
from hisopt.experiments.campaigns.random_instances import draw_instance
from hisopt.problems import Joint
from hisopt.solvers.joint.exact import JointExact

SCALE = 10**40


def root(value: Fraction) -> tuple[Fraction, Fraction]:
    """Return rational numbers just below and above the square root."""
    scaled = value * SCALE
    low = isqrt(scaled.numerator // scaled.denominator)
    return Fraction(low, 10**20), Fraction(low + 1, 10**20)


def drawn(seed: int, users: int, clusters: int) -> Instance:
    instance = draw_instance(np.random.default_rng(seed), users, clusters)
    assert isinstance(instance, Instance)
    return instance


@pytest.mark.parametrize("seed", range(30))
def test_the_solvers_dual_bound_is_that_of_its_multiplier(seed: int) -> None:
    instance = drawn(seed, 1 + seed % 7, 1 + seed % 3 if seed % 7 > 1 else 1)
    result = JointExact().solve(Joint(instance), Limits())
    assert result.decision is not None
    objective = Joint(instance).evaluate(result.decision).objective
    assert objective is not None
    bound, maxima = dual_bound(instance, result.details["multiplier"])
    assert bound == pytest.approx(result.details["dual_bound"], rel=1e-11, abs=1e-12)
    assert maxima.shape == (instance.max_clusters,)
    assert bound >= objective - 1e-12 * max(1.0, abs(objective))
    assert bound >= result.bound - 1e-12  # type: ignore[operator]
    for multiplier in (0.0, 1.0, 50.0):  # any multiplier gives a bound
        assert dual_bound(instance, multiplier)[0] >= objective - 1e-12 * max(1.0, abs(objective))


@pytest.mark.parametrize("seed", range(15))
def test_the_bound_holds_in_exact_arithmetic(seed: int) -> None:
    """Every plan of a small instance, scored with fractions, lies below h(lambda) computed with fractions."""
    instance = drawn(100 + seed, 3, 2)
    instance = instance.replace(
        steps=instance.steps.replace(total=5, common_max=2, edge_min=0, edge_max=2, device_min=seed % 4, device_max=5),
        given_common=None,
        given_edge=None,
    )
    labels, limits = instance.clusters, instance.steps
    assert labels is not None
    multiplier = Fraction(float(JointExact().solve(Joint(instance), Limits()).details["multiplier"]))
    budget = Fraction(instance.sm_budget)
    saved = [Fraction(float(d)) for d in device_step_cost(instance)]
    step = Fraction(edge_step_energy_cost(instance))
    cost = [Fraction(float(c)) for c in edge_work_cost(instance, cluster_sizes(labels, 2))]
    table = quality_table(instance.quality, public_similarity(instance, labels), limits.common_max)
    quality = [[Fraction(float(q)) * Fraction(instance.weights.quality) for q in row] for row in table]
    delay, energy = transmission(instance)
    constant = -Fraction(float(instance.weights.delay * delay.sum() + instance.weights.energy * energy.sum()))
    constant -= sum(limits.total * d for d in saved)
    one = [
        (x, y)
        for x in range(limits.common_max + 1)
        for y in range(limits.edge_max + 1)
        if limits.device_min <= limits.total - x - y <= limits.device_max
    ]
    exact_bound = constant + multiplier**2 / budget
    plans: list[
        list[tuple[Fraction, Fraction, Fraction]]
    ] = []  # of each cluster: separable value, sqrt(c W) below, above
    for cluster in range(2):
        members = [n for n in range(3) if labels[n] == cluster]
        values = []
        for plan in product(one, repeat=len(members)):
            work = max((x for x, _ in plan), default=0) + sum(y for _, y in plan)
            value = sum(
                (quality[n][x] + saved[n] * (x + y) for n, (x, y) in zip(members, plan, strict=True)), Fraction(0)
            )
            values.append((value - step * work, *root(cost[cluster] * work)))
        plans.append(values)
        exact_bound += max(value - 2 * multiplier * low / budget for value, low, _ in values)
    best = max(
        constant + a + b - (low_a + low_b) ** 2 / budget  # an upper estimate of the plan's utility
        for (a, low_a, _), (b, low_b, _) in product(*plans)
    )
    assert best <= exact_bound + Fraction(1, 10**15)
    assert dual_bound(instance, float(multiplier))[0] == pytest.approx(float(exact_bound), rel=1e-12, abs=1e-12)
    solved = JointExact().solve(Joint(instance), Limits())
    assert solved.bound == pytest.approx(float(best), rel=1e-12, abs=1e-12)


def test_bad_multipliers_are_refused(small: Instance) -> None:
    for multiplier in (-1.0, float("nan"), float("inf")):
        with pytest.raises(InputError, match="multiplier"):
            dual_bound(small, multiplier)
