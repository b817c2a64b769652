"""No process and no file outlives a run, however it ends; what was done is told."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from hisopt import Instance, Limits, Termination
from hisopt.problems import Joint
from hisopt.solvers.joint.exact import JointExact
from hisopt.solvers.run.place import load_class
from hisopt.solvers.run.runner import Runner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FAULTY = Path(__file__).with_name("faulty.py")
MARK = "HISOPT_TEST_MARKER"


@pytest.fixture
def marker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file that all processes of the test have in their environment; its folder holds their temporary files."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv(MARK, str(tmp_path / "marker"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    yield tmp_path / "marker"
    for process in marked(tmp_path / "marker"):
        process.kill()


def marked(marker: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get(MARK) == str(marker):
                found.append(process)
        except psutil.Error:
            continue
    return found


def eventually(holds: Callable[[], bool], within_s: float) -> bool:
    end = time.monotonic() + within_s
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def nothing_left(marker: Path) -> bool:
    return not marked(marker) and not list((marker.parent / "tmp").iterdir()) and not orphan_left(marker)


def orphan_left(marker: Path) -> bool:
    """Whether the process runs whose id a solver left in the marker."""
    told = marker.read_text() if marker.exists() else ""
    if not told.isdecimal() or not psutil.pid_exists(int(told)):
        return False
    try:
        return psutil.Process(int(told)).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def command(solver: str, output: Path) -> list[str]:
    return [sys.executable, "-m", "hisopt.solve", "--problem", "joint", "--sms", "real", "--time-limit", "600",
            "--solver", "exact", "--solver", f"{FAULTY}:{solver}", "--format", "json",
            "--output", str(output)]  # fmt: skip


def family(process: subprocess.Popen[str]) -> dict[str, list[psutil.Process]]:
    """The runner, the guards that it started, and their servers."""
    runner = psutil.Process(process.pid)
    guards = runner.children()
    servers = [server for guard in guards for server in guard.children()]
    assert len(servers) == len(guards) >= 1
    return {"runner": [runner], "guard": guards, "server": servers}


def at_a_terminal() -> None:
    """Give a command the signals that it has at a terminal: in the background a shell has them ignored."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


@contextmanager
def solving(solver: str, marker: Path) -> Iterator[subprocess.Popen[str]]:
    """A command that has come to this solver; killed in the end, whatever a test finds."""
    output = marker.with_name("out.json")
    with subprocess.Popen(
        command(solver, output), stderr=subprocess.PIPE, text=True, start_new_session=True, preexec_fn=at_a_terminal
    ) as process:
        try:
            assert eventually(marker.exists, 120)
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize(
    "signals",
    [[signal.SIGINT], [signal.SIGTERM], [signal.SIGHUP], [signal.SIGKILL], [signal.SIGINT, signal.SIGINT]],
    ids=["INT", "TERM", "HUP", "KILL", "INT-INT"],
)
def test_signals_leave_nothing_and_lose_nothing(signals: list[signal.Signals], marker: Path) -> None:
    output = marker.with_name("out.json")
    with solving("HangsWithOrphans", marker) as process:
        for number in signals:
            process.send_signal(number)
        assert eventually(lambda: process.poll() is not None, 10)
        assert eventually(lambda: nothing_left(marker), 10), (marked(marker), list((marker.parent / "tmp").rglob("*")))
        assert process.stderr is not None
        told = process.stderr.read()
    if signal.SIGKILL in signals:
        assert process.returncode == -signal.SIGKILL
        return
    assert process.returncode == 130
    assert "interrupted, 1 of 2 solves done" in told
    runs = json.loads(output.read_text())["runs"]
    assert [(run["solver"], run["termination"]) for run in runs] == [("exact", "optimal")]


@pytest.mark.parametrize("killed", [("runner", "server"), ("runner", "guard")])
def test_two_that_are_killed_together_leave_nothing(killed: tuple[str, str], marker: Path) -> None:
    with solving("LeavesNakedOrphansAndHangs", marker) as process:
        found = family(process)
        for name in killed:
            for one in found[name]:
                one.kill()
        assert eventually(lambda: nothing_left(marker), 10), (marked(marker), list((marker.parent / "tmp").rglob("*")))


def test_what_all_leave_when_they_are_killed_together_goes_with_the_next_start(small: Instance, marker: Path) -> None:
    with solving("HangsWithOrphans", marker) as process:
        everyone = [one for some in family(process).values() for one in some]
        for one in everyone:
            one.suspend()
        for one in everyone:
            one.kill()
    assert eventually(lambda: not any(one.is_running() for one in everyone[1:]), 10)
    assert list((marker.parent / "tmp").iterdir()), "or nothing is left to be swept"
    with Runner(Limits(time_s=60)) as runner:
        assert runner.run(Joint(small), JointExact).termination is Termination.OPTIMAL
    assert nothing_left(marker)


def test_no_sweep_touches_a_runner_that_lives(small: Instance, marker: Path) -> None:
    with Runner(Limits(time_s=60)) as first, Runner(Limits(time_s=60)) as second:
        for runner in (first, second, first):
            assert runner.run(Joint(small), JointExact).termination is Termination.OPTIMAL
    assert nothing_left(marker)


def test_a_normal_run_leaves_no_orphans(small: Instance, marker: Path) -> None:
    with Runner(Limits(time_s=60)) as runner:
        for name in ("LeavesOrphans", "LeavesNakedOrphans"):
            assert runner.run(Joint(small), load_class(f"{FAULTY}:{name}")).termination is Termination.COMPLETED
            assert len(marked(marker)) == 2, "guard and server alone, when the run is told"
            assert not orphan_left(marker)
    assert nothing_left(marker)


@pytest.mark.parametrize("name", ["KillsServer", "LeavesNakedOrphansAndKillsServer"])
def test_a_killed_server_is_no_result_and_takes_all_along(name: str, small: Instance, marker: Path) -> None:
    with Runner(Limits(time_s=60)) as runner:
        run = runner.run(Joint(small), load_class(f"{FAULTY}:{name}"))
        assert run.termination is Termination.CRASHED
        assert run.lost
        assert "broke off" in run.message
        assert nothing_left(marker)
        assert runner.run(Joint(small), JointExact).termination is Termination.OPTIMAL
    assert nothing_left(marker)


def test_no_import_counts_as_solving(small: Instance, marker: Path) -> None:
    target = f"{FAULTY.with_name('slow_start.py')}:SlowStart"
    with Runner(Limits(time_s=0.2)) as runner:
        run = runner.run(Joint(small), load_class(target))
    assert run.termination is Termination.COMPLETED, run.message
    assert run.seconds is not None
    with Runner(Limits(time_s=0.2), start_s=0.5) as runner:
        run = runner.run(Joint(small), load_class(target))
    assert run.termination is Termination.CRASHED
    assert run.message == "its imports took more than 0.5 s"
