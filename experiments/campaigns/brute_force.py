"""Optima by plain enumeration, written from the mathematics of the papers and not from the package's own equations.

A second opinion on solvers and on the evaluation alike: nothing here calls `hisopt.equations` or `Problem.evaluate`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from hisopt.decision import Decision
from hisopt.experiments.campaigns.plain_formulas import (
    cluster_work,
    device_delay,
    device_energy,
    icc_group,
    icc_rates,
    qualities,
    sending,
    similarities,
    step_energy,
    work_costs,
)
from hisopt.problems import Allocation, Clustering, Full, Joint, Problem, Steps

if TYPE_CHECKING:
    from hisopt.arrays import FloatArray, IntArray
    from hisopt.instances import IccInstance, Instance

MOST = 300_000  # plans of a cluster, loads of all clusters, or splits of the SMs that are enumerated
_BUDGET = 1e-9  # relative tolerance on the sum of the SMs


@dataclass(frozen=True)
class Optimum:
    """The best value and a decision that has it; both None where no decision is feasible."""

    value: float | None
    decision: Decision | None = None


class TooLarge(Exception):
    """The problem has more plans than are enumerated."""


def optimum(problem: Problem) -> Optimum:
    """Return the optimum of a problem by enumeration; raise `TooLarge` beyond a few users."""
    if isinstance(problem, Clustering):
        return _clustering(problem)
    if isinstance(problem, Steps):
        return _steps(problem.instance)
    if isinstance(problem, Allocation):
        return _allocation(problem)
    if isinstance(problem, Joint):
        return _joint(problem.instance, problem.instance.labels, problem.whole_sms)
    assert isinstance(problem, Full)
    instance, best = problem.instance, Optimum(None)
    for labels in _partitions(instance.users, instance.max_clusters):
        if _sizes_hold(instance.cluster_size_min, instance.cluster_size_max, labels):
            found = _joint(instance.replace(similarity=None), labels, problem.whole_sms)
            if found.value is not None and (best.value is None or found.value > best.value):
                best = found
    return best


def score(problem: Problem, decision: Decision) -> tuple[float | None, bool]:
    """Return a decision's objective (None where it has none) and whether it is feasible, user by user."""
    assert isinstance(problem, (Clustering, Allocation, Joint, Full, Steps))
    labels = decision.clusters if isinstance(problem, (Clustering, Full)) else problem.instance.labels
    if labels is None or len(labels) != problem.users or min(labels) < 0 or max(labels) >= problem.max_clusters:
        return None, False
    if isinstance(problem, Clustering):
        return _partition_value(problem, labels), _sizes_hold(problem.sizes.least, problem.sizes.most, labels)
    instance = problem.instance
    limits, feasible = instance.steps, True
    if isinstance(problem, Full):
        feasible = _sizes_hold(instance.cluster_size_min, instance.cluster_size_max, labels)
    if isinstance(problem, Allocation):
        x, y = problem.instance.given_steps
        z = limits.total - x - y
    else:
        if decision.steps_common is None or decision.steps_edge is None or decision.steps_device is None:
            return None, False
        x, y, z = decision.steps_common, decision.steps_edge, decision.steps_device
    for n in range(instance.users):
        feasible &= 0 <= x[n] <= limits.common_max and limits.edge_min <= y[n] <= limits.edge_max
        feasible &= limits.device_min <= z[n] <= limits.device_max and x[n] + y[n] + z[n] == limits.total
    if isinstance(problem, Steps):
        return _icc_utility(problem.instance, labels, x, y, z), bool(feasible)
    sms = decision.sms
    if sms is None or len(sms) != instance.max_clusters or not all(map(math.isfinite, sms)):
        return None, False
    work = cluster_work(labels, instance.max_clusters, x, y)
    feasible &= math.fsum(sms) <= problem.instance.sm_budget * (1 + _BUDGET) and min(sms) >= 0
    if problem.whole_sms:
        feasible &= all(float(v).is_integer() for v in sms)
    if any(w > 0 and v <= 0 for w, v in zip(work, sms, strict=True)):
        return None, False
    if isinstance(problem, Allocation):
        pairs = zip(work_costs(problem.instance, labels), work, sms, strict=True)
        return math.fsum(c * w / v for c, w, v in pairs if w > 0), bool(feasible)
    return _utility(problem.instance, labels, x, y, z, sms), bool(feasible)


