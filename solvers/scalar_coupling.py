"""Choose one option a group where the groups meet in one scalar: max sum gain - (sum load)^2 / V, exactly.

For any lambda >= 0, minus S^2 is at most lambda^2 - 2 lambda S, so

    h(lambda) = lambda^2 / V + sum_m max_k (gain_k - 2 lambda load_k / V)

bounds the optimum from above; h is convex. With reduced costs r_k >= 0 (how far option k is below its group's maximum)
every choice loses exactly  h(lambda) - value = sum r + (lambda - S)^2 / V. So only options with r_k <= bound - incumbent
matter, and the total load must come close to lambda: with u = lambda - S, |u| <= sqrt(V (bound - incumbent)).

An option k of an optimal choice also cannot be improved by exchanging it alone for k' of its group. With
delta = load_k' - load_k that says 2 u delta <= V (r_k' - r_k) + delta^2, an interval of u in which k can be optimal.
The search keeps in a cell of u (the whole range at first) the options whose interval meets it, and merges the groups
over the Pareto frontier of (sum load, sum gain), pruned by loss and by the cell; a cell is split only where its frontier
grows too large.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from hisopt.arrays import FloatArray, IntArray
from hisopt.solvers.interface import Deadline

_AT_ONCE = 64  # options whose pairs are compared in one array
_PAIRWISE = 3000  # options a group up to which all pairs are compared
_NEIGHBOURS = 48  # beyond, each option is compared with so many on either side
_FRONTIER = 200_000  # states of a merge beyond which its cell is split
_MAX_SPLITS = 60


@dataclass(frozen=True)
class Choice:
    """A choice (one option index a group), its value, a proven upper bound, and the multiplier of ``dual_bound``."""

    choice: IntArray
    value: float
    bound: float
    multiplier: float
    dual_bound: float
    cells: int


def dual_value(gain: FloatArray, load: FloatArray, offsets: IntArray, budget: float, multiplier: float) -> float:
    """h(lambda), an upper bound for any multiplier."""
    priced = gain - (2 * multiplier / budget) * load
    return float(multiplier**2 / budget + np.maximum.reduceat(priced, offsets[:-1]).sum())


def maximise(
    gain: FloatArray,
    load: FloatArray,
    offsets: IntArray,
    budget: float,
    deadline: Deadline | None = None,
    *,
    constant: float = 0.0,
    tolerance: float = 0.0,
) -> Choice:
    """Return the best choice; ``bound`` equals ``value`` unless the deadline passed or the frontier grew too large.

    Parameters are flat arrays of shape (K,), non-empty groups given by ``offsets``, shape (M + 1,), and V > 0. Where the
    dual bound is already within ``tolerance`` relative to value + ``constant``, nothing is searched.
    """
    groups = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    multiplier, dual, low, high = _minimise_dual(gain, load, offsets, groups, budget)
    best, value = _best_on_path(gain, load, budget, low, high)
    priced = gain - (2 * multiplier / budget) * load
    reduced = np.maximum.reduceat(priced, offsets[:-1])[groups] - priced
    rounding = 4e-16 * (np.abs(gain[best]).sum() + dual_scale(dual, value)) * max(1.0, np.log2(len(best) + 1))
    loss = max(dual - value, 0.0) + rounding
    alive = np.flatnonzero(reduced <= loss)
    for _ in range(20):
        improved, improved_value = _exchange(gain, load, groups, budget, best, value, alive)
        if improved_value <= value + rounding:
            break
        best, value = improved, improved_value
        loss = max(dual - value, 0.0) + rounding
        alive = alive[reduced[alive] <= loss]
    if dual - value <= tolerance * abs(value + constant):
        return Choice(best, value, max(dual, value), multiplier, dual, 0)
    search = _Search(gain, load, groups, reduced, budget, multiplier, dual, best, value, rounding, deadline)
    search.run(alive)
    bound = search.value if search.complete else max(search.open_bound, search.value)
    return Choice(search.best, search.value, min(bound, dual), multiplier, dual, search.cells)


def dual_scale(dual: float, value: float) -> float:
    """Size of the numbers whose rounding matters."""
    return max(abs(dual), abs(value))


def _minimise_dual(
    gain: FloatArray, load: FloatArray, offsets: IntArray, groups: IntArray, budget: float
) -> tuple[float, float, IntArray, IntArray]:
    """Minimise h by intersecting its tangents; return lambda, h(lambda) and the choices on both sides of it."""

    def respond(multiplier: float) -> tuple[float, float, float, IntArray]:
        priced = gain - (2 * multiplier / budget) * load
        top = np.maximum.reduceat(priced, offsets[:-1])
        hits = np.flatnonzero(priced == top[groups])
        owner = groups[hits]
        pick = hits[np.append(True, owner[1:] != owner[:-1])]
        value = float(multiplier**2 / budget + top.sum())
        return value, float(gain[pick].sum()), float(load[pick].sum()), pick

    best_value, low_gain, low_load, low = respond(0.0)
    best = 0.0
    high, high_gain, high_load = low, low_gain, low_load
    value, gain_at, load_at, pick = respond(low_load)
    if value < best_value:
        best, best_value = low_load, value
    high, high_gain, high_load = pick, gain_at, load_at
    for _ in range(100):
        if low_load - high_load <= 1e-15 * max(low_load, 1e-300):
            crossing = high_load
        else:
            crossing = budget * (low_gain - high_gain) / (2 * (low_load - high_load))
        at = min(max(crossing, high_load), low_load)
        model = at**2 / budget + max(low_gain - 2 * at * low_load / budget, high_gain - 2 * at * high_load / budget)
        value, gain_at, load_at, pick = respond(at)
        if value < best_value:
            best, best_value = at, value
        if value <= model + 1e-15 * abs(value) or load_at in (low_load, high_load):
            break
        if load_at >= at:
            low, low_gain, low_load = pick, gain_at, load_at
        else:
            high, high_gain, high_load = pick, gain_at, load_at
    return best, best_value, low, high


def _best_on_path(
    gain: FloatArray, load: FloatArray, budget: float, low: IntArray, high: IntArray
) -> tuple[IntArray, float]:
    """Return the best choice on the way from ``high`` to ``low``, group by group."""
    differ = np.flatnonzero(low != high)
    gains = gain[high].sum() + np.concatenate([[0.0], np.cumsum(gain[low[differ]] - gain[high[differ]])])
    loads = load[high].sum() + np.concatenate([[0.0], np.cumsum(load[low[differ]] - load[high[differ]])])
    where = int(np.argmax(gains - loads**2 / budget))
    best = high.copy()
    best[differ[:where]] = low[differ[:where]]
    return best, _value(gain, load, budget, best)


def _value(gain: FloatArray, load: FloatArray, budget: float, choice: IntArray) -> float:
    return float(gain[choice].sum() - load[choice].sum() ** 2 / budget)


def _exchange(
    gain: FloatArray, load: FloatArray, groups: IntArray, budget: float, best: IntArray, value: float, alive: IntArray
) -> tuple[IntArray, float]:
    """Exchange the one option that improves the choice most."""
    current = best[groups[alive]]
    total = load[best].sum()
    change = gain[alive] - gain[current]
    shift = load[alive] - load[current]
    change -= shift * (2 * total + shift) / budget
    where = int(np.argmax(change))
    if change[where] <= 0:
        return best, value
    improved = best.copy()
    improved[groups[alive[where]]] = alive[where]
    return improved, _value(gain, load, budget, improved)


class _Search:
    """Branch over cells of u = lambda - S; keeps the incumbent."""

    def __init__(
        self, gain: FloatArray, load: FloatArray, groups: IntArray, reduced: FloatArray, budget: float,
        multiplier: float, dual: float, best: IntArray, value: float, rounding: float, deadline: Deadline | None,
    ) -> None:  # fmt: skip
        self.gain, self.load, self.groups, self.reduced, self.budget = gain, load, groups, reduced, budget
        self.multiplier, self.dual, self.rounding, self.deadline = multiplier, dual, rounding, deadline
        self.best, self.value = best, value
        self.complete, self.open_bound, self.cells = True, -np.inf, 0

    @property
    def loss(self) -> float:
        return max(self.dual - self.value, 0.0) + self.rounding

    def run(self, alive: IntArray) -> None:
        owner = self.groups[alive]
        counts = np.bincount(owner, minlength=len(self.best))
        single = counts[owner] == 1
        self._fixed_load = float(self.load[alive[single]].sum())
        self._fixed_reduced = float(self.reduced[alive[single]].sum())
        fixed = self.best.copy()
        fixed[owner[single]] = alive[single]
        self._base = fixed
        alive = alive[~single]
        if not len(alive):
            self._offer(fixed)
            return
        boxes = [self._intervals(alive[self.groups[alive] == g]) for g in np.unique(self.groups[alive])]
        boxes.sort(key=lambda box: len(box[0]))
        radius = float(np.sqrt(self.budget * self.loss))
        stack = [(-radius, radius, 0)]
        while stack:
            low, high, depth = stack.pop()
            nearest = max(low, -high, 0.0)
            if nearest**2 / self.budget > self.loss:
                continue
            if self.deadline is not None and self.deadline.passed:
                self._leave_open(nearest)
                continue
            self.cells += 1
            active = self._active(boxes, low, high)
            if active is None:
                continue
            if self._merge(active, low, high, final=depth >= _MAX_SPLITS):
                continue
            if depth >= _MAX_SPLITS:
                self._leave_open(nearest)
                continue
            middle = (low + high) / 2
            halves = [(low, middle, depth + 1), (middle, high, depth + 1)]
            halves.sort(key=lambda cell: -abs(cell[0] + cell[1]))  # the one nearer to u = 0 first
            stack.extend(halves)

    def _leave_open(self, nearest: float) -> None:
        self.complete = False
        self.open_bound = max(self.open_bound, self.dual - nearest**2 / self.budget)

    def _offer(self, choice: IntArray) -> None:
        value = _value(self.gain, self.load, self.budget, choice)
        if value > self.value:
            self.best, self.value = choice, value

    def _intervals(self, options: IntArray) -> tuple[IntArray, FloatArray, FloatArray]:
        """Return a group's undominated options by load, each with the interval of u in which it can be optimal."""
        order = options[np.lexsort((-self.gain[options], self.load[options]))]
        top = np.maximum.accumulate(self.gain[order])
        order = order[np.append(True, self.gain[order][1:] > top[:-1])]
        load, reduced = self.load[order], self.reduced[order]
        radius = np.sqrt(self.budget * np.maximum(self.loss - reduced, 0.0))
        low, high = -radius, radius

        def limits(small: Any, large: Any) -> tuple[FloatArray, FloatArray]:
            """Return where the option with the smaller load stops, and the one with the larger begins, to be possible."""
            delta = load[large] - load[small]
            slope = self.budget * (reduced[large] - reduced[small]) / delta
            above, below = (slope + delta) / 2, (slope - delta) / 2
            return above + 1e-9 * (np.abs(above) + radius[0]), below - 1e-9 * (np.abs(below) + radius[0])

        size = len(order)
        if size <= _AT_ONCE:
            small, large = np.triu_indices(size, 1)
            above, below = limits(small, large)
            np.minimum.at(high, small, above)
            np.maximum.at(low, large, below)
        else:
            for shift in range(1, size if size <= _PAIRWISE else _NEIGHBOURS):
                above, below = limits(slice(None, -shift), slice(shift, None))
                np.minimum(high[:-shift], above, out=high[:-shift])
                np.maximum(low[shift:], below, out=low[shift:])
        keep = low <= high
        return order[keep], low[keep], high[keep]

    def _active(
        self, boxes: list[tuple[IntArray, FloatArray, FloatArray]], low: float, high: float
    ) -> list[tuple[IntArray, FloatArray, FloatArray]] | None:
        """Restrict the groups to a cell, until nothing more goes; None where no choice is left."""
        nearest = max(low, -high, 0.0)
        room = self.loss - nearest**2 / self.budget - self._fixed_reduced
        active = []
        for options, start, end in boxes:
            keep = (start <= high) & (end >= low) & (self.reduced[options] <= self.loss)
            active.append((options[keep], start[keep], end[keep]))
        while True:
            if any(len(box[0]) == 0 for box in active):
                return None
            least = np.array([self.reduced[box[0]].min() for box in active])
            smallest = np.array([self.load[box[0][0]] for box in active])
            largest = np.array([self.load[box[0][-1]] for box in active])
            if least.sum() > room:
                return None
            changed = False
            others_smallest = self._fixed_load + smallest.sum() - smallest
            others_largest = self._fixed_load + largest.sum() - largest
            room_of = room - least.sum() + least
            for i, (options, start, end) in enumerate(active):
                load = self.load[options]
                slack = 1e-9 * (self.multiplier + abs(high) + abs(low))
                keep = (
                    (self.reduced[options] <= room_of[i])
                    & (self.multiplier - load - others_largest[i] <= high + slack)
                    & (self.multiplier - load - others_smallest[i] >= low - slack)
                )
                if not keep.all():
                    changed = True
                    active[i] = (options[keep], start[keep], end[keep])
            if not changed:
                return active

    def _merge(
        self, active: list[tuple[IntArray, FloatArray, FloatArray]], low: float, high: float, *, final: bool
    ) -> bool:
        """Merge the groups of a cell; False where the frontier grew too large."""
        slack = 1e-9 * (self.multiplier + abs(high) + abs(low))
        loads = np.array([self._fixed_load])
        reduced = np.array([self._fixed_reduced])
        starts, ends = np.array([low]), np.array([high])
        smallest = np.array([self.load[box[0][0]] for box in active])
        largest = np.array([self.load[box[0][-1]] for box in active])
        least = np.array([self.reduced[box[0]].min() for box in active])
        history: list[tuple[IntArray, IntArray]] = []
        for i, (options, option_start, option_end) in enumerate(active):
            if len(loads) * len(options) > 40 * _FRONTIER:
                return False
            to_small, to_large = smallest[i + 1 :].sum(), largest[i + 1 :].sum()
            new_reduced = reduced[:, None] + self.reduced[options][None, :]
            new_loads = loads[:, None] + self.load[options][None, :]
            new_starts = np.maximum(starts[:, None], option_start[None, :])
            new_ends = np.minimum(ends[:, None], option_end[None, :])
            u_low = np.maximum(self.multiplier - new_loads - to_large - slack, new_starts)
            u_high = np.minimum(self.multiplier - new_loads - to_small + slack, new_ends)
            nearest = np.maximum(np.maximum(u_low, -u_high), 0.0)
            keep = (u_low <= u_high) & (new_reduced + least[i + 1 :].sum() + nearest**2 / self.budget <= self.loss)
            parent, option = np.nonzero(keep)
            loads, reduced = new_loads[keep], new_reduced[keep]
            starts, ends = new_starts[keep], new_ends[keep]
            if not len(loads):
                return True
            gain = 2 * self.multiplier * loads / self.budget - reduced
            order = np.lexsort((-gain, loads))
            top = np.maximum.accumulate(gain[order])
            order = order[np.append(True, gain[order][1:] > top[:-1])]
            loads, reduced, starts, ends = loads[order], reduced[order], starts[order], ends[order]
            history.append((parent[order], options[option[order]]))
            if len(loads) > _FRONTIER:
                return False
        last = int(np.argmin(reduced + (self.multiplier - loads) ** 2 / self.budget))
        choice = self._base.copy()
        for parents, picks in reversed(history):
            choice[self.groups[picks[last]]] = picks[last]
            last = int(parents[last])
        self._offer(choice)
        return True
