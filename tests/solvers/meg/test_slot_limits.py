"""Limits of every slot and chances, against all deterministic policies mixed, counted from the tables by hand."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy.optimize import linprog

from hisopt import Limits, Meg, MegInstance, Termination
from hisopt.instances import Chance, MegChannel
from hisopt.solvers.meg.exact import LagrangianDual, MegHighs, OccupancyLp

BINS, ACTIONS = 3, 6


def drawn(seed: int) -> MegInstance:
    """Three bins, six actions; caps and chances at random within what the actions take."""
    rng = np.random.default_rng(seed)
    base = MegInstance(
        channel=MegChannel(gain=MegChannel.uniform_distance(BINS).gain, probability=rng.dirichlet(np.ones(BINS))),
        steps=np.array([4.0, 8.0, 12.0]), ratios=np.array([0.0, 0.5]), latency_limit_s=rng.uniform(1.2, 3.5),
        energy_limit_j=rng.uniform(900, 2400),
    )  # fmt: skip
    slot = {}
    if seed % 4 in (0, 1):
        slot["latency_cap_s"] = rng.uniform(2.4, 4.0)
    if seed % 4 in (1, 2):
        slot["energy_cap_j"] = rng.uniform(1500, 2900)
    if seed % 4 in (2, 3):
        slot["latency_chance"] = Chance(level=rng.uniform(2.0, 3.5), probability=rng.uniform(0, 0.6))
    if seed % 8 > 4:
        slot["energy_chance"] = Chance(level=rng.uniform(1200, 2500), probability=rng.uniform(0, 0.6))
    return base.replace(**slot)


def brute_force(instance: MegInstance) -> float | None:
    """Mix the deterministic policies that keep the caps in every bin; None where no mixture keeps the averages and chances."""
    t, nu = Meg(instance).tables, instance.channel.probability
    rows, rewards = [], []
    for choice in product(range(ACTIONS), repeat=BINS):
        late = [t.latency[h, a] for h, a in enumerate(choice)]
        spent = [t.energy[h, a] for h, a in enumerate(choice)]
        if instance.latency_cap_s is not None and max(late) > instance.latency_cap_s:
            continue
        if instance.energy_cap_j is not None and max(spent) > instance.energy_cap_j:
            continue
        row = [nu @ late / instance.latency_limit_s - 1, nu @ spent / instance.energy_limit_j - 1]
        for values, chance in ((late, instance.latency_chance), (spent, instance.energy_chance)):
            if chance is not None:
                row.append(
                    sum(p for p, value in zip(nu, values, strict=True) if value > chance.level) - chance.probability
                )
        rows.append(row)
        rewards.append(sum(p * t.reward[h, a] for (h, a), p in zip(enumerate(choice), nu, strict=True)))
    if not rows:
        return None
    table = np.array(rows).T
    found = linprog(
        -np.array(rewards), table, np.zeros(len(table)), np.ones((1, len(rewards))), [1.0], method="highs-ds"
    )
    return -float(found.fun) if found.status == 0 else None


@pytest.mark.parametrize("solver", [OccupancyLp(), LagrangianDual(), MegHighs()], ids=lambda s: s.name)
def test_caps_and_chances_against_brute_force(solver: OccupancyLp | LagrangianDual | MegHighs) -> None:
    infeasible = 0
    for seed in range(16 if isinstance(solver, MegHighs) else 64):
        instance = drawn(seed)
        problem, optimum = Meg(instance), brute_force(instance)
        result = solver.solve(problem, Limits())
        if optimum is None:
            infeasible += 1
            assert result.termination is Termination.INFEASIBLE and result.decision is None
            continue
        assert result.termination is Termination.OPTIMAL and result.decision is not None
        found = problem.evaluate(result.decision)
        assert found.feasible and found.objective == pytest.approx(optimum, abs=1e-8), seed
        assert result.bound == pytest.approx(optimum, abs=1e-8)
    assert infeasible > 2
