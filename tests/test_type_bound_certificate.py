"""Certificates of the bound by types: the bound is proven anew, and whatever is changed, nothing false is."""

from __future__ import annotations

import copy
import itertools
import json
from functools import cache
from typing import Any

import numpy as np
import pytest
from plain_instances import odd

from hisopt import PRESETS, Instance, Limits
from hisopt.errors import InputError
from hisopt.experiments.campaigns import brute_force
from hisopt.experiments.campaigns.random_instances import draw_instance
from hisopt.instances import PublicPrompt, QualityTable, StepLimits
from hisopt.problems import Full
from hisopt.solvers.base import Deadline
from hisopt.solvers.full.certify import certificate_of, certify
from hisopt.solvers.full.cluster_types import TypeBounds, excess_of
from hisopt.solvers.full.local_search import PartitionSearch
from hisopt.type_bound_certificate import _best, _excess, _undominated, proven_upper_bound

LIMITS = Limits(time_s=60.0, seed=1)
FEW_STEPS = StepLimits(total=6, common_max=3, edge_min=0, edge_max=1, device_min=0, device_max=6)


def through_json(certificate: dict[str, Any]) -> dict[str, Any]:
    return dict(json.loads(json.dumps(certificate, allow_nan=False)))


@cache
def general(instance: Instance) -> dict[str, Any]:
    """A certificate by similarities, however few users there are."""
    deadline = Deadline(LIMITS)
    return through_json(certificate_of(TypeBounds(instance, excess_of(instance, deadline)), deadline))


def fewer(table: QualityTable) -> QualityTable:
    return QualityTable(similarity=table.similarity[::3], coefficients=table.coefficients[::3])


def draw(seed: int, users: int = 5, **changes: Any) -> Instance:
    rng = np.random.default_rng(seed)
    drawn = draw_instance(rng, users, int(rng.integers(1, 4)))
    assert isinstance(drawn, Instance)
    steps = FEW_STEPS.replace(edge_min=int(rng.integers(0, 2)))
    fields = {
        "steps": steps,
        "quality": fewer(drawn.quality),
        "given_common": None,
        "given_edge": None,
        "clusters": None,
    }
    return drawn.replace(**{**fields, **changes})


def searched(problem: Full) -> float:
    decision = PartitionSearch(rounds=1).solve(problem, LIMITS).decision
    assert decision is not None
    value = problem.evaluate(decision).objective
    assert value is not None
    return value


def optimum(instance: Instance) -> float:
    value = brute_force.optimum(Full(instance)).value
    assert value is not None
    return value


@pytest.mark.parametrize("preset", [("small", 8), ("paper", 20)])
def test_a_certificate_proves_what_the_solver_claims(preset: tuple[str, int]) -> None:
    name, users = preset
    problem = Full(PRESETS[name].with_users(users).sample(1))
    found = through_json(certify(problem, LIMITS))
    proven = proven_upper_bound(found, problem.instance)
    assert found["bound"] <= proven <= found["bound"] + 1e-4 * abs(found["bound"])
    value = searched(problem)
    assert value <= proven
    assert proven_upper_bound({**found, "bound": value}, problem.instance) == pytest.approx(found["bound"], rel=1e-3)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("sets", [False, True])
def test_too_low_a_claim_is_raised_above_the_optimum(seed: int, sets: bool) -> None:
    instance = draw(seed)
    best = optimum(instance)
    found = through_json(certify(Full(instance), LIMITS)) if sets else general(instance)
    assert best <= found["bound"]
    for below in (1e-9, 1e-3, 1.0, 1e6):
        assert best <= proven_upper_bound({**found, "bound": best - below * abs(best)}, instance)


