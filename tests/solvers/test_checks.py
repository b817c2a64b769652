"""Claims at the edges of their tolerances: just inside is believed, just outside is refuted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hisopt import Decision, Instance, Limits, Problem, SolutionStatus, SolverResult, Termination
from hisopt.problems import Allocation, Joint
from hisopt.solvers.joint.exact import JointExact
from hisopt.solvers.joint.greedy import Greedy
from hisopt.solvers.run.checks import Outcome, Run, beats, check, contradictions

INSIDE, OUTSIDE = 0.9, 1.1  # of a tolerance


@pytest.fixture(scope="module")
def joint(small: Instance) -> Problem:
    return Joint(small)


@pytest.fixture(scope="module")
def allocation(small: Instance) -> Problem:
    return Allocation(small)


def idle(problem: Problem) -> Decision:
    """Nothing on the server; feasible."""
    zero = np.zeros(problem.instance.users, dtype=np.int64)
    return Decision.of_steps(problem.instance.steps.total, zero, zero, np.ones(problem.instance.max_clusters))


def value_of(problem: Problem) -> float:
    value = problem.evaluate(idle(problem)).objective
    assert value is not None
    return value


def checked(problem: Problem, termination: Termination, bound: float | None, decision: Decision | None = None) -> Run:
    return check(problem, JointExact, Limits(), Outcome(SolverResult(termination, decision, bound), 1.5, 7))


@pytest.mark.parametrize("scale", [0.1, 1.0, 1e6])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_an_objective_beats_a_bound_beyond_the_tolerance_only(
    joint: Problem, allocation: Problem, scale: float, sign: float
) -> None:
    bound = sign * scale
    tolerance = 1e-6 * scale
    for problem, better in ((joint, 1.0), (allocation, -1.0)):
        assert not beats(problem, bound, bound)
        assert not beats(problem, bound + better * INSIDE * tolerance, bound)
        assert beats(problem, bound + better * OUTSIDE * tolerance, bound)
        assert not beats(problem, bound - better * OUTSIDE * tolerance, bound)


def test_where_values_cancel_the_tolerance_is_absolute(joint: Problem) -> None:
    assert not beats(joint, INSIDE * 1e-8, 0.0)
    assert beats(joint, OUTSIDE * 1e-8, 0.0)


def test_the_tolerance_is_relative_to_the_larger(joint: Problem) -> None:
    assert not beats(joint, 1e3 * (1 + 1e-6 + 5e-13), 1e3), "within 1e-6 of the objective, not of the bound"
    assert not beats(joint, -1e3 * (1 - 1e-6 + 5e-13), -1e3), "within 1e-6 of the bound, not of the objective"


@pytest.mark.parametrize(("share", "proven"), [(INSIDE, True), (OUTSIDE, False)])
def test_an_optimum_is_proven_by_a_bound_within_the_tolerance(joint: Problem, share: float, proven: bool) -> None:
    value = value_of(joint)
    run = checked(joint, Termination.OPTIMAL, value + share * 1e-6 * abs(value), idle(joint))
    assert run.refuted == (() if proven else ("claims an optimum that its bound does not prove",))
    assert run.solution_status is SolutionStatus.FEASIBLE
    assert run.gap == pytest.approx(share * 1e-6, rel=1e-3)
    assert (run.seconds, run.peak_memory) == (1.5, 7)


def test_a_bound_below_its_own_objective_is_refuted(joint: Problem) -> None:
    value = value_of(joint)
    run = checked(joint, Termination.TIME_LIMIT, value - 1.0, idle(joint))
    assert len(run.refuted) == 1
    assert "beats its bound" in run.refuted[0]
    assert contradictions([run]) == [f"joint: exact: {run.refuted[0]}"], (
        "told once, not also as one solver against itself"
    )
    assert checked(joint, Termination.TIME_LIMIT, value + 1.0, idle(joint)).refuted == ()


def test_an_infeasible_decision_proves_and_refutes_nothing(joint: Problem) -> None:
    value, bad = value_of(joint), replace(idle(joint), sms=np.full(joint.instance.max_clusters, 1e4))
    run = checked(joint, Termination.OPTIMAL, value - 1.0, bad)
    assert run.refuted == ("claims an optimum without a feasible decision",)
    assert run.gap is None
    assert run.solution_status is SolutionStatus.INFEASIBLE
    assert contradictions([run, checked(joint, Termination.COMPLETED, value, None)]) == [
        f"joint: exact: {run.refuted[0]}"
    ]


def test_infeasible_with_a_feasible_decision_is_refuted(joint: Problem) -> None:
    refuted = ("claims infeasible and has a feasible decision",)
    assert checked(joint, Termination.INFEASIBLE, None, idle(joint)).refuted == refuted
    assert checked(joint, Termination.INFEASIBLE, None).refuted == ()
    assert checked(joint, Termination.COMPLETED, None, idle(joint)).refuted == ()


def test_an_optimum_without_a_decision_or_bound_is_refuted(joint: Problem) -> None:
    assert checked(joint, Termination.OPTIMAL, 1.0).refuted == ("claims an optimum without a feasible decision",)
    refuted = ("claims an optimum that its bound does not prove",)
    assert checked(joint, Termination.OPTIMAL, None, idle(joint)).refuted == refuted


def test_what_was_refused_of_a_decision_makes_it_infeasible(joint: Problem) -> None:
    outcome = Outcome(SolverResult(Termination.COMPLETED, idle(joint)), refused=("sms: must be 3 finite numbers",))
    run = check(joint, JointExact, Limits(), outcome)
    assert (run.solution_status, run.objective) == (SolutionStatus.INFEASIBLE, None)
    assert run.violations == outcome.refused


def test_contradictions_between_solvers(joint: Problem) -> None:
    value = value_of(joint)
    found = checked(joint, Termination.COMPLETED, None, idle(joint))

    def other(termination: Termination, bound: float | None) -> Run:
        run = checked(joint, termination, bound)
        return replace(run, solver=Greedy)

    tolerance = 1e-6 * abs(value)
    assert contradictions([found, other(Termination.COMPLETED, None)]) == []
    assert contradictions([found, other(Termination.COMPLETED, value - INSIDE * tolerance)]) == []
    for order in (1, -1):
        (line,) = contradictions([found, other(Termination.COMPLETED, value - OUTSIDE * tolerance)][::order])
        assert line.startswith("joint: exact has ")
        assert line.endswith("claimed by greedy")
        (line,) = contradictions([found, other(Termination.INFEASIBLE, None)][::order])
        assert line == "joint: greedy claims infeasible, exact has a solution"
    infeasible = replace(found, solution_status=SolutionStatus.INFEASIBLE)
    assert contradictions([infeasible, other(Termination.INFEASIBLE, None)]) == []
    assert contradictions([infeasible, other(Termination.COMPLETED, value - 1.0)]) == []
