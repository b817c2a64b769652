"""The margins of the search over cells of the total load, each on a choice that goes if it is any smaller.

Options are given by load and cost: at the price, a choice of total S loses (sum cost + (price - S)^2) / V, exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
from coupling_cases import OUT, fixed, h

from hisopt.solvers.joint import coupling_search
from hisopt.solvers.joint.coupling_search import Box, Search, _Cell

Options = Sequence[
    tuple[float, ...]
]  # by load: load and cost, and where a third and fourth are given, from and to which S
BUDGETS = (0.5, 1.0, 4.0)


def planted(
    groups: Sequence[Options], price: float, budget: float, lost: float, rounding: float = 0.0
) -> tuple[Search, list[Box]]:
    """A search whose incumbent loses ``lost`` / V, and the boxes of its groups; the last options are its choice."""
    flat = [(*option, -np.inf, np.inf)[:4] if len(option) == 2 else option for group in groups for option in group]
    load, cost, start, end = np.array(flat).T
    owner = np.repeat(np.arange(len(groups)), [len(group) for group in groups])
    last = np.flatnonzero(np.append(owner[1:] != owner[:-1], True))
    gain = (2 * price * load - cost) / budget
    dual = price**2 / budget
    search = Search(gain, load, owner, cost / budget, budget, price, dual, last, dual - lost / budget, rounding, None)
    own = [np.flatnonzero(owner == g) for g in range(len(groups))]
    return fixed(search), [(k, start[k], end[k]) for k in own]


def merged(search: Search, boxes: list[Box], low: float, high: float) -> float:
    """Bound a cell by the merge of all options."""
    bound = search._merge(
        boxes, [search.reduced[k] for k, _, _ in boxes], search.multiplier, search.dual, _Cell(low, high, 0, boxes)
    )
    assert bound is not None
    return bound


def join(way: str, states: int, pairs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a merge join states into about ``states``, either where there are more or where their pairs would be."""
    if way == "pairs":
        monkeypatch.setattr(coupling_search, "_PAIRS", pairs)
    else:
        monkeypatch.setattr(coupling_search, "_FRONTIER", 2 * states)
        monkeypatch.setattr(coupling_search, "_ROUNDED", states)


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("apart", [-2.5, -0.4, 0.4, 2.5])
def test_the_best_choice_of_a_cell_away_from_the_price_lies_at_its_border(apart: float, budget: float) -> None:
    """It is found though it is hardly better than the incumbent; where it is too late to look, the bound is its value."""
    total = 10 + apart
    low, high = (total, total + 1) if apart > 0 else (total - 1, total)
    groups = [[(3.0, 0.0), (5.0, 90.0)], [(total - 3, 0.0), (total, 90.0)]]
    for late in (False, True):
        search, boxes = planted(groups, 10.0, budget, apart**2 + 1e-9)
        search.deadline = SimpleNamespace(passed=late)  # type: ignore[assignment]
        worth = search.dual - apart**2 / budget
        bound, halves = search._close(_Cell(low, high, 0, boxes), np.inf)
        assert len(halves) == 2
        assert bound == (pytest.approx(worth, rel=1e-14) if late else -np.inf)
        assert search.value == pytest.approx(worth if not late else worth - 1e-9 / budget, rel=1e-14)


@pytest.mark.parametrize("above", [0.05, -0.05])
def test_a_cell_that_may_be_better_by_less_than_rounding_stays(above: float) -> None:
    """Its bound is ``above`` the incumbent, as computed."""
    search, boxes = planted([[(4.0, 0.0), (9.0, 50.0)], [(6.0, 0.0)]], 10.0, 2.0, 2 * above, rounding=0.1)
    _, halves = search._close(_Cell(9.0, 11.0, 0, boxes), np.inf)
    assert [[list(options) for options, _, _ in half.boxes] for half in halves] == [[[0], [2]]] * 2
    assert search.value == pytest.approx(search.dual + max(-above, 0.0))