@pytest.mark.parametrize("seed", range(6))
def test_one_cluster_of_all_is_certified_to_its_optimum(seed: int) -> None:
    """Every parameter counts; the claim is too low, so what is returned is computed from the instance alone."""
    prompt = [PublicPrompt(), PublicPrompt(rule="affine", slope=0.7, intercept=0.13), PublicPrompt(rule="medoid")][
        seed % 3
    ]
    steps = StepLimits(total=6, common_max=3, edge_min=1, edge_max=2, device_min=0, device_max=6)
    instance = odd(seed, prompt, labels=[0, 0, 0, 0, 0], max_clusters=1, steps=steps)
    best = optimum(instance)
    claim = {"bound": best - 1e-7 * abs(best), "user_prices": [0.3, -1.0, 2.0, 0.0, 0.1], "sets": True}
    assert best <= proven_upper_bound(claim, instance) + 1e-12 * abs(best)
    assert proven_upper_bound(claim, instance) == pytest.approx(best, rel=1e-7)


@pytest.mark.parametrize(("clusters", "priced"), [(1, 0.0), (1, 1.0), (1, 0.3), (2, 1.0)])
def test_equal_users_are_certified_to_their_optimum_by_similarities(clusters: int, priced: float) -> None:
    """All are alike, phi = 1: with slopes that touch their values at 0 and 1 types lose nothing, whatever prices are.

    One X alone is tried, so that one price of excess, all or a part of the slope, fits it.
    """
    base = PRESETS["small"].with_users(4).sample(0)
    assert isinstance(base, Instance)
    rising = QualityTable(similarity=[0.0, 1.0], coefficients=[[1.0, 0.0, 0.0, 0.1], [2.0, 0.0, 0.0, 0.1]])
    steps = FEW_STEPS.replace(common_max=0, edge_max=4)
    instance = base.replace(
        embeddings=np.tile(np.asarray(base.embeddings)[:1], (4, 1)), steps=steps, max_clusters=clusters,
        quality=rising, devices=base.devices.replace(sms=np.full(4, 20.0)), edge=base.edge.replace(sms=30.0),
    )  # fmt: skip
    best, slope = optimum(instance), 0.5 * instance.weights.quality  # Q(1, 0) - Q(0, 0) = 2 / 2 - 1 / 2
    claim = {
        "bound": best - 1e-7 * abs(best), "user_prices": [2.0, 2.0, 2.0, 2.0], "thresholds": [0.0],
        "excess_prices": [priced * slope], "one": [None], "all": [None], "slopes": [[[slope]]],
    }  # fmt: skip
    assert best <= proven_upper_bound(claim, instance) + 1e-12 * abs(best)
    assert proven_upper_bound(claim, instance) == pytest.approx(best, rel=1e-6)


def test_two_clusters_at_right_angles_have_twice_the_excess_of_one() -> None:
    base = PRESETS["small"].with_users(4).sample(0)
    assert isinstance(base, Instance)
    rising = QualityTable(similarity=[0.5, 1.0], coefficients=[[1.0, 0.0, 0.0, 0.1], [9.0, 0.0, 0.0, 0.1]])
    instance = base.replace(
        embeddings=np.eye(2)[[0, 1, 0, 1]], steps=FEW_STEPS.replace(common_max=0), max_clusters=2, quality=rising,
        devices=base.devices.replace(sms=np.full(4, 20.0)),
    )  # fmt: skip
    slope, best = 8.0 * instance.weights.quality, optimum(instance)  # (9 / 2 - 1 / 2) / (1 - 0.5)
    claim = {
        "bound": best - 1e-7 * abs(best), "user_prices": [0.0] * 4, "thresholds": [0.5], "excess_prices": [slope],
        "one": [{"r": 1.0, "rows": np.zeros((4, 4)).tolist()}], "all": [None], "slopes": [[[slope]]],
    }  # fmt: skip
    assert best <= proven_upper_bound(claim, instance) + 1e-12 * abs(best)
    assert proven_upper_bound(claim, instance) == pytest.approx(best, rel=1e-2)  # clusters may be of other sizes


