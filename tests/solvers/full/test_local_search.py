"""The search over partitions: below the optimum and mostly at it, above the papers' way, within limits on sizes."""

from __future__ import annotations

import numpy as np
import pytest

from hisopt import PRESETS, Instance, Limits
from hisopt.experiments.campaigns.random_instances import draw_instance
from hisopt.problems import Full
from hisopt.solvers.base import Deadline
from hisopt.solvers.full.local_search import PartitionSearch
from hisopt.solvers.full.moves import Oracle
from hisopt.solvers.full.subsets import Subsets
from hisopt.solvers.full.two_stage import TwoStage

LIMITS = Limits(time_s=60.0, seed=1)


def draw(seed: int) -> Full:
    rng = np.random.default_rng(seed)
    users = int(rng.integers(1, 8))
    instance = draw_instance(rng, users, int(rng.integers(1, min(users, 3) + 1)))
    assert isinstance(instance, Instance)
    return Full(instance)


@pytest.mark.parametrize("seed", range(12))
def test_at_the_optimum_of_few_users(seed: int) -> None:
    problem = draw(seed)
    exact = Subsets().solve(problem, LIMITS)
    found = PartitionSearch().solve(problem, LIMITS)
    if exact.decision is None:
        assert found.decision is None
        return
    assert found.decision is not None
    assert exact.bound is not None
    scored, best = problem.evaluate(found.decision), problem.evaluate(exact.decision)
    assert scored.feasible
    assert scored.objective is not None
    assert best.objective is not None
    assert scored.objective <= exact.bound + 1e-9 * abs(exact.bound)
    assert scored.objective == pytest.approx(best.objective, rel=1e-6, abs=1e-9)


def test_better_than_the_papers_way_at_their_size() -> None:
    problem = Full(PRESETS["paper"].sample(1))
    two_stage = problem.evaluate(TwoStage().solve(problem, LIMITS).decision)
    found = problem.evaluate(PartitionSearch().solve(problem, Limits(time_s=60.0)).decision)
    assert found.feasible
    assert found.objective > 1.008 * two_stage.objective


def test_a_move_attains_what_it_promises() -> None:
    instance = PRESETS["small"].sample(3)
    oracle = Oracle(instance, Deadline(LIMITS))
    labels = np.arange(instance.users) % instance.max_clusters
    state = oracle.solve(labels)
    promised, user, target = oracle.relocations(state, np.arange(instance.users))
    for value, n, m in zip(promised, user, target, strict=True):
        moved = labels.copy()
        moved[n] = m
        assert value <= oracle.solve(moved).value + 1e-9
    assert len(promised) == instance.users * (instance.max_clusters - 1)
