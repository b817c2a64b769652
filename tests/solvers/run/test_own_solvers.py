"""Solvers that users write: in files, scripts and notebooks, and what is said when they fail."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from hisopt import PRESETS, Limits, Termination
from hisopt.errors import InputError
from hisopt.problems import Joint
from hisopt.solvers.clustering.hac import clustered
from hisopt.solvers.registry import check_names
from hisopt.solvers.run.place import VERBOSE, load_class
from hisopt.solvers.run.runner import Runner

if TYPE_CHECKING:
    from pathlib import Path

PROBLEM = Joint(clustered(PRESETS["small"].sample(0)))

SOURCE = """
import sys
from dataclasses import dataclass

import numpy as np

from hisopt import Decision, SolverResult, Termination
from hisopt.problems import Joint
from hisopt.result import Guarantee
from hisopt.solvers.base import Solver


@dataclass(frozen=True)
class Mine(Solver[Joint]):
    name = "mine"
    problems = (Joint,)
    guarantee = Guarantee.HEURISTIC
    edge = 4

    def solve(self, problem, limits):
        i = problem.instance
        x, y = np.full(i.users, 8), np.full(i.users, self.edge)
        return SolverResult(Termination.COMPLETED, Decision.of_steps(i.steps.total, x, y, np.full(i.max_clusters, 10.0)))
"""
FAILING = """

class Fails(Mine):
    name = "fails"

    def solve(self, problem, limits):
        print("to be seen")
        return 1 / 0


class Exits(Mine):
    name = "exits"

    def solve(self, problem, limits):
        sys.exit(3)


class Leaves(Mine):
    name = "leaves"

    def solve(self, problem, limits):
        sys.exit("a reason")


class Greedy(Mine):
    name = "greedy"


class Twin(Mine):
    pass


class Worded(Mine):
    problems = "joint"


class Promising(Mine):
    guarantee = "exact"
"""


@pytest.fixture
def mine(tmp_path: Path) -> str:
    (tmp_path / "mine.py").write_text(SOURCE + FAILING)
    return str(tmp_path / "mine.py")


def test_what_failed_is_told_with_file_and_line(mine: str) -> None:
    line = 1 + (SOURCE + FAILING).splitlines().index("        return 1 / 0")
    with Runner(Limits(time_s=30)) as runner:
        run = runner.run(PROBLEM, load_class(f"{mine}:Fails"))
        assert run.termination is Termination.CRASHED
        assert run.message == f"ZeroDivisionError: division by zero ({mine}, line {line})"
        assert runner.run(PROBLEM, load_class(f"{mine}:Exits")).message == "exited with code 3 and no result"
        assert runner.run(PROBLEM, load_class(f"{mine}:Leaves")).message == "exited with code 1 and no result"


def test_verbose_shows_prints_and_the_traceback(
    mine: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for value, shown in (("", False), ("1", True)):
        monkeypatch.setenv(VERBOSE, value)
        with Runner(Limits(time_s=30)) as runner:
            runner.run(PROBLEM, load_class(f"{mine}:Fails"))
        out, err = capfd.readouterr()
        assert out == ""
        for text in ("to be seen", "Traceback", "return 1 / 0"):
            assert (text in err) == shown


def test_modules_beside_a_solver_are_found_each_beside_its_own(tmp_path: Path) -> None:
    for folder, steps in (("one", 3), ("two", 5)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "helper_of_mine.py").write_text(f"STEPS = {steps}\n")
        text = SOURCE.replace("import sys", "import helper_of_mine").replace("edge = 4", "edge = helper_of_mine.STEPS")
        (tmp_path / folder / f"solver_{folder}.py").write_text(text)
    solvers = [load_class(f"{tmp_path}/{folder}/solver_{folder}.py:Mine") for folder in ("one", "two")]
    with Runner(Limits(time_s=30)) as runner:
        runs = [runner.run(PROBLEM, solver) for solver in solvers]
    assert [run.decision.steps_edge[0] for run in runs if run.decision and run.decision.steps_edge is not None] == [
        3,
        5,
    ]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Greedy", "its name 'greedy' is taken by a solver of --list"),
        ("Worded", "problems is 'joint', must be a tuple of"),
        ("Promising", "guarantee is 'exact', must be a Guarantee"),
        ("Absent", "has no class 'Absent'"),
    ],
)
def test_solvers_that_cannot_be_told_apart_or_used_are_refused(name: str, message: str, mine: str) -> None:
    with pytest.raises(InputError, match=message):
        check_names([f"{mine}:{name}"])


def test_two_own_solvers_of_one_name_are_refused(mine: str) -> None:
    check_names([f"{mine}:Mine", f"{mine}:Mine", f"{mine}:Exits"])
    with pytest.raises(InputError, match="its name 'mine' is also that of"):
        check_names([f"{mine}:Mine", f"{mine}:Twin"])


@pytest.mark.parametrize("text", ["raise KeyError('x')\n", "import sys\nsys.exit(4)\n", "1 / 0\n"])
def test_files_that_fail_to_import_are_told_with_the_line(text: str, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("\n" + text)
    with pytest.raises(InputError, match=r"fails to import: \w+: .*broken\.py, line [23]\)"):
        load_class(f"{tmp_path}/broken.py:X")


SCRIPT = """
from hisopt import PRESETS, Limits, Problem
from hisopt.solvers.clustering.hac import clustered
from hisopt.solvers.run.runner import Runner

BASE = 2


class Global(Mine):
    def solve(self, problem, limits):
        assert BASE == 2
        return super().solve(problem, limits)


def made(steps):
    class Inner(Mine):
        edge = steps + BASE

    return Inner


if __name__ == "__main__":
    problem = Joint(clustered(PRESETS["small"].sample(0)))
    with Runner(Limits(time_s=30)) as runner:
        for solver in (Mine, Global, made(3)):
            run = runner.run(problem, solver)
            print(run.termination, run.decision.steps_edge[0] if run.decision else run.message)
"""


@pytest.mark.parametrize("how", ["script", "notebook"])
def test_solvers_of_a_script_and_of_a_notebook_run(how: str, tmp_path: Path) -> None:
    """A notebook's cells belong to no file; the same goes for text on standard input."""
    (tmp_path / "script.py").write_text(SOURCE + SCRIPT)
    arguments = [sys.executable, "script.py"] if how == "script" else [sys.executable, "-"]
    text = "" if how == "script" else SOURCE + SCRIPT
    done = subprocess.run(arguments, input=text, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.stdout.split("\n")[:3] == ["completed 4", "completed 4", "completed 5"], done.stdout + done.stderr


def test_a_solver_of_a_module_beside_the_script_runs_from_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "module_of_mine.py").write_text(SOURCE)
    (tmp_path / "run.py").write_text("from module_of_mine import *\n" + SCRIPT)
    done = subprocess.run(
        [sys.executable, str(tmp_path / "run.py")], capture_output=True, text=True, check=False, cwd="/"
    )
    assert re.match("completed 4\n", done.stdout), done.stdout + done.stderr
