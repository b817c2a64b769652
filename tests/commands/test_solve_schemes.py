from __future__ import annotations

import csv
import json
from io import StringIO
from typing import TYPE_CHECKING

import pytest

from hisopt.commands import solve
from hisopt.instances.scenario import PRESETS
from hisopt.solvers.schemes.schemes import SCHEMES, solve_scheme

if TYPE_CHECKING:
    from pathlib import Path


def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: str) -> tuple[int, str, str]:
    monkeypatch.setattr("sys.argv", ["hisopt.solve", *words])
    code = 0
    try:
        solve.main()
    except SystemExit as error:
        code = int(error.code or 0)
    out = capsys.readouterr()
    return code, out.out, out.err


@pytest.mark.usefixtures("solved_here")
def test_schemes_are_compared_on_one_instance(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, _ = run(capsys, monkeypatch, "--scheme", "all", "--format", "csv", "--members", "2")
    rows = {row["scheme"]: row for row in csv.DictReader(StringIO(out))}
    assert code == 0 and list(rows) == list(SCHEMES)
    found = solve_scheme(PRESETS["small"].sample(0), "his")
    assert float(rows["his"]["utility"]) == pytest.approx(found.utility, rel=1e-12)
    assert float(rows["his"]["tflop"]) == 12 * float(rows["his"]["steps"]) == 12 * found.steps
    assert float(rows["his"]["energy_per_image_j"]) == pytest.approx(found.energy_j / 10)
    assert {row["checked"] for row in rows.values()} == {"True"}
    assert rows["ppgfis"]["draws"] == "2" and rows["iis"]["draws"] == "1"
    assert len({row["hash"] for row in rows.values()}) == 1


@pytest.mark.usefixtures("solved_here")
def test_a_table_and_json(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    words = ("--scheme", "cfis", "--scheme", "his", "--solver", "greedy", "--seed", "1", "--seed", "2")
    code, out, _ = run(capsys, monkeypatch, *words)
    assert code == 0 and out.count("cfis") == out.count("his  ") == 2 and "TFLOP" in out
    target = tmp_path / "found.json"
    assert run(capsys, monkeypatch, *words, "--output", str(target))[0] == 0
    records = json.loads(target.read_text())["schemes"]
    assert [(r["seed"], r["scheme"], r["solver"]) for r in records] == [
        (1, "cfis", "greedy"), (1, "his", "greedy"), (2, "cfis", "greedy"), (2, "his", "greedy"),
    ]  # fmt: skip


CRASH = """
import os
from dataclasses import dataclass
from hisopt import Guarantee, Joint, Solver

@dataclass(frozen=True)
class Crash(Solver[Joint]):
    name, problems, guarantee = "crash", (Joint,), Guarantee.HEURISTIC

    def solve(self, problem, limits):
        os._exit(3)
"""


def test_solves_run_in_processes_of_their_own_and_one_that_fails_leaves_the_others(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "own.py").write_text(CRASH)
    solver = f"{tmp_path / 'own.py'}:Crash"
    words = ("--scheme", "his", "--scheme", "iis", "--solver", "exact", "--solver", solver, "--jobs", "2")
    code, out, _ = run(capsys, monkeypatch, *words, "--format", "json")
    records = json.loads(out)["schemes"]
    assert code == 0
    assert [(r["scheme"], r["proven"], r["utility"] is None) for r in records] == [
        ("his", True, False), ("his", False, True), ("iis", True, False), ("iis", False, True),
    ]  # fmt: skip
    assert all(bool(r["message"]) == (r["utility"] is None) for r in records)


@pytest.mark.usefixtures("solved_here")
def test_the_table_fits_a_terminal_of_80_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    code, out, _ = run(capsys, monkeypatch, "--scheme", "all")
    assert code == 0
    assert max(map(len, out.splitlines())) <= 80
    assert "…" not in out


@pytest.mark.usefixtures("solved_here")
def test_weights_modules_and_public_prompts_change_what_is_solved(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("--problem", "joint", "--sms", "real", "--solver", "exact", "--format", "json")
    plain, *others = (
        json.loads(run(capsys, monkeypatch, *words, *more)[1])
        for more in (
            (), ("--weights", "2,0.02,6e-6"), ("--modules", "none"), ("--public-prompt", "medoid"), ("--public-prompt", "random"),
        )
    )  # fmt: skip
    base = plain["runs"][0]
    assert others[0]["runs"][0]["objective"] == pytest.approx(2 * base["objective"], rel=1e-9)
    assert all(other["runs"][0]["objective"] < base["objective"] for other in others[1:])
    parts = base["parts"]
    assert base["quality"] == parts["quality"]
    assert base["delay_s"] == pytest.approx(sum(value for name, value in parts.items() if name.startswith("delay")))
    assert base["tflop"] == 12 * base["steps"] < 12 * 280


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--scheme", "x"), "scheme 'x': unknown; known are his, hid"),
        (("--scheme", "his", "--problem", "joint"), "--problem: goes without --scheme"),
        (("--scheme", "his", "--members", "0"), "--members: is 0, must be >= 1"),
        (("--scheme", "uniform", "--preset", "icc"), "scheme uniform: is not defined for the ICC model"),
        (("--scheme", "his", "--preset", "large", "--users", "20", "--clusters", "2"), "embeddings: missing"),
        (("--weights", "1,2"), "--weights: is '1,2', must be quality,delay,energy"),
        (("--weights", "1,2,-3"), "--weights: is '1,2,-3'"),
        (("--modules", "sim"), "--modules: no quality is published for 'sim' alone"),
        (("--modules", "x"), "--modules: unknown 'x'"),
        (("--public-prompt", "x"), "--public-prompt: unknown 'x'; known are ideal"),
        (("--modules", "none", "--quality", "q.json"), "--modules: chooses between the published tables"),
    ],
)
def test_bad_input(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], message: str
) -> None:
    code, out, err = run(capsys, monkeypatch, *words)
    assert code == 2 and out == "" and message in err and err.count("\n") == 1
