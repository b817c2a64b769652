"""A proof of optimality for small joint problems, replayed from a solver's certificate with formulas of its own.

The certificate is a decision's steps and a multiplier. Nothing of the solver's tables, pruning or search is trusted or
used: every table is built anew from the paper's formulas, for all X_m and W_m, in decimal arithmetic of 50 digits.
What is certified is P_II with real SMs for the numbers of the instance as they are stored; phi_n is computed from the
embeddings by the instance's public-prompt rule, here and not by `hisopt.equations`, or taken from the instance where it
gives ``similarity``. Not certified: that the embeddings are those of the prompts, the clusters (they are given), whole
SMs, and any claim below 1e-30 of the size of the terms, the margin for the rounding of the 50 digits.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, localcontext
from typing import TYPE_CHECKING

import numpy as np

from hisopt.errors import InputError

if TYPE_CHECKING:
    from hisopt.arrays import FloatArray
    from hisopt.decision import Decision
    from hisopt.instances import Instance

_DIGITS = 50
_MARGIN = Decimal("1e-30")
_MOST_STATES = 200_000
_NO_DIRECTION = Decimal("1e-6")  # length of a cluster's mean below which phi is 0 under the rule ``ideal``
_TIE_DIGITS = 9  # of the sums of similarities by which a medoid is chosen; the first of equals is taken


@dataclass(frozen=True)
class Proof:
    """``value``: the decision's utility with Theorem 1's SMs; ``bound``: no decision is worth more; plans compared."""

    value: float
    bound: float
    compared: int


@dataclass(frozen=True)
class _Costs:
    quality: list[list[Decimal]]  # w1 Q_n(x)
    device: list[Decimal]  # d_n
    work: list[Decimal]  # c_m
    step: Decimal  # e
    sent: Decimal


def prove(
    instance: Instance, decision: Decision, multiplier: float, *, bound: float | None = None, tolerance: float = 1e-9
) -> Proof:
    """Prove that a decision's steps are optimal within ``tolerance`` relative, and a claimed ``bound`` with it.

    With lambda the multiplier, h(lambda) bounds the utility; a choice of (W_m) loses against it the sum of the reduced
    costs and (lambda - S)^2 / V, so that only choices that lose no more than the decision can be better: they are all
    compared. Meant for N up to 50, some seconds. Raises `InputError` where the steps are not feasible, the claimed
    bound is below a decision's value, a better decision exists, or too many choices are left to compare.
    """
    if instance.labels is None:
        raise InputError("clusters: missing, and the joint problem needs it")
    if not 0 <= multiplier < np.inf:
        raise InputError(f"multiplier: is {multiplier}, must be >= 0 and finite")
    with localcontext() as context:
        context.prec = _DIGITS
        costs, budget, price = _costs(instance), Decimal(float(instance.edge.sms)), Decimal(float(multiplier))
        groups = _members(instance)
        value, scale = _value(instance, decision, costs, groups, budget)
        tables = [_table(instance, costs, cluster, users) for cluster, users in enumerate(groups)]
        best, compared = _best(tables, price, budget, value + costs.sent, scale)
        top = max(value, best - costs.sent) + _MARGIN * scale
        if bound is not None and Decimal(float(bound)) < value - _MARGIN * scale:
            raise InputError(f"bound {bound:.17g}: refuted, the decision is worth {float(value):.17g}")
        if bound is not None and Decimal(float(bound)) < top - _MARGIN * scale * 2:
            raise InputError(f"bound {bound:.17g}: not proven, the best that is left is {float(top):.17g}")
        if top - value > Decimal(tolerance) * max(abs(top), abs(value)):
            raise InputError(f"decision: worth {float(value):.17g}, and {float(top):.17g} is reached")
        return Proof(float(value), float(np.nextafter(float(top), np.inf)), compared)


def _members(instance: Instance) -> list[list[int]]:
    return [np.flatnonzero(instance.labels == m).tolist() for m in range(instance.max_clusters)]


def _costs(instance: Instance) -> _Costs:
    """The coefficients of the utility from (7), (9)-(19) and (23)."""
    w, edge, gpu, radio, count = instance.weights, instance.edge, instance.devices, instance.radio, instance.users
    delay, energy = Decimal(w.delay), Decimal(w.energy)

    def users(values: FloatArray) -> list[Decimal]:
        return [Decimal(float(v)) for v in np.broadcast_to(values, (count,))]

    def one(value: FloatArray) -> Decimal:
        return Decimal(float(value))

    device = []
    for v, f, d, rho, kappa, mu1, mu2 in zip(
        *(users(getattr(gpu, name)) for name in type(gpu).model_fields), strict=True
    ):
        flop = Decimal(instance.flop_device)
        device.append(delay * flop / (v * f * d * rho) + energy * kappa * flop * f * f / (d * rho) * (mu1 + mu2 / v))
    flop, speed = Decimal(instance.flop_edge), one(edge.frequency_hz) * one(edge.flop_per_cycle) * one(edge.utilisation)
    per_sm = one(edge.energy_coefficient) * flop * one(edge.frequency_hz) ** 3 / speed
    sizes = [len(group) for group in _members(instance)]
    work = [delay * size * flop / speed + energy * per_sm * one(edge.power_static) for size in sizes]
    latent = instance.latent
    bits = Decimal(latent.height * latent.width * latent.channels * latent.bits) / Decimal(latent.compression)
    sent = Decimal(0)
    for b, p, g in zip(users(radio.bandwidth_hz), users(radio.power_w), users(radio.gain), strict=True):
        rate = b * (1 + p * g / (Decimal(radio.noise_w_per_hz) * b)).ln() / Decimal(2).ln()
        sent += (delay + energy * p) * bits / rate
    knots = [Decimal(float(s)) for s in instance.quality.similarity]
    rows = [[Decimal(float(c)) for c in row] for row in instance.quality.coefficients]
    steps = range(instance.steps.common_max + 1)
    at = [[scale / (1 + (slope * (x - middle)).exp()) + floor for x in steps] for scale, slope, middle, floor in rows]
    quality = []
    for phi in _similarities(instance):
        phi = min(max(phi, knots[0]), knots[-1])
        k = max(i for i in range(len(knots) - 1) if knots[i] <= phi)
        part = (phi - knots[k]) / (knots[k + 1] - knots[k])
        quality.append([Decimal(w.quality) * (at[k][x] * (1 - part) + at[k + 1][x] * part) for x in steps])
    return _Costs(quality, device, work, energy * per_sm * one(edge.power_per_sm), sent)


def _similarities(instance: Instance) -> list[Decimal]:
    """Return phi_n: as given, or by the public-prompt rule from the embeddings, dot product by dot product."""
    if instance.similarity is not None:
        return [Decimal(float(value)) for value in instance.similarity]
    vectors = [[Decimal(value) for value in row] for row in np.asarray(instance.vectors, dtype=np.float64).tolist()]
    rule, found = instance.public_prompt, [Decimal(0)] * len(vectors)

    def dot(one: list[Decimal], other: list[Decimal]) -> Decimal:
        return sum(map(Decimal.__mul__, one, other), Decimal(0))

    for members in _members(instance):
        if not members:
            continue
        total = [sum(column, Decimal(0)) for column in zip(*(vectors[n] for n in members), strict=True)]
        to_sum = {n: dot(vectors[n], total) for n in members}
        length = dot(total, total).sqrt()
        central = min(members, key=lambda n: (-round(to_sum[n], _TIE_DIGITS), n))
        for n in members:
            if rule.rule == "affine":
                mean = to_sum[n] / len(members)
                found[n] = Decimal(rule.slope) * mean + Decimal(rule.intercept)
            elif rule.rule == "medoid":
                found[n] = dot(vectors[n], vectors[central])
            elif length > _NO_DIRECTION * len(members):
                found[n] = min(max(to_sum[n] / length, Decimal(-1)), Decimal(1))
    return found


def _allowed(instance: Instance, x: int, y: int) -> bool:
    limits = instance.steps
    in_box = 0 <= x <= limits.common_max and limits.edge_min <= y <= limits.edge_max
    return in_box and limits.device_min <= limits.total - x - y <= limits.device_max


def _value(
    instance: Instance, decision: Decision, costs: _Costs, groups: list[list[int]], budget: Decimal
) -> tuple[Decimal, Decimal]:
    """The utility of the steps with Theorem 1's SMs, and the size of its terms."""
    if decision.steps_common is None or decision.steps_edge is None:
        raise InputError("decision: has no steps")
    x, y = np.asarray(decision.steps_common).tolist(), np.asarray(decision.steps_edge).tolist()
    if len(x) != instance.users or len(y) != instance.users:
        raise InputError(f"decision: must have steps for {instance.users} users")
    bad = [
        n
        for n in range(instance.users)
        if type(x[n]) is not int or type(y[n]) is not int or not _allowed(instance, x[n], y[n])
    ]
    if bad:
        raise InputError(f"decision: the steps of user {bad[0]} are not allowed")
    gained = sum((costs.quality[n][x[n]] for n in range(len(x))), Decimal(0))
    spent = sum((costs.device[n] * (instance.steps.total - x[n] - y[n]) for n in range(len(x))), costs.sent)
    load = Decimal(0)
    for cluster, users in enumerate(groups):
        if users:
            work = max(x[n] for n in users) + sum(y[n] for n in users)
            spent += costs.step * work
            load += (costs.work[cluster] * work).sqrt()
    spent += load * load / budget
    size = sum((max(abs(q) for q in row) for row in costs.quality), Decimal(0))
    return gained - spent, 1 + size + spent


