"""Properties that the theory promises, on instances that Hypothesis draws."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from hisopt import Decision, Instance, Limits, Termination
from hisopt.equations import given_work_costs, optimal_sms, work_costs
from hisopt.experiments.campaigns.random_instances import draw_instance
from hisopt.models.allocation import conic as allocation_conic
from hisopt.problems import Allocation, Clustering, Full, Joint, problem_of
from hisopt.solvers.allocation.closed_form import ClosedForm
from hisopt.solvers.allocation.whole import IntegerAllocation
from hisopt.solvers.clustering.partitions import Partitions
from hisopt.solvers.full.subsets import Subsets
from hisopt.solvers.joint.exact import JointExact
from hisopt.solvers.joint.whole import JointExactInteger

if TYPE_CHECKING:
    from hisopt.solvers.base import Solver

LIMITS = Limits(time_s=60)
seeds = st.integers(0, 10**9)
costs = st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=8).map(np.array)


def drawn(seed: int, users: int, clusters: int) -> tuple[np.random.Generator, Instance]:
    rng = np.random.default_rng(seed)
    instance = draw_instance(rng, users, clusters)
    assert isinstance(instance, Instance)
    return rng, instance


@given(cost=costs, budget=st.floats(1, 1e5))
def test_theorem_1_satisfies_the_kkt_conditions(cost: np.ndarray, budget: float) -> None:
    sms = optimal_sms(cost, budget)
    price = (np.sqrt(cost).sum() / budget) ** 2  # beta of (45)
    assert (sms > 0).all()  # primal feasibility
    assert sms.sum() == pytest.approx(budget, rel=1e-9)
    assert price >= 0  # dual feasibility
    np.testing.assert_allclose(cost / sms**2, price, rtol=1e-9)  # stationarity
    assert abs(price * (sms.sum() - budget)) <= 1e-9 * price * budget  # complementary slackness
    assert (cost / sms).sum() == pytest.approx(np.sqrt(cost).sum() ** 2 / budget, rel=1e-9)


@given(cost=costs, budget=st.floats(1, 1e5), seed=seeds)
def test_no_other_allocation_is_better(cost: np.ndarray, budget: float, seed: int) -> None:
    share = np.random.default_rng(seed).dirichlet(np.ones(len(cost)))
    assume((share > 1e-9).all())
    best = (cost / optimal_sms(cost, budget)).sum()
    assert (cost / (budget * share)).sum() >= best * (1 - 1e-12)


@given(seed=seeds, users=st.integers(1, 8), clusters=st.integers(1, 4))
def test_closed_form_equals_cvxpy(seed: int, users: int, clusters: int) -> None:
    _, instance = drawn(seed, users, min(users, clusters))
    problem = Allocation(instance)
    assume(given_work_costs(instance).any())
    model = allocation_conic.build(problem)
    model.program.solve(solver="CLARABEL", tol_gap_abs=1e-9, tol_gap_rel=1e-9, tol_feas=1e-9)
    closed = ClosedForm().solve(problem, LIMITS)
    assert closed.decision is not None
    ours, theirs = (
        problem.evaluate(closed.decision).objective,
        problem.evaluate(allocation_conic.extract(model, problem)).objective,
    )
    assert ours == pytest.approx(theirs, rel=1e-6)
    assert closed.details["price_of_an_sm"] == pytest.approx(allocation_conic.price(model, problem), rel=1e-4)


@given(seed=seeds, clusters=st.integers(1, 3), budget=st.integers(3, 12))
def test_integer_allocation_equals_brute_force(seed: int, clusters: int, budget: int) -> None:
    _, instance = drawn(seed, 5, clusters)
    instance = instance.replace(edge=instance.edge.replace(sms=float(budget)))
    problem = Allocation(instance, whole_sms=True)
    found = IntegerAllocation().solve(problem, LIMITS)
    assert found.decision is not None
    cost = given_work_costs(instance)
    best = min(
        sum(a / v for a, v in zip(cost, sms, strict=True) if a)
        for sms in product(range(budget + 1), repeat=clusters)
        if sum(sms) <= budget and all(v > 0 or a == 0 for a, v in zip(cost, sms, strict=True))
    )
    assert problem.evaluate(found.decision).objective == pytest.approx(best, rel=1e-12)
    assert problem.evaluate(found.decision).feasible


def every_plan(instance: Instance) -> list[tuple[np.ndarray, np.ndarray]]:
    limits = instance.steps
    one = [
        (x, y)
        for x in range(limits.common_max + 1)
        for y in range(limits.edge_min, limits.edge_max + 1)
        if limits.device_min <= limits.total - x - y <= limits.device_max
    ]
    assume(len(one) ** instance.users <= 3000)
    return [
        (np.array([p[0] for p in plan]), np.array([p[1] for p in plan])) for plan in product(one, repeat=instance.users)
    ]


def few_steps(rng: np.random.Generator, instance: Instance) -> Instance:
    """Small bounds on steps, random ones on z, that leave few enough plans to enumerate."""
    total, common, edge_max = int(rng.integers(3, 7)), int(rng.integers(0, 4)), int(rng.integers(0, 4))
    least = int(rng.integers(0, edge_max + 1)) if rng.random() < 0.3 else 0
    low, high = max(0, total - common - edge_max), total - least
    assume(low <= high)
    device_max = int(rng.integers(low, total + 1))
    device_min = int(rng.integers(0, min(device_max, high) + 1))
    steps = instance.steps.replace(
        total=total,
        common_max=common,
        edge_min=least,
        edge_max=edge_max,
        device_min=device_min,
        device_max=device_max,
    )
    return instance.replace(steps=steps, given_common=None, given_edge=None)


@given(seed=seeds, users=st.integers(1, 4), clusters=st.integers(1, 2))
def test_joint_exact_equals_enumeration(seed: int, users: int, clusters: int) -> None:
    rng, instance = drawn(seed, users, min(users, clusters))
    instance = few_steps(rng, instance)
    problem, best = Joint(instance), -np.inf
    budget = instance.sm_budget
    for x, y in every_plan(instance):
        sms = optimal_sms(work_costs(instance, x, y), budget)
        value = problem.evaluate(Decision.of_steps(instance.steps.total, x, y, sms)).objective
        assert value is not None
        best = max(best, value)
    found = JointExact().solve(problem, LIMITS)
    assert found.termination is Termination.OPTIMAL
    assert found.decision is not None
    assert problem.evaluate(found.decision).feasible
    assert problem.evaluate(found.decision).objective == pytest.approx(best, rel=1e-9, abs=1e-12)
    assert found.bound == pytest.approx(best, rel=1e-9, abs=1e-12)


@given(seed=seeds, users=st.integers(1, 3), clusters=st.integers(1, 2), budget=st.integers(2, 6))
def test_joint_exact_integer_equals_enumeration(seed: int, users: int, clusters: int, budget: int) -> None:
    rng, instance = drawn(seed, users, min(users, clusters))
    instance = few_steps(rng, instance.replace(edge=instance.edge.replace(sms=float(budget))))
    problem, best = Joint(instance, whole_sms=True), -np.inf
    splits = [
        np.array(s, dtype=float) for s in product(range(budget + 1), repeat=instance.max_clusters) if sum(s) == budget
    ]
    for x, y in every_plan(instance):
        for sms in splits:
            outcome = problem.evaluate(Decision.of_steps(instance.steps.total, x, y, sms))
            if outcome.feasible and outcome.objective is not None:
                best = max(best, outcome.objective)
    found = JointExactInteger().solve(problem, LIMITS)
    assert found.termination is Termination.OPTIMAL
    assert found.decision is not None
    assert problem.evaluate(found.decision).feasible
    assert problem.evaluate(found.decision).objective == pytest.approx(best, rel=1e-9, abs=1e-12)


def partitions(users: int, clusters: int) -> list[np.ndarray]:
    found = [[0]]
    for _ in range(1, users):
        found = [[*labels, new] for labels in found for new in range(min(max(labels) + 2, clusters))]
    return [np.array(labels) for labels in found]


@given(seed=seeds, users=st.integers(1, 6), clusters=st.integers(1, 6))
def test_subsets_equals_enumeration_of_partitions(seed: int, users: int, clusters: int) -> None:
    _, instance = drawn(seed, users, min(users, clusters))
    instance = instance.replace(given_common=None, given_edge=None)
    problem, best = Full(instance), -np.inf
    for labels in partitions(users, instance.max_clusters):
        given_clusters = Joint(instance.replace(clusters=labels))
        solved = JointExact().solve(given_clusters, LIMITS)
        assert solved.decision is not None
        outcome = problem.evaluate(solved.decision)
        if outcome.feasible and outcome.objective is not None:
            best = max(best, outcome.objective)
    found = Subsets().solve(problem, LIMITS)
    if best == -np.inf:
        assert found.termination is Termination.INFEASIBLE
        return
    assert found.decision is not None
    assert found.termination is Termination.OPTIMAL
    assert problem.evaluate(found.decision).objective == pytest.approx(best, rel=1e-9, abs=1e-12)


def permuted(instance: Instance, order: np.ndarray) -> Instance:
    def moved(part: object) -> dict[str, np.ndarray]:
        fields = type(part).model_fields  # type: ignore[attr-defined]
        arrays = {name: getattr(part, name) for name in fields}
        return {name: a[order] for name, a in arrays.items() if isinstance(a, np.ndarray) and a.ndim}

    assert instance.clusters is not None
    assert instance.embeddings is not None
    return instance.replace(
        radio=instance.radio.replace(**moved(instance.radio)),
        devices=instance.devices.replace(**moved(instance.devices)),
        clusters=instance.clusters[order],
        embeddings=instance.embeddings[order],
        given_common=None,
        given_edge=None,
    )


@given(seed=seeds, users=st.integers(2, 7), clusters=st.integers(1, 3))
def test_order_of_users_and_names_of_clusters_do_not_matter(seed: int, users: int, clusters: int) -> None:
    rng, instance = drawn(seed, users, min(users, clusters))
    # of a tie for the most central member the first is taken, which depends on the order
    assume(instance.public_prompt.rule != "medoid")
    other = permuted(instance, rng.permutation(users))
    assert other.clusters is not None
    other = other.replace(clusters=rng.permutation(instance.max_clusters)[other.clusters])
    for kind, solver in (("joint", JointExact()), ("joint", JointExactInteger()), ("full", Subsets())):
        integer = isinstance(solver, JointExactInteger)
        bounds = [solver.solve(problem_of(kind, i, whole_sms=integer), LIMITS).bound for i in (instance, other)]  # type: ignore[arg-type]
        assert bounds[0] == pytest.approx(bounds[1], rel=1e-9, abs=1e-12)
    for criterion in ("mean", "centroid", "sum"):
        bounds = [Partitions().solve(Clustering.of(i, criterion), LIMITS).bound for i in (instance, other)]
        assert bounds[0] == pytest.approx(bounds[1], rel=1e-9)


@given(seed=seeds, users=st.integers(1, 8), clusters=st.integers(1, 3), more=st.integers(1, 50))
def test_more_sms_never_hurt(seed: int, users: int, clusters: int, more: int) -> None:
    _, instance = drawn(seed, users, min(users, clusters))
    richer = instance.replace(edge=instance.edge.replace(sms=instance.sm_budget + more))
    solvers: list[tuple[Solver, bool]] = [(JointExact(), False), (JointExactInteger(), True)]
    for solver, integer in solvers:
        poor, rich = (solver.solve(Joint(i, whole_sms=integer), LIMITS).bound for i in (instance, richer))
        assert poor is not None
        assert rich is not None
        assert rich >= poor - 1e-12 * max(1.0, abs(poor))
    whole = JointExactInteger().solve(Joint(instance, whole_sms=True), LIMITS).bound
    real = JointExact().solve(Joint(instance), LIMITS).bound
    assert whole is not None
    assert real is not None
    assert whole <= real + 1e-12 * max(1.0, abs(real))  # whole SMs are a restriction


@given(seed=seeds, users=st.integers(1, 6), factor=st.floats(0.01, 100))
def test_scaling_all_weights_scales_the_optimum(seed: int, users: int, factor: float) -> None:
    _, instance = drawn(seed, users, 1)
    w = instance.weights
    scaled = instance.replace(
        weights=w.replace(quality=factor * w.quality, delay=factor * w.delay, energy=factor * w.energy)
    )
    one, other = (JointExact().solve(Joint(i), LIMITS).bound for i in (instance, scaled))
    assert one is not None
    assert other == pytest.approx(factor * one, rel=1e-9, abs=1e-9 * factor)
