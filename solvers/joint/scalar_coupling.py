"""Choose one option a group where the groups meet in one scalar: max sum gain - (sum load)^2 / V, exactly.

For any lambda >= 0, minus S^2 is at most lambda^2 - 2 lambda S, so

    h(lambda) = lambda^2 / V + sum_m max_k (gain_k - 2 lambda load_k / V)

bounds the optimum from above; h is convex. With reduced costs r_k >= 0 (how far option k is below its group's maximum)
every choice loses exactly  h(lambda) - value = sum r + (lambda - S)^2 / V. So only options with r_k <= bound - incumbent
matter, and the total load must come close to lambda: with u = lambda - S, |u| <= sqrt(V (bound - incumbent)).

An option k of an optimal choice also cannot be improved by exchanging it alone for k' of its group. With
delta = load_k' - load_k that says 2 u delta <= V (r_k' - r_k) + delta^2, an interval of u in which k can be optimal.
`hisopt.solvers.joint.coupling_search` merges the options that are left.

Complexity. Choosing the options holds subset sum, so an exact optimum is NP-hard with adversarial loads; within a
tolerance the search's rounded merge is polynomial in the number of options and in 1 / tolerance. With the papers'
parameters few options are left, and the merge is exact within milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hisopt.solvers.joint.coupling_search import Search, choice_value

if TYPE_CHECKING:
    from hisopt.arrays import FloatArray, IntArray
    from hisopt.solvers.base import Deadline
    from hisopt.solvers.joint.coupling_search import Tell


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
    enough: float = 0.0,
    tell: Tell | None = None,
) -> Choice:
    """Return the best choice; ``bound`` equals ``value`` unless the deadline passed or the frontier grew too large.

    Parameters are flat arrays of shape (K,), non-empty groups given by ``offsets``, shape (M + 1,), and V > 0. Where the
    dual bound is already within ``tolerance`` relative to value + ``constant``, nothing is searched; where rounded merges
    were needed, the search ends within ``tolerance``, or soon after it is within ``enough``. ``tell`` is called with the best
    choice so far, its value and the bound, before every step of the search.
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
    scale = abs(value + constant)
    within = (tolerance * scale, enough * scale)
    search = Search(
        gain, load, groups, reduced, budget, multiplier, dual, best, value, rounding, deadline, within, tell
    )
    search.run(alive)
    return Choice(search.best, search.value, min(search.bound, max(dual, search.value)), multiplier, dual, search.cells)


def dual_scale(dual: float, value: float) -> float:
    """Size of the numbers whose rounding matters."""
    return max(abs(dual), abs(value))


@dataclass(frozen=True)
class _Options:
    """Some options of every group: gain, load and index among all of each, shape (K,), and the groups' first places."""

    gain: FloatArray
    load: FloatArray
    index: IntArray
    groups: IntArray
    starts: IntArray

    def priced(self, multiplier: float, budget: float) -> FloatArray:
        return np.asarray(self.gain - (2 * multiplier / budget) * self.load)

    def respond(self, multiplier: float, budget: float) -> _Response:
        """The best option of every group at a multiplier, the first of those that tie."""
        priced = self.priced(multiplier, budget)
        top = np.maximum.reduceat(priced, self.starts)
        hits = np.flatnonzero(priced == top[self.groups])
        owner = self.groups[hits]
        pick = hits[np.append(True, owner[1:] != owner[:-1])]
        value = float(multiplier**2 / budget + top.sum())
        gain, load = float(self.gain[pick].sum()), float(self.load[pick].sum())
        return _Response(multiplier, value, gain, load, self.index[pick], self.gain[pick], self.load[pick])

    def between(self, low: _Response, high: _Response, budget: float) -> _Options:
        """Return the options that may be best between two multipliers: elsewhere the best at one end beats them at both."""
        keep = np.ones(len(self.gain), dtype=bool)
        for here, there in ((low, high), (high, low)):
            rival = there.gains - (2 * here.multiplier / budget) * there.loads
            keep &= self.priced(here.multiplier, budget) >= rival[self.groups]
        groups = self.groups[keep]
        starts = np.flatnonzero(np.append(True, groups[1:] != groups[:-1]))
        return _Options(self.gain[keep], self.load[keep], self.index[keep], groups, starts)


@dataclass(frozen=True)
class _Response:
    """The best options at a multiplier, one a group, shape (M,), with the dual's value and the total gain and load."""

    multiplier: float
    value: float
    gain: float
    load: float
    pick: IntArray
    gains: FloatArray
    loads: FloatArray


def _minimise_dual(
    gain: FloatArray, load: FloatArray, offsets: IntArray, groups: IntArray, budget: float
) -> tuple[float, float, IntArray, IntArray]:
    """Minimise h by intersecting its tangents; return lambda, h(lambda) and the choices on both sides of it.

    Options that are best nowhere between the two sides are left out of the search, and counted again in h(lambda).
    """
    options = _Options(gain, load, np.arange(len(gain)), groups, offsets[:-1])
    low = options.respond(0.0, budget)
    high = options.respond(low.load, budget)
    best = min(low, high, key=lambda response: response.value)
    for _ in range(100):
        if low.multiplier > 0:  # from here on both sides are near, and few options lie between
            options = options.between(low, high, budget)
        if low.load - high.load <= 1e-15 * max(low.load, 1e-300):
            crossing = high.load
        else:
            crossing = budget * (low.gain - high.gain) / (2 * (low.load - high.load))
        at = min(max(crossing, high.load), low.load)
        model = at**2 / budget + max(side.gain - 2 * at * side.load / budget for side in (low, high))
        found = options.respond(at, budget)
        best = min(best, found, key=lambda response: response.value)
        if found.value <= model + 1e-15 * abs(found.value) or found.load in (low.load, high.load):
            break
        if found.load >= at:
            low = found
        else:
            high = found
    return best.multiplier, dual_value(gain, load, offsets, budget, best.multiplier), low.pick, high.pick


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
    return best, choice_value(gain, load, budget, best)


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
    return improved, choice_value(gain, load, budget, improved)