@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize(
    ("price", "low", "high", "total"),
    [
        (10, 12, 14, 12 * (1 - OUT)),
        (14, 10, 12, 12 * (1 + OUT)),
        (0.5, 12, 40, 12 * (1 - OUT)),
        (0.5, 12, 12.0001, 12 * (1 - OUT)),
        (0.5, -10, 1, 1 + OUT),
    ],
)
def test_a_total_at_the_border_of_a_cell_is_in_it(
    price: float, low: float, high: float, total: float, unit: float
) -> None:
    """Wherever the cell and the price lie and whatever the unit of loads; it may differ by rounding between two cells."""
    lost = (price - total) ** 2 * unit**2
    groups = [[(0.25 * total * unit, 0.0)], [(0.75 * total * unit, 0.0)]]
    search, boxes = planted(groups, price * unit, unit**2, lost * (1 + 1e-7))
    search._close(_Cell(low * unit, high * unit, 0, boxes), np.inf)
    assert search.value - search.dual == pytest.approx(-lost / unit**2, rel=1e-10)


@pytest.mark.parametrize("size", [1, 8])
@pytest.mark.parametrize("far", [1.9, 2.1, 100.0])
@pytest.mark.parametrize("unit", [1e-8, 1e-4, 1.0, 1e3])
def test_a_far_price_leaves_room_for_the_digits_of_its_square(unit: float, far: float, size: int) -> None:
    """Two loads a group that tie only at a price so many times the cell; up to twice, the rounding of values counts."""
    load, price = np.tile([1.0, 1.25], size) * unit, far * 1.1 * size
    gain, offsets = np.tile([0.0, 0.5 * price], size), np.arange(0, 2 * size + 1, 2)
    case, owner = (gain, load, offsets, unit**2), np.repeat(np.arange(size), 2)
    dual = h(case, unit)
    search = fixed(Search(gain, load, owner, np.zeros(2 * size), unit**2, unit, dual, offsets[:-1], -1e9, 0.0, None))
    boxes = [(np.array([k, k + 1]), np.full(2, -np.inf), np.full(2, np.inf)) for k in offsets[:-1]]
    at, dual, _ = search._price(boxes, _Cell(0.9 * size * unit, 1.1 * size * unit, 1, boxes))
    assert at == pytest.approx(price * unit, rel=1e-6)
    budget, square = Fraction(case[3]), Fraction(at) ** 2
    priced = [Fraction(g) - 2 * Fraction(at) * Fraction(v) / budget for g, v in zip(gain[:2], load[:2], strict=True)]
    over = (Fraction(dual) - square / budget - size * max(priced)) / (square / budget)
    digits = max(1.0, np.log2(size)) if far > 2 else 0.0
    assert 1.3e-15 * digits - 6e-16 <= over <= 2.7e-15 * digits + 6e-16


