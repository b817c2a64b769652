"""The public API: typed, short, and what the README shows of it runs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import hisopt

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = """
import hisopt

instance = hisopt.PRESETS["small"].sample(seed=0)
assert isinstance(instance, hisopt.Instance)
problem = hisopt.Full(instance)
done = hisopt.run(problem, "subsets", time_limit=5)
reveal_type(problem.instance)
reveal_type(done)
reveal_type(done.objective)
reveal_type(problem.evaluate(hisopt.Decision()))
reveal_type(hisopt.Clustering.of(instance, "mean").points)
reveal_type(hisopt.compare(problem, ["subsets"]))
"""
REVEALED = [
    "hisopt.instances.his.Instance", "hisopt.solvers.run.checks.Run", "float | None", "hisopt.problems.base.Evaluation",
    "float64", "DataFrame",
]  # fmt: skip


def test_a_users_script_is_typed(tmp_path: Path) -> None:
    """The checkout's cache of mypy is used, so that the check of all modules that follows this one costs little more."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    command = [sys.executable, "-m", "mypy", "--strict", str(script)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert "error" not in done.stdout, done.stdout + done.stderr
    notes = re.findall(r'Revealed type is "(.*)"', done.stdout)
    assert len(notes) == len(REVEALED), done.stdout
    for note, wanted in zip(notes, REVEALED, strict=True):
        assert wanted in note


def test_every_public_name_is_there() -> None:
    for name in hisopt.__all__:
        assert getattr(hisopt, name) is not None
    with pytest.raises(AttributeError):
        _ = hisopt.nothing


def test_the_readmes_lines_of_python_run(tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    (source,) = [block for block in blocks if "hisopt.run(" in block]
    assert len(source.splitlines()) <= 10
    (tmp_path / "short.py").write_text(source)
    done = subprocess.run([sys.executable, "short.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("optimal ")
    assert "branch-bound" in done.stdout


def test_solvers_and_problems_that_do_not_fit_are_told() -> None:
    problem = hisopt.Clustering([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], 2)  # type: ignore[arg-type]
    for solver, words in (
        ("none", "unknown for clustering, mean"),
        ("kmeans:restart=3", "no option 'restart'; its options are restarts"),
        ("kmeans:restarts=x", "restarts: is 'x', must be int"),
        ("ilp-highs", "does not serve clustering, mean"),
    ):
        with pytest.raises(hisopt.InputError, match=words):
            hisopt.run(problem, solver)
    with pytest.raises(hisopt.InputError, match="serves none of the problems"):
        hisopt.compare(problem, ["ilp-highs"])


def test_points_of_any_norm_and_similarities() -> None:
    points = [[0.0, 9.0], [0.5, 9.0], [7.0, 0.0], [7.0, 1.0]]
    problem = hisopt.Clustering(points, 2)  # type: ignore[arg-type]
    done = hisopt.run(problem, "branch-bound", time_limit=20)
    assert done.termination == "optimal"
    assert done.decision is not None and done.decision.clusters is not None
    first, second, third, fourth = done.decision.clusters.tolist()
    assert first == second != third == fourth
    same = hisopt.Clustering.from_similarities(problem.similarity_matrix, 2)
    assert hisopt.run(same, "branch-bound", time_limit=20).objective == pytest.approx(done.objective)
    with pytest.raises(hisopt.InputError, match="no inner products"):
        hisopt.Clustering.from_similarities([[0.0, 1.0], [1.0, 0.0]], 1)  # type: ignore[arg-type]


def test_the_page_of_solvers_is_fresh() -> None:
    from hisopt.solvers import describe

    assert describe.PLACE.read_text(encoding="utf-8") == describe.text(), "python -m hisopt.solvers.describe"
