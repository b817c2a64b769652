"""The search behind `hisopt.solvers.joint.scalar_coupling`: best-first over cells of the total load S.

A cell is an interval of S. In it, with price 2 lambda / V for any lambda and reduced costs r of the options left,

    value = h(lambda) - sum r - (lambda - S)^2 / V,   so   value <= h(lambda) - distance(lambda, cell)^2 / V,

the dual restricted to the cell; it is convex in lambda, and every cell has its own best lambda. The groups of a cell
are merged over the Pareto frontier of (sum load, sum gain), pruned by loss and by the cell. Where the frontier grows
too large, states of nearly equal load become one: its load is the middle of theirs, and its cost the least of their
r - 2 (lambda - C) S / V, with C the middle of the cell. Because
(lambda - S)^2 = (lambda - C)^2 + 2 (lambda - C) (C - S) + (C - S)^2, only the last term errs, and with D the sum over
the merges of the largest move of a load, no choice loses less than the least over the final states of
r + [2 (lambda - C) (lambda - S) - (lambda - C)^2 + max(|C - S| - D, 0)^2] / V. This bounds the cell; if not tightly
enough, the cell is split, which shrinks |C - S|.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np

from hisopt.arrays import FloatArray, IntArray

if TYPE_CHECKING:
    from hisopt.solvers.base import Deadline

_AT_ONCE = 64  # options whose pairs are compared in one array
_PAIRWISE = 3000  # options a group up to which all pairs are compared
_NEIGHBOURS = 48  # beyond, each option is compared with so many on either side
_FRONTIER = 200_000  # states up to which a merge is exact
_ROUNDED = 10_000  # states that a rounded merge keeps
_PAIRS = 8_000_000  # sums computed at once
_MAX_SPLITS = 60
_EXTRA_CELLS = 1  # cells searched for the last digits, once the gap is small enough
_ERROR = 2e-15  # relative, of a square of lambda and the terms that it cancels with
_SLACK = 1e-9  # of loads, relative: far above rounding, and it only keeps options

Tell = Callable[[IntArray, float, float], None]  # the best choice so far, its value, and the bound
Box = tuple[IntArray, FloatArray, FloatArray]  # a group's options by load, and from which S to which each is possible


def choice_value(gain: FloatArray, load: FloatArray, budget: float, choice: IntArray) -> float:
    """Sum gain - (sum load)^2 / V of one option a group."""
    return float(gain[choice].sum() - load[choice].sum() ** 2 / budget)


@dataclass(frozen=True)
class _Cell:
    low: float
    high: float
    depth: int
    boxes: list[Box]


class Search:
    """Keeps the incumbent and the proven bound; ``reduced`` are the reduced costs at ``multiplier``.

    ``within`` are two absolute gaps: at the first the search ends, at the second it ends after a few more cells.
    """

    def __init__(
        self, gain: FloatArray, load: FloatArray, groups: IntArray, reduced: FloatArray, budget: float,
        multiplier: float, dual: float, best: IntArray, value: float, rounding: float, deadline: Deadline | None,
        within: tuple[float, float] = (0.0, 0.0), tell: Tell | None = None,
    ) -> None:  # fmt: skip
        self.gain, self.load, self.groups, self.reduced, self.budget = gain, load, groups, reduced, budget
        self.multiplier, self.dual, self.rounding, self.deadline = multiplier, dual, rounding, deadline
        self.best, self.value, self.within, self._tell = best, value, within, tell
        self.bound, self.cells = dual, 0

    @property
    def _late(self) -> bool:
        return self.deadline is not None and self.deadline.passed

    @property
    def loss(self) -> float:
        """How much a choice may lose against the dual and still matter."""
        return max(self.dual - self.value, 0.0) + self.rounding

    def run(self, alive: IntArray) -> None:
        """Search the choices of the options ``alive``, at least one a group; sets ``best``, ``value``, ``bound``."""
        owner = self.groups[alive]
        counts = np.bincount(owner, minlength=len(self.best))
        single = counts[owner] == 1
        self._base = self.best.copy()
        self._base[owner[single]] = alive[single]
        self._fixed_load = float(self.load[alive[single]].sum())
        self._fixed_gain = float(self.gain[alive[single]].sum())
        alive = alive[~single]
        if not len(alive):
            self._offer(self._base)
            self.bound = self.value
            return
        boxes = [self._intervals(alive[self.groups[alive] == g]) for g in np.unique(self.groups[alive])]
        boxes.sort(key=lambda box: len(box[0]))
        radius = float(np.sqrt(self.budget * self.loss))
        radius += _SLACK * (self.multiplier + radius)
        number = count()  # breaks ties in the heap
        cells = [(-self.dual, next(number), _Cell(self.multiplier - radius, self.multiplier + radius, 0, boxes))]
        closed = -np.inf  # the largest bound of the cells given up as good enough
        enough_at: int | None = None
        while cells:
            bound, cell = -cells[0][0], cells[0][2]
            gap = bound - self.value
            if gap <= self.rounding or gap <= self.within[0] or self._late:
                break
            if self._tell is not None:
                self._tell(self.best, self.value, max(closed, bound))
            if enough_at is None and gap <= self.within[1]:
                enough_at = self.cells
            if enough_at is not None and self.cells >= 2 * enough_at + _EXTRA_CELLS:
                break
            heapq.heappop(cells)
            self.cells += 1
            bound, children = self._close(cell, bound)
            if bound <= self.value:
                continue
            if cell.depth >= _MAX_SPLITS:
                closed = max(closed, bound)
                continue
            for child in children:
                heapq.heappush(cells, (-bound, next(number), child))
        self.bound = max([closed, self.value] + [-cell[0] for cell in cells[:1]])

    def _close(self, cell: _Cell, bound: float) -> tuple[float, list[_Cell]]:
        """Bound a cell, at most by ``bound``; also return its halves."""
        boxes: list[Box] = []
        for options, start, end in cell.boxes:
            keep = (start <= cell.high) & (end >= cell.low)
            boxes.append((options[keep], start[keep], end[keep]))
        if any(len(box[0]) == 0 for box in boxes):
            return -np.inf, []
        multiplier, dual, tops = self._price(boxes, cell)
        nearest = _distance(multiplier, cell.low, cell.high)
        if dual - nearest**2 / self.budget <= self.value - self.rounding:
            return -np.inf, []
        loss = max(dual - self.value, 0.0) + self.rounding
        active = self._restrict(boxes, tops, multiplier, cell, loss)
        if active is None:
            return -np.inf, []
        found = self._merge(*active, multiplier, dual, cell)
        middle = (cell.low + cell.high) / 2
        left = active[0]
        halves = [(cell.low, middle), (middle, cell.high)]
        bound = min(bound, dual - nearest**2 / self.budget, np.inf if found is None else found)
        return bound, [_Cell(low, high, cell.depth + 1, left) for low, high in halves]

    def _price(self, boxes: list[Box], cell: _Cell) -> tuple[float, float, FloatArray]:
        """Return lambda that minimises the restricted dual, h(lambda) and the largest priced gain of each group.

        The slope of the restricted dual has the sign of clip(lambda, cell) - S(lambda), S(lambda) the load of the
        choice of largest priced gains, which falls in lambda.
        """
        options = np.concatenate([box[0] for box in boxes])
        gain, load = self.gain[options], self.load[options]
        heads = np.concatenate([[0], np.cumsum([len(box[0]) for box in boxes])[:-1]])
        usual = 2 * max(self.multiplier, cell.high, 0.0)
        unit = _ERROR * max(1.0, np.log2(len(boxes))) / self.budget

        def respond(at: float) -> tuple[float, float, FloatArray]:
            priced = gain - (2 * at / self.budget) * load
            top = np.maximum.reduceat(priced, heads)
            h = at**2 / self.budget + self._fixed_gain - 2 * at / self.budget * self._fixed_load + top.sum()
            if at > usual:  # squares of it cancel later, and with them digits that `rounding` does not count
                h += unit * at**2
            return float(h - _distance(at, cell.low, cell.high) ** 2 / self.budget), float(h), top

        def rises(at: float) -> bool:
            priced = gain - (2 * at / self.budget) * load
            top = np.maximum.reduceat(priced, heads)
            hits = np.flatnonzero(priced == np.repeat(top, np.diff(np.append(heads, len(priced)))))
            owner = np.searchsorted(heads, hits, side="right")
            first = hits[np.append(True, owner[1:] != owner[:-1])]
            return bool(min(max(at, cell.low), cell.high) > self._fixed_load + load[first].sum())

        candidates = [self.multiplier]
        if cell.depth:
            below, above = 0.0, usual
            for _ in range(40):
                if rises(above):
                    break
                below, above = above, 4 * above
            for _ in range(30):
                middle = (below + above) / 2
                below, above = (below, middle) if rises(middle) else (middle, above)
            candidates += [below, above]
        at = min(candidates, key=lambda at: respond(at)[0])
        _, h, top = respond(at)
        return at, h, top

    def _offer(self, choice: IntArray) -> None:
        value = choice_value(self.gain, self.load, self.budget, choice)
        if value > self.value:
            self.best, self.value = choice, value

    def _intervals(self, options: IntArray) -> Box:
        """Return a group's undominated options by load, each with the interval of S in which it can be optimal."""
        order = options[np.lexsort((-self.gain[options], self.load[options]))]
        top = np.maximum.accumulate(self.gain[order])
        order = order[np.append(True, self.gain[order][1:] > top[:-1])]
        load, reduced = self.load[order], self.reduced[order]
        radius = np.sqrt(self.budget * np.maximum(self.loss - reduced, 0.0))
        low, high = -radius, radius  # of u = lambda - S

        def limits(small: Any, large: Any) -> tuple[FloatArray, FloatArray]:
            """Return where the option with the smaller load stops, and the one with the larger begins, to be possible."""
            delta = load[large] - load[small]
            slope = self.budget * (reduced[large] - reduced[small]) / delta
            above, below = (slope + delta) / 2, (slope - delta) / 2
            return above + _SLACK * (np.abs(above) + radius[0]), below - _SLACK * (np.abs(below) + radius[0])

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
        slack = _SLACK * (self.multiplier + radius.max(initial=0.0))
        return order[keep], self.multiplier - high[keep] - slack, self.multiplier - low[keep] + slack

    def _restrict(
        self, boxes: list[Box], tops: FloatArray, multiplier: float, cell: _Cell, loss: float
    ) -> tuple[list[Box], list[FloatArray]] | None:
        """Drop options that no choice of the cell can hold, until nothing more goes; None where no choice is left.

        Also return the reduced costs at ``multiplier`` of the options left.
        """
        room = loss - _distance(multiplier, cell.low, cell.high) ** 2 / self.budget
        price, slack = 2 * multiplier / self.budget, _SLACK * (multiplier + abs(cell.low) + abs(cell.high))
        active = list(boxes)
        costs = [
            np.maximum(top - self.gain[o] + price * self.load[o], 0.0)
            for top, (o, _, _) in zip(tops, boxes, strict=True)
        ]
        while True:
            if any(len(box[0]) == 0 for box in active):
                return None
            least = np.array([cost.min() for cost in costs])
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
                keep = (
                    (costs[i] <= room_of[i])
                    & (load + others_largest[i] >= cell.low - slack)
                    & (load + others_smallest[i] <= cell.high + slack)
                )
                if not keep.all():
                    changed = True
                    active[i], costs[i] = (options[keep], start[keep], end[keep]), costs[i][keep]
            if not changed:
                return active, costs

    def _merge(
        self, active: list[Box], costs: list[FloatArray], multiplier: float, dual: float, cell: _Cell
    ) -> float | None:
        """Merge the groups of a cell, offer the best choices found, and return the cell's bound; None when late."""
        budget = self.budget
        middle = (cell.low + cell.high) / 2
        tilt = multiplier - middle
        slack = _SLACK * (multiplier + abs(cell.low) + abs(cell.high))
        loads, reduced = np.array([self._fixed_load]), np.zeros(1)
        starts, ends = np.array([cell.low - slack]), np.array([cell.high + slack])
        smallest = np.array([self.load[box[0][0]] for box in active])
        largest = np.array([self.load[box[0][-1]] for box in active])
        least = np.array([cost.min() for cost in costs])
        moved, capacity = 0.0, _FRONTIER
        history: list[tuple[IntArray, IntArray]] = []
        for i, (options, option_start, option_end) in enumerate(active):
            if self._late:
                return None
            if len(loads) * len(options) > _PAIRS:
                capacity = _ROUNDED
                pick, loads, reduced, step = _round(loads, reduced, 2 * tilt / budget, max(_PAIRS // len(options), 1))
                moved += step
                starts, ends = np.full(len(pick), cell.low - slack), np.full(len(pick), cell.high + slack)
                history[-1] = (history[-1][0][pick], history[-1][1][pick])
            to_small, to_large = smallest[i + 1 :].sum(), largest[i + 1 :].sum()
            new_reduced = reduced[:, None] + costs[i][None, :]
            new_loads = loads[:, None] + self.load[options][None, :]
            new_starts = np.maximum(starts[:, None], option_start[None, :])
            new_ends = np.minimum(ends[:, None], option_end[None, :])
            first = np.maximum(new_loads + (to_small - slack - moved), new_starts)
            last = np.minimum(new_loads + (to_large + slack + moved), new_ends)
            nearest = np.maximum(np.maximum(first - multiplier, multiplier - last), 0.0)
            loss = max(dual - self.value, 0.0) + self.rounding + 2 * abs(tilt) * moved / budget
            keep = (first <= last) & (new_reduced + least[i + 1 :].sum() + nearest**2 / budget <= loss)
            parent, option = np.nonzero(keep)
            loads, reduced = new_loads[keep], new_reduced[keep]
            starts, ends = new_starts[keep], new_ends[keep]
            if not len(loads):
                return -np.inf
            order = _frontier(loads, 2 * multiplier * loads / budget - reduced, moved, 2 * abs(middle) * moved / budget)
            loads, reduced, starts, ends = loads[order], reduced[order], starts[order], ends[order]
            history.append((parent[order], options[option[order]]))
            if len(loads) > capacity:
                capacity = 2 * _ROUNDED
                pick, loads, reduced, step = _round(loads, reduced, 2 * tilt / budget, _ROUNDED)
                moved += step
                starts, ends = np.full(len(pick), cell.low - slack), np.full(len(pick), cell.high + slack)
                history[-1] = (history[-1][0][pick], history[-1][1][pick])
        apart = multiplier - loads
        lost = reduced + (2 * tilt * apart - tilt**2 + np.maximum(np.abs(middle - loads) - moved, 0.0) ** 2) / budget
        estimate = reduced + apart**2 / budget
        for last_state in np.argsort(estimate, kind="stable")[: 4 if moved else 1]:
            state = int(last_state)
            choice = self._base.copy()
            for parents, picks in reversed(history):
                choice[self.groups[picks[state]]] = picks[state]
                state = int(parents[state])
            self._offer(choice)
        return float(dual - lost.min() + self.rounding) if moved else -np.inf


def _distance(point: float, low: float, high: float) -> float:
    return max(low - point, point - high, 0.0)


def _frontier(loads: FloatArray, gain: FloatArray, moved: float, gain_error: float) -> IntArray:
    """Return the states by load that no other surely beats: one with no more load and no less gain.

    Loads are known to ``moved`` and, with it, gains to ``gain_error``.
    """
    order = np.lexsort((-gain, loads))
    top = np.maximum.accumulate(gain[order])
    if moved == 0.0:
        return np.asarray(order[np.append(True, gain[order][1:] > top[:-1])])
    before = np.searchsorted(loads[order], loads[order] - 2 * moved, side="left")
    rival = np.append(-np.inf, top)[before]
    return np.asarray(order[gain[order] + 2 * gain_error > rival])


def _round(
    loads: FloatArray, reduced: FloatArray, tilt: float, target: int
) -> tuple[IntArray, FloatArray, FloatArray, float]:
    """Join states of nearly equal load (sorted) until about ``target`` are left.

    Returns who stands for each, the load and cost of each, and how far a load moved at most.
    """
    extent = float(loads[-1] - loads[0])
    fine, coarse = extent * 1e-15, extent / target
    for _ in range(12 if extent > 0 else 0):  # a width that leaves about as many buckets as allowed
        width = np.sqrt(fine * coarse)
        if np.count_nonzero(np.diff(np.floor((loads - loads[0]) / width))) >= target:
            fine = width
        else:
            coarse = width
    bucket = np.floor((loads - loads[0]) / coarse) if coarse > 0 else np.zeros(len(loads))
    heads = np.flatnonzero(np.append(True, bucket[1:] != bucket[:-1]))
    tails = np.append(heads[1:], len(loads)) - 1
    tilted = reduced - tilt * loads
    least = np.minimum.reduceat(tilted, heads)
    hits = np.flatnonzero(tilted == np.repeat(least, tails - heads + 1))
    owner = np.searchsorted(heads, hits, side="right")
    pick = hits[np.append(True, owner[1:] != owner[:-1])]
    centre = (loads[heads] + loads[tails]) / 2
    return pick, centre, least + tilt * centre, float((loads[tails] - loads[heads]).max() / 2)
