"""Each rule of the search over cells of the total load, against all choices of a cell, written here with loops."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from coupling_cases import (
    OUT,
    Case,
    cell_of,
    choices,
    drawn,
    far,
    fixed,
    h,
    lowest,
    searching,
    size_of,
    values,
)

from hisopt.solvers.joint import coupling_search
from hisopt.solvers.joint.coupling_search import Search, _Cell


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
                boundary = (budget * (reduced[other] - reduced[k]) / delta + delta) / 2
                low, high = (low, min(high, boundary)) if delta > 0 else (max(low, boundary), high)
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


@pytest.mark.parametrize(
    ("moved", "error"), [(0.0, 0.0), (0.3, 0.15), (0.36, 0.24), (0.4, 0.26), (0.4, 0.25)]
)  # on both sides of a step of the grid, and on it
def test_a_state_goes_only_where_another_surely_beats_it(moved: float, error: float) -> None:
    rng = np.random.default_rng(0)
    for _ in range(60):
        size = int(rng.integers(1, 9))
        loads, gain = rng.integers(0, 9, size) / 4, rng.integers(0, 9, size) / 4
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
            boundary = rng.uniform(cell.low, cell.high, len(options))
            boxes.append((options, np.where(~away & above, boundary, start), np.where(~away & ~above, boundary, end)))
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