def test_who_listens_is_told_the_bound_of_all_cells_before_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of those given up, too, which may be the largest."""
    monkeypatch.setattr(coupling_search, "_MAX_SPLITS", 1)
    search, boxes = planted([[(4.0, 0.0), (6.0, 1.0)], [(5.0, 0.0), (6.0, 1.0)]], 10.0, 1.0, 10.0, rounding=1e-9)
    told: list[tuple[float, float]] = []
    search._tell = lambda best, value, bound: told.append((value - search.dual, bound - search.dual))
    choice = search.best
    plan = iter([(-1.0, [1, 0]), (-2.0, [1]), (-3.0, [0]), (-9.5, [])])  # bounds, and how deep the parts lie

    def close(cell: _Cell, bound: float) -> tuple[float, list[_Cell]]:
        own, depths = next(plan)
        search.value += 0.25
        return search.dual + own, [_Cell(cell.low, cell.high, depth, boxes) for depth in depths]

    monkeypatch.setattr(search, "_close", close)
    search.run(np.arange(4))
    expected = [(-10.0, 0.0), (-9.75, -1.0), (-9.5, -1.0), (-9.25, -2.0)]
    np.testing.assert_allclose(told, expected, atol=1e-12)
    assert search.best is choice
    assert search.bound == search.dual - 2


@pytest.mark.parametrize("budget", BUDGETS)
def test_an_option_stays_while_its_cost_with_the_least_of_others_is_in_the_room(budget: float) -> None:
    """Every group costs one at least; of six, two are for the distance of the cell, and so two are left for one."""
    groups = [[(4.0, 1.0), (5.0, 1.9), (6.0, 2.1)], [(4.0, 1.0), (5.0, 1.95), (5.5, 2.05)], [(4.0, 1.0)]]
    search, boxes = planted(groups, 10.0, budget, 100.0)
    tops = np.array([search.gain[k].max() * 0 for k, _, _ in boxes])
    left = search._restrict(boxes, tops, 10.0, _Cell(10 + 2**0.5, 40.0, 0, boxes), 6.0 / budget)
    assert left is not None
    assert [list(options) for options, _, _ in left[0]] == [[0, 1], [3, 4], [6]]
    np.testing.assert_allclose(np.concatenate(left[1]) * budget, [1.0, 1.9, 1.0, 1.95, 1.0], atol=1e-12)


def test_a_cell_without_a_choice_as_good_is_closed() -> None:
    search, boxes = planted([[(4.0, 0.0), (6.0, 1.0)], [(5.0, 0.0)]], 10.0, 1.0, 0.9)
    assert merged(search, boxes, 8.0, 12.0) == -np.inf
    assert search.value == search.dual - 0.9


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("tilt", [-2.5, -0.3, 0.0, 0.3, 2.5])
@pytest.mark.parametrize("side", [-1, 1])
def test_the_bound_of_joined_states_is_attained(
    side: int, tilt: float, budget: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of loads 24 and 26, joined in 25, by the one that is cheaper and nearer the middle of the cell."""
    join("states", 1, 0, monkeypatch)
    middle = 25 + side * 2.7
    cheap, dear = (26.0, 24.0) if side > 0 else (24.0, 26.0)
    group = [*sorted([(cheap, 0.0), (dear, 15.0)]), (28.0, 60.0)]
    price = middle + tilt
    search, boxes = planted([group], price, budget, 5000.0, rounding=0.3)
    bound = merged(search, boxes, middle - 7, middle + 7)
    worth = search.dual - (price - cheap) ** 2 / budget
    assert search.value == pytest.approx(worth, rel=1e-13)
    assert bound == pytest.approx(worth + 0.3, rel=1e-13)


