"""Whatever a solver does becomes a row."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from hisopt import Instance, Limits, SolutionStatus, Termination
from hisopt.problems import Joint
from hisopt.solvers.joint.exact import JointExact
from hisopt.solvers.run.place import load_class
from hisopt.solvers.run.runner import Run, Runner, contradictions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hisopt.solvers.base import Solver

FAULTY = Path(__file__).with_name("faulty.py")


def faulty(name: str) -> Solver[Any]:
    return load_class(f"{FAULTY}:{name}")


@pytest.fixture(scope="module")
def marker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("runner") / "pid"
    os.environ["HISOPT_TEST_MARKER"] = str(path)
    yield path
    del os.environ["HISOPT_TEST_MARKER"]


@pytest.fixture(scope="module")
def runner() -> Iterator[Runner]:
    with Runner(Limits(time_s=300, memory_gb=1.0)) as runner:
        yield runner


@pytest.fixture(scope="module")
def impatient(marker: Path) -> Iterator[Runner]:
    with Runner(Limits(time_s=0.5)) as runner:
        yield runner


@pytest.mark.parametrize(
    ("name", "termination", "message"),
    [
        ("Segfaults", Termination.CRASHED, "SIGSEGV"),
        ("EatsMemory", Termination.MEMORY_LIMIT, "GB"),
        ("Exits", Termination.CRASHED, "code 7"),
        ("Raises", Termination.CRASHED, "ZeroDivisionError: one over zero"),
        ("ReturnsText", Termination.CRASHED, "returned str"),
        ("ReturnsUnpicklable", Termination.CRASHED, "not JSON values"),
        ("ReturnsNaN", Termination.CRASHED, "bound is nan"),
    ],
)
def test_faults_become_rows(runner: Runner, small: Instance, name: str, termination: Termination, message: str) -> None:
    run = runner.run(Joint(small), faulty(name))
    assert run.termination is termination
    assert message in run.message
    assert run.solution_status is SolutionStatus.NONE
    assert run.objective is None
    assert runner.run(Joint(small), JointExact).termination is Termination.OPTIMAL, "the next solve is served"


def test_what_hangs_is_killed(impatient: Runner, small: Instance) -> None:
    run = impatient.run(Joint(small), faulty("Hangs"))
    assert run.termination is Termination.TIME_LIMIT
    assert "did not stop" in run.message


def test_children_are_killed_with_a_solver(impatient: Runner, small: Instance, marker: Path) -> None:
    run = impatient.run(Joint(small), faulty("HangsInChildren"))
    assert run.termination is Termination.TIME_LIMIT
    child = int(marker.read_text())
    with contextlib.suppress(psutil.NoSuchProcess):
        assert psutil.Process(child).status() == psutil.STATUS_ZOMBIE


@pytest.mark.parametrize("name", ["ReturnsWrongShapes", "ReturnsWords"])
def test_malformed_decisions_have_no_objective(runner: Runner, small: Instance, name: str) -> None:
    run = runner.run(Joint(small), faulty(name))
    assert run.solution_status is SolutionStatus.INFEASIBLE
    assert run.objective is None
    assert run.refuted


def test_an_infinite_bound_is_no_bound(runner: Runner, small: Instance) -> None:
    assert runner.run(Joint(small), faulty("ReturnsInfinity")).bound is None


def test_broken_constraints_are_named(runner: Runner, small: Instance) -> None:
    run = runner.run(Joint(small), faulty("BreaksConstraints"))
    assert run.solution_status is SolutionStatus.INFEASIBLE
    assert any("(28f)" in violation for violation in run.violations)
    assert run.gap is None


def test_claims_are_refuted(runner: Runner, small: Instance) -> None:
    problem = Joint(small)

    def lines(*names: str) -> list[str]:
        runs: list[Run] = [runner.run(problem, faulty(name)) for name in names]
        return contradictions([*runs, runner.run(problem, JointExact)])

    assert lines("Sound") == []
    assert len(lines("ClaimsTooMuch")) == 1
    assert "does not prove" in lines("ClaimsTooMuch")[0]
    assert "beyond the bound" in lines("BoundsTooTight")[0]
    assert "claims infeasible" in lines("ClaimsInfeasible")[0]


def test_results_come_in_order_from_several_jobs(small: Instance) -> None:
    problem = Joint(small)
    tasks = [(problem, faulty("Sound")), (problem, JointExact)] * 3
    with Runner(Limits(time_s=20), jobs=2) as runner:
        runs = list(runner.run_all(tasks))
    assert [run.solver.name for run in runs] == ["sound", "exact"] * 3
    assert len({run.objective for run in runs}) == 2


def test_a_record_is_json(runner: Runner, small: Instance) -> None:
    import json

    record = runner.run(Joint(small), JointExact).to_dict()
    again = json.loads(json.dumps(record, allow_nan=False))
    assert again["termination"] == "optimal"
    assert again["limits"]["time_s"] == 300
    assert set(again["versions"]) >= {"hisopt", "numpy"}
    assert len(again["decision"]["steps_common"]) == small.users
