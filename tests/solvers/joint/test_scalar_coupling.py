"""The choice of one option a group, against all choices; instances on which the rules that drop options bind."""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import pytest

from hisopt import Limits
from hisopt.solvers.base import Deadline
from hisopt.solvers.joint import coupling_search, scalar_coupling

Case = tuple[np.ndarray, np.ndarray, np.ndarray, float]


def near_tie(seed: int) -> Case:
    """Gains that tie at a price, but for reduced costs as large as a step of load costs: every rule is near its edge."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 5, rng.integers(2, 7))
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    total = int(offsets[-1])
    load = rng.integers(0, 8, total).astype(float) if seed % 2 else rng.uniform(0, 8, total)
    budget = float(10 ** rng.uniform(-2, 3))
    price = load.sum() / total * len(sizes) * rng.uniform(0.3, 1.5)
    reduced = rng.integers(0, 9, total) if seed % 3 else rng.uniform(0, 12, total)
    return (2 * price * load - reduced * rng.choice([0.5, 1, 3])) / budget, load, offsets, budget


def optimum(gain: np.ndarray, load: np.ndarray, offsets: np.ndarray, budget: float) -> float:
    gains, loads = np.zeros(1), np.zeros(1)
    for first, last in pairwise(offsets):
        gains = (gains[:, None] + gain[first:last]).ravel()
        loads = (loads[:, None] + load[first:last]).ravel()
    return float((gains - loads**2 / budget).max())


def worth(case: Case, choice: np.ndarray) -> float:
    gain, load, offsets, budget = case
    assert all(first <= k < last for k, (first, last) in zip(choice, pairwise(offsets), strict=True))
    return float(gain[choice].sum() - load[choice].sum() ** 2 / budget)


@pytest.mark.parametrize("block", range(6))
def test_near_ties_against_all_choices(block: int) -> None:
    for seed in range(500 * block, 500 * (block + 1)):
        case = near_tie(seed)
        best, scale = optimum(*case), np.abs(case[0]).sum() + 1
        found = scalar_coupling.maximise(*case)
        assert worth(case, found.choice) == pytest.approx(best, abs=1e-11 * scale), seed
        assert best - 1e-13 * scale <= found.bound <= best + 1e-11 * scale, seed
        assert found.dual_bound >= best - 1e-13 * scale


@pytest.mark.parametrize("block", range(4))
def test_a_bad_incumbent_does_not_hide_the_optimum(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first choice is the worst one left, so that nothing but the search can find the optimum."""

    def worst(gain, load, groups, budget, best, value, alive):  # type: ignore[no-untyped-def]
        return best, value

    def first(gain, load, budget, low, high):  # type: ignore[no-untyped-def]
        return high, coupling_search.choice_value(gain, load, budget, high)

    monkeypatch.setattr(scalar_coupling, "_exchange", worst)
    monkeypatch.setattr(scalar_coupling, "_best_on_path", first)
    for seed in range(10_000 + 500 * block, 10_000 + 500 * (block + 1)):
        case = near_tie(seed)
        best, scale = optimum(*case), np.abs(case[0]).sum() + 1
        found = scalar_coupling.maximise(*case)
        assert worth(case, found.choice) == pytest.approx(best, abs=1e-11 * scale), seed
        assert best - 1e-13 * scale <= found.bound <= best + 1e-11 * scale, seed


@pytest.mark.parametrize("states", [3, 8, 30])
def test_rounded_merges_bound_every_choice(states: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coupling_search, "_FRONTIER", states)
    monkeypatch.setattr(coupling_search, "_ROUNDED", states)
    monkeypatch.setattr(coupling_search, "_EXTRA_CELLS", 0)
    rounded = 0
    for seed in range(300):
        case = near_tie(20_000 + seed)
        best, scale = optimum(*case), np.abs(case[0]).sum() + 1
        found = scalar_coupling.maximise(*case, constant=scale, tolerance=1e-7, enough=1e-6)
        assert worth(case, found.choice) <= best + 1e-13 * scale
        assert found.bound >= best - 1e-13 * scale, seed
        assert found.bound - worth(case, found.choice) <= 3e-6 * scale, seed
        rounded += found.cells > 1
    assert rounded > 0 or states > 3


@pytest.mark.parametrize("states", [2, 5, 20])
@pytest.mark.parametrize("size", [3, 12])
def test_one_rounded_cell_bounds_its_choices(size: int, states: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound of any cell, wherever it lies, is at least the best choice in it that can be optimal anywhere."""
    monkeypatch.setattr(coupling_search, "_FRONTIER", states)
    monkeypatch.setattr(coupling_search, "_ROUNDED", states)
    loose = 0
    for seed in range(80):
        rng = np.random.default_rng(seed)
        groups = np.repeat(np.arange(size), 2)
        load = np.stack([np.zeros(size), rng.uniform(1, 1.3, size)], axis=1).ravel()
        price = load.sum() * rng.uniform(0.3, 0.7)
        gain = 2 * price * load - rng.uniform(-0.3, 0.3, 2 * size)
        case = (gain, load, np.arange(0, 2 * size + 1, 2), 1.0)
        multiplier = price * rng.uniform(0.97, 1.03)
        dual = scalar_coupling.dual_value(*case, multiplier)
        priced = gain - 2 * multiplier * load
        reduced = np.maximum.reduceat(priced, case[2][:-1])[groups] - priced
        start = np.arange(0, 2 * size, 2)
        value = worth(case, start)
        search = coupling_search.Search(gain, load, groups, reduced, 1.0, multiplier, dual, start, value, 1e-12, None)
        search._base, search._fixed_load, search._fixed_gain = start.copy(), 0.0, 0.0
        picks = np.array(list(product([0, 1], repeat=size))) + start
        total, every = load[picks].sum(axis=1), gain[picks].sum(axis=1) - load[picks].sum(axis=1) ** 2
        low = price * rng.uniform(0.9, 1.0)
        high = low + rng.uniform(0.05, 0.6)
        inside = (total >= low) & (total <= high)
        box = [(np.array([2 * g, 2 * g + 1]), np.full(2, -np.inf), np.full(2, np.inf)) for g in range(size)]
        bound, _ = search._close(coupling_search._Cell(low, high, 1, box), np.inf)
        assert max(bound, search.value) >= every[inside].max(initial=-np.inf) - 1e-9, seed
        assert search.value <= every.max() + 1e-9
        loose += bound > search.value
    assert loose or size < 12


def test_a_passed_deadline_leaves_the_dual_bound() -> None:
    case = near_tie(1)
    found = scalar_coupling.maximise(*case, Deadline(Limits(time_s=0)))
    assert found.bound >= optimum(*case)
    assert found.bound <= found.dual_bound + 1e-12 * abs(found.dual_bound)
    assert found.cells == 0


def test_loads_of_zero() -> None:
    gain, load, offsets = np.array([1.0, 3.0, 3.0, -1.0]), np.zeros(4), np.array([0, 2, 4])
    found = scalar_coupling.maximise(gain, load, offsets, 5.0)
    assert (found.value, found.bound, found.multiplier) == (6.0, 6.0, 0.0)
