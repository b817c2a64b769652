"""The replayed proof rule by rule: what it compares, its margins, its refusals and its similarities, each at the edge."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from joint_plans import plans

from hisopt import Decision, Instance, Limits, optimality_proof
from hisopt.equations import public_similarity
from hisopt.errors import InputError
from hisopt.experiments.campaigns.random_instances import draw_instance
from hisopt.optimality_proof import prove
from hisopt.problems import Joint
from hisopt.solvers.joint.exact import JointExact

Table = list[tuple[Decimal, Decimal]]


def tables_of(rng: np.random.Generator) -> list[Table]:
    """Two to four tables of whole loads and gains, with ties."""
    return [
        [(Decimal(int(load)), Decimal(int(gain))) for load, gain in rng.integers(0, 12, (int(rng.integers(1, 6)), 2))]
        for _ in range(int(rng.integers(2, 5)))
    ]


def expected(tables: list[Table], price: int, budget: int, known: Fraction, margin: Fraction) -> tuple[Fraction, int]:
    """The best choice and how many part-choices are looked at, from the rule: a part goes when it must lose too much."""
    exact = [[(Fraction(load), Fraction(gain)) for load, gain in table] for table in tables]
    tops = [max(gain - Fraction(2 * price, budget) * load for load, gain in table) for table in exact]
    loss = Fraction(price * price, budget) + sum(tops) - known + margin
    left = [
        [(load, gain, top - gain + Fraction(2 * price, budget) * load) for load, gain in table]
        for table, top in zip(exact, tops, strict=True)
    ]
    left = sorted(([entry for entry in entries if entry[2] <= loss] for entries in left), key=len)
    if not all(left):
        return known, 0
    parts, looked = [(Fraction(0), Fraction(0), Fraction(0))], 0
    for i, entries in enumerate(left):
        rest = left[i + 1 :]
        grown = [tuple(a + b for a, b in zip(part, entry, strict=True)) for part in parts for entry in entries]
        allowed = []
        for load, gain, lost in grown:
            nearest = [load + sum(pick(e[0] for e in entries) for entries in rest) for pick in (min, max)]
            apart = max(nearest[0] - price, price - nearest[1], Fraction(0))
            if lost + apart * apart / budget <= loss:
                allowed.append((load, gain, lost))
        looked += len(allowed)
        parts = [
            part
            for k, part in enumerate(allowed)
            if not any(
                (other[0], -other[1], j) < (part[0], -part[1], k) and other[1] >= part[1]
                for j, other in enumerate(allowed)
            )
        ]
    return max((gain - load * load / budget for load, gain, _ in parts), default=known), looked


@pytest.mark.parametrize("seed", range(150))
def test_the_choices_that_could_be_better_are_compared_and_no_others(seed: int) -> None:
    rng = np.random.default_rng(seed)
    tables = tables_of(rng)
    price, budget = int(rng.integers(0, 20)), int(rng.choice([1, 2, 4, 8, 16, 64]))
    worths = [
        sum((gain for _, gain in choice), Decimal(0)) - sum((load for load, _ in choice), Decimal(0)) ** 2 / budget
        for choice in product(*tables)
    ]
    best = max(worths)
    for known in (best, best - 1, best - 7, best + 3, best + 100, min(worths)):
        for scale in (Decimal(0), 4 * Decimal(10) ** 30):  # margins of 0 and of 4
            found, compared = optimality_proof._best(tables, Decimal(price), Decimal(budget), known, scale)
            margin = Fraction(scale) * Fraction(1, 10**30)
            assert (Fraction(found), compared) == expected(tables, price, budget, Fraction(known), margin)
            if known <= best:
                assert found == best
            else:
                assert found <= known


def test_where_no_choice_loses_as_little_the_known_value_is_returned() -> None:
    tables = [[(Decimal(load), Decimal(0))] for load in (3, 4, 5)] + [[(Decimal(0), Decimal(0))] * 2]
    known = Decimal(50)
    assert optimality_proof._best(tables, Decimal(2), Decimal(1), known, Decimal(0)) == (known, 0)
    tables = [[(Decimal(load), Decimal(-load))] for load in (0, 9, 9)]
    at = Decimal(0)  # the first table alone has what loses nothing
    assert optimality_proof._best(tables, Decimal(0), Decimal(1), at + 1, Decimal(0)) == (at + 1, 0)


@pytest.mark.parametrize(("entries", "ends"), [(10, True), (11, False)])
def test_the_most_comparisons(entries: int, ends: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optimality_proof, "_MOST_STATES", 1)
    table = [(Decimal(load), Decimal(-load)) for load in range(entries)]  # each beaten by the first
    given: tuple[list[Table], Decimal, Decimal, Decimal, Decimal]
    given = ([table], Decimal(0), Decimal(1), Decimal(-1000), Decimal(0))
    if ends:
        assert optimality_proof._best(*given) == (0, entries)
    else:
        with pytest.raises(InputError, match="too many choices"):
            optimality_proof._best(*given)
    table = [(Decimal(0), Decimal(0)), (Decimal(1), Decimal(5))]  # neither beats the other
    with pytest.raises(InputError, match="too many choices"):
        optimality_proof._best([table], Decimal(0), Decimal(1), Decimal(-1000), Decimal(0))


def drawn(seed: int) -> Instance:
    instance = draw_instance(np.random.default_rng(seed), 3, 2)
    assert isinstance(instance, Instance)
    steps = instance.steps.replace(total=5, common_max=2, edge_min=0, edge_max=2, device_min=0, device_max=5)
    radio = instance.radio.replace(power_w=0.3)
    return instance.replace(steps=steps, radio=radio, given_common=None, given_edge=None)


def solved(instance: Instance) -> tuple[Decision, float]:
    result = JointExact().solve(Joint(instance), Limits())
    assert result.decision is not None
    return result.decision, float(result.details["multiplier"])


@pytest.mark.parametrize("seed", range(4))
def test_what_is_sent_is_paid_and_changes_no_comparison(seed: int) -> None:
    instance = drawn(seed)
    decision, multiplier = solved(instance)
    few = prove(instance, decision, multiplier)
    heavy = instance.replace(latent=instance.latent.replace(bits=instance.latent.bits * 1000))
    many = prove(heavy, decision, multiplier)
    assert many.compared == few.compared > 0
    objective = Joint(heavy).evaluate(decision).objective
    assert many.value == pytest.approx(objective, rel=1e-13)
    assert many.value < few.value


@pytest.mark.parametrize(("seed", "shift"), [(0, 0.0), (1, 0.0), (2, -0.4), (3, -0.4), (4, -3.0), (5, 3.0)])
def test_margins_are_shares_of_the_size_of_the_terms(seed: int, shift: float, monkeypatch: pytest.MonkeyPatch) -> None:
    instance = raised(drawn(seed), shift)
    ranked = plans(instance)
    (best, decision), (worth, second) = ranked[0], next(p for p in ranked if p[0] < ranked[0][0] - 1e-6)
    multiplier = solved(instance)[1]
    rows, steps = np.asarray(instance.quality.coefficients), np.arange(instance.steps.common_max + 1)
    curves = rows[:, [0]] / (1 + np.exp(rows[:, [1]] * (steps - rows[:, [2]]))) + rows[:, [3]]
    proof = prove(instance, decision, multiplier)
    monkeypatch.setattr(optimality_proof, "_MARGIN", Decimal("1e-3"))
    wide = prove(instance, decision, multiplier, tolerance=10.0)
    margin = wide.bound - wide.value
    told = Joint(instance).evaluate(decision)
    knots, phi = instance.quality.similarity, public_similarity(instance, instance.labels)
    of_users = np.stack([np.interp(np.clip(phi, knots[0], knots[-1]), knots, curve) for curve in curves.T])
    size = instance.weights.quality * np.abs(of_users).max(axis=0).sum()
    assert told.feasible
    assert proof.value == pytest.approx(wide.value)
    assert margin == pytest.approx(1e-3 * (1 + size + sum_of_quality(instance, decision) - best))
    for share, refused in ((0.9, False), (1.1, True)):
        bound = best - share * margin
        if refused:
            with pytest.raises(InputError, match=r"bound .*: refuted"):
                prove(instance, decision, multiplier, bound=bound, tolerance=10.0)
        else:
            assert prove(instance, decision, multiplier, bound=bound, tolerance=10.0).bound == wide.bound
    monkeypatch.setattr(optimality_proof, "_MARGIN", Decimal(repr(0.1 * (best - worth) / (1000 * margin))))
    other = prove(instance, second, multiplier, tolerance=1e9).bound - best
    for share, refused in ((0.9, False), (1.1, True)):
        if refused:
            with pytest.raises(InputError, match=r"bound .*: not proven"):
                prove(instance, second, multiplier, bound=best - share * other, tolerance=1e9)
        else:
            assert prove(instance, second, multiplier, bound=best - share * other, tolerance=1e9).value < best


def sum_of_quality(instance: Instance, decision: Decision) -> float:
    """w1 sum Q_n of a decision: its utility under the weight of quality alone."""
    alone = instance.replace(weights=instance.weights.replace(delay=0.0, energy=0.0))
    objective = Joint(alone).evaluate(decision).objective
    assert objective is not None
    return objective


def raised(instance: Instance, constant: float) -> Instance:
    """The instance with a constant added to every quality curve."""
    rows = [[a, b, c, d + constant] for a, b, c, d in np.asarray(instance.quality.coefficients).tolist()]
    return instance.replace(quality=instance.quality.replace(coefficients=rows))


@pytest.mark.parametrize("seed", [2, 5])
@pytest.mark.parametrize("share", [-2.0, -0.5, 0.2, 1.2, 50.0])
def test_the_tolerance_is_relative_to_the_larger_of_decision_and_bound(share: float, seed: int) -> None:
    """At utilities of both signs: the best lies so many spreads of all plans below zero."""
    instance = drawn(seed)
    values = [value for value, _ in plans(instance)]
    below = values[0] + share * (values[0] - values[-1])
    instance = raised(instance, -below / (instance.weights.quality * instance.users))
    ranked = plans(instance)
    best, multiplier = ranked[0][0], solved(instance)[1]
    for worth, plan in (ranked[-1], ranked[len(ranked) // 2]):
        apart = (best - worth) / max(abs(best), abs(worth))
        prove(instance, plan, multiplier, tolerance=1.001 * apart)
        with pytest.raises(InputError, match="decision: worth"):
            prove(instance, plan, multiplier, tolerance=0.999 * apart)


def test_by_default_a_ten_millionth_is_no_optimum() -> None:
    instance = drawn(2)
    ranked = plans(instance)
    worse = next(plan for value, plan in ranked if value < ranked[0][0] - 1e-3)
    apart = ranked[0][0] - prove(instance, worse, 1.0, tolerance=1e9).value
    bits = instance.latent.bits * int(1e7 * apart / sent(instance))
    heavy = instance.replace(latent=instance.latent.replace(bits=bits))
    prove(heavy, worse, solved(heavy)[1], tolerance=1e-5)
    with pytest.raises(InputError, match="decision: worth"):
        prove(heavy, worse, solved(heavy)[1])


def sent(instance: Instance) -> float:
    doubled = instance.replace(latent=instance.latent.replace(bits=2 * instance.latent.bits))
    decision = solved(instance)[0]
    values = [Joint(one).evaluate(decision).objective for one in (instance, doubled)]
    assert values[0] is not None
    assert values[1] is not None
    return values[0] - values[1]


@pytest.mark.parametrize(("x", "y"), [(-1, 2), (3, 0), (2, -1), (0, 3), (1, 3)])
def test_steps_out_of_either_range_are_refused(x: int, y: int) -> None:
    instance = drawn(1)
    decision, multiplier = solved(instance)
    assert decision.steps_common is not None
    assert decision.steps_edge is not None
    common, steps_edge = decision.steps_common.copy(), decision.steps_edge.copy()
    common[1], steps_edge[1] = x, y
    with pytest.raises(InputError, match="steps of user 1 are not allowed"):
        prove(instance, replace(decision, steps_common=common, steps_edge=steps_edge), multiplier)


def with_embeddings(vectors: np.ndarray, rule: str) -> Instance:
    instance = draw_instance(np.random.default_rng(0), len(vectors), 1)
    assert isinstance(instance, Instance)
    return instance.replace(
        embeddings=vectors, similarity=None, clusters=np.zeros(len(vectors), dtype=np.int64), max_clusters=1,
        public_prompt=instance.public_prompt.replace(rule=rule),
    )  # fmt: skip


@pytest.mark.parametrize(("apart", "first"), [(4e-10, True), (6e-9, False)])
def test_medoids_tie_by_nine_digits(apart: float, first: bool) -> None:
    """Two central users whose sums differ by less than 1e-9 tie, and the first is the medoid."""

    def vectors(spread: float, shift: float) -> np.ndarray:
        angles = np.array([spread, -spread + shift, 4 * spread, -4 * spread])
        return np.stack([np.cos(angles), np.sin(angles)], axis=1)

    for spread in np.linspace(0.1, 0.3, 201):
        slope = np.diff((vectors(spread, 1e-4) @ vectors(spread, 1e-4).sum(axis=0))[:2])[0] / 1e-4
        found = vectors(spread, apart / slope)
        sums = found @ found.sum(axis=0)
        one, other = sums[:2]
        if one + 0.8 * apart < other and other == sums.max() and (round(one, 9) == round(other, 9)) == first:
            if first and round(one, 10) == round(other, 10):
                continue
            if not first and round(one, 8) != round(other, 8):
                continue
            break
    else:
        raise AssertionError("no such spread")
    told = [float(phi) for phi in optimality_proof._similarities(with_embeddings(found, "medoid"))]
    np.testing.assert_allclose(told, found @ found[0 if first else 1], rtol=0, atol=1e-13)
    assert told[0 if first else 1] == pytest.approx(1, abs=1e-13)
    assert told[1 if first else 0] < 1 - 1e-3


@pytest.mark.parametrize(("length", "none"), [(1.9e-6, True), (2.1e-6, False), (0.9e-6, True)])
def test_a_mean_below_a_millionth_has_no_direction(length: float, none: bool) -> None:
    half = length / 2
    found = np.array([[half, np.sqrt(1 - half**2)], [half, -np.sqrt(1 - half**2)]])
    told = [float(phi) for phi in optimality_proof._similarities(with_embeddings(found, "ideal"))]
    np.testing.assert_allclose(told, 0.0 if none else half, rtol=1e-6)


def test_similarities_never_leave_minus_one_to_one() -> None:
    beyond = 0
    for seed in range(30):
        vector = np.random.default_rng(seed).normal(size=3)
        vector /= np.linalg.norm(vector)
        exact = sum(Fraction(value) ** 2 for value in vector.tolist())
        beyond += exact > 1
        found = optimality_proof._similarities(with_embeddings(np.array([vector, vector, -vector]), "ideal"))
        assert max(found) <= 1
        assert min(found) >= -1
        np.testing.assert_allclose([float(phi) for phi in found], [1, 1, -1], atol=1e-15)
    assert beyond > 5
