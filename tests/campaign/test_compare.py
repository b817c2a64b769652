"""Campaigns: what they spread into, what they keep, and what a kill leaves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from hisopt.campaign import records
from hisopt.campaign.plan import Plan, read_plan
from hisopt.commands.compare import main
from hisopt.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Call = Callable[..., subprocess.CompletedProcess[str]]

SHORT = (
    "--preset",
    "small",
    "--seeds",
    "4",
    "--users",
    "4,6",
    "--solver",
    "exact",
    "--solver",
    "greedy",
    "--jobs",
    "1",
)


def command(folder: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "hisopt.compare", *arguments, "--records", str(folder)]


def test_killed_and_resumed_nothing_is_lost_or_run_twice(tmp_path: Path, call: Call) -> None:
    folder = tmp_path / "records"
    process = subprocess.Popen(command(folder, *SHORT), stderr=subprocess.DEVNULL)
    while process.poll() is None and not any(f.stat().st_size for f in folder.glob("*.jsonl")):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    first = [record["key"] for record in records.read([folder])]
    with open(next(folder.glob("*.jsonl")), "ab") as file:  # cut short, as by a full disk
        file.write(b'{"key": "half')
    done = subprocess.run(command(folder, *SHORT), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    keys = [
        json.loads(line)["key"]
        for f in folder.glob("*.jsonl")
        for line in f.read_text().splitlines()
        if '"half' not in line
    ]
    assert len(keys) == len(set(keys)) == 16 and set(first) <= set(keys)
    again = call(main, *SHORT, "--records", str(folder))
    assert again.stderr.splitlines()[-1].startswith("0 solved, 16 known")


def test_another_machines_records_merge(tmp_path: Path) -> None:
    for name, keys in (("here", "ab"), ("there", "bc")):
        with records.Segment(tmp_path / name) as segment:
            for key in keys:
                segment.append({"key": key, "from": name})
    found = list(records.read([tmp_path / "here", tmp_path / "there"]))
    assert [(r["key"], r["from"]) for r in found] == [("a", "here"), ("b", "here"), ("c", "there")]


def test_two_campaigns_do_not_write_into_one_folder(tmp_path: Path) -> None:
    with records.Segment(tmp_path), pytest.raises(InputError, match="another campaign is writing there"):
        records.Segment(tmp_path)


def test_a_full_disk_keeps_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, calls = os.write, iter([20])

    def full(file: int, data: bytes) -> int:
        for size in calls:
            return whole(file, data[:size])
        raise OSError(28, "No space left on device")

    with records.Segment(tmp_path) as segment:
        segment.append({"key": "a"})
        monkeypatch.setattr(os, "write", full)
        with pytest.raises(InputError, match="No space left on device; every record before is kept"):
            segment.append({"key": "b", "long": "x" * 100})
    assert [path.read_text() for path in tmp_path.glob("*.jsonl")] == ['{"key": "a"}\n']


def test_sweeps_are_crossed_or_zipped(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    text = 'presets = ["small"]\nseeds = 2\n[sweep]\nusers = [4, 5]\n"weights.delay" = [0.1, 0.2]\n'
    file.write_text(text)
    assert len(list(read_plan(file).settings())) == 8
    file.write_text("zipped = true\n" + text)
    assert [s[3] for s in read_plan(file).settings()][::2] == [
        {"users": 4, "weights.delay": 0.1}, {"users": 5, "weights.delay": 0.2},
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('preset = ["small"]', "preset: unknown field"),
        ("presets = [1]", "presets: is [1], of the wrong type"),
        ("presets = ", "not TOML"),
        ('presets = ["small"]\nthreads = "x"', "threads: is 'x', of the wrong type"),
        ('presets = ["small"]\nseeds = []', "seeds: is empty"),
        ("", "presets, files: give at least one"),
        ('presets = ["nowhere"]', "presets: unknown 'nowhere'"),
        ('presets = ["small"]\nsolvers = ["magic"]', "solver 'magic': unknown"),
        ('presets = ["small"]\nproblems = ["clustering"]\nsolvers = ["kmeans:n=3"]', "no option"),
        ('presets = ["small"]\nproblems = ["clustering"]\nsolvers = ["kmeans:restarts=x"]', "restarts"),
        ('presets = ["small"]\nsolvers = ["exact"]\n[sweep]\n"weights.dely" = 1', "sweep: dely: Weights has no such field"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_one_line(tmp_path: Path, text: str, reason: str) -> None:
    from hisopt.commands.campaign import check, tasks

    (tmp_path / "c.toml").write_text(text)

    def spread() -> None:
        plan = read_plan(tmp_path / "c.toml")
        check(plan)
        list(tasks(plan))

    with pytest.raises(InputError) as error:
        spread()
    assert reason in str(error.value)
    assert "\n" not in str(error.value)


def test_options_of_solvers_reach_them_and_tell_records_apart(tmp_path: Path) -> None:
    from hisopt.commands.campaign import tasks
    from hisopt.solvers.run.runner import Runner

    plan = Plan(("small",), problems=("clustering",), criteria=("mean",), solvers=("kmeans", "kmeans:restarts=50"))
    found = list(tasks(plan))
    assert [task.solver.label for task in found] == ["kmeans", "kmeans:restarts=50"]
    assert found[0].key != found[1].key
    assert found[1].solver.restarts == 50
    with Runner() as runner:
        assert runner.run(found[1].problem, found[1].solver).objective is not None


def test_dry_run_says_how_many_and_how_long(tmp_path: Path, call: Call) -> None:
    done = call(main, *SHORT, "--records", str(tmp_path / "none"), "--dry-run")
    assert done.stdout.startswith("16 solves to do, 0 records there; at most 48 s with 1 at a time")
    assert not (tmp_path / "none").exists()