@pytest.mark.parametrize("way", ["pairs", "states"])
@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("below", [True, False])
def test_a_choice_as_good_as_the_incumbent_stays_however_its_load_moved(
    below: bool, budget: float, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Joining adds to its cost what the loss makes room for, exactly; a choice that loses a little more than rounding goes.

    Loads 4 and 6 become 5; with the second group's first or last option, 4 or 6 is at the border next to the price.
    """
    join(way, 1, 3, monkeypatch)
    if below:  # the price, the cell
        groups = [[(4.0, 14.0), (6.0, 0.0), (8.0, 14.5)], [(1.0, 0.0), (6.0, 16.0), (20.0, 0.0)]]
    else:
        groups = [[(4.0, 0.0), (6.0, 14.0), (8.0, 14.5)], [(0.0, 0.0), (10.0, 16.0)]]
    price = 10.0 if below else 16.0
    for more, rounding in ((1e-9, 1e-12), (-0.05, 0.1), (-0.3, 1e-12)):  # of loss: 16 and 2^2
        search, boxes = planted(groups, price, budget, 20.0 + more, rounding / budget)
        bound = merged(search, boxes, 12.0, 14.0)
        worth = search.dual - 20 / budget
        stays = more + rounding > 0
        assert bound == (pytest.approx(worth + rounding / budget, rel=1e-11) if stays else -np.inf)
        assert search.value == pytest.approx(worth - min(more, 0) / budget, rel=1e-11)


@pytest.mark.parametrize("way", ["pairs", "states"])
@pytest.mark.parametrize("below", [True, False])
def test_after_states_were_joined_a_choice_at_the_border_stays(
    below: bool, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two states, both kept and none moved: only the slack of the cell is left, and hardly any loss."""
    join(way, 1, 5, monkeypatch)
    if way == "states":
        monkeypatch.setattr(coupling_search, "_FRONTIER", 1)
    for total in (12.0, 12.0 * (1 - OUT) if below else 12.0 * (1 + OUT)):
        groups = [[(4.0, 0.0), (5.0, 6.0)], [(total - 4, 0.0), (total + 3, 50.0), (total + 4, 60.0)]]
        price, low, high = (10.0, 12.0, 14.0) if below else (14.0, 10.0, 12.0)
        search, boxes = planted(groups, price, 1.0, max((price - total) ** 2, 4.0) + 1e-11, rounding=0.0)
        merged(search, boxes, low, high)
        assert search.best.tolist() == [0, 2]


@pytest.mark.parametrize("way", ["pairs", "states"])
@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("middle", [1000.0, -1000.0])
def test_a_state_goes_only_where_another_beats_it_wherever_both_moved(
    middle: float, budget: float, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loads 1 and 3 become 2, and 5 and 7 become 6, before the second group joins them; the gains move most of all.

    With the cell's middle far above the loads, the state at 2 seems to gain 2 C / V more than its load of 1 does, and the
    one at 6 seems to gain as much less than its load of 7; the second is the better choice by little, or the worse. The
    third group lets only it end.
    """
    join(way, 2, 5, monkeypatch)
    cost = 5000.0 if middle > 0 else 4000.0
    for more in (0.0, 280.0):  # then it is surely beaten
        first = [(1.0, 0.0), (3.0, 3000.0), (5.0, 4000.0), (7.0, 3000.0), (9.0, 6900.0)]
        second = [(0.0, cost + more, -np.inf, 7.5), (1.9, 0.0, -np.inf, 6.0)]
        third = [(0.0, 0.0, 5.5, np.inf), (4.0, 20000.0)]
        lost = 3000 + cost + more + 993.0**2
        search, boxes = planted([first, second, third], 1000.0, budget, lost + 1e-3)
        bound = merged(search, boxes, middle - 1200, middle + 1200)
        worth = search.dual - lost / budget
        if more and middle > 0:
            assert bound == -np.inf
        else:
            assert bound >= worth - 1e-12 * search.dual
            assert search.value == pytest.approx(worth, rel=1e-12)


def test_equal_costs_leave_one_state_for_each_load_they_share() -> None:
    """States tie where they are joined, not only at the first load."""
    loads = np.array([1.0, 1.1, 1.2, 5.0, 5.1, 5.2, 9.0])
    pick, centre, cost, moved = coupling_search._round(loads, np.ones(7), 0.0, 2)
    assert pick.tolist() == [0, 3, 6]
    np.testing.assert_allclose(centre, [1.1, 5.1, 9.0])
    assert cost.tolist() == [1.0] * 3
    assert moved == pytest.approx(0.1)


@pytest.mark.parametrize("extent", [1e-3, 1.0, 1e3])
def test_as_many_states_are_left_as_asked_for_however_loads_crowd(extent: float) -> None:
    loads = extent * np.concatenate([np.linspace(0, 1e-4, 200), 1 + np.linspace(0, 1e-4, 200)])
    for target in (5, 40):
        pick, _, _, moved = coupling_search._round(loads, np.zeros(400), 0.0, target)
        assert target * 0.8 <= len(pick) <= target + 1
        assert moved < 2e-4 * extent / target


def test_states_of_one_load_are_one() -> None:
    with np.errstate(all="raise"):
        pick, centre, cost, moved = coupling_search._round(np.full(3, 0.5), np.array([1.0, 0.5, 2.0]), 0.4, 2)
    assert (pick.tolist(), centre.tolist(), cost.tolist(), moved) == ([1], [0.5], [0.5], 0.0)