def _utility(
    instance: Instance, labels: IntArray, x: IntArray, y: IntArray, z: IntArray, sms: FloatArray
) -> float | None:
    """Equation (23), part by part."""
    w, quality = instance.weights, qualities(instance, similarities(instance, labels))
    if min(x) < 0 or max(x) > instance.steps.common_max:
        return None
    terms = [-sending(instance)]
    for n in range(instance.users):
        terms.append(w.quality * quality[n, x[n]])
        terms.append(-int(z[n]) * (w.delay * device_delay(instance, n) + w.energy * device_energy(instance, n)))
    costs, energy = work_costs(instance, labels), step_energy(instance)
    for m, work in enumerate(cluster_work(labels, instance.max_clusters, x, y)):
        if work:
            terms.append(-costs[m] * work / float(sms[m]) - energy * work)
    return math.fsum(terms)


def _icc_utility(instance: IccInstance, labels: IntArray, x: IntArray, y: IntArray, z: IntArray) -> float | None:
    if min(x) < 0 or max(x) > instance.steps.common_max:
        return None
    quality = qualities(instance, similarities(instance, labels))
    terms = [-sending(instance)]
    for n in range(instance.users):
        edge_cost, device = icc_rates(instance, n)
        terms += [instance.weights.quality * quality[n, x[n]], -int(y[n]) * edge_cost, -int(z[n]) * device]
    for m in set(labels.tolist()):
        own = np.flatnonzero(labels == m)
        terms.append(-int(max(x[own])) * icc_group(instance, len(own)))
    return math.fsum(terms)


def _pairs(instance: Instance | IccInstance) -> IntArray:
    limits = instance.steps
    return np.array(
        [
            (x, y)
            for x in range(limits.common_max + 1)
            for y in range(limits.edge_min, limits.edge_max + 1)
            if limits.device_min <= limits.total - x - y <= limits.device_max
        ]
    )


def _plans(values: FloatArray, pairs: IntArray) -> tuple[FloatArray, IntArray, IntArray, IntArray]:
    """Every plan of a cluster: its value, X, sum of y and the members' pairs, (P,), (P,), (P,) and (members, P)."""
    members, count = values.shape
    if count**members > MOST:
        raise TooLarge
    picks = np.indices((count,) * members).reshape(members, -1)
    total = sum(values[i][picks[i]] for i in range(members))
    x, y = pairs[:, 0][picks], pairs[:, 1][picks]
    return np.asarray(total), x.max(axis=0), y.sum(axis=0), picks


@dataclass(frozen=True)
class _Options:
    """What a cluster can do: for each amount of work its best value, and the plan that has it."""

    members: IntArray
    work: IntArray
    value: FloatArray
    picks: IntArray  # (members, options)


def _options(instance: Instance, labels: IntArray, pairs: IntArray) -> list[_Options]:
    quality = instance.weights.quality * qualities(instance, similarities(instance, labels))
    z = instance.steps.total - pairs.sum(axis=1)
    w, energy, found = instance.weights, step_energy(instance), []
    for m in sorted(set(labels.tolist())):
        own = np.flatnonzero(labels == m)
        device = np.array(
            [w.delay * device_delay(instance, n) + w.energy * device_energy(instance, n) for n in map(int, own)]
        )
        value, x, y, picks = _plans(quality[own][:, pairs[:, 0]] - device[:, None] * z, pairs)
        work = x + y
        best = [int(np.flatnonzero(work == k)[np.argmax(value[work == k])]) for k in np.unique(work)]
        found.append(_Options(own, work[best], value[best] - energy * work[best], picks[:, best]))
    return found


