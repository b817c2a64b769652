"""Each rule of the choice of one option a group, against its definition or all choices, written here with loops.

The instances nearly tie, so that what a rule keeps and what it drops differ by little.
"""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from coupling_cases import choices, drawn, groups_of, h, kept, lowest, searching, size_of, values

from hisopt.solvers.joint import scalar_coupling
from hisopt.solvers.joint.coupling_search import Search


def test_the_dual_value_is_its_definition() -> None:
    for seed in range(10):
        case = drawn(seed)
        for multiplier in (0.0, 0.7, 5.0, 40.0):
            assert scalar_coupling.dual_value(*case, multiplier) == pytest.approx(h(case, multiplier), rel=1e-12)


def test_the_dual_is_minimal_and_has_choices_on_both_sides() -> None:
    for seed in range(24):
        case = drawn(seed)
        gain, load, offsets, budget = case
        at, value, low, high = scalar_coupling._minimise_dual(gain, load, offsets, groups_of(case), budget)
        assert value == pytest.approx(h(case, at), abs=1e-13 * size_of(case))
        least = lowest(lambda point, case=case: h(case, point), 0.0, 2 * load.sum())
        assert value <= least + 1e-12 * size_of(case), seed
        assert at >= 0
        for pick in (low, high):  # as good as any at the best price
            assert (groups_of(case)[pick] == np.arange(len(offsets) - 1)).all()
        assert load[high].sum() <= load[low].sum() + 1e-12


@pytest.mark.parametrize("unit", [1e-4, 1e-2, 0.3, 1.0, 1e3])
def test_the_dual_is_minimal_whatever_the_unit_of_loads(unit: float) -> None:
    """Prices below one, and above: squares of them are smaller, and larger, than they are."""
    for seed in range(24):
        gain, load, offsets, budget = drawn(seed)
        for options in (gain, gain + 3 * np.sin(np.arange(len(gain)))):  # of the second some are best nowhere
            case = options, load * unit, offsets, budget * unit**2
            at, value, low, high = scalar_coupling._minimise_dual(case[0], case[1], offsets, groups_of(case), case[3])
            least = lowest(lambda point, case=case: h(case, point), 0.0, 2 * case[1].sum())
            assert value <= least + 1e-12 * size_of(case), seed
            assert case[1][high].sum() <= at * (1 + 1e-9) and at <= case[1][low].sum() * (1 + 1e-9)


def test_options_left_out_are_best_nowhere_between_two_prices() -> None:
    left_out = 0
    for seed in range(24):
        case = drawn(seed)
        gain, load, offsets, budget = case
        options = scalar_coupling._Options(gain, load, np.arange(len(gain)), groups_of(case), offsets[:-1])
        total = load.sum()
        for first, second in ((0.0, 2 * total), (0.2 * total, 0.4 * total), (0.3 * total, 0.3001 * total)):
            low, high = options.respond(first, budget), options.respond(second, budget)
            kept = options.between(low, high, budget)
            assert np.array_equal(np.unique(kept.groups), np.arange(len(offsets) - 1))
            assert np.array_equal(kept.groups, groups_of(case)[kept.index])
            left_out += len(gain) - len(kept.index)
            for at in np.linspace(first, second, 9):
                everything, some = options.respond(at, budget), kept.respond(at, budget)
                assert some.value == pytest.approx(everything.value, abs=1e-12 * size_of(case))
                assert some.value == pytest.approx(h(case, at), abs=1e-12 * size_of(case))
                assert some.load == pytest.approx(load[some.pick].sum())
                assert some.gain == pytest.approx(gain[some.pick].sum())
    assert left_out > 100


def test_the_way_between_two_choices_is_searched_for_the_best() -> None:
    for seed in range(40):
        case = drawn(seed)
        rng = np.random.default_rng(seed)
        low, high = (rng.integers(case[2][:-1], case[2][1:]) for _ in range(2))
        way = [high.copy()]
        for group in np.flatnonzero(low != high):
            way.append(way[-1].copy())
            way[-1][group] = low[group]
        best, value = scalar_coupling._best_on_path(case[0], case[1], case[3], low, high)
        assert value == pytest.approx(values(case, np.array(way)).max(), abs=1e-12 * size_of(case))
        assert values(case, best[None])[0] == pytest.approx(value, abs=1e-12 * size_of(case))


def test_the_best_single_exchange_is_made() -> None:
    improved = 0
    for seed in range(60):
        case = drawn(seed)
        rng, groups = np.random.default_rng(seed), groups_of(case)
        best = rng.integers(case[2][:-1], case[2][1:])
        alive = np.unique(np.append(best, np.flatnonzero(rng.random(len(groups)) < 0.8)))
        value = float(values(case, best[None])[0])
        tried = []
        for k in alive:
            other = best.copy()
            other[groups[k]] = k
            tried.append(other)
        most = float(values(case, np.array(tried)).max())
        found, found_value = scalar_coupling._exchange(case[0], case[1], groups, case[3], best, value, alive)
        assert found_value == pytest.approx(most, abs=1e-12 * size_of(case))
        assert values(case, found[None])[0] == pytest.approx(most, abs=1e-12 * size_of(case))
        improved += most > value
        assert most > value or found is best
    assert improved > 20


