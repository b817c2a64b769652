"""What a solver reports outlives it, and is checked like any result."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hisopt import Decision, Instance, Limits, SolutionStatus, Termination
from hisopt.problems import Clustering, Joint
from hisopt.solvers.clustering.branch_bound.search import BranchBound
from hisopt.solvers.clustering.ilp import IlpHighs
from hisopt.solvers.joint.exact import JointExact
from hisopt.solvers.run.place import load_class
from hisopt.solvers.run.progress import listening, report
from hisopt.solvers.run.runner import Run, Runner

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hisopt.solvers.base import Solver

FAULTY = Path(__file__).with_name("faulty.py")


@pytest.fixture(scope="module")
def runner() -> Iterator[Runner]:
    with Runner(Limits(time_s=0.2)) as runner:
        yield runner


def run_of(runner: Runner, small: Instance, name: str) -> Run:
    return runner.run(Joint(small), load_class(f"{FAULTY}:{name}"))


@pytest.mark.parametrize(
    ("name", "termination", "message"),
    [
        ("Reports", Termination.TIME_LIMIT, "what it had reported is kept"),
        ("ReportsAndExits", Termination.CRASHED, "exited with code 9 and no result; what it had reported is kept"),
        ("ReportsAndHangs", Termination.TIME_LIMIT,
         "killed after 0.2 s and 3 s of grace: it did not stop by itself; what it had reported is kept"),
    ],
)  # fmt: skip
def test_the_best_that_was_reported_is_kept(
    runner: Runner, small: Instance, name: str, termination: Termination, message: str
) -> None:
    problem = Joint(small)
    best = JointExact().solve(problem, Limits())
    assert best.decision is not None
    assert best.bound is not None
    optimum = problem.evaluate(best.decision).objective
    run = run_of(runner, small, name)
    assert run.termination is termination
    assert run.message == message
    assert run.solution_status is SolutionStatus.FEASIBLE
    assert run.objective == optimum
    assert run.bound == pytest.approx(best.bound + 1)
    assert run.gap is not None
    assert run.refuted == ()
    objectives, bounds = [p.objective for p in run.trajectory], [p.bound for p in run.trajectory]
    assert objectives[0] is None
    assert objectives[1] is not None
    assert objectives[1] < optimum
    assert objectives[2:] == [optimum]
    assert bounds == pytest.approx([best.bound + 2, best.bound + 2, best.bound + 1])
    seconds = [p.seconds for p in run.trajectory]
    assert seconds == sorted(seconds)


def test_what_was_reported_is_not_believed(runner: Runner, small: Instance) -> None:
    run = run_of(runner, small, "ReportsTooMuch")
    assert run.solution_status is SolutionStatus.FEASIBLE
    assert any("beats its bound -5" in line for line in run.refuted)


@pytest.mark.parametrize("solver", [BranchBound(), IlpHighs()])
def test_solvers_report_what_is_true(small: Instance, solver: Solver[Any]) -> None:
    problem = Clustering.of(small.replace(clusters=None), "sum")
    heard: list[tuple[Decision | None, float | None]] = []
    with listening(lambda decision, bound: heard.append((decision, bound))):
        result = solver.solve(problem, Limits(time_s=60))
    assert result.termination is Termination.OPTIMAL
    assert result.decision is not None
    optimum = problem.evaluate(result.decision).objective
    assert optimum is not None
    found = [problem.evaluate(decision) for decision, _ in heard if decision is not None]
    assert max(e.objective for e in found if e.feasible and e.objective is not None) == pytest.approx(optimum, rel=1e-9)
    bounds = [bound for _, bound in heard if bound is not None]
    assert bounds
    assert min(bounds) >= optimum * (1 - 1e-7)


def test_anyone_may_listen() -> None:
    heard: list[tuple[Decision | None, float | None]] = []
    report(bound=1.0)
    with listening(lambda decision, bound: heard.append((decision, bound))):
        report(Decision(), 2.0)
    report(bound=3.0)
    assert [bound for _, bound in heard] == [2.0]
