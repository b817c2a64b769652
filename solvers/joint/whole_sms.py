"""One option and whole SMs for every cluster under one budget: max sum_m (gain - cost / v_m), sum v_m <= V.

An option with work needs v_m >= 1, and exactly one SM where it costs nothing; an idle one takes none. For a price
beta >= 0 of an SM,

    D(beta) = beta V + sum_m max_{k, v} (gain_k - cost_k / v - beta v)

bounds the optimum from above. With rho_m(v) how far v SMs leave cluster m below its maximum, every choice loses exactly
D(beta) - value = sum_m rho_m(v_m) + beta (V - sum v), so only v with rho_m(v) <= D - incumbent matter, and the clusters'
remaining v are merged one by one over the SMs used, pruned by what is lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hisopt.result import Termination
from hisopt.solvers.allocation.whole import marginal_allocation

if TYPE_CHECKING:
    from collections.abc import Callable

    from hisopt.arrays import BoolArray, FloatArray, IntArray

MOST_ENTRIES = 1 << 23  # values rho_m(v), or states of a merge, in memory at a time
_THINNINGS = 100
_PAIRED = 1 << 20  # pairs of states and options that are compared in one array


@dataclass(frozen=True)
class Options:
    """The corners of every cluster's upper hull of (work, gain) and its idle option, flat, by cluster.

    Attributes
    ----------
    cluster, gain, cost, busy
        Cluster, gain, c_m W and whether there is work, shapes (K,); an idle option comes first in its cluster.
    index
        Each option's index in the arrays that they were taken from.
    starts
        First option of each cluster, shape (M,).
    """

    cluster: IntArray
    gain: FloatArray
    cost: FloatArray
    busy: BoolArray
    index: IntArray
    starts: IntArray

    @classmethod
    def of(cls, gain: FloatArray, cost: FloatArray, work: IntArray, offsets: IntArray) -> Options:
        """Keep what can be optimal: at fixed v the value is linear in work and gain, so only corners of the hull count."""
        cluster = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
        order = np.lexsort((-gain, work, cluster))
        new_point = np.append(True, (np.diff(cluster[order]) != 0) | (np.diff(work[order]) != 0))
        order = order[new_point]
        idle = order[work[order] == 0]
        order = order[work[order] > 0]
        for _ in range(_THINNINGS):
            kept = _above_neighbours(cluster[order], work[order], gain[order])
            if kept.all():
                break
            order = order[kept]
        chosen = np.concatenate([idle, order])
        chosen = chosen[np.argsort(cluster[chosen], kind="stable")]
        starts = np.searchsorted(cluster[chosen], np.arange(len(offsets) - 1))
        return cls(cluster[chosen], gain[chosen], cost[chosen], work[chosen] > 0, chosen, starts)

    @property
    def count(self) -> int:
        """M."""
        return len(self.starts)

    @property
    def forced(self) -> int:
        """How many clusters have no idle option."""
        return int(self.busy[self.starts].sum())

    def idle_only(self) -> Options:
        """Return the idle options; every cluster must have one."""
        at = self.starts
        return Options(
            self.cluster[at], self.gain[at], self.cost[at], self.busy[at], self.index[at], np.arange(len(at))
        )

    def respond(self, sms: IntArray) -> tuple[IntArray, float]:
        """Return each cluster's best option at v_m SMs, shape (M,), and their total value (-inf: some cluster has none)."""
        at = sms[self.cluster]
        value = np.where(self.busy, self.gain - self.cost / np.maximum(at, 1), self.gain)
        value = np.where(self.busy & (at < 1), -np.inf, value)
        pick = self._best(value)
        return pick, float(value[pick].sum())

    def priced(self, price: float, budget: int) -> tuple[FloatArray, FloatArray]:
        """Return for each option its best whole v in 0 .. V at a price of an SM, and its value there, shapes (K,)."""
        with np.errstate(divide="ignore", over="ignore"):
            best = np.sqrt(self.cost / price) if price > 0 else np.where(self.cost > 0, np.inf, 0.0)
        low = np.clip(np.floor(best), 1, max(budget, 1))  # without any SM all options are idle
        high = np.minimum(low + 1, max(budget, 1))
        value_low = self.gain - self.cost / low - price * low
        value_high = self.gain - self.cost / high - price * high
        up = value_high > value_low
        sms = np.where(self.busy, np.where(up, high, low), 0.0)
        return sms, np.where(self.busy, np.where(up, value_high, value_low), self.gain)

    def _best(self, value: FloatArray) -> IntArray:
        top = np.maximum.reduceat(value, self.starts)
        hits = np.flatnonzero(value == top[self.cluster])
        owner = self.cluster[hits]
        return np.asarray(hits[np.append(True, owner[1:] != owner[:-1])])

    def dual(self, price: float, budget: int) -> tuple[float, FloatArray]:
        """Return D(beta) and an optimal v_m of each cluster, shape (M,)."""
        sms, value = self.priced(price, budget)
        pick = self._best(value)
        return price * budget + float(value[pick].sum()), sms[pick]

    def minimise_dual(self, budget: int) -> tuple[float, float, IntArray]:
        """Return beta, D(beta) at its minimum within rounding, and SMs within the budget that some price leads to.

        Needs ``forced <= budget``.
        """
        price = 0.0
        value, sms = self.dual(price, budget)
        if sms.sum() <= budget:
            return price, value, sms.astype(np.int64)
        spread = np.maximum.reduceat(self.gain, self.starts) - np.minimum.reduceat(self.gain, self.starts)
        low, high = 0.0, float(self.cost.max() + spread.max()) * (1 + 1e-9)
        _, feasible = self.dual(high, budget)  # beyond what any option gains
        for _ in range(200):
            if high - low <= 1e-15 * high:
                break
            middle = np.sqrt(low * high) if low > 0 else high * 1e-3
            middle = (low + high) / 2 if not low < middle < high else float(middle)
            at, sms = self.dual(middle, budget)
            if at < value:
                price, value = middle, at
            if sms.sum() <= budget:
                high, feasible = middle, sms
            else:
                low = middle
        return price, value, feasible.astype(np.int64)

    def improve(self, sms: IntArray, budget: int) -> tuple[IntArray, IntArray, float]:
        """Return options and SMs, both of shape (M,), and their value: the best of either given the other, in turn."""
        pick, value = self.respond(sms)
        while True:
            better = marginal_allocation(self.cost[pick], budget, self.busy[pick])
            if better is None:  # more clusters are busy than had SMs, which no answer to these SMs does
                return pick, sms, value
            new_pick, new_value = self.respond(better)
            if not new_value > value:
                return pick, sms, value
            pick, sms, value = new_pick, better, new_value

    def candidates(
        self, price: float, budget: int, loss: float, most: int = MOST_ENTRIES
    ) -> tuple[list[IntArray], list[FloatArray]] | None:
        """Return each cluster's v with rho_m(v) <= ``loss`` and these rho; None if they are more than ``most``."""
        _, value = self.priced(price, budget)
        top = np.maximum.reduceat(value, self.starts)[self.cluster]
        room = self.gain - top + loss
        near = np.flatnonzero(top - value <= loss)
        cost, room = self.cost[near], np.maximum(room[near], 0.0)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            half = room + np.sqrt(np.maximum(room**2 - 4 * price * cost, 0.0))
            first, last = 2 * cost / half, half / (2 * price) if price > 0 else np.full(len(near), np.inf)
        first, last = np.floor(first) - 1, np.ceil(last) + 1  # one to spare, for rounding
        first = np.clip(np.nan_to_num(first, posinf=budget), 1, budget)
        last = np.clip(np.nan_to_num(last, nan=budget, posinf=budget), first, budget)
        first, last = np.where(self.busy[near], first, 0), np.where(self.busy[near], last, 0)
        last = np.where(self.busy[near] & (cost == 0), first, last)
        lengths = (last - first + 1).astype(np.int64)
        if lengths.sum() > most:
            return None
        option = np.repeat(near, lengths)
        within = np.arange(len(option)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        sms = np.repeat(first, lengths).astype(np.int64) + within
        lost = top[option] - (self.gain[option] - self.cost[option] / np.maximum(sms, 1) - price * sms)
        keep = lost <= loss
        sms, lost, cluster = sms[keep], np.maximum(lost[keep], 0.0), self.cluster[option[keep]]
        order = np.lexsort((lost, sms, cluster))
        sms, lost, cluster = sms[order], lost[order], cluster[order]
        new = np.append(True, (np.diff(cluster) != 0) | (np.diff(sms) != 0))[: len(sms)]
        ends = np.searchsorted(cluster[new], np.arange(1, self.count))
        return np.split(sms[new], ends), np.split(lost[new], ends)


def _above_neighbours(cluster: IntArray, work: IntArray, gain: FloatArray) -> BoolArray:
    """Mark the points that gain more than the one before and lie above the chord of their neighbours in the cluster.

    Whatever goes is no corner of the hull, even where a neighbour goes with it: all of them are points of the cluster.
    """
    keep = np.ones(len(cluster), dtype=bool)
    same = cluster[1:] == cluster[:-1]
    keep[1:] &= ~(same & (gain[1:] <= gain[:-1]))
    rise, run = np.diff(gain), np.diff(work)
    inner = same[1:] & same[:-1]
    keep[1:-1] &= ~(inner & (rise[:-1] * run[1:] <= rise[1:] * run[:-1]))
    return keep


@dataclass(frozen=True)
class Merged:
    """What a merge found: SMs of shape (M,) that beat the incumbent, if any; and why it stopped early, if it did."""

    sms: IntArray | None
    stopped: Termination | None = None


def merge(
    sms: list[IntArray], lost: list[FloatArray], budget: int, price: float, loss: float, stop: Callable[[], bool],
    memory: float,
) -> Merged:  # fmt: skip
    """Choose one v a cluster, sum v <= V, with the least total of rho_m(v_m) + beta (V - sum v), if that is <= ``loss``.

    ``stop`` says when time is up, ``memory`` how many bytes the states that are kept for the way back may take.
    """
    if any(len(own) == 0 for own in sms):
        return Merged(None)
    order = sorted(range(len(sms)), key=lambda m: len(sms[m]))
    least, most = np.array([sms[m][0] for m in order]), np.array([sms[m][-1] for m in order])
    least_left, most_left = least[::-1].cumsum()[::-1] - least, most[::-1].cumsum()[::-1] - most
    used, spent = np.zeros(1, dtype=np.int64), np.zeros(1)
    history: list[tuple[IntArray, IntArray]] = []
    kept = 0.0
    for i, m in enumerate(order):
        if stop():
            return Merged(None, Termination.TIME_LIMIT)
        if len(used) * len(sms[m]) <= _PAIRED:
            total, cost, pick = _pair_all(used, spent, sms[m], lost[m])
        elif used[-1] - used[0] + sms[m][-1] - sms[m][0] < 4 * MOST_ENTRIES:
            found = _convolve(used, spent, sms[m], lost[m], stop)
            if found is None:
                return Merged(None, Termination.TIME_LIMIT)
            total, cost, pick = found
        else:
            return Merged(None, Termination.MEMORY_LIMIT)
        idle = np.maximum(budget - total - most_left[i], 0)  # SMs that nobody can use cost their price
        keep = (total + least_left[i] <= budget) & (cost + price * idle <= loss)
        total, cost, pick = total[keep], cost[keep], pick[keep]
        if not len(total):
            return Merged(None)
        worth = price * total - cost  # a state with more SMs must be worth more
        useful = np.append(True, worth[1:] > np.maximum.accumulate(worth)[:-1])
        used, spent, pick = total[useful], cost[useful], pick[useful]
        history.append((used, pick))
        kept += used.nbytes + pick.nbytes
        if kept > memory:
            return Merged(None, Termination.MEMORY_LIMIT)
    at = int(used[np.argmin(spent + price * (budget - used))])
    found_sms = np.zeros(len(sms), dtype=np.int64)
    for m, (states, picks) in zip(reversed(order), reversed(history), strict=True):
        found_sms[m] = sms[m][picks[np.searchsorted(states, at)]]
        at -= int(found_sms[m])
    return Merged(found_sms)


def _pair_all(
    used: IntArray, spent: FloatArray, sms: IntArray, lost: FloatArray
) -> tuple[IntArray, FloatArray, IntArray]:
    """Return the sums of states and options by SMs used, each once at its least loss, and the option of each."""
    total = (used[:, None] + sms[None, :]).ravel()
    cost = (spent[:, None] + lost[None, :]).ravel()
    order = np.lexsort((cost, total))
    order = order[np.append(True, np.diff(total[order]) != 0)]
    return total[order], cost[order], order % len(sms)


def _convolve(
    used: IntArray, spent: FloatArray, sms: IntArray, lost: FloatArray, stop: Callable[[], bool]
) -> tuple[IntArray, FloatArray, IntArray] | None:
    """`_pair_all` over an array of all sums, one state or one option at a time; None where time is up."""
    base = int(used[0] + sms[0])
    span = int(used[-1] + sms[-1]) - base
    best = np.full(span + 1, np.inf)
    which = np.zeros(len(best), dtype=np.int64)
    by_option = len(used) >= len(sms)
    shifts, costs = (sms - sms[0], lost) if by_option else (used - used[0], spent)
    place, cost = (used - used[0], spent) if by_option else (sms - sms[0], lost)
    names = np.arange(len(sms))
    for k, (shift, extra) in enumerate(zip(shifts, costs, strict=True)):
        if stop():
            return None
        where = place + shift
        total = cost + extra
        better = total < best[where]
        where = where[better]
        best[where] = total[better]
        which[where] = k if by_option else names[better]
    reached = np.flatnonzero(best < np.inf)
    return reached + base, best[reached], which[reached]
