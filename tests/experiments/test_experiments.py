from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from hisopt import Instance, Limits, Problem, Termination
from hisopt.experiments.campaigns import contradictions, policies, policy_report, records, validation
from hisopt.problems import Joint
from hisopt.solvers.full.subsets import Subsets
from hisopt.solvers.joint.exact import JointExact
from hisopt.solvers.joint.greedy import Greedy
from hisopt.solvers.run import identity
from hisopt.solvers.run.place import load_class
from hisopt.solvers.run.runner import Run, Runner

if TYPE_CHECKING:
    from pathlib import Path

    from hisopt.solvers.base import Solver


def test_no_two_solvers_contradict_each_other_on_random_instances() -> None:
    done = CliRunner().invoke(
        contradictions.main, ["--instances", "2", "--seed", "1000", "--time-limit", "1", "--jobs", "1"]
    )
    assert done.exit_code == 0, done.output
    assert "2 instances of every problem" in done.output
    assert " 0 contradictions" in done.output
    assert "crashed" not in done.output


def test_contradictions_go_on_from_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def examined(seed: int, runner: Runner, kinds: tuple[str, ...]) -> contradictions.Seed:
        asked.append(seed)
        return contradictions.Seed([("joint", "exact", "optimal", 2)], ["exact beats scip"] if seed == 2 else [], [])

    monkeypatch.setattr(contradictions, "examine", examined)
    arguments = ["--instances", "3", "--records", str(tmp_path)]
    first, second = (CliRunner().invoke(contradictions.main, arguments) for _ in range(2))
    assert asked == [0, 1, 2]
    assert first.exit_code == second.exit_code == 1
    assert first.output == second.output
    assert "seed 2: exact beats scip" in first.output
    assert "6 solves, 1 contradictions" in first.output
    other = CliRunner().invoke(contradictions.main, [*arguments, "--problem", "meg"])
    assert asked == [0, 1, 2] * 2 and "3 instances of meg, " in other.output  # other problems are other records


def test_one_problem_alone_is_held_against_itself() -> None:
    arguments = ["--problem", "meg", "--instances", "4", "--seed", "12", "--jobs", "1"]
    done = CliRunner().invoke(contradictions.main, arguments)
    assert done.exit_code == 0, done.output
    rows = [line.split() for line in done.output.splitlines()[:-1]]
    assert {row[0] for row in rows} == {"meg"} and {"occupancy-lp", "dual", "lp-highs"} <= {row[1] for row in rows}
    assert "infeasible" in {row[2] for row in rows} and done.output.endswith(" 0 contradictions\n")


