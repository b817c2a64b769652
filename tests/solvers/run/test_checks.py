"""Claims at the edges of their tolerances: just inside is believed, just outside is refuted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hisopt import Decision, Instance, Limits, Problem, SolutionStatus, SolverResult, Termination
from hisopt.problems import Allocation, Clustering, Joint
from hisopt.solvers.clustering.ilp import IlpScip
from hisopt.solvers.clustering.pairs import PairsHighs
from hisopt.solvers.clustering.partitions import Partitions
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
    return check(problem, JointExact(), Limits(), Outcome(SolverResult(termination, decision, bound), 1.5, 7))


@pytest.mark.parametrize("value", [1e-200, 1e-12, 0.1, 1.0, 1e6])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_an_objective_beats_a_bound_beyond_the_tolerance_only(
    joint: Problem, allocation: Problem, value: float, sign: float
) -> None:
    bound = sign * value
    tolerance = 1e-6 * value
    for problem, better in ((joint, 1.0), (allocation, -1.0)):
        for scale in (0.0, value, 999 * value):
            assert not beats(problem, bound, bound, scale)
            assert not beats(problem, bound + better * INSIDE * tolerance, bound, scale)
            assert beats(problem, bound + better * OUTSIDE * tolerance, bound, scale)
            assert not beats(problem, bound - better * OUTSIDE * tolerance, bound, scale)


@pytest.mark.parametrize("scale", [1e-100, 1e-12, 1.0, 1e9])
def test_where_values_cancel_the_tolerance_is_that_of_their_parts(joint: Problem, scale: float) -> None:
    for value in (0.0, 1e-6 * scale, -1e-4 * scale):
        assert not beats(joint, value + INSIDE * 1e-9 * scale, value, scale)
        assert beats(joint, value + OUTSIDE * 1e-9 * scale, value, scale)
    assert beats(joint, 1e-300, 0.0, 0.0), "nothing cancels"


def test_the_tolerance_is_relative_to_the_larger(joint: Problem) -> None:
    assert not beats(joint, 1e3 * (1 + 1e-6 + 5e-13), 1e3, 0.0), "within 1e-6 of the objective, not of the bound"
    assert not beats(joint, -1e3 * (1 - 1e-6 + 5e-13), -1e3, 0.0), "within 1e-6 of the bound, not of the objective"


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
        return replace(run, solver=Greedy())

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


@pytest.mark.parametrize("power", [-12, 0, 12])
def test_the_same_lie_is_refuted_in_any_unit(small: Instance, power: int) -> None:
    """A bound 1e-5 beyond what is optimal proves nothing, and one 1e-5 short of it is passed, whatever the weights."""
    weights = {name: value * 10.0**power for name, value in small.weights.model_dump().items()}
    problems = [Joint(small.replace(weights=weights)), Allocation(small.replace(weights=weights))]
    for problem in problems:
        decision = idle(problem) if problem.kind == "joint" else Decision(sms=np.ones(small.max_clusters))
        value, up = problem.evaluate(decision).objective, 1 if problem.maximise else -1
        assert value is not None
        for factor, refuted in ((1e-5, "does not prove"), (-1e-5, "beats its bound"), (9e-7, None)):
            run = checked(problem, Termination.OPTIMAL, value + up * factor * abs(value), decision)
            assert any(refuted in line for line in run.refuted) if refuted else not run.refuted


def test_a_bound_of_1e_9_does_not_prove_an_optimum_of_1e_10() -> None:
    problem = Clustering(np.eye(3) * 1e-5, 1)
    decision = Decision(clusters=np.zeros(3, dtype=np.int64))
    assert checked(problem, Termination.OPTIMAL, 1e-9, decision).refuted
    assert not checked(problem, Termination.OPTIMAL, problem.evaluate(decision).objective, decision).refuted


@pytest.mark.parametrize("length", [1e-6, 1e4])
def test_general_solvers_cluster_points_of_any_length(length: float) -> None:
    problem = Clustering(np.random.default_rng(0).normal(size=(5, 3)) * length, 2)
    best = Partitions().solve(problem, Limits()).bound
    assert best is not None
    for solver in (PairsHighs(), IlpScip()):
        run = check(problem, solver, Limits(), Outcome(solver.solve(problem, Limits())))
        assert run.termination is Termination.OPTIMAL and run.refuted == ()
        assert run.objective == pytest.approx(best, rel=1e-6)
