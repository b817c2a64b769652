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