def test_records_are_kept_and_not_solved_again(
    small: Instance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = records.Store(tmp_path / "runs")
    tasks = [(Joint(small), solver) for solver in (JointExact(), Greedy())]
    with Runner(Limits(time_s=10)) as runner:
        first = list(store.run_all(runner, tasks))
        files = sorted((tmp_path / "runs").iterdir())
        assert len(files) == 2
        files[0].write_text('{"half')  # as if the machine had stopped while writing without a rename
        solved: list[str] = []
        run = runner.run

        def counted(problem: Problem, solver: type) -> object:
            solved.append(solver.name)  # type: ignore[attr-defined]
            return run(problem, solver)

        monkeypatch.setattr(runner, "run", counted)
        again = list(store.run_all(runner, tasks))
    assert len(solved) == 1
    assert [r["objective"] for r in again] == [r["objective"] for r in first]
    assert all(json.loads(file.read_text())["instance"] == Joint(small).content_hash for file in files)


def test_what_is_no_record_is_told_and_solved_again(
    small: Instance, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, task = records.Store(tmp_path), (Joint(small), Greedy)
    with Runner(Limits(time_s=20)) as runner:
        (first,) = store.run_all(runner, [task])
        (file,) = tmp_path.iterdir()
        for text, told in (
            ('{"half', "is no JSON"),
            ("[" * 100_000, "is no JSON"),
            ("[]", "is no record"),
            ('{"objective": 1.0}', "has no "),
        ):
            file.write_text(text)
            (again,) = store.run_all(runner, [task])
            lines = capsys.readouterr().err.splitlines()
            assert len(lines) == 1
            assert str(file) in lines[0]
            assert told in lines[0]
            assert again["objective"] == first["objective"]
            assert json.loads(file.read_text()) == again


def test_an_edited_solver_is_another_one(small: Instance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    problem, limits = Joint(small), Limits()
    names = []
    for text in ("1", "2", "1"):
        file = tmp_path / "own.py"
        file.write_text(
            "from hisopt import Guarantee, Joint, Solver\n"
            f"class Own(Solver):\n    name, problems, guarantee = 'own', (Joint,), Guarantee.HEURISTIC\n    number = {text}\n"
        )
        solver = load_class(f"{file}:Own")
        names.append(records.record_name(problem, solver(), limits))
        monkeypatch.delitem(sys.modules, solver.__module__)
    assert names[0] == names[2] != names[1]
    before = records.source_hash(JointExact())
    read = identity._read_source
    monkeypatch.setattr(
        identity,
        "_read_source",
        lambda file, changed: (
            ("edited", read(file, changed)[1]) if file.endswith("joint/scalar_coupling.py") else read(file, changed)
        ),
    )
    assert records.source_hash(JointExact()) == before, "what this process has imported stays what it was"
    identity._hash_of_ours.cache_clear()
    assert records.source_hash(JointExact()) != before, "a module that the solver imports was edited"


def test_what_the_runner_lost_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--users", "8", "--instances", "2", "--records", str(tmp_path)]
    lost: list[str] = []
    run = Runner.run

    def losing(self: Runner, problem: Problem, solver: Solver[Any]) -> Run:
        if not lost and isinstance(solver, Subsets):
            lost.append(solver.name)
            return Run(problem, solver, Termination.CRASHED, message="the solver's process broke off", lost=True)
        return run(self, problem, solver)

    monkeypatch.setattr(Runner, "run", losing)
    first = CliRunner().invoke(validation.main, arguments, catch_exceptions=False)
    assert first.exit_code == 0
    assert "missing: N = 8, seed 0: full: subsets: crashed, the solver's process broke off" in first.stderr
    assert "1 instances of" in first.stdout
    assert "Left out, 1:" in first.stdout
    again = CliRunner().invoke(validation.main, arguments, catch_exceptions=False)
    assert again.exit_code == 0
    assert "missing" not in again.stderr
    assert "2 instances of" in again.stdout


def test_policies_report_and_resume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy_report, "TUNED", policy_report.TUNED | {"instances": 16})  # drawn for each run
    arguments = ["--preset", "small", "--seeds", "1", "--updates", "2", "--batch", "8", "--held-out", "4", "--starts", "1",
                 "--records", str(tmp_path)]  # fmt: skip
    first = CliRunner().invoke(policies.command, arguments, catch_exceptions=False)
    assert first.exit_code == 0
    summary = (tmp_path / "summary.md").read_text()
    assert "| coalition reward | 1 |" in summary
    assert (tmp_path / "curves.svg").read_text().startswith("<?xml")
    trained = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*.safetensors")}
    assert len(trained) == len(policy_report.VARIANTS)
    again = CliRunner().invoke(policies.command, arguments, catch_exceptions=False)
    assert again.exit_code == 0
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*.safetensors")} == trained


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--seeds", "0"], "--seeds: is 0"),
        (["--preset", "none"], "preset: is 'none'"),
        (["--preset", "icc"], "does not fit the model"),
        (["--preset", "large"], "draws no prompts"),
        (["--users", "ten"], "--users"),
        (["--records", "/dev/null/x"], "--records"),
    ],
)
def test_policies_refuse_what_they_cannot_run(
    arguments: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["policies", *arguments])
    with pytest.raises(SystemExit) as stopped:
        policies.main()
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1
    assert not list(tmp_path.rglob("*.safetensors"))


@pytest.mark.parametrize("program", ["campaigns.policies", "benchmarks.policy_throughput"])
def test_help_needs_no_torch(program: str) -> None:
    code = (
        "import sys; sys.modules['torch'] = None; sys.argv = ['x', '--help']\n"
        f"import runpy; runpy.run_module('hisopt.experiments.{program}', run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Usage" in done.stdout