def _joint(instance: Instance, labels: IntArray, whole: bool) -> Optimum:
    """Every load of every cluster; with real SMs by Theorem 1, with whole ones every split."""
    pairs, budget = _pairs(instance), instance.sm_budget
    options, every = _options(instance, labels, pairs), work_costs(instance, labels)
    used = sorted(set(labels.tolist()))
    cost = [every[m] for m in used]
    sms = np.zeros(instance.max_clusters)
    if whole:
        answer = [_answers(o, c, int(min(budget, MOST))) for o, c in zip(options, cost, strict=True)]
        if budget > MOST:
            raise TooLarge
        splits = _splits(int(budget), len(used))
        total = sum(answer[i][0][splits[:, i]] for i in range(len(used)))
        best = int(np.argmax(total))
        value = float(np.asarray(total)[best])
        if not math.isfinite(value):
            return Optimum(None)
        sms[used] = splits[best]
        chosen = [int(answer[i][1][splits[best, i]]) for i in range(len(used))]
    else:
        if math.prod(len(o.work) for o in options) > MOST:
            raise TooLarge
        index = np.indices([len(o.work) for o in options]).reshape(len(options), -1)
        gain = sum(o.value[k] for o, k in zip(options, index, strict=True))
        root = np.stack([np.sqrt(c * o.work[k]) for o, c, k in zip(options, cost, index, strict=True)])
        total = gain - root.sum(axis=0) ** 2 / budget
        best = int(np.argmax(total))
        value, chosen = float(np.asarray(total)[best]), index[:, best].tolist()
        sms[used] = _real_split(
            root[:, best], np.array([o.work[k] for o, k in zip(options, chosen, strict=True)]), budget
        )
    steps = np.zeros((instance.users, 2), dtype=np.int64)
    for o, k in zip(options, chosen, strict=True):
        steps[o.members] = pairs[o.picks[:, k]]
    x, y = steps.T
    return Optimum(value - sending(instance), Decision(labels, x.copy(), y.copy(), instance.steps.total - x - y, sms))


def _real_split(root: FloatArray, work: IntArray, budget: float) -> FloatArray:
    """Theorem 1; where all work is free, equal parts for the clusters that work."""
    if root.sum() > 0:
        return np.asarray(budget * root / root.sum())
    busy = work > 0
    return np.asarray(busy * budget / max(int(busy.sum()), 1))


def _answers(options: _Options, cost: float, budget: int) -> tuple[FloatArray, IntArray]:
    """The best option of a cluster with v = 0 .. V SMs; without an SM it cannot work."""
    value, which = np.full(budget + 1, -np.inf), np.zeros(budget + 1, dtype=np.int64)
    if options.work[0] == 0:
        value[0] = options.value[0]
    for v in range(1, budget + 1):
        at = options.value - cost * options.work / v
        which[v] = int(np.argmax(at))
        value[v] = at[which[v]]
    return value, which


@cache
def _splits(budget: int, parts: int) -> IntArray:
    """Every way to give all SMs to the clusters, shape (ways, clusters)."""
    if math.comb(budget + parts - 1, parts - 1) > MOST // 10 or (budget + 1) ** (parts - 1) > 100 * MOST:
        raise TooLarge
    ways = [w for w in product(range(budget + 1), repeat=parts - 1) if sum(w) <= budget]
    return np.array([(*w, budget - sum(w)) for w in ways], dtype=np.int64).reshape(-1, parts)


