"""Steps and whole SMs against enumeration on instances where every parameter counts, in floating point and in fractions."""

from __future__ import annotations

from fractions import Fraction
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import pytest
from whole_instances import few, tiny

from hisopt import Limits, Termination
from hisopt.equations import transmission_cost
from hisopt.experiments.campaigns import plain_formulas as plain
from hisopt.experiments.campaigns.brute_force import optimum
from hisopt.instances import Weights
from hisopt.problems import Joint
from hisopt.solvers.joint.whole import JointExactInteger
from hisopt.solvers.run import progress

if TYPE_CHECKING:
    from hisopt.instances import Instance

LIMITS = Limits(time_s=60)


def test_optima_equal_enumeration() -> None:
    ends: list[Termination] = []
    for seed in range(140):
        problem = Joint(few(seed), whole_sms=True)
        found, best = JointExactInteger().solve(problem, LIMITS), optimum(problem)
        ends.append(found.termination)
        if best.value is None:
            message = "more clusters must have steps on the server than SMs"
            assert (found.termination, found.message) == (Termination.INFEASIBLE, message), seed
            continue
        assert (found.termination, found.message) == (Termination.OPTIMAL, ""), seed
        assert found.decision is not None
        assert found.bound is not None
        outcome = problem.evaluate(found.decision)
        assert outcome.feasible, (seed, outcome.violations)
        assert outcome.objective == pytest.approx(best.value, rel=1e-12, abs=1e-12), seed
        assert found.bound == pytest.approx(best.value, rel=1e-12, abs=1e-12), seed
        assert found.details["bound_by_price"] >= best.value - 1e-12, seed
    assert ends.count(Termination.OPTIMAL) > 100
    assert ends.count(Termination.INFEASIBLE) > 5


@pytest.mark.parametrize(
    ("labels", "rates", "sms"),
    [([0, 1, 2, 3], [0.9, 0.7, 0.5, 0.7], 8.0), ([0, 1, 2, 1, 2], [0.7, 1.5, 1.0, 1.1, 0.6], 5.0)],
)
def test_the_merge_finds_what_turns_do_not(
    monkeypatch: pytest.MonkeyPatch, labels: list[int], rates: list[float], sms: float
) -> None:
    """Where options and SMs that serve each other best are not the best: what is told first is worth less."""
    problem, told = Joint(tiny(labels, rates, sms), whole_sms=True), []
    monkeypatch.setattr(progress, "PACE_S", 0.0)
    with progress.listening(lambda decision, _: told.append(problem.evaluate(decision).objective)):
        found = JointExactInteger().solve(problem, LIMITS)
    best = optimum(problem).value
    assert best is not None
    assert told[-1] < best - 0.05
    assert found.decision is not None
    assert problem.evaluate(found.decision).objective == pytest.approx(best, rel=1e-12)
    assert found.bound == pytest.approx(best, rel=1e-12)


def exactly(instance: Instance) -> Fraction:
    """The optimum without quality in fractions, but for what sending costs."""
    budget, w = int(instance.sm_budget), instance.weights
    limits, flop, gpu = instance.steps, Fraction(instance.flop_edge), instance.edge
    frequency, per_cycle = (Fraction(float(v)) for v in (gpu.frequency_hz, gpu.flop_per_cycle))
    per_sm, delay, energy = per_cycle * Fraction(float(gpu.utilisation)), Fraction(w.delay), Fraction(w.energy)
    joules = Fraction(float(gpu.energy_coefficient)) * flop * frequency**2 / per_sm
    pairs = limits.pairs().tolist()
    value: list[dict[int, Fraction]] = []
    for m in sorted(set(instance.labels.tolist())):
        own = [n for n in range(instance.users) if instance.labels[n] == m]
        wait = delay * len(own) * flop / (frequency * per_sm) + energy * joules * Fraction(float(gpu.power_static))
        best: dict[int, Fraction] = {}
        for plan in product(pairs, repeat=len(own)):
            work = max(x for x, _ in plan) + sum(y for _, y in plan)
            device = sum((limits.total - x - y) * device_step(instance, n) for n, (x, y) in zip(own, plan, strict=True))
            fixed = -device - energy * joules * Fraction(float(gpu.power_per_sm)) * work
            for v in range(budget + 1) if not work else range(1, budget + 1):
                at = fixed - (wait * work / v if work else 0)
                best[v] = max(best.get(v, at), at)
        value.append(best)
    splits = (s for s in product(*value) if sum(s) <= budget)
    return max(sum(own[v] for own, v in zip(value, s, strict=True)) for s in splits) - Fraction(
        transmission_cost(instance)
    )


def device_step(instance: Instance, n: int) -> Fraction:
    gpu, flop = instance.devices, Fraction(instance.flop_device)
    sms, frequency, per_cycle, utilisation, kappa, each, static = (
        Fraction(plain.at(getattr(gpu, name), n))
        for name in (
            "sms", "frequency_hz", "flop_per_cycle", "utilisation", "energy_coefficient", "power_per_sm", "power_static",
        )
    )  # fmt: skip
    per_sm = per_cycle * utilisation
    energy = kappa * flop * frequency**2 / per_sm * (each + static / sms)
    return (
        Fraction(instance.weights.delay) * flop / (sms * frequency * per_sm)
        + Fraction(instance.weights.energy) * energy
    )


def test_the_bound_holds_in_exact_arithmetic_and_is_tight() -> None:
    for seed in range(40):
        rng = np.random.default_rng(seed)
        given = few(seed, weights=Weights(quality=0, delay=rng.uniform(0.1, 2), energy=rng.uniform(0.01, 0.3)))
        given = given.replace(edge=given.edge.replace(sms=float(rng.integers(3, 7))))
        found, best = JointExactInteger().solve(Joint(given, whole_sms=True), LIMITS), exactly(given)
        assert found.bound is not None
        assert Fraction(found.bound) >= best, seed
        assert float(Fraction(found.bound) - best) < 1e-12 * abs(float(best)), seed
