"""The parts of the search over whole SMs by their definitions, written with loops; numbers in eighths, so that ties are ties."""

from __future__ import annotations

import math
from itertools import pairwise, product

import numpy as np
import pytest

from hisopt.solvers.joint.whole_sms import Options, _above_neighbours

Given = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def drawn(rng: np.random.Generator) -> Given:
    """Gain, cost, work and offsets of up to four clusters; work that is free, forced, or done in two ways."""
    sizes = rng.integers(1, 7, int(rng.integers(1, 5)))
    work = np.concatenate([np.sort(rng.integers(0, 7, size)) for size in sizes])
    rate = np.repeat(rng.choice([0.0, 1.0, 2.0, 4.0, 4.0], len(sizes)), sizes)
    gain = rng.integers(-16, 40, len(work)) / 8 + rng.choice([0, 1, 2], len(work)) * work
    return gain, rate * work, work, np.concatenate([[0], np.cumsum(sizes)])


def of(*rows: list[tuple[float, float, int]]) -> Options:
    """Options of clusters, each a list of (gain, cost, work)."""
    gain, cost, work = (np.array([option[i] for row in rows for option in row]) for i in range(3))
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])])
    return Options.of(gain.astype(float), cost.astype(float), work.astype(np.int64), offsets)


def within(options: Options, m: int) -> list[int]:
    return [k for k in range(len(options.gain)) if options.cluster[k] == m]


def worth(options: Options, k: int, v: int, price: float = 0.0) -> float:
    """gain - cost / v - price v; an idle option takes no SM, and work needs one."""
    if not options.busy[k]:
        return float(options.gain[k])
    return float(options.gain[k] - options.cost[k] / v - price * v) if v else -math.inf


def useful(options: Options, k: int, budget: int) -> range:
    """The SMs that an option may take."""
    if not options.busy[k]:
        return range(1)
    return range(1, (budget if options.cost[k] else 1) + 1)


def tops(options: Options, price: float, budget: int) -> list[float]:
    return [
        max(worth(options, k, v, price) for k in within(options, m) for v in useful(options, k, budget))
        for m in range(options.count)
    ]


def dual_at(options: Options, price: float, budget: int) -> float:
    return price * budget + math.fsum(tops(options, price, budget))


# which options


def test_options_are_the_corners_of_the_hull_and_the_idle_ones() -> None:
    for seed in range(150):
        gain, cost, work, offsets = drawn(np.random.default_rng(seed))
        options = Options.of(gain, cost, work, offsets)
        expected, starts = [], []
        for low, high in pairwise(offsets):
            starts.append(len(expected))
            best: dict[int, int] = {}  # of each amount of work the first option that gains most
            for k in range(low, high):
                if work[k] not in best or gain[k] > gain[best[work[k]]]:
                    best[int(work[k])] = k
            own = [best[w] for w in sorted(best)]
            expected += [k for k in own if work[k] == 0 or corner(k, [i for i in own if work[i]], gain, work)]
        assert options.index.tolist() == expected
        assert options.starts.tolist() == starts
        assert options.gain.tolist() == gain[expected].tolist()
        assert options.cost.tolist() == cost[expected].tolist()
        assert options.busy.tolist() == (work[expected] > 0).tolist()
        assert options.cluster.tolist() == [int(np.searchsorted(offsets, k, side="right")) - 1 for k in expected]
        assert options.count == len(offsets) - 1
        assert options.forced == sum(not (work[low:high] == 0).any() for low, high in pairwise(offsets))


def corner(k: int, busy: list[int], gain: np.ndarray, work: np.ndarray) -> bool:
    """Whether an option gains more than all with less work, and lies above every chord of two others."""
    before, after = [i for i in busy if work[i] < work[k]], [i for i in busy if work[i] > work[k]]
    if any(gain[i] >= gain[k] for i in before):
        return False
    return not any(
        (gain[k] - gain[i]) * (work[j] - work[i]) <= (gain[j] - gain[i]) * (work[k] - work[i])
        for i in before
        for j in after
    )


