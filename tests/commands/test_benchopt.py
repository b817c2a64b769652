"""The folder for benchopt: what is written can be read, run and judged; benchopt itself is not needed for that."""

from __future__ import annotations

import runpy
import sys
import types
from typing import TYPE_CHECKING, Any

import pytest

from hisopt import PRESETS
from hisopt.commands.benchopt import BenchoptOptions, _write, judged, problem
from hisopt.decision import Decision
from hisopt.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path


def classes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The classes in a folder's files, with stand-ins for benchopt's bases."""
    bases = types.ModuleType("benchopt")
    for name in ("BaseObjective", "BaseDataset", "BaseSolver"):
        setattr(bases, name, type(name, (), {}))
    monkeypatch.setitem(sys.modules, "benchopt", bases)
    found = {}
    for file in sorted(folder.rglob("*.py")):
        kind = {"datasets": "Dataset", "solvers": "Solver"}.get(file.parent.name, "Objective")
        found[file.relative_to(folder).as_posix()] = runpy.run_path(str(file))[kind]
    return found


def test_what_is_written_solves_and_judges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _write(BenchoptOptions(str(tmp_path / "b"), seeds=2, solvers=("exact", "local-search"), time_limit=20.0))
    found = classes(tmp_path / "b", monkeypatch)
    assert set(found) == {"objective.py", "datasets/small.py", "solvers/exact.py", "solvers/local_search.py"}
    data, objective, solver = found["datasets/small.py"](), found["objective.py"](), found["solvers/exact.py"]()
    assert data.parameters == {"draw": [0, 1]} and solver.parameters == {"time_limit": [20.0]}
    data.draw, solver.time_limit = 1, 20.0
    objective.set_data(**data.get_data())
    assert objective.problem.instance.prompts == PRESETS["small"].sample(1).prompts
    solver.set_objective(**objective.get_objective())
    solver.run(None)
    told = objective.evaluate_result(**solver.get_result())
    assert told["feasible"] == 1 and told["gap"] < 1e-6 and told["refuted"] == 0
    assert told["value"] == -objective.problem.evaluate(solver.done.decision).objective
    nothing = objective.evaluate_result(**objective.get_one_result())
    assert nothing["value"] == float("inf") and nothing["feasible"] == 0


def test_bounds_are_held_against_the_decision() -> None:
    posed = problem("small", 0, "clustering", "mean", False)
    decision = Decision(clusters=[0, 1, 2] * 3 + [0])  # type: ignore[arg-type]
    value = posed.evaluate(decision).objective
    assert value is not None
    assert judged(posed, decision, value / 2, 1.0)["refuted"] == 1
    assert judged(posed, decision, value, 1.0) == {
        "value": -value,
        "feasible": 1,
        "gap": 0,
        "refuted": 0,
        "seconds": 1.0,
    }
    assert judged(posed, Decision(clusters=[9] * 10), value, 1.0)["value"] == float("inf")  # type: ignore[arg-type]
    assert problem("meg", 0, "meg", None, False).kind == "meg"
    assert problem("small", 0, "joint", None, True).label == "joint, integer SMs"


def test_names_of_options_suit_benchopt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _write(BenchoptOptions(str(tmp_path / "b"), kind="clustering", solvers=("kmeans:restarts=5",)))
    found = classes(tmp_path / "b", monkeypatch)
    assert found["solvers/kmeans_restarts_5.py"].name == "kmeans-restarts-5"


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"preset": "nowhere"}, "--preset: unknown 'nowhere'"), ({"kind": "knapsack"}, "--problem: unknown 'knapsack'"),
        ({"solvers": ("magic",)}, "solver 'magic': unknown"), ({"solvers": ("hac",)}, "does not serve"), ({"seeds": 0}, "--seeds: is 0"),
        ({"time_limit": float("nan")}, "--time-limit: is nan"), ({"preset": "icc"}, "not defined"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_and_nothing_written(changed: dict[str, Any], reason: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=reason) as caught:
        _write(BenchoptOptions(str(tmp_path / "b"), **changed))
    assert "\n" not in str(caught.value) and not (tmp_path / "b").exists()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    with pytest.raises(InputError, match="is not empty"):
        _write(BenchoptOptions(str(tmp_path / "full"), solvers=("exact",)))
