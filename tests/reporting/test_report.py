"""The command: formats, files, exit codes; and that what it says of running again and of optimality is true."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from made_records import made

from hisopt.__main__ import main
from hisopt.campaign.plan import Plan, read_plan
from hisopt.commands.campaign import tasks
from hisopt.commands.optimality import residuals
from hisopt.reporting.records import prepared
from hisopt.reporting.reruns import campaign_of, lines_of
from hisopt.reporting.tables import to_csv, to_latex, to_markdown

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Call = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def report(call: Call) -> Call:
    return lambda *arguments: call(main, "report", *map(str, arguments))


def written(folder: Path, records: list[dict[str, Any]]) -> Path:
    folder.mkdir()
    (folder / "a.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records) + '{"key": "cut sh')
    return folder


def test_the_command_writes_a_page_and_tables(tmp_path: Path, report: Call) -> None:
    folder = written(tmp_path / "records", made())
    command = [sys.executable, "-m", "hisopt", "report", folder, "-o", tmp_path / "page.html"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert "32 records, 4 solvers" in done.stderr
    text = (tmp_path / "page.html").read_text()
    assert f"hisopt report {folder}" in text
    done = report(folder, "--format", "csv")
    assert done.returncode == 0
    assert [row["best"] for row in csv.DictReader(io.StringIO(done.stdout))] == ["8", "4", "0", "0"]


def test_contradictions_end_with_1_and_bad_input_with_2(tmp_path: Path, report: Call) -> None:
    records = made()
    records[3]["objective"] = 1.2
    folder = written(tmp_path / "records", records)
    done = report(folder, "-o", tmp_path / "a.md")
    assert done.returncode == 1 and "2 contradictions" in done.stderr
    assert "its bound 1 is passed" in (tmp_path / "a.md").read_text().splitlines()[0]
    empty = tmp_path / "empty"
    empty.mkdir()
    for arguments, words in (
        ((tmp_path / "none",), "none: no such file or folder"),
        ((empty,), "empty: no records"),
        ((folder, "-o", tmp_path / "no" / "x.html"), "its folder does not exist"),
        ((folder, "--verdicts", tmp_path / "none.md"), "--verdicts: .*No such file"),
        ((folder, "--format", "pdf"), "'pdf' is not one of"),
    ):
        done = report(*arguments)
        assert done.returncode == 2 and done.stdout == "", arguments
        assert len(done.stderr.splitlines()) == 1 and re.search(words, done.stderr), done.stderr
    assert not list(tmp_path.glob("*.html"))


def test_tables_for_papers() -> None:
    records = made()
    for record in records:
        record["solver"] = record["solver"].replace("milp", "milp_x&y|z")
    ready = prepared(records, "here")
    latex = to_latex(ready)
    assert latex.count(r"\begin{tabular}") == latex.count(r"\end{tabular}") == 1
    assert r"milp\_x\&y|z & exact & 8 & 4 & 4 & 4 & 0" in latex
    lines = latex[latex.index(r"\toprule") : latex.index(r"\bottomrule")].splitlines()
    assert {len(re.findall(r"(?<!\\)&", line)) for line in lines if line.endswith(r"\\")} == {10}
    assert r"| milp_x&y\|z | exact |" in to_markdown(ready)
    rows = list(csv.DictReader(io.StringIO(to_csv(ready))))
    greedy = next(row for row in rows if row["solver"] == "greedy")
    assert float(greedy["mean_gap"]) == pytest.approx(0.02)
    assert float(greedy["sgm_seconds"]) == pytest.approx(3.0)  # it never reaches the best: the limit


PLANS = [
    Plan(presets=("small",), seeds=(3,), solvers=("exact",), sweep=(("users", (5,)), ("weights.delay", (0.02,)))),
    Plan(
        presets=("small",), seeds=(1,), solvers=("kmeans:restarts=5",), problems=("clustering",), criteria=("centroid",)
    ),
    Plan(
        presets=("small",), solvers=("exact-integer",), sms="integer", threads=2, time_limits=(1.5,), memory_limit=2.0
    ),
    Plan(presets=("small",), seeds=(2,), solvers=("random",), repetitions=2),
]


@pytest.mark.parametrize("plan", PLANS)
def test_the_campaign_of_a_record_solves_the_very_same(plan: Plan, tmp_path: Path) -> None:
    for task in tasks(plan):
        limits = {
            "time_limit": task.limits.time_s,
            "memory_limit": task.limits.memory_gb,
            "threads": task.limits.threads,
        }
        record = task.place | limits | {"problem": task.problem.label}
        text = f"{campaign_of(record)}\n{lines_of(record['instance_seed'], task.solver.label)}\n"
        (tmp_path / "one.toml").write_text(text)
        assert task.key in [again.key for again in tasks(read_plan(tmp_path / "one.toml"))]


def test_residuals_come_from_the_decision_and_the_instance() -> None:
    from hisopt.equations import given_work_costs, optimal_sms

    (task,) = tasks(Plan(presets=("small",), problems=("allocation",), solvers=("closed-form",)))
    instance: Any = task.problem.instance  # type: ignore[attr-defined]
    budget = instance.sm_budget
    best = optimal_sms(given_work_costs(instance), budget)
    base = task.place | {"problem": "allocation", "feasible": True}
    records = [
        base | {"solver": "best", "decision": {"sms": best.tolist()}},
        base | {"solver": "half", "decision": {"sms": (best / 2).tolist()}},
        base | {"solver": "even", "decision": {"sms": np.full(len(best), budget / len(best)).tolist()}},
        base | {"solver": "other", "instance": "0" * 16, "decision": {"sms": best.tolist()}},
        base | {"solver": "none", "decision": None},
    ]
    found, remark = residuals(records)
    table = found.set_index(["solver", "condition"])["residual"]
    assert table["best"].max() < 1e-12
    assert table["half", "budget"] == pytest.approx(0.5) and table["half", "marginal costs"] < 1e-12
    assert table["even", "marginal costs"] > 0.01 and table["even", "budget"] < 1e-12
    assert remark.startswith("2 allocations have no residuals")