def _allocation(problem: Allocation) -> Optimum:
    instance, budget = problem.instance, problem.instance.sm_budget
    work = np.array(cluster_work(instance.labels, instance.max_clusters, *instance.given_steps))
    cost = np.array(work_costs(instance, instance.labels)) * work
    busy = np.flatnonzero(work > 0)
    sms = np.zeros(instance.max_clusters)
    if not len(busy):
        return Optimum(0.0, Decision(sms=sms))
    if problem.whole_sms:
        if budget > MOST:
            raise TooLarge
        splits = _splits(int(budget), len(busy))
        splits = splits[(splits > 0).all(axis=1)]
        if not len(splits):
            return Optimum(None)
        total = (cost[busy] / splits).sum(axis=1)
        sms[busy] = splits[int(np.argmin(total))]
        return Optimum(float(total.min()), Decision(sms=sms))
    sms[busy] = _real_split(np.sqrt(cost[busy]), work[busy], budget)
    return Optimum(float(np.sqrt(cost).sum() ** 2 / budget), Decision(sms=sms))


def _steps(instance: IccInstance) -> Optimum:
    pairs, labels = _pairs(instance), instance.labels
    quality = instance.weights.quality * qualities(instance, similarities(instance, labels))
    z = instance.steps.total - pairs.sum(axis=1)
    total, steps = -sending(instance), np.zeros((instance.users, 2), dtype=np.int64)
    for m in set(labels.tolist()):
        own = np.flatnonzero(labels == m)
        rates = np.array([icc_rates(instance, n) for n in map(int, own)])
        values = quality[own][:, pairs[:, 0]] - rates[:, :1] * pairs[:, 1] - rates[:, 1:] * z
        value, x, _, picks = _plans(values, pairs)
        value = value - icc_group(instance, len(own)) * x
        best = int(np.argmax(value))
        total += float(value[best])
        steps[own] = pairs[picks[:, best]]
    x, y = steps.T
    return Optimum(total, Decision(None, x.copy(), y.copy(), instance.steps.total - x - y))


@cache
def _partitions(users: int, count: int) -> IntArray:
    """Every partition into at most ``count`` clusters as labels that count up, shape (partitions, N)."""
    if users > 9:
        raise TooLarge
    rows = [[0]]
    for _ in range(users - 1):
        rows = [[*row, k] for row in rows for k in range(min(max(row) + 2, count))]
    return np.array(rows, dtype=np.int64)


def _sizes_hold(least: int, most: int | None, labels: IntArray) -> bool:
    sizes = np.unique(labels, return_counts=True)[1]
    return bool(min(sizes) >= least and (most is None or max(sizes) <= most))


def _subset_value(criterion: str, vectors: FloatArray) -> float:
    """One cluster's part of (25a), of the mean, or of (24a)."""
    squared = math.fsum(np.asarray(vectors.sum(axis=0)) ** 2)
    if criterion == "sum":
        return squared
    return squared / len(vectors) if criterion == "mean" else math.sqrt(squared)


def _partition_value(problem: Clustering, labels: IntArray) -> float:
    vectors = problem.points
    return math.fsum(_subset_value(problem.criterion, vectors[labels == m]) for m in set(labels.tolist()))


def _clustering(problem: Clustering) -> Optimum:
    vectors, criterion, users = problem.points, problem.criterion, problem.users
    rows = _partitions(users, problem.clusters)
    values = np.zeros(1 << users)
    for mask in range(1, 1 << users):
        values[mask] = _subset_value(criterion, vectors[[n for n in range(users) if mask >> n & 1]])
    bits = 1 << np.arange(users)
    total, allowed = np.zeros(len(rows)), np.ones(len(rows), dtype=bool)
    most = problem.sizes.most or users
    for m in range(problem.clusters):
        total += values[(rows == m) @ bits]
        size = (rows == m).sum(axis=1)
        allowed &= (size == 0) | ((size >= problem.sizes.least) & (size <= most))
    if not allowed.any():
        return Optimum(None)
    best = int(np.argmax(np.where(allowed, total, -np.inf)))
    return Optimum(float(total[best]), Decision(rows[best]))
