"""The bound by types of clusters: no decision exceeds it, its parts hold for every cluster, and it is tight enough to use."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from hisopt import PRESETS, Instance, Limits
from hisopt.equations import public_similarity
from hisopt.experiments.campaigns import brute_force
from hisopt.experiments.campaigns.random_instances import draw_instance
from hisopt.problems import Full, Joint
from hisopt.solvers.base import Deadline
from hisopt.solvers.full.cluster_types import TypeBounds, excess_of
from hisopt.solvers.full.direction import largest_excess, most_by_row, nearest_rows, shares
from hisopt.solvers.full.enumerated_types import EnumeratedTypes
from hisopt.solvers.full.subsets import Subsets
from hisopt.solvers.full.type_bound import TypeBound, utility_bound
from hisopt.solvers.joint.exact import JointExact

LIMITS = Limits(time_s=60.0, seed=1)


def bounds_of(instance: Instance) -> TypeBounds:
    return TypeBounds(instance, excess_of(instance, Deadline(LIMITS)))


def draw(seed: int, most: int) -> Full:
    rng = np.random.default_rng(seed)
    users = int(rng.integers(1, most))
    instance = draw_instance(rng, users, int(rng.integers(1, min(users, 4) + 1)))
    assert isinstance(instance, Instance)
    return Full(instance)


@pytest.mark.parametrize("enumerated", [False, True])
@pytest.mark.parametrize("seed", range(16))
def test_no_decision_exceeds_the_bound(seed: int, enumerated: bool) -> None:
    problem = draw(seed, 8)
    exact = Subsets().solve(problem, LIMITS)
    if exact.decision is None:
        return
    value, feasible = brute_force.score(problem, exact.decision)
    assert feasible
    assert value is not None
    rng = np.random.default_rng(seed)
    bounds = EnumeratedTypes(problem.instance) if enumerated else bounds_of(problem.instance)
    price = rng.normal(size=problem.instance.users) * bounds.saved * 10 * rng.integers(0, 2)  # whatever the prices are
    dear = rng.uniform(0, 2 * bounds.steepness, len(bounds.excess.threshold)) * rng.integers(0, 2)
    bound = utility_bound(bounds.types(price, dear), bounds, Deadline(LIMITS))
    assert value <= bound + 1e-9 * abs(value)


@pytest.mark.parametrize("seed", range(10))
def test_the_excess_of_random_clusters_is_below_its_bounds(seed: int) -> None:
    """Tight clusters are planted: their excess comes within a tenth of the bound, and never above it."""
    rng = np.random.default_rng(seed)
    users, clusters, threshold = 12, 3, float(rng.uniform(0.1, 0.6))
    centres = rng.normal(size=(clusters, 20))
    vectors = centres[np.arange(users) % clusters] + 0.25 * rng.normal(size=(users, 20)) * rng.uniform(0.2, 3)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    gram = vectors @ vectors.T
    one, every = (largest_excess(gram, threshold, m, Deadline(LIMITS)).value for m in (1, clusters))
    found_one = found_all = 0.0
    for trial in range(200):
        labels = np.arange(users) % clusters if not trial else rng.integers(0, clusters, users)
        own = []
        for m in range(clusters):
            inside = vectors[labels == m]
            direction = inside.sum(axis=0)
            if len(inside) and np.linalg.norm(direction) > 1e-9:
                phi = inside @ direction / np.linalg.norm(direction)
                own.append(float(np.maximum(phi - threshold, 0).sum()))
        found_one, found_all = max(found_one, *own), max(found_all, sum(own))
    assert found_one <= one + 1e-9
    assert found_all <= every + 1e-9
    assert every <= clusters * one + 1e-9


@pytest.mark.parametrize("seed", range(10))
def test_rows_andshares_are_nearest_points(seed: int) -> None:
    """No other point of the set is nearer: the step towards it makes an obtuse angle (the projection theorem)."""
    rng = np.random.default_rng(seed)
    count, most = 6, int(rng.integers(1, 4))
    matrix, values = rng.normal(size=(count, count)), 2 * rng.normal(size=count)
    rows, inside = nearest_rows(matrix), shares(values, most)
    assert (rows >= 0).all()
    assert (rows <= np.diag(rows)[:, None]).all()
    assert inside.sum() <= most + 1e-9
    for _ in range(200):
        other = rng.uniform(size=(count, count)) * rng.integers(0, 2, (count, count)) * 3
        np.fill_diagonal(other, other.max(axis=1))
        assert ((matrix - rows) * (other - rows)).sum() <= 1e-9
        point = rng.uniform(size=count)
        point *= min(1.0, most / point.sum())
        assert (values - inside) @ (point - inside) <= 1e-9


@pytest.mark.parametrize("seed", range(10))
def test_rows_are_worth_no_less_than_any_disjoint_sets(seed: int) -> None:
    rng = np.random.default_rng(seed)
    worth = rng.normal(size=(6, 6))
    best = 0.0
    for sets in itertools.product(range(4), repeat=6):  # three disjoint sets, and who is in none
        member = np.array(sets)[None, :] == np.arange(3)[:, None]
        best = max(best, sum(float(worth[np.ix_(own, own)].sum()) / own.sum() for own in member if own.any()))
    assert best <= most_by_row(worth)
    alone = np.diag(np.abs(rng.normal(size=6))) - np.ones((6, 6)) + np.eye(6)
    assert most_by_row(alone) == pytest.approx(np.trace(alone))


def test_past_the_deadline_the_bound_is_weaker_and_holds() -> None:
    problem = Full(PRESETS["small"].sample(0))
    late = Deadline(Limits(time_s=0.0))
    bounds = TypeBounds(problem.instance, excess_of(problem.instance, late))
    nothing = np.zeros(problem.instance.users), np.zeros(len(bounds.excess.threshold))
    in_time = utility_bound(bounds.types(*nothing), bounds, Deadline(LIMITS))
    assert utility_bound(bounds.types(*nothing), bounds, late) >= in_time


def test_the_papers_size_is_bounded_within_four_percent() -> None:
    problem = Full(PRESETS["paper"].sample(1))
    excess = excess_of(problem.instance, Deadline(LIMITS))
    bounds = TypeBounds(problem.instance, excess)
    dear = np.where(excess.threshold == 0.5, bounds.steepness, 0.0)
    prices = -11 * (bounds.saved - bounds.saved.mean())
    bound = utility_bound(bounds.types(prices, dear), bounds, Deadline(LIMITS))
    result = TypeBound().solve(problem, Limits(time_s=5.0))
    assert result.decision is not None
    value = problem.evaluate(result.decision).objective
    assert value is not None
    assert value <= bound <= 1.04 * value
    assert result.bound is not None
    assert value <= result.bound


@pytest.mark.parametrize("seed", range(12))
def test_enumerated_types_are_worth_what_their_best_sets_are(seed: int) -> None:
    """No type exceeds its bound from similarities, and the best one of all users together is their joint optimum."""
    problem = draw(seed, 7)
    instance, rng = problem.instance, np.random.default_rng(seed)
    exact, bounds = EnumeratedTypes(instance), bounds_of(instance)
    price, dear = rng.normal(size=instance.users) * exact.saved, np.zeros(len(bounds.excess.threshold))
    found, above = exact.types(price, np.zeros(0)), bounds.types(price, dear)
    assert (found.load == above.load).all()
    finite = np.isfinite(found.gain)
    assert (finite == np.isfinite(above.gain)).all()
    assert (found.gain[finite] <= above.gain[finite] + 1e-9 * (exact.scale + np.abs(above.gain[finite]))).all()
    everyone = np.zeros(instance.users, dtype=np.int64)
    one = instance.replace(max_clusters=1, cluster_size_min=1, cluster_size_max=None, clusters=everyone)
    if one.steps.device_binds:
        return  # then types leave limits on z out
    best = JointExact().solve(Joint(one), LIMITS)
    assert best.decision is not None
    alone = EnumeratedTypes(one).types(np.zeros(instance.users), np.zeros(0))
    value = alone.constant + (alone.gain - alone.load**2 / float(one.edge.sms))[:, instance.users].max()
    assert value == pytest.approx(brute_force.score(Joint(one), best.decision)[0], rel=1e-9, abs=1e-9 * exact.scale)


@pytest.mark.parametrize(("users", "clusters"), [(1, 1), (5, 1), (4, 4)])
def test_small_problems_are_bounded_within_a_thousandth(users: int, clusters: int) -> None:
    problem = Full(PRESETS["paper"].replace(users=users, max_clusters=clusters).sample(3))
    result = TypeBound().solve(problem, LIMITS)
    assert result.decision is not None
    assert result.bound is not None
    assert problem.gap(result.decision, result.bound) <= 1e-3


@pytest.mark.parametrize("seed", range(6))
def test_a_cluster_is_worth_no_more_than_its_type(seed: int) -> None:
    """One cluster alone, its own best steps: gain at the type's prices covers the joint optimum."""
    problem = draw(seed, 7)
    everyone = np.zeros(problem.instance.users, dtype=np.int64)
    one = problem.instance.replace(max_clusters=1, cluster_size_min=1, cluster_size_max=None, clusters=everyone)
    best = JointExact().solve(Joint(one), LIMITS)
    assert best.decision is not None
    assert best.bound is not None
    assert (np.abs(public_similarity(one, everyone)) <= 1e3).all()
    bounds = TypeBounds(one, excess_of(one, Deadline(LIMITS)))
    nothing = np.zeros(one.users), np.zeros(len(bounds.excess.threshold))
    value, _ = brute_force.score(Joint(one), best.decision)
    assert value is not None
    assert value <= utility_bound(bounds.types(*nothing), bounds, Deadline(LIMITS)) + 1e-9 * abs(value)