def test_one_pass_over_neighbours() -> None:
    def kept(cluster: list[int], work: list[int], gain: list[float]) -> list[bool]:
        return _above_neighbours(np.array(cluster), np.array(work), np.array(gain)).tolist()

    assert kept([0, 0, 0], [1, 2, 4], [1, 3, 4]) == [True, True, True]
    assert kept([0, 0, 0], [1, 2, 4], [1, 2, 4]) == [True, False, True]  # on the chord
    assert kept([0, 0, 0], [1, 2, 4], [1, 2 + 1e-9, 4]) == [True, True, True]
    assert kept([0, 0, 0], [1, 2, 4], [3, 3, 2]) == [True, False, False]  # no more than the one before
    assert kept([0, 0, 1, 1], [1, 2, 1, 5], [3, 4, 1, 9]) == [True, True, True, True]  # no chord across clusters
    assert kept([0, 1, 2], [1, 2, 3], [9, 8, 7]) == [True, True, True]
    assert kept([0, 0, 1], [1, 2, 4], [1, 2, 4]) == [True, True, True]
    assert kept([0, 1, 1], [1, 2, 4], [1, 2, 4]) == [True, True, True]
    assert kept([0], [1], [1]) == [True]
    assert kept([], [], []) == []


def test_idle_options_alone() -> None:
    idle = of([(1, 0, 0), (5, 2, 1)], [(2, 0, 0)], [(-3, 0, 0), (4, 1, 1), (6, 2, 3)]).idle_only()
    assert idle.gain.tolist() == [1.0, 2.0, -3.0]
    assert idle.index.tolist() == [0, 2, 3]
    assert (idle.starts.tolist(), idle.cluster.tolist(), idle.busy.any(), idle.cost.any()) == ([0, 1, 2],) * 2 + (
        False,
    ) * 2
    assert idle.minimise_dual(0)[:2] == (0.0, 0.0)
    assert idle.minimise_dual(0)[2].tolist() == [0, 0, 0]
    assert [part.tolist() for part in idle.priced(0.5, 0)] == [[0, 0, 0], [1, 2, -3]]
    found = idle.candidates(0.0, 0, 0.0)
    assert found is not None
    assert [[own.tolist() for own in part] for part in found] == [[[0], [0], [0]], [[0.0], [0.0], [0.0]]]


# at given SMs, and at a price of an SM


def test_the_best_options_at_given_sms() -> None:
    for seed in range(60):
        rng = np.random.default_rng(seed)
        options = Options.of(*drawn(rng))
        sms = rng.integers(0, 4, options.count)
        pick, value = options.respond(sms)
        total = 0.0
        for m in range(options.count):
            own = within(options, m)
            values = [worth(options, k, sms[m]) for k in own]
            total += max(values)
            assert pick[m] == own[values.index(max(values))]
        assert value == pytest.approx(total, rel=1e-14)
    assert of([(1, 2, 1)], [(0, 0, 0)]).respond(np.array([0, 3]))[1] == -math.inf
    assert of([(0, 0, 0), (2, 2, 1)]).respond(np.array([1]))[0].tolist() == [0]  # a tie goes to the first


@pytest.mark.parametrize("price", [0.0, 0.125, 0.5, 2.0])
def test_the_best_sms_at_a_price(price: float) -> None:
    for seed in range(40):
        rng = np.random.default_rng(seed)
        options, budget = Options.of(*drawn(rng)), int(rng.integers(1, 9))
        sms, value = options.priced(price, budget)
        for k in range(len(sms)):
            each = {v: worth(options, k, v, price) for v in useful(options, k, budget)}
            assert value[k] == pytest.approx(max(each.values()), rel=1e-14)
            assert each[int(sms[k])] == value[k]
        at, chosen = options.dual(price, budget)
        assert at == pytest.approx(dual_at(options, price, budget), rel=1e-14)
        best = tops(options, price, budget)
        for m in range(options.count):
            first = next(k for k in within(options, m) if value[k] == pytest.approx(best[m], rel=1e-14))
            assert chosen[m] == sms[first]


def test_a_price_picks_the_fewer_of_two_that_tie() -> None:
    """2 - 2 / v - v is the same at one and at two SMs."""
    sms, value = of([(2, 2, 1)]).priced(1.0, 9)
    assert (sms.tolist(), value.tolist()) == ([1.0], [-1.0])
    assert of([(2, 200, 1)]).priced(1.0, 9)[0].tolist() == [9.0]
    assert of([(2, 2, 1)]).priced(0.0, 9)[0].tolist() == [9.0]
    assert of([(2, 0, 1)]).priced(0.0, 9)[0].tolist() == [1.0]


# the least dual


def test_the_least_dual_and_sms_of_a_price() -> None:
    bound = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        options = Options.of(*drawn(rng))
        budget = int(rng.integers(max(options.forced, 1), 9))
        price, value, sms = options.minimise_dual(budget)
        least = min(dual_at(options, at, budget) for at in (0.0, *prices(options, budget)))
        assert value == pytest.approx(least, rel=1e-13, abs=1e-13)
        assert value == pytest.approx(dual_at(options, price, budget), rel=1e-14, abs=1e-14)
        assert sms.dtype == np.int64
        assert sms.sum() <= budget
        assert answers_some_price(options, sms, budget)
        bound += price > 0
    assert bound > 20