def _table(instance: Instance, costs: _Costs, cluster: int, users: list[int]) -> list[tuple[Decimal, Decimal]]:
    """Load and separable utility of the cluster's best plan for every W, all X tried."""
    limits = instance.steps
    if not users:
        return [(Decimal(0), Decimal(0))]
    best: dict[int, Decimal] = {}
    for top in range(limits.common_max + 1):
        total: dict[int, Decimal] = {0: Decimal(0)}
        for n in users:
            own: dict[int, Decimal] = {}
            for y in range(limits.edge_min, limits.edge_max + 1):
                values = [
                    costs.quality[n][x] - costs.device[n] * (limits.total - x - y)
                    for x in range(top + 1) if _allowed(instance, x, y)
                ]  # fmt: skip
                if values:
                    own[y] = max(values)
            longer: dict[int, Decimal] = {}
            for done, value in total.items():
                for y, more in own.items():
                    if done + y not in longer or value + more > longer[done + y]:
                        longer[done + y] = value + more
            total = longer
        for done, value in total.items():
            if top + done not in best or value - costs.step * (top + done) > best[top + done]:
                best[top + done] = value - costs.step * (top + done)
    return [((costs.work[cluster] * work).sqrt(), gain) for work, gain in sorted(best.items())]


def _best(
    tables: list[list[tuple[Decimal, Decimal]]], price: Decimal, budget: Decimal, known: Decimal, scale: Decimal
) -> tuple[Decimal, int]:
    """The best choice of one entry a table, where it is worth more than ``known``, else something no larger."""
    slope = 2 * price / budget
    tops = [max(gain - slope * load for load, gain in table) for table in tables]
    loss = price * price / budget + sum(tops, Decimal(0)) - known + _MARGIN * scale
    left = []
    for table, top in zip(tables, tops, strict=True):
        entries = [(load, gain, top - gain + slope * load) for load, gain in table]
        left.append([entry for entry in entries if entry[2] <= loss])
    left.sort(key=len)
    states, compared = [(Decimal(0), Decimal(0), Decimal(0))], 0
    for i, entries in enumerate(left):
        if any(not rest for rest in left):
            return known, compared  # no choice loses as little as the decision
        small = sum((min(e[0] for e in rest) for rest in left[i + 1 :]), Decimal(0))
        large = sum((max(e[0] for e in rest) for rest in left[i + 1 :]), Decimal(0))
        if len(states) * len(entries) > 10 * _MOST_STATES:
            raise InputError("certificate: too many choices are left to compare them all")
        joined = []
        for load, gain, lost in states:
            for more, worth, cost in entries:
                total, short = load + more, lost + cost
                apart = max(total + small - price, price - total - large, Decimal(0))
                if short + apart * apart / budget <= loss:
                    joined.append((total, gain + worth, short))
        compared += len(joined)
        joined.sort(key=lambda state: (state[0], -state[1]))
        states = []
        for state in joined:  # more load is worth keeping only for more gain
            if not states or state[1] > states[-1][1]:
                states.append(state)
        if len(states) > _MOST_STATES:
            raise InputError("certificate: too many choices are left to compare them all")
    return max((gain - load * load / budget for load, gain, _ in states), default=known), compared
