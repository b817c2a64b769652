"""Mobile edge generation compared and reported: solvers, a trained policy by name, an instance without a solution."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

pytest.importorskip("torch")

from click.testing import CliRunner

from hisopt import InputError, Meg, MegInstance, save
from hisopt.commands.compare import _command as compare
from hisopt.commands.report import _command as report
from hisopt.instances import MegChannel
from hisopt.solvers.meg.learning import network, write_policy

if TYPE_CHECKING:
    from pathlib import Path

SMALL = MegInstance(
    channel=MegChannel.uniform_distance(4), steps=np.array([4.0, 8.0, 12.0]), ratios=np.array([0.0, 0.5])
)


def test_meg_is_compared_and_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_policy(tmp_path / "p.safetensors", network(1, 6, 8), Meg(SMALL), {})
    save(SMALL, tmp_path / "small.json")
    save(SMALL.replace(latency_limit_s=0.1), tmp_path / "none.json")
    (tmp_path / "c.toml").write_text(
        'files = ["small.json", "none.json"]\nproblems = ["meg"]\n'
        'solvers = ["dual", "occupancy-lp", "fixed", "meg-policy:policy=p.safetensors"]\n'
    )
    arguments = ["c.toml", "--records", "records", "--jobs", "1"]
    done = CliRunner().invoke(compare, arguments)
    assert done.exit_code == 0, (done.output, done.exception)
    again = CliRunner().invoke(compare, arguments)
    assert "0 solved, 8 known" in again.output
    told = CliRunner().invoke(report, ["records", "--format", "csv", "-o", "-"]).output.splitlines()
    columns = told[0].split(",")
    rows = {row["solver"]: row for line in told[1:] if (row := dict(zip(columns, line.split(","), strict=True)))}
    exact, learned = rows["dual"], rows["meg-policy:policy=p.safetensors"]
    # without a solution on one of the two instances, which only the exact ones prove, and in their own time
    assert [exact[name] for name in ("solves", "solved", "proven", "best")] == ["2", "1", "2", "1"]
    assert float(exact["sgm_seconds"]) < float(rows["fixed"]["sgm_seconds"])  # whose failure counts as the whole limit
    assert learned["guarantee"] == "learned" and learned["proven"] == "0" and float(learned["worst_gap"]) > 0
    page = CliRunner().invoke(report, ["records", "-o", "page.html", "--verdicts", "none"])
    assert page.exit_code == 0 and "without a solution" in (tmp_path / "page.html").read_text(encoding="utf-8")
    lines = [line for file in (tmp_path / "records").glob("*.jsonl") for line in file.read_text().splitlines()]
    records = [json.loads(line) for line in lines]
    assert {r["termination"] for r in records if r["solver"] == "dual"} == {"optimal", "infeasible"}


def test_another_problem_names_those_of_the_model(tmp_path: Path) -> None:
    error = CliRunner().invoke(compare, ["--preset", "meg", "--records", str(tmp_path)]).exception
    assert isinstance(error, InputError)
    assert str(error) == "problem joint: not defined for an instance of the model 'meg'; defined for it: meg"


@pytest.mark.parametrize(
    ("solver", "words"),
    [
        ("meg-policy:policy=nowhere", "nowhere: no such file"),
        ("ippo:policy=nowhere", "nowhere: no such file"),
        ("learned-prices:policy=nowhere", "nowhere: no such file"),
    ],
)
def test_a_policy_that_is_not_there(solver: str, words: str, tmp_path: Path) -> None:
    kind = ["--preset", "meg", "--problem", "meg"] if solver.startswith("meg") else ["--preset", "small"]
    error = CliRunner().invoke(compare, [*kind, "--solver", solver, "--records", str(tmp_path)]).exception
    assert isinstance(error, InputError) and str(error) == f"solver {solver!r}: {words}"