def best_at(options: Options, m: int, budget: int) -> dict[int, float]:
    """The best value of a cluster at each number of SMs."""
    value: dict[int, float] = {}
    for k in within(options, m):
        for v in useful(options, k, budget):
            value[v] = max(value.get(v, -math.inf), worth(options, k, v))
    return value


def prices(options: Options, budget: int) -> set[float]:
    """Every price at which two numbers of SMs tie in a cluster; the dual, linear in between, is least at one of them or 0."""
    found = set()
    for m in range(options.count):
        value = best_at(options, m, budget)
        found |= {(value[v] - value[u]) / (v - u) for v in value for u in value if u < v}
    return {price for price in found if price > 0}


def answers_some_price(options: Options, sms: np.ndarray, budget: int) -> bool:
    """Whether v_m is a best answer of every cluster at one price."""
    low, high = 0.0, math.inf
    for m in range(options.count):
        value, own = best_at(options, m, budget), int(sms[m])
        for v, other in value.items():
            if v < own:
                high = min(high, (value[own] - other) / (own - v))
            if v > own:
                low = max(low, (other - value[own]) / (v - own))
    return low <= high + 1e-9


def test_sms_of_the_highest_price_are_within_the_budget() -> None:
    """Forced work that is dear beside work that is free; gains below zero; and free work worth its price to the last digit."""
    assert of([(0, 100, 1)], [(0, 0, 1)]).minimise_dual(3)[2].tolist() == [2, 1]
    below = of(*[[(-10, 0, 0), (0, 1, 1)]] * 3)
    assert below.minimise_dual(1)[2].sum() <= 1
    assert below.minimise_dual(1)[1] == pytest.approx(-21.0, rel=1e-14)
    tied = 0
    for seed in range(40):
        idle, gain = np.random.default_rng(seed).uniform(0, 1, 2) * [1e-3, 1]
        if gain - (gain - idle) > idle:
            assert of(*[[(idle, 0, 0), (gain, 0, 1)]] * 2).minimise_dual(1)[2].sum() <= 1
            tied += gain > idle
    assert tied > 2


def test_no_price_where_sms_are_left() -> None:
    options = of([(0, 0, 0), (5, 2, 1)], [(0, 0, 0), (3, 0, 2)])
    price, value, sms = options.minimise_dual(4)  # they want one more than there are
    assert (value, sms.tolist()) == (pytest.approx(5 - 2 / 3 + 3, rel=1e-14), [3, 1])
    assert 1 / 6 - 1e-12 <= price <= 1 / 3 + 1e-12
    alone = of([(0, 0, 0), (5, 2, 1)], [(0, 0, 0)]).minimise_dual(4)
    assert (alone[:2], alone[2].tolist()) == ((0.0, 4.5), [4, 0])
    free = of([(0, 0, 0), (5, 0, 1)], [(0, 0, 0), (3, 0, 2)])
    assert free.minimise_dual(2)[:2] == (0.0, 8.0)
    assert free.minimise_dual(2)[2].tolist() == [1, 1]
    price, value, sms = free.minimise_dual(1)
    assert (value, sms.tolist()) == (pytest.approx(5.0, rel=1e-14), [1, 0])
    assert 3 * (1 - 1e-12) <= price <= 5 * (1 + 1e-12)


def test_steps_and_sms_improve_each_other() -> None:
    for seed in range(60):
        rng = np.random.default_rng(seed)
        options = Options.of(*drawn(rng))
        budget = int(rng.integers(max(options.forced, 1), 9))
        sms = options.minimise_dual(budget)[2]
        pick, better, value = options.improve(sms, budget)
        assert value >= options.respond(sms)[1]
        assert better.sum() <= budget
        again = options.respond(better)
        assert (again[0].tolist(), again[1]) == (pick.tolist(), value)
        splits = [s for s in product(range(budget + 1), repeat=options.count) if sum(s) <= budget]
        best = max(sum(worth(options, k, v) for k, v in zip(pick, split, strict=True)) for split in splits)
        assert value >= best - 1e-12  # no SMs serve these options better
    options = of([(0, 0, 0), (8, 4, 1)], [(0, 0, 0), (8, 4, 1)])
    pick, better, value = options.improve(np.array([1, 0]), 4)
    assert (pick.tolist(), better.tolist(), value) == ([1, 2], [4, 0], 7.0)
    pick, better, value = options.improve(np.array([3, 1]), 4)
    assert (pick.tolist(), better.tolist(), value) == ([1, 3], [2, 2], 12.0)
    pick, better, value = options.improve(np.array([1, 1]), 1)  # more SMs than there are
    assert (pick.tolist(), better.tolist(), value) == ([1, 3], [1, 1], 8.0)


