"""Rules of the gate, and what a campaign lost against a baseline."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_records import made

from hisopt.campaign.gate import change, judge
from hisopt.campaign.plan import read_plan
from hisopt.campaign.rules import Change, parse
from hisopt.commands.campaign import check, tasks
from hisopt.commands.compare import CompareOptions, _compare
from hisopt.commands.gate import table
from hisopt.errors import InputError

NOW = Change(
    {"gap": 0.02, "bound": 0.0, "time": 3.0, "time x": 1.0, "memory": 0.5, "memory x": None}, frozenset({"unproven"})
)


@pytest.mark.parametrize(
    ("rule", "holds"),
    [
        ("gap > 1e-6", True), ("gap > 2 %", False), ("gap > 2%", False), ("gap >= 2%", True), ("gap<.03", True), ("time > 2x", True),
        ("time > 3x", False), ("time >= 3s", True), ("time < 3", False), ("memory > 2x", False), ("memory > .4GB", True),
        ("unproven", True), ("unsolved or refuted", False), ("not refuted and time > 2x", True), ("not not unproven", True),
        ("gap > 1 or time > 2x and unsolved", False), ("(gap > 1 or time > 2x) and unproven", True),
        ("time > 2x or gap > 1 and unsolved", True), ("NOT (gap > 1 OR time <= 2x)", True),
    ],
)  # fmt: skip
def test_rules_hold_as_they_read(rule: str, holds: bool) -> None:
    if "2 %" in rule:  # a unit stands at its number
        with pytest.raises(InputError):
            parse(rule)
    else:
        assert parse(rule).holds(NOW) is holds


BAD = {
    "": "at the end: nothing, must be one of gap, bound, time, memory, unsolved, unproven, refuted, 'not' or '('",
    "gap": "at the end: nothing, must be one of > >= < <= after gap",
    "gap == 1": "at character 5: '=', must be one of > >= < <=",
    "gap > x": "at character 7: 'x', must be a number",
    "gap > 2x": "at character 7: '2x', must be a number, alone or with %",
    "time > 2h": "at character 8: '2h', must be a number, alone or with s or x",
    "gap > 1 time > 2": "at character 9: 'time', must be 'and', 'or' or the end",
    "(gap > 1": "at the end: nothing, must be ')'",
    "speed > 1": "at character 1: 'speed', must be one of gap",
    "gap > 1 and": "at the end: nothing, must be one of gap",
    "__import__('os')": "at character 1: '_', must be one of gap",
    "(" * 60 + "unsolved" + ")" * 60: "nested more than 50 deep",
    "not " * 60 + "unsolved": "nested more than 50 deep",
}


@pytest.mark.parametrize("text", BAD)
def test_what_is_no_rule_is_refused_with_its_place(text: str) -> None:
    with pytest.raises(InputError) as caught:
        parse(text)
    assert BAD[text] in str(caught.value) and "\n" not in str(caught.value)


@given(st.text(alphabet="gaptimeorndx ()<>=.%0123456789_'\"", max_size=40))
def test_any_text_is_a_rule_or_refused(text: str) -> None:
    with contextlib.suppress(InputError):
        assert parse(text).holds(NOW) in (True, False)


def pair(**now: Any) -> Change:
    base = {"feasible": True, "termination": "optimal", "objective": 2.0, "bound": 2.0, "seconds": 1.0, "peak_memory": 10**9,
            "maximise": True, "scale": 2.0}  # fmt: skip
    return change(base, base | now)


def test_what_was_lost_is_measured_from_the_baseline() -> None:
    assert pair().measures["gap"] == pair(objective=3.0).measures["gap"] == 0
    assert pair(objective=1.0).measures["gap"] == 0.5
    assert pair(objective=1.0, maximise=False).measures["gap"] == 0
    assert pair(objective=4.0, maximise=False).measures["gap"] == 0.5
    assert pair(feasible=False).measures["gap"] == math.inf
    assert pair(feasible=False).words == {"unsolved"}
    assert pair(bound=4.0).measures["bound"] == 0.5 and pair(bound=1.0).measures["bound"] == 0
    assert pair(bound=1.0, maximise=False).measures["bound"] == 0.5
    assert pair(bound=None).measures["bound"] == math.inf
    assert pair(termination="time_limit", refuted=["x"]).words == {"unproven", "refuted"}
    assert pair(seconds=None).measures["time"] is None
    assert not parse("time > 2x").holds(pair(seconds=None)) and parse("memory >= 1x").holds(pair())


def test_rows_that_got_worse_are_named(tmp_path: Path) -> None:
    before, after = made(), made()
    for record in after:
        record["key"] += "-later"
        record["versions"] = {"hisopt": "9"}
    after[2]["objective"] *= 0.9
    after[5]["shared"] = True
    found = judge(before, after[:-1], parse("gap > 1e-6 or unsolved"))
    assert (len(found.worse), found.judged, found.new, found.gone) == (1, 31, 0, 1)
    text = table(found, "gap > 1e-6")
    assert text.splitlines()[0] == "1 of 31 solves got worse than the baseline: gap > 1e-6"
    assert "1 of the baseline were not run here" in text and "mind the times: some solves shared their machine" in text
    assert (
        text.splitlines()[-1].split()[:6] == ["joint", "i10-0", "10", "3", "0", "greedy"]
        and "gap 0.1" in text.splitlines()[-1]
    )
    assert judge(before, [after[3] | {"seed": 99}], parse("unsolved")).new == 1


SHORT = {"presets": ("small",), "solvers": ("no-sharing",), "seeds": 2, "jobs": 1}


def test_the_command_ends_with_1_where_a_solve_got_worse(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base, now = tmp_path / "base", tmp_path / "now"
    assert _compare(CompareOptions(records=str(base), **SHORT)) == 0  # type: ignore[arg-type]
    options = CompareOptions(records=str(now), baseline=(str(base),), **SHORT)  # type: ignore[arg-type]
    assert _compare(options) == 0
    assert capsys.readouterr().out.startswith("0 of 2 solves got worse")
    file = next(base.glob("*.jsonl"))
    records = [json.loads(line) for line in file.read_text().splitlines()]
    records[0]["objective"] += 1.0  # as if the release before had been better
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
    assert _compare(options) == 1
    assert "1 of 2 solves got worse" in capsys.readouterr().out
    for changed, reason in (
        ({"baseline": (), "fail_if": "unsolved"}, "--fail-if: needs --baseline"),
        ({"fail_if": "gap"}, "--fail-if: 'gap': at the end"),
        ({"baseline": (str(tmp_path / "no"),)}, "no: no such file or folder"),
        ({"seeds": 1, "time_limits": (9.0,)}, "has none of these solves"),
    ):
        with pytest.raises(InputError, match=reason):
            _compare(CompareOptions(**{"records": str(now), "baseline": (str(base),), **SHORT, **changed}))  # type: ignore[arg-type]


def test_the_nightly_campaign_can_be_run() -> None:
    plan = read_plan(Path(__file__).parents[2] / "experiments" / "campaigns" / "nightly.toml")
    check(plan)
    solves = list(tasks(dataclasses.replace(plan, seeds=(0,))))
    assert {task.problem.kind for task in solves} == {"clustering", "allocation", "joint", "full"}
    assert len({task.solver.name for task in solves}) > 15
