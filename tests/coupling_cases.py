"""Choices of one option a group that nearly tie, and what they are worth by definition, written with loops."""

from __future__ import annotations

from itertools import pairwise, product
from typing import TYPE_CHECKING, Any

import numpy as np

from hisopt.solvers.joint import scalar_coupling
from hisopt.solvers.joint.coupling_search import Search, _Cell

if TYPE_CHECKING:
    import pytest

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