# what may still be optimal


@pytest.mark.parametrize("price", [0.0, 0.125, 0.5])
@pytest.mark.parametrize("loss", [0.0, 0.25, 1.0, 100.0])
def test_candidates_by_their_definition(price: float, loss: float) -> None:
    for seed in range(25):
        rng = np.random.default_rng(seed)
        options, budget = Options.of(*drawn(rng)), int(rng.integers(1, 10))
        best = tops(options, price, budget)
        found = options.candidates(price, budget, loss)
        assert found is not None
        assert len(found[0]) == len(found[1]) == options.count
        for m, (sms, lost) in enumerate(zip(*found, strict=True)):
            expected: dict[int, float] = {}
            for k in within(options, m):
                for v in useful(options, k, budget):
                    rho = best[m] - worth(options, k, v, price)
                    expected[v] = min(expected.get(v, math.inf), rho)
            assert sms.tolist() == sorted(set(sms.tolist()))
            assert (lost >= 0).all()
            for v, rho in expected.items():
                at = np.flatnonzero(sms == v)
                assert len(at) == (rho <= loss) or abs(rho - loss) < 1e-12
                if len(at):
                    assert lost[at[0]] == pytest.approx(rho, abs=1e-12)
            assert set(sms.tolist()) <= set(expected)


def test_what_loses_exactly_the_limit_is_a_candidate() -> None:
    """8 / v at one, two, four and eight SMs loses 7, 3, 1 and 0."""
    options = of([(9, 8, 1)], [(0, 0, 0), (-2, 0, 1)])
    for loss, fewest in [(7.0, 1), (3.0, 2), (1.0, 4), (0.0, 8)]:
        found = options.candidates(0.0, 8, loss)
        assert found is not None
        assert found[0][0].tolist() == list(range(fewest, 9))
        assert (found[1][0][0], found[1][0][-1]) == (loss, 0.0)
        assert found[0][1].tolist() == ([0, 1] if loss >= 2 else [0])
        below = options.candidates(0.0, 8, math.nextafter(loss, -1))
        assert below is not None
        assert len(below[0][0]) == 8 - fewest
    assert [len(own) for own in options.candidates(0.0, 8, -1.0)[0]] == [0, 0]  # type: ignore[index]
    # 8 / v + v / 2 is 4 at four SMs; from 8 / 8 + 4 = 5 both ends lose 1, and 2 + 4 = 8 / 2 + 1
    priced = of([(0, 8, 1)]).candidates(0.5, 100, 1.0)
    assert priced is not None
    assert (priced[0][0].tolist(), priced[1][0][[0, -1]].tolist()) == ([2, 3, 4, 5, 6, 7, 8], [1.0, 1.0])
    assert of([(0, 8, 1)]).candidates(0.5, 100, math.nextafter(1.0, 0))[0][0].tolist() == [3, 4, 5, 6, 7]  # type: ignore[index]


def test_candidates_far_from_both_ends() -> None:
    """Thousands of SMs, of which a window matters."""
    v = np.arange(1, 5001)
    inside = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        unit = 10.0 ** -(seed % 3 * 4)
        price, cost = unit * float(10 ** rng.uniform(-3, 0)), unit * 10 ** rng.uniform(1, 5, 2)
        gain = 2 * np.sqrt(price * cost) + unit * rng.uniform(0, 1, 2)
        options = of([(gain[0], cost[0], 1), (gain[1], cost[1], 2)], [(0, 0, 0)])
        loss = unit * float(10 ** rng.uniform(-2, 1))
        worths = [options.gain[k] - options.cost[k] / v - price * v for k in within(options, 0)]
        rho = np.max(worths) - np.max(worths, axis=0)
        found = options.candidates(price, 5000, loss)
        assert found is not None
        assert found[0][0].tolist() == v[rho <= loss].tolist()
        np.testing.assert_allclose(found[1][0], rho[rho <= loss], rtol=0, atol=1e-9 * unit)
        inside += found[0][0][0] > 10 and found[0][0][-1] < 4990
    assert inside > 20
    unpriced = of([(9, 8000, 1)]).candidates(0.0, 5000, 2.0)
    assert unpriced is not None
    assert unpriced[0][0].tolist() == v[8000 / v - 1.6 <= 2.0].tolist()


def test_candidates_are_counted_before_they_are_made() -> None:
    options = of([(9, 8, 1)], [(0, 0, 0)])
    assert options.candidates(0.0, 1000, 100.0, most=1001) is not None
    assert options.candidates(0.0, 1000, 100.0, most=1000) is None