def test_no_option_of_a_choice_as_good_as_the_incumbent_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does any stay whose reduced cost alone loses more; equal choices stay, for rounding must not decide."""
    gone, boundary = 0, np.inf
    for seed in range(90):
        case = drawn(seed)
        gain, load, offsets, budget = case
        given = kept(case, monkeypatch, constant=-3.0, tolerance=1e-14, enough=0.01)
        if given is None:
            continue
        priced = gain - 2 * given["multiplier"] / budget * load
        top = [priced[a:b].max() for a, b in pairwise(offsets)]
        reduced = np.array([top[g] - priced[k] for k, g in enumerate(groups_of(case))])
        np.testing.assert_allclose(given["reduced"], reduced, atol=1e-12 * size_of(case))
        assert given["dual"] == pytest.approx(h(case, given["multiplier"]), abs=1e-13 * size_of(case))
        assert given["value"] == pytest.approx(values(case, given["best"][None])[0], abs=1e-13 * size_of(case))
        scale = abs(given["value"] - 3.0)
        assert given["within"] == pytest.approx((1e-14 * scale, 0.01 * scale), rel=1e-6, abs=0.0)
        picks = choices(case)
        good = picks[values(case, picks) >= given["value"] - 1e-15 * np.abs(gain[given["best"]]).sum()]
        assert np.isin(good, given["alive"]).all(), seed
        loss = given["dual"] - given["value"]
        assert (reduced[given["alive"]] <= loss + 1e-11 * size_of(case)).all(), seed
        gone += len(gain) - len(given["alive"])
        others = [r for k, r in enumerate(reduced) if k not in set(given["alive"])]
        boundary = min([boundary, *(r / loss for r in others if loss > 1e-9)])
        numbers = np.abs(gain[given["best"]]).sum() + max(abs(given["dual"]), abs(given["value"]))
        assert 4e-16 * numbers <= given["rounding"] <= 4e-15 * numbers
    assert gone > 100
    assert boundary < 1.1  # and some that went are near the edge


def test_a_bound_that_is_close_enough_ends_it_before_the_search(monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in range(40):
        case = drawn(seed)
        given = kept(case, monkeypatch, constant=-2.0)
        if given is None:
            continue
        apart = (given["dual"] - given["value"]) / abs(given["value"] - 2.0)
        if apart < 1e-9:
            continue
        assert kept(case, monkeypatch, constant=-2.0, tolerance=apart * 0.999) is not None
        found = scalar_coupling.maximise(*case, constant=-2.0, tolerance=apart * 1.001)
        assert found.bound == found.dual_bound == given["dual"] > found.value
        assert found.cells == 0


def test_gaps_are_of_the_value_itself_and_zero_unless_others_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = 0
    for seed in range(40):
        case = drawn(seed)
        given = kept(case, monkeypatch, tolerance=1e-12)
        if given is None:
            continue
        seen += 1
        assert given["within"] == (1e-12 * abs(given["value"]), 0.0)
        both = kept(case, monkeypatch, tolerance=1e-12, enough=1e-3, constant=-2.0)
        assert both is not None and both["within"] == pytest.approx(
            (1e-12 * abs(given["value"] - 2.0), 1e-3 * abs(given["value"] - 2.0)), rel=1e-12
        )
    assert seen > 10


def test_single_options_are_fixed_and_offered() -> None:
    gain, load = np.array([1.0, 4.0, 2.0]), np.array([1.0, 2.0, 1.5])
    case = (gain, load, np.array([0, 2, 3]), 5.0)
    base = searching(case)
    search = Search(
        gain, load, base.groups, base.reduced, 5.0, base.multiplier, base.dual, np.array([0, 2]), -9.0, 0.0, None
    )
    search.run(np.array([1, 2]))
    assert search.best.tolist() == [1, 2]
    assert search.bound == search.value == pytest.approx(4 + 2 - 3.5**2 / 5)


def test_sums_of_rounded_numbers_stay_within_the_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    """In exact arithmetic no option of an optimal choice loses more than is allowed for."""
    for seed in range(15):
        case = drawn(seed)
        given = kept(case, monkeypatch)
        if given is None:
            continue
        exact = [Fraction(g) for g in case[0]], [Fraction(v) for v in case[1]]
        budget, at = Fraction(case[3]), Fraction(given["multiplier"])
        priced = [g - 2 * at * v / budget for g, v in zip(*exact, strict=True)]
        top = [max(priced[a:b]) for a, b in zip(case[2][:-1], case[2][1:], strict=True)]
        picks = choices(case)
        best = max(sum(exact[0][k] for k in row) - sum(exact[1][k] for k in row) ** 2 / budget for row in picks)
        dual = at**2 / budget + sum(top)
        assert abs(Fraction(given["dual"]) - dual) <= Fraction(given["rounding"])
        assert best <= dual
