"""Each rule of the choice of one option a group, against its definition or all choices, written here with loops.

The instances nearly tie, so that what a rule keeps and what it drops differ by little.
"""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise, product
from typing import Any

import numpy as np
import pytest

from hisopt.solvers.joint import coupling_search, scalar_coupling
from hisopt.solvers.joint.coupling_search import Search, _Cell

OUT = 3e-10  # relative; how far outside a cell a total may lie that its slack still holds

Case = tuple[np.ndarray, np.ndarray, np.ndarray, float]


def drawn(seed: int) -> Case:
    """Gains that tie at a price, but for reduced costs as large as a step of load costs."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 5, rng.integers(2, 6))
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    total = int(offsets[-1])
    load = rng.integers(0, 8, total).astype(float) if seed % 2 else rng.uniform(0.1, 8, total)
    budget = float(10 ** rng.uniform(-1, 2))
    price = load.sum() / total * len(sizes) * rng.uniform(0.5, 1.5)
    reduced = rng.integers(0, 9, total) if seed % 3 else rng.uniform(0, 12, total)
    gain = (2 * price * load - reduced * rng.choice([0.5, 1, 3])) / budget
    unit = 1e6 if seed % 7 == 5 else 1.0  # of loads: the same choices
    return gain, load * unit, offsets, budget * unit**2


def choices(case: Case) -> np.ndarray:
    return np.array(list(product(*(range(a, b) for a, b in zip(case[2][:-1], case[2][1:], strict=True)))))


def values(case: Case, picks: np.ndarray) -> np.ndarray:
    return np.asarray(case[0][picks].sum(axis=1) - case[1][picks].sum(axis=1) ** 2 / case[3])


def h(case: Case, multiplier: float) -> float:
    gain, load, offsets, budget = case
    total = multiplier**2 / budget
    for first, last in pairwise(offsets):
        total += max(gain[k] - 2 * multiplier * load[k] / budget for k in range(first, last))
    return float(total)


def groups_of(case: Case) -> np.ndarray:
    return np.repeat(np.arange(len(case[2]) - 1), np.diff(case[2]))


def size_of(case: Case) -> float:
    return float(np.abs(case[0]).sum() + case[1].sum() ** 2 / case[3])


def lowest(function: Any, low: float, high: float) -> float:
    """The minimum of a convex function, by thirds."""
    for _ in range(70):
        a, b = low + (high - low) / 3, high - (high - low) / 3
        low, high = (low, b) if function(a) <= function(b) else (a, high)
    return float(min(function(low), function(high)))


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


class Kept(Exception):
    """What reaches the search."""


def kept(case: Case, monkeypatch: pytest.MonkeyPatch, **options: float) -> dict[str, Any] | None:
    """What reaches the search; None where the dual bound is the value."""
    names = [
        "gain",
        "load",
        "groups",
        "reduced",
        "budget",
        "multiplier",
        "dual",
        "best",
        "value",
        "rounding",
        "deadline",
        "within",
    ]

    class Recorder:
        def __init__(self, *given: Any) -> None:
            self.given = dict(zip(names, given, strict=False))  # and who is told of it

        def run(self, alive: np.ndarray) -> None:
            raise Kept(self.given | {"alive": alive})

    monkeypatch.setattr(scalar_coupling, "Search", Recorder)
    try:
        found = scalar_coupling.maximise(*case, **options)
    except Kept as caught:
        reached: dict[str, Any] = caught.args[0]
        return reached
    assert found.bound <= found.value + 1e-12 * size_of(case)
    return None


def test_no_option_of_a_choice_as_good_as_the_incumbent_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does any stay whose reduced cost alone loses more; equal choices stay, for rounding must not decide."""
    gone, edge = 0, np.inf
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
        edge = min([edge, *(r / loss for r in others if loss > 1e-9)])
        numbers = np.abs(gain[given["best"]]).sum() + max(abs(given["dual"]), abs(given["value"]))
        assert 4e-16 * numbers <= given["rounding"] <= 4e-15 * numbers
    assert gone > 100
    assert edge < 1.1  # and some that went are near the edge


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


