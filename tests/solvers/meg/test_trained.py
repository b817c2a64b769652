"""Learners that train on the instance: what they tell as they go, what the time limit leaves, what they refuse."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from hisopt import Decision, InputError, Limits, Meg, MegInstance, Termination
from hisopt.instances import MegChannel
from hisopt.solvers.meg.exact import OccupancyLp
from hisopt.solvers.meg.trained import Cvpo, PpoLagrangian
from hisopt.solvers.registry import parse
from hisopt.solvers.run.progress import listening

SMALL = MegInstance(
    channel=MegChannel.uniform_distance(4), steps=np.array([4.0, 7.0, 10.0]), ratios=np.array([0.0, 0.5])
)


@pytest.mark.parametrize("solver", [Cvpo(iterations=6, slots=256), PpoLagrangian(iterations=6, slots=256)])
def test_training_tells_better_and_better_decisions_and_returns_the_last(solver: Cvpo | PpoLagrangian) -> None:
    problem = Meg(SMALL)
    told: list[Decision] = []
    with listening(lambda decision, _: told.append(decision) if decision is not None else None):
        result = solver.solve(problem, Limits(seed=3))
    evaluations = [problem.evaluate(decision) for decision in told]
    assert all(found.feasible for found in evaluations)
    values = [found.objective for found in evaluations]
    assert len(values) > 1 and values == sorted(values)
    assert result.termination is Termination.COMPLETED and result.decision is told[-1]
    assert result.details["iterations"] == 6
    optimum = OccupancyLp().solve(problem, Limits()).bound
    assert optimum is not None and max(values) <= optimum + 1e-9
    again = solver.solve(problem, Limits(seed=3))
    assert again.decision is not None
    assert np.array_equal(again.decision.probabilities, told[-1].probabilities)


def test_a_limit_that_is_over_at_once_leaves_the_policy_that_training_starts_from() -> None:
    problem = Meg(SMALL)
    result = Cvpo().solve(problem, Limits(time_s=0.0))
    assert result.termination is Termination.TIME_LIMIT
    assert result.decision is not None and problem.evaluate(result.decision).feasible
    assert result.details == {"iterations": 0, "best_iteration": 0}


def test_limits_that_nothing_meets_leave_no_decision() -> None:
    result = Cvpo(iterations=1, slots=64).solve(Meg(SMALL.replace(latency_limit_s=1e-3)), Limits())
    assert result.decision is None and "thriftiest" in result.message


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("cvpo:iterations=0", "iterations: is 0"),
        ("cvpo:discount=1", "discount: is 1"),
        ("cvpo:constraint=none", "none of published, corrected"),
        ("ppo-lagrangian:slots=0", "slots: is 0"),
    ],
)
def test_settings_that_cannot_be_are_refused(text: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        parse(text, "meg")