@pytest.mark.parametrize("seed", range(20))
def test_no_choice_of_clusters_is_worth_more_than_the_dynamic_program_says(seed: int) -> None:
    rng = np.random.default_rng(seed)
    users, clusters, count = 4, int(rng.integers(1, 4)), 12
    base = PRESETS["paper"].with_users(users).sample(0).replace(max_clusters=clusters)
    instance = base.replace(edge=base.edge.replace(sms=float(rng.uniform(1, 20))))
    members = np.append(rng.integers(1, users + 1, count), [0, users])
    gain, load = np.append(rng.normal(size=count + 1), 0.0), np.append(rng.uniform(0, 3, count + 1), 0.0)
    gain, load = np.roll(gain, seed), np.roll(load, seed)
    gain[members == 0], load[members == 0] = 0.0, 0.0
    gain += 2.0 * load * rng.uniform(0, 1)
    best = max(
        float(gain[list(of)].sum() - load[list(of)].sum() ** 2 / instance.sm_budget)
        for of in itertools.product(range(count + 2), repeat=clusters)
        if members[list(of)].sum() == users
    )
    for below in (1e-6, 1.0, 1e3, 1e5, 1e6):
        found = _best(_undominated(members, gain, load), instance, 5.0, 5.0 + best - below)
        assert 5.0 + best - 1e-12 <= found
        assert below > 1 or found <= 5.0 + best + 1e-2  # buckets are coarse far below


def leaves(value: Any, *place: Any) -> list[tuple[Any, ...]]:
    if isinstance(value, dict):
        return [leaf for name, below in value.items() for leaf in leaves(below, *place, name)]
    if isinstance(value, list):
        return [leaf for i, below in enumerate(value) for leaf in leaves(below, *place, i)]
    return [place]


def changed(certificate: dict[str, Any], place: tuple[Any, ...], change: Any) -> dict[str, Any]:
    found = copy.deepcopy(certificate)
    at: Any = found
    for step in place[:-1]:
        at = at[step]
    at[place[-1]] = change(at[place[-1]])
    return found


BAD = [float("nan"), float("inf"), -float("inf"), None, "1", [], {}, 10**400, 1e200]


@pytest.mark.parametrize("seed", range(5))
def test_no_change_of_any_number_proves_less_than_the_optimum(seed: int) -> None:
    instance = draw(seed, 4, cluster_size_min=1, cluster_size_max=None, public_prompt=PublicPrompt())
    honest, best = general(instance), optimum(instance)
    rng = np.random.default_rng(seed)
    groups: dict[Any, list[tuple[Any, ...]]] = {}
    for place in leaves(honest):
        groups.setdefault(place[0], []).append(place)
    for places in groups.values():
        for _ in range(6):
            found, factor, added = {**honest, "bound": best - 1e-3 * abs(best)}, rng.normal() * 3, rng.normal()
            for index in rng.integers(0, len(places), int(rng.integers(1, 4))):
                place = places[index]
                found = changed(found, place, lambda old, f=factor, a=added: old if old is None else f * old + a)
            try:
                assert best <= proven_upper_bound(found, instance)
            except InputError as error:
                assert str(error).startswith("certificate: ")  # noqa: PT017 - one or the other must hold


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: str(bad)[:9])
def test_what_is_no_finite_number_is_refused_and_named(bad: Any) -> None:
    instance, honest = four_users()
    named: dict[Any, tuple[Any, ...]] = {place[0]: place for place in leaves(honest)}
    for name, place in named.items():
        if bad is None and len(place) == 2 and name in ("one", "all"):
            continue  # no proof is one
        with pytest.raises(InputError, match=f"certificate: .*{name}"):
            proven_upper_bound(changed(honest, place, lambda _: bad), instance)


def four_users() -> tuple[Instance, dict[str, Any]]:
    drawn = PRESETS["paper"].with_users(4).sample(2)
    assert isinstance(drawn, Instance)
    instance = drawn.replace(quality=fewer(drawn.quality))
    return instance, general(instance)