def searching(case: Case, lower: float = 0.0, shift: float = 1.0) -> Search:
    """A search with a price a little off and an incumbent below the optimum."""
    gain, load, offsets, budget = case
    at = scalar_coupling._minimise_dual(gain, load, offsets, groups_of(case), budget)[0] * shift
    priced = gain - 2 * at / budget * load
    reduced = np.maximum.reduceat(priced, offsets[:-1])[groups_of(case)] - priced
    picks = choices(case)
    worth = values(case, picks)
    best = picks[np.argsort(worth)[-2:][0]]
    value = float(values(case, best[None])[0]) - lower
    return Search(gain, load, groups_of(case), reduced, budget, at, h(case, at), best, value, 1e-12, None)


@pytest.mark.parametrize("way", ["pairs", "shifts", "neighbours"])
def test_intervals_hold_every_total_at_which_an_option_can_be_optimal(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the two rules of the docstring: the loss, and no exchange that gains; an option that no S allows goes."""
    if way != "pairs":
        monkeypatch.setattr(coupling_search, "_AT_ONCE", 0)
    if way == "neighbours":
        monkeypatch.setattr(coupling_search, "_PAIRWISE", 0)
        monkeypatch.setattr(coupling_search, "_NEIGHBOURS", 2)
    dropped = 0
    for seed in range(60):
        case = drawn(seed)
        search = searching(case, lower=0.1 * size_of(case) * (seed % 2))
        rng = np.random.default_rng(seed)
        options = rng.permutation(np.arange(case[2][0], case[2][1]))
        gain, load, reduced, budget = search.gain, search.load, search.reduced, search.budget
        undominated = [
            k for k in options
            if not any(
                load[o] <= load[k] and gain[o] >= gain[k] and (load[o], -gain[o], o) != (load[k], -gain[k], k)
                and (load[o] < load[k] or gain[o] > gain[k] or list(options).index(o) < list(options).index(k))
                for o in options
            )
        ]  # fmt: skip
        undominated.sort(key=lambda k: load[k])
        expected: dict[int, tuple[float, float]] = {}
        for at, k in enumerate(undominated):
            radius = np.sqrt(budget * max(search.dual - search.value + 1e-12 - reduced[k], 0.0))
            low, high = -radius, radius
            for other_at, other in enumerate(undominated):
                delta = load[other] - load[k]
                if other == k or (way == "neighbours" and abs(other_at - at) > 1):
                    continue
                edge = (budget * (reduced[other] - reduced[k]) / delta + delta) / 2
                low, high = (low, min(high, edge)) if delta > 0 else (max(low, edge), high)
            expected[k] = (search.multiplier - high, search.multiplier - low)
        found, start, end = search._intervals(options)
        assert list(found) == sorted(found, key=lambda k: load[k])
        slack = 1e-7 * (search.multiplier + np.sqrt(budget * (search.dual - search.value)) + 1e-9)
        for k, first, last in zip(found, start, end, strict=True):
            assert expected[k][0] - slack <= first <= expected[k][0] - 9e-10 * search.multiplier
            assert expected[k][1] + slack >= last >= expected[k][1] + 9e-10 * search.multiplier
        assert {k for k in undominated if expected[k][0] <= expected[k][1] - 1e-9 * search.multiplier} <= set(found)
        assert {k for k in undominated if expected[k][0] <= expected[k][1] + slack} >= set(found)
        dropped += len(options) - len(found)
    assert dropped > 5


def cell_of(search: Search, rng: np.random.Generator, depth: int = 1) -> _Cell:
    """A cell that holds some totals, its boxes without intervals."""
    size = len(search.best)
    total = sum(search.load[rng.choice(np.flatnonzero(search.groups == g))] for g in range(size))
    width = search.load.max() * rng.uniform(0.05, 1.5)
    low = total + search._fixed_load - width * rng.random()
    boxes = []
    for group in range(size):
        own = np.flatnonzero(search.groups == group)
        own = own[np.argsort(search.load[own], kind="stable")]
        boxes.append((own, np.full(len(own), -np.inf), np.full(len(own), np.inf)))
    return _Cell(low, low + width, depth, boxes)


def fixed(search: Search) -> Search:
    search._base, search._fixed_load, search._fixed_gain = search.best.copy(), 0.0, 0.0
    return search


def far(point: float, cell: _Cell) -> float:
    return max(cell.low - point, point - cell.high, 0.0)


@pytest.mark.parametrize("depth", [0, 1])
def test_the_price_of_a_cell_is_its_best(depth: int) -> None:
    for seed in range(20):
        case = drawn(seed)
        search, rng = fixed(searching(case)), np.random.default_rng(seed)
        search._fixed_load, search._fixed_gain = 1.5 * (seed % 2), 0.25
        cell = cell_of(search, rng, depth)

        def whole(at: float, search: Search = search, case: Case = case) -> float:
            return h(case, at) + search._fixed_gain - 2 * at / search.budget * search._fixed_load

        def restricted(at: float, cell: _Cell = cell, search: Search = search, whole: Any = whole) -> float:
            return float(whole(at) - far(at, cell) ** 2 / search.budget)

        at, dual, tops = search._price(cell.boxes, cell)
        assert dual == pytest.approx(whole(at), abs=1e-12 * size_of(case))
        for top, (options, _, _) in zip(tops, cell.boxes, strict=True):
            expected = max(case[0][k] - 2 * at / case[3] * case[1][k] for k in options)
            assert top == pytest.approx(expected, abs=1e-12 * size_of(case))
        if depth:
            least = lowest(restricted, 0.0, 4 * (case[1].sum() + abs(cell.high)))
            assert restricted(at) <= least + 1e-7 * size_of(case), seed
        else:
            assert at == search.multiplier


def test_what_goes_from_a_cell_is_in_none_of_its_choices() -> None:
    """Until nothing more goes: an option's cost with the least of the others, and the totals that it can reach."""
    dropped = closed = 0
    for seed in range(60):
        case = drawn(seed)
        search, rng = fixed(searching(case)), np.random.default_rng(seed)
        search._fixed_load = 0.75 * (seed % 3)
        cell = cell_of(search, rng, seed % 2)  # at depth 0 the price is the search's, and may lie far off
        if seed % 4 == 0:  # a cell that hardly holds a total
            cell = _Cell(cell.low + 1.5 * case[1].max(), cell.high + 1.5 * case[1].max(), 1, cell.boxes)
        elif seed % 4 < 3:  # one that begins or ends at a total
            total = search._fixed_load + sum(case[1][rng.choice(box[0])] for box in cell.boxes)
            width = 0.2 * case[1].max()
            ends = (total * (1 + OUT), total + width) if seed % 4 == 1 else (total - width, total * (1 - OUT))
            cell = _Cell(*ends, cell.depth, cell.boxes)
        at, dual, tops = search._price(cell.boxes, cell)
        tops = tops + rng.uniform(0, 0.02, len(tops)) * size_of(case) * (seed % 3 == 0)  # of options that went before
        loss = far(at, cell) ** 2 / case[3] + rng.uniform(0.5, 3) * max(dual - search.value, 0.05 * size_of(case))
        room = loss - far(at, cell) ** 2 / case[3]
        slack = 5e-10 * (at + abs(cell.low) + abs(cell.high))
        cost = {
            k: max(tops[search.groups[k]] - case[0][k] + 2 * at / case[3] * case[1][k], 0.0)
            for k in range(len(case[0]))
        }
        left = [list(box[0]) for box in cell.boxes]
        while True:
            if any(not own for own in left) or sum(min(cost[k] for k in own) for own in left) > room:
                left = []
                break
            new = []
            for i, own in enumerate(left):
                rest = [other for j, other in enumerate(left) if j != i]
                least = sum(min(cost[k] for k in other) for other in rest)
                low = search._fixed_load + sum(min(case[1][k] for k in other) for other in rest)
                high = search._fixed_load + sum(max(case[1][k] for k in other) for other in rest)
                new.append([
                    k for k in own
                    if cost[k] + least <= room
                        and case[1][k] + high >= cell.low - slack and case[1][k] + low <= cell.high + slack
                ])  # fmt: skip
            if new == left:
                break
            left = new
        found = search._restrict(cell.boxes, tops, at, cell, loss)
        if found is None:
            assert not left, seed
            closed += 1
            continue
        assert [list(box[0]) for box in found[0]] == left, seed
        for (options, start, end), costs in zip(*found, strict=True):
            np.testing.assert_allclose(costs, [cost[k] for k in options], atol=1e-12 * size_of(case))
            assert len(start) == len(end) == len(options)
        dropped += sum(len(box[0]) for box in cell.boxes) - sum(map(len, left))
    assert dropped > 50
    assert closed > 5


@pytest.mark.parametrize("moved", [0.0, 0.3])
def test_a_state_goes_only_where_another_surely_beats_it(moved: float) -> None:
    rng = np.random.default_rng(0)
    for _ in range(60):
        size = int(rng.integers(1, 9))
        loads, gain = rng.integers(0, 9, size) / 4, rng.integers(0, 9, size) / 4
        error = moved / 2
        kept = []
        for i in range(size):
            rivals = [
                j for j in range(size)
                if (loads[j] <= loads[i] - 2 * moved and gain[j] >= gain[i] + 2 * error)
                and (moved > 0 or (loads[j], -gain[j], j) < (loads[i], -gain[i], i))
            ]  # fmt: skip
            if not rivals:
                kept.append(i)
        found = coupling_search._frontier(loads, gain, moved, error)
        assert sorted(found.tolist()) == kept
        assert (np.diff(loads[found]) >= 0).all()


@pytest.mark.parametrize("target", [1, 4, 9])
def test_joined_states_stand_for_all_of_theirs(target: int) -> None:
    rng = np.random.default_rng(target)
    for tilt in (-1.5, 0.0, 0.8):
        loads = np.sort(rng.uniform(3, 8, 40))
        reduced = rng.uniform(0, 2, 40)
        pick, centre, cost, moved = coupling_search._round(loads, reduced, tilt, target)
        assert target <= len(pick) <= 2 * target + 2
        assert (np.diff(centre) > 0).all()
        first, widest = 0, 0.0
        for b in range(len(pick)):  # the middle of a bucket says where it ends
            last = int(np.abs(loads - (2 * centre[b] - loads[first])).argmin())
            assert centre[b] == pytest.approx((loads[first] + loads[last]) / 2)
            tilted = reduced[first : last + 1] - tilt * loads[first : last + 1]
            assert pick[b] == first + np.argmin(tilted)
            assert cost[b] == pytest.approx(tilted.min() + tilt * centre[b])
            first, widest = last + 1, max(widest, loads[last] - loads[first])
        assert first == len(loads)
        assert moved == pytest.approx(widest / 2)
    same = coupling_search._round(np.full(3, 2.0), np.array([1.0, 0.5, 2.0]), 0.4, target)
    assert [list(map(float, np.atleast_1d(part))) for part in same] == [[1.0], [2.0], [0.5], [0.0]]
    assert coupling_search._distance(2.0, 3.5, 4.0) == coupling_search._distance(5.5, 3.0, 4.0) == 1.5
    assert coupling_search._distance(3.0, 3.0, 4.0) == coupling_search._distance(4.0, 3.0, 4.0) == 0.0


@pytest.mark.parametrize(("states", "pairs"), [(1000, 8000), (2, 8000), (1000, 6), (3, 8)])
def test_a_merged_cell_finds_or_bounds_its_best_choice(
    states: int, pairs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exact merges offer the best choice of the cell; where states were joined, the bound is above it."""
    for name, value in (("_FRONTIER", states), ("_ROUNDED", states), ("_PAIRS", pairs)):
        monkeypatch.setattr(coupling_search, name, value)
    joined = loose = 0.0
    for seed in range(150):
        case = drawn(seed)
        search, rng = fixed(searching(case, shift=(1.0, 0.9, 1.05, 3.0)[seed % 4])), np.random.default_rng(seed)
        picks = choices(case)
        worth, totals = values(case, picks), case[1][picks].sum(axis=1)
        cell = cell_of(search, rng, seed % 2)
        if seed % 5 < 2:  # it begins or ends at a total
            total, width = rng.choice(totals), 0.25 * case[1].max()
            ends = (total * (1 + OUT), total + width) if seed % 5 else (total - width, total * (1 - OUT))
            cell = _Cell(*ends, cell.depth, cell.boxes)
        slack = 5e-10 * (abs(cell.low) + abs(cell.high))
        inside = (totals >= cell.low - slack) & (totals <= cell.high + slack)
        best = worth[inside].max()
        start = search.value = best - (1e-9, 1e-3, 0.3)[seed % 7 % 3] * size_of(case)
        at, dual, tops = search._price(cell.boxes, cell)
        active = search._restrict(cell.boxes, tops, at, cell, dual - search.value)
        assert active is not None
        bound = search._merge(*active, at, dual, cell)
        assert bound is not None
        known = values(case, search.best[None])[0]
        assert search.value == start or search.value == pytest.approx(known, abs=1e-12 * size_of(case))
        if states == 1000 and pairs == 8000:
            assert bound == -np.inf
            assert search.value >= best - 1e-12 * size_of(case), seed
        else:
            assert max(bound, search.value) >= best - 1e-12 * size_of(case), seed
            joined += bound > -np.inf
            loose = max(loose, (bound - best) / size_of(case))
    assert joined > 5 or (states, pairs) == (1000, 8000)
    assert loose < 0.03


def test_fine_rounding_bounds_nearly_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many states, of which a few move a little: the bound is the best choice of the cell, but for what moved."""
    for name in ("_FRONTIER", "_ROUNDED"):
        monkeypatch.setattr(coupling_search, name, 40)
    for seed in range(24):
        rng = np.random.default_rng(seed)
        load, budget = rng.uniform(0, 2, 18), 10 ** rng.uniform(0, 1)
        reduced = rng.uniform(0, 0.6, 18) / budget
        price = 6.0 * rng.uniform(0.6, 1.4)
        case = (2 * price * load / budget - reduced, load, np.arange(0, 19, 3), budget)
        search = fixed(searching(case, shift=rng.choice([0.8, 1.0, 1.25, 2.5])))
        picks = choices(case)
        worth, totals = values(case, picks), load[picks].sum(axis=1)
        low = rng.uniform(3, 7)
        cell = _Cell(low, low + rng.choice([0.5, 2.0, 4.0]), 0, cell_of(search, rng).boxes)
        best = worth[(totals >= cell.low) & (totals <= cell.high)].max()
        search.value = best - (3.0, 1e-9)[seed % 2]
        at, dual, tops = search._price(cell.boxes, cell)
        active = search._restrict(cell.boxes, tops, at, cell, dual - search.value)
        assert active is not None
        bound = search._merge(*active, at, dual, cell)
        assert bound is not None
        assert max(bound, search.value) >= best - 1e-12
        assert bound <= best + 0.4


def test_a_closed_cell_bounds_what_its_options_allow() -> None:
    """Options go whose interval misses the cell; the halves hold what may be optimal in them."""
    split = 0
    for seed in range(80):
        case = drawn(seed)
        search, rng = fixed(searching(case, shift=(1.0, 0.9, 1.05, 3.0)[seed % 4])), np.random.default_rng(seed)
        cell = cell_of(search, rng, seed % 2)
        boxes = []
        for options, start, end in cell.boxes:
            away = (rng.random(len(options)) < 0.3) & (np.arange(len(options)) != rng.integers(len(options)))
            above = rng.random(len(options)) < 0.5
            start, end = np.where(away & above, cell.high * 1.01 + 1, start), np.where(away & ~above, cell.low - 1, end)
            edge = rng.uniform(cell.low, cell.high, len(options))
            boxes.append((options, np.where(~away & above, edge, start), np.where(~away & ~above, edge, end)))
        cell = _Cell(cell.low, cell.high, cell.depth, boxes)
        allowed = {int(k) for options, start, end in boxes for k in options[(start <= cell.high) & (end >= cell.low)]}
        picks = choices(case)
        picks = picks[[set(row.tolist()) <= allowed for row in picks]]
        worth, totals = values(case, picks), case[1][picks].sum(axis=1)
        starts = {int(k): a for options, start, _ in boxes for k, a in zip(options, start, strict=True)}
        ends = {int(k): b for options, _, end in boxes for k, b in zip(options, end, strict=True)}
        first = np.array([max(cell.low, *(starts[int(k)] for k in row)) for row in picks])
        last = np.array([min(cell.high, *(ends[int(k)] for k in row)) for row in picks])
        inside = (totals >= first) & (totals <= last)
        best = worth[inside].max(initial=-np.inf)
        before = search.value = (best if inside.any() else worth.max()) - (1e-9, 1e-3, 0.3)[seed % 7 % 3] * size_of(
            case
        )
        bound, halves = search._close(cell, before + 5 * size_of(case))
        assert max(bound, search.value) >= best - 1e-12 * size_of(case), seed
        assert bound <= before + 5 * size_of(case)
        if halves:
            split += 1
            assert [half.depth for half in halves] == [cell.depth + 1] * 2
            assert (halves[0].low, halves[0].high, halves[1].high) == (cell.low, halves[1].low, cell.high)
            for half in halves:
                own = {int(k) for options, _, _ in half.boxes for k in options}
                good = inside & (worth > before)
                assert {int(k) for row in picks[good] for k in row} <= own <= allowed
    assert split > 10


@pytest.mark.parametrize("splits", [60, 3])
@pytest.mark.parametrize("within", [(0.0, 0.0), (0.02, 0.0), (0.0, 0.1)])
def test_the_bound_is_that_of_the_cells_left(
    splits: int, within: tuple[float, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cells whose best is known: whatever is closed, given up or left open, the bound holds, and nothing is lost."""
    monkeypatch.setattr(coupling_search, "_MAX_SPLITS", splits)
    gain, load = np.array([1.0, 2.0, 0.5, 3.0]), np.array([0.0, 1.0, 0.0, 2.0])
    case = (gain, load, np.array([0, 2, 4]), 4.0)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        base = searching(case)
        search = Search(*(getattr(base, n) for n in ("gain", "load", "groups", "reduced", "budget", "multiplier")),
                        3.0, base.best, 0.5, 1e-12, None, within)  # fmt: skip
        points = rng.uniform(-9, 9, 12)
        worth = rng.uniform(0.4, 2.9, 12)
        looked: list[_Cell] = []

        def close(cell: _Cell, bound: float, **known: Any) -> tuple[float, list[_Cell]]:
            search, points, worth, looked = (known[n] for n in ("search", "points", "worth", "looked"))
            looked.append(cell)
            inside = worth[(points >= cell.low) & (points <= cell.high)]
            if len(inside) == 1 and inside[0] > search.value and cell.depth < 2 + len(looked) % 3:
                search.value = float(inside[0])
                return float(inside[0]), []
            middle = (cell.low + cell.high) / 2
            own = inside.max(initial=-np.inf) + 0.3 * 2.0**-cell.depth
            halves = [_Cell(a, b, cell.depth + 1, cell.boxes) for a, b in ((cell.low, middle), (middle, cell.high))]
            return min(bound, float(own)), halves

        monkeypatch.setattr(
            search, "_close",
            lambda cell, bound, s=search, p=points, w=worth, seen=looked: close(cell, bound, search=s, points=p, worth=w, looked=seen),
        )  # fmt: skip
        search._late_at = 60  # type: ignore[attr-defined]
        monkeypatch.setattr(Search, "_late", property(lambda self, seen=looked: len(seen) > 60))
        search.run(np.arange(4))
        radius = np.sqrt(search.budget * 2.5)
        assert looked[0].depth == 0
        assert looked[0].low == pytest.approx(search.multiplier - radius)
        assert looked[0].high == pytest.approx(search.multiplier + radius)
        slack = 9e-10 * (search.multiplier + radius)
        assert looked[0].low <= search.multiplier - radius - slack
        assert looked[0].high >= search.multiplier + radius + slack
        inside = worth[(points > looked[0].low) & (points < looked[0].high)]
        assert search.bound >= max(inside.max(initial=0.5), search.value)
        assert search.cells == len(looked)
        if splits == 60 and within == (0.0, 0.0) and search.cells < 60:
            assert search.bound == pytest.approx(max(inside.max(initial=0.5), 0.5), abs=1e-9)


def test_a_cell_bounds_its_choices_where_loads_nearly_agree() -> None:
    """Its best price may lie a billion times beyond the others; what cancels there is no bound."""
    largest = 0.0
    for seed in range(4):
        rng = np.random.default_rng(seed)
        base, budget = np.repeat(rng.uniform(1, 3, 3), 2), 10 ** rng.uniform(-1, 2)
        load = base + rng.uniform(0, 1, 6) * 10.0 ** rng.integers(-13, 0, 6)
        gain = 6 * base * load / budget + rng.uniform(-1, 1, 6)
        load, budget = load * 10.0 ** (-8 * (seed % 2)), budget * 10.0 ** (-16 * (seed % 2))  # the same in other units
        case = (gain, load, np.array([0, 2, 4, 6]), budget)
        search, picks = fixed(searching(case)), choices(case)
        totals, worth = load[picks].sum(axis=1), values(case, picks)
        for total in totals:
            for width in (1e-14 * total, 1e-9 * total, 0.1 * total):
                boxes = cell_of(search, rng).boxes
                cell = _Cell(total - width, total + rng.choice([0.0, width]), 1, boxes)
                at, dual, _ = search._price(boxes, cell)
                inside = (totals >= cell.low) & (totals <= cell.high)
                assert dual - far(at, cell) ** 2 / budget >= worth[inside].max() - 1e-13 * size_of(case), seed
                largest = max(largest, at)
    assert largest > 1e3


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
