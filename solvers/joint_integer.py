"""Steps and whole SMs together, exactly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hisopt.arrays import FloatArray, IntArray
from hisopt.decision import Decision
from hisopt.problem import Problem
from hisopt.result import Guarantee, Limits, SolverResult, Termination
from hisopt.solvers import step_tables
from hisopt.solvers.integer_allocation import integer_problem
from hisopt.solvers.interface import Deadline, Solver

_ENTRIES = 1 << 24  # entries of candidates x SMs in memory at a time
_STATES = 3_000_000


def best_responses(tables: step_tables.StepTables, budget: int) -> tuple[FloatArray, IntArray]:
    """R_m(v) = max_W G_m(W) - c_m W / v for v = 0 .. V, and the candidate that attains it; shapes (M, V + 1).

    For fixed v this is linear in (G, W), so only the corners of the upper concave hull of a cluster's points count.
    """
    count = len(tables.offsets) - 1
    value = np.full((count, budget + 1), -np.inf)
    which = np.zeros((count, budget + 1), dtype=np.int64)
    sms = np.arange(1, budget + 1)
    for cluster in range(count):
        first = tables.offsets[cluster]
        gain = tables.gain[first : tables.offsets[cluster + 1]]
        cost = tables.load[first : tables.offsets[cluster + 1]] ** 2
        corner = _upper_hull(cost, gain)
        idle = corner[cost[corner] == 0]
        if len(idle):
            value[cluster, 0], which[cluster, 0] = gain[idle[0]], first + idle[0]
        block = max(1, _ENTRIES // len(corner))
        for start in range(0, budget, block):
            part = slice(start, start + block)
            at = gain[corner][None, :] - cost[corner][None, :] / sms[part][:, None]
            pick = at.argmax(axis=1)
            value[cluster, 1:][part] = at[np.arange(len(pick)), pick]
            which[cluster, 1:][part] = first + corner[pick]
    return value, which


def _upper_hull(x: FloatArray, y: FloatArray) -> IntArray:
    """Indices of the corners of the upper concave hull, by increasing x, up to the largest y."""
    hull: list[int] = []
    for i in np.lexsort((-y, x)):
        if hull and y[i] <= y[hull[-1]]:
            continue
        while len(hull) > 1:
            a, b = hull[-2], hull[-1]
            if (y[b] - y[a]) * (x[i] - x[a]) > (y[i] - y[a]) * (x[b] - x[a]):
                break
            hull.pop()
        hull.append(int(i))
    return np.array(hull)


def distribute(value: FloatArray, budget: int, deadline: Deadline) -> tuple[IntArray | None, float, bool]:
    """Maximise sum_m R_m(v_m) with sum v_m <= V over whole v_m >= 0.

    The multiplier of the budget gives a bound and reduced costs; (v, value) states of the remaining options are merged
    cluster by cluster. Returns the SMs, an upper bound, and whether the search ended.
    """
    count = len(value)
    sms = np.arange(value.shape[1])
    price, dual, best = _price(value, budget)
    incumbent = -np.inf if best is None else float(value[np.arange(count), best].sum())
    if not np.isfinite(dual):
        return None, dual, True
    priced = value - price * sms
    reduced = priced.max(axis=1)[:, None] - priced
    rounding = 1e-13 * (np.abs(priced.max(axis=1)).sum() + abs(dual))
    loss = dual - incumbent + rounding
    options = [np.flatnonzero(row <= loss) for row in reduced]
    order = sorted(range(count), key=lambda m: len(options[m]))
    used, lost = np.array([0]), np.array([0.0])
    least = np.array([options[m].min() for m in order])
    most = np.array([options[m].max() for m in order])
    history: list[tuple[IntArray, IntArray]] = []
    for i, m in enumerate(order):
        if deadline.passed or len(used) * len(options[m]) > 20 * _STATES:
            return best, dual, False
        total = used[:, None] + options[m][None, :]
        spent = lost[:, None] + reduced[m][options[m]][None, :]
        idle = np.maximum(budget - total - most[i + 1 :].sum(), 0)  # SMs that cannot be used cost their price
        keep = (total + least[i + 1 :].sum() <= budget) & (spent + price * idle <= loss)
        parent, option = np.nonzero(keep)
        if not len(parent):
            return best, max(incumbent, -np.inf), True
        used, lost = total[keep], spent[keep]
        by = np.lexsort((lost, used))
        gain = price * used[by] - lost[by]
        top = np.maximum.accumulate(gain)
        by = by[np.append(True, gain[1:] > top[:-1])]
        used, lost = used[by], lost[by]
        history.append((parent[by], options[m][option[by]]))
        if len(used) > _STATES:
            return best, dual, False
    last = int(np.argmax(price * used - lost))
    found = np.zeros(count, dtype=np.int64)
    for m, (parents, picks) in zip(reversed(order), reversed(history), strict=True):
        found[m] = picks[last]
        last = int(parents[last])
    total_value = float(value[np.arange(count), found].sum())
    if best is None or total_value > incumbent:
        best, incumbent = found, total_value
    return best, incumbent, True


def _price(value: FloatArray, budget: int) -> tuple[float, float, IntArray | None]:
    """Minimise beta V + sum_m max_v (R_m(v) - beta v) by bisection; return beta, the value and a feasible choice."""
    sms, rows = np.arange(value.shape[1]), np.arange(len(value))

    def respond(price: float) -> tuple[float, IntArray]:
        priced = value - price * sms
        pick = priced.argmax(axis=1)
        return price * budget + float(priced[rows, pick].sum()), pick

    low, high = 0.0, 1e-12
    best_price, best_dual = 0.0, respond(0.0)[0]
    feasible = None
    while high < 1e12:
        dual, pick = respond(high)
        if dual < best_dual:
            best_price, best_dual = high, dual
        if pick.sum() <= budget:
            feasible = pick
            break
        low, high = high, high * 8
    for _ in range(100):
        if high - low <= 1e-15 * high:
            break
        middle = (low + high) / 2
        dual, pick = respond(middle)
        if dual < best_dual:
            best_price, best_dual = middle, dual
        if pick.sum() <= budget:
            high, feasible = middle, pick
        else:
            low = middle
    return best_price, best_dual, None if feasible is None else _spend(value, feasible, budget)


def _spend(value: FloatArray, sms: IntArray, budget: int) -> IntArray:
    """Give SMs that are left one by one where they gain most."""
    sms, rows = sms.copy(), np.arange(len(value))
    for _ in range(int(budget - sms.sum())):
        gain = value[rows, np.minimum(sms + 1, budget)] - value[rows, sms]
        where = int(np.argmax(gain))
        if gain[where] <= 0:
            break
        sms[where] += 1
    return sms


@dataclass(frozen=True)
class JointExactInteger(Solver):
    """P_II with whole SMs: best responses R_m(v), then a (max,+) dynamic program over the budget, pruned by its dual."""

    name = "exact-integer"
    kinds = ("joint",)
    guarantee = Guarantee.EXACT

    @classmethod
    def serves(cls, problem: Problem) -> bool:
        """The joint problem with whole SMs."""
        return integer_problem(cls, problem)

    def solve(self, problem: Problem, limits: Limits) -> SolverResult:
        """See the class."""
        instance, deadline = problem.his, Deadline(limits)
        tables = step_tables.for_instance(instance)
        budget = int(float(instance.edge.sms))
        value, which = best_responses(tables, budget)
        sms, bound, complete = distribute(value, budget, deadline)
        if sms is None:
            if complete:
                return SolverResult(Termination.INFEASIBLE, message="more busy clusters than SMs")
            return SolverResult(Termination.TIME_LIMIT, None, tables.constant + bound)
        common, edge = tables.steps(which[np.arange(len(sms)), sms])
        decision = Decision.of_steps(instance.steps.total, common, edge, sms.astype(np.float64), instance.clusters)
        termination = Termination.OPTIMAL if complete else Termination.TIME_LIMIT
        return SolverResult(termination, decision, tables.constant + bound)