def test_what_is_missing_or_of_another_shape_is_refused() -> None:
    instance, honest = four_users()
    for name in honest:
        with pytest.raises(InputError, match=f"certificate: .*{name}"):
            proven_upper_bound({key: value for key, value in honest.items() if key != name}, instance)
    lies: list[tuple[tuple[Any, ...], Any, str]] = [
        (("excess_prices", 1), -1e-9, "excess_prices: must be .* >= 0"), (("thresholds", 0), -0.1, "thresholds"),
        (("user_prices",), [0.0], "user_prices: must be 4 finite numbers"), (("slopes",), [[]], "one for each X"),
        (("slopes", 2, 0), [1.0], "X = 2, list 0: slopes"), (("one", -1, "r"), 0.0, "one, threshold 1: r: is 0.0"),
        (("one", -1, "rows"), [[0.0]], "one, threshold 1: rows: must be 4 x 4"), (("all", 1), [], "threshold 1: r"),
        (("one",), [], "one: must be a list"), (("thresholds",), 0.5, "thresholds"), (("slopes", 0), 1.0, "slopes"),
    ]  # fmt: skip
    for place, value, words in lies:
        with pytest.raises(InputError, match=words):
            proven_upper_bound(changed(honest, place, lambda _, v=value: v), instance)
    with pytest.raises(InputError, match="must be a dict"):
        proven_upper_bound([honest], instance)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="under the rule affine"):
        proven_upper_bound(honest, instance.replace(public_prompt=PublicPrompt(rule="affine")))
    with pytest.raises(InputError, match="user_prices"):
        proven_upper_bound(honest, PRESETS["paper"].with_users(5).sample(2))
    with pytest.raises(InputError, match="no partition"):
        proven_upper_bound(honest, instance.replace(cluster_size_min=3, cluster_size_max=3))
    many = PRESETS["paper"].with_users(13).sample(0)
    with pytest.raises(InputError, match="13 users have too many"):
        proven_upper_bound({"bound": 0.0, "user_prices": [0.0] * 13, "sets": True}, many)


@pytest.mark.parametrize("sets", [False, True])
def test_a_certificate_of_other_users_proves_a_bound_that_holds(sets: bool) -> None:
    one, other = (draw(seed, 4, public_prompt=PublicPrompt()) for seed in (1, 2))
    found = through_json(certify(Full(one), LIMITS)) if sets else general(one)
    best = optimum(other)
    assert best <= proven_upper_bound({**found, "bound": best - abs(best)}, other)


@pytest.mark.parametrize("seed", range(8))
def test_no_matrix_proves_less_than_the_largest_excess_of_disjoint_sets(seed: int) -> None:
    rng = np.random.default_rng(seed)
    users, clusters, threshold = 6, int(rng.integers(1, 4)), float(rng.uniform(0, 0.8))
    vectors = rng.normal(size=(users, 4)) + rng.uniform(0, 2)
    if seed % 2:  # clusters at right angles, all of which have excess
        threshold, vectors = 0.5, np.eye(4)[np.arange(users) % clusters] + 0.02 * rng.normal(size=(users, 4))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    instance = PRESETS["paper"].with_users(users).sample(0).replace(embeddings=vectors)
    best, tightest = 0.0, np.inf
    for sets in itertools.product(range(clusters + 1), repeat=users):
        member = np.array(sets) == np.arange(clusters)[:, None]
        best = max(best, float((np.linalg.norm(member @ vectors, axis=1) - threshold * member.sum(axis=1)).sum()))
    for _ in range(200):
        r, noise = threshold + float(rng.choice([0.1, 0.5, 1.0])), rng.normal(size=(users, users))
        likely = rng.choice([0.0, 0.25, 0.5, 0.75, 1.0]) * (vectors @ vectors.T / (2 * r) + r / 2 - threshold)
        rows = likely + noise * 10 ** rng.uniform(-5, 0)
        proof = {"r": r, "rows": rows.tolist()}
        found = _excess(proof, "", instance, threshold, clusters)
        assert best <= found
        tightest = min(tightest, found)
    assert tightest < 1.5 * best + 0.1


def test_fifty_users_are_bounded_above_what_a_search_finds() -> None:
    problem = Full(PRESETS["paper"].sample(0))
    instance = problem.instance
    assert instance.users == 50
    value = searched(problem)
    weak = {
        "bound": value - 1.0, "user_prices": [0.0] * 50, "thresholds": [0.5], "excess_prices": [0.0], "slopes": [[]] * 17,
        "one": [{"r": 0.6, "rows": np.zeros((50, 50)).tolist()}], "all": [None],
    }  # fmt: skip
    assert value <= proven_upper_bound(weak, instance) < 2 * value
