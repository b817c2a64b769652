"""Campaigns on a Dask cluster and as jobs: a worker killed midway loses nothing, runs nothing twice, leaves no process."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from hisopt.campaign import records
from hisopt.campaign.plan import Plan
from hisopt.commands import on_dask, on_slurm, remote
from hisopt.commands.campaign import tasks
from hisopt.commands.compare import CompareOptions, _compare
from hisopt.commands.engines import engine_of
from hisopt.errors import InputError
from hisopt.result import Limits

if TYPE_CHECKING:
    from collections.abc import Iterator

GATED = Path(__file__).parents[1] / "solvers" / "run" / "gated.py"
PATIENCE_S = 120.0  # before a test fails; none waits so long unless something is wrong


def until(found: Any) -> Any:
    """What a function returns once it is true."""
    end = time.monotonic() + PATIENCE_S
    while not (value := found()):
        assert time.monotonic() < end, "nothing came"
        time.sleep(0.02)
    return value


def begun(folder: Path) -> dict[str, list[list[int]]]:
    """The processes of each start of each solve."""
    return {
        f.stem: [[int(w) for w in line.split()] for line in f.read_text().splitlines()] for f in folder.glob("*.begun")
    }


def lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def kin(pid: int) -> list[int]:
    return [child.pid for child in psutil.Process(pid).children(recursive=True)]


class Campaign(threading.Thread):
    """A campaign of gated solves in a thread of this process."""

    def __init__(self, on: str, folder: Path, seeds: int = 3) -> None:
        super().__init__(daemon=True)
        solver = f"{GATED}:Gated:folder={folder / 'notes'}"
        (folder / "notes").mkdir(exist_ok=True)
        self.options = CompareOptions(
            presets=("small",),
            seeds=seeds,
            solvers=(solver,),
            time_limits=(100.0,),
            on=on,
            records=str(folder / "records"),
        )
        self.code: int | None = None
        self.start()

    def run(self) -> None:
        self.code = _compare(self.options)


def whole(folder: Path, count: int) -> None:
    """Every solve has one record and ended once."""
    lines = [json.loads(line) for f in (folder / "records").glob("*.jsonl") for line in f.read_text().splitlines()]
    assert len(lines) == len({line["key"] for line in lines}) == count
    assert all(line["feasible"] for line in lines)
    ends = [f.read_text().splitlines() for f in (folder / "notes").glob("*.ended")]
    assert [len(end) for end in ends] == [1] * count


@contextmanager
def cluster_of(folder: Path, *kinds: str) -> Iterator[tuple[str, list[subprocess.Popen[str]]]]:
    """A scheduler and workers of one thread, each started as a process of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    own = {"DASK_DISTRIBUTED__DASHBOARD__LINK": "", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    options: dict[str, Any] = {"env": os.environ | own, "cwd": folder, "stderr": subprocess.DEVNULL, "text": True}
    dask = [sys.executable, "-m", "distributed.cli"]
    scheduler = [*dask[:2], "distributed.cli.dask_scheduler", "--host", address, "--no-dashboard", "--no-show"]
    worker = [
        *dask[:2],
        "distributed.cli.dask_worker",
        address,
        "--nthreads",
        "1",
        "--no-dashboard",
        "--local-directory",
        str(folder),
    ]
    started = [subprocess.Popen(scheduler, **options)]
    started += [subprocess.Popen([*worker, kind], **options) for kind in kinds]
    from distributed import Client

    with Client(address, set_as_default=False, timeout=PATIENCE_S) as client:
        client.wait_for_workers(len(kinds), timeout=PATIENCE_S)
    yield address, started
    for process in started[1:] + started[:1]:
        family = kin(process.pid) if process.poll() is None else []
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        until(lambda family=family: not any(map(lives, family)))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, list[subprocess.Popen[str]]]]:
    """Two workers, with a nanny and without."""
    pytest.importorskip("distributed")
    with cluster_of(tmp_path_factory.mktemp("dask"), "--no-nanny", "--nanny") as found:
        yield found


def test_a_dask_worker_killed_midway(cluster: tuple[str, list[subprocess.Popen[str]]], tmp_path: Path) -> None:
    address, started = cluster
    campaign = Campaign(f"dask://{address}", tmp_path)
    until(lambda: len(begun(tmp_path / "notes")) >= 2)  # on each worker one
    victim = started[1]
    family = kin(victim.pid)
    solving = [pids for starts in begun(tmp_path / "notes").values() for pids in starts if set(pids) <= set(family)]
    assert len(solving) == 1, "the worker's solve, and what that started, hang below it"
    victim.send_signal(signal.SIGKILL)
    until(lambda: not any(map(lives, family)))
    (tmp_path / "notes" / "go").touch()
    campaign.join(PATIENCE_S)
    assert campaign.code == 0
    whole(tmp_path, 3)
    starts = begun(tmp_path / "notes")
    assert sorted(map(len, starts.values())) == [1, 1, 2], "only what the killed worker was solving began again"
    until(lambda: not any(lives(pid) for each in starts.values() for pids in each for pid in pids))
    left = [p for p in kin(started[2].pid) if "hisopt.solvers.run.worker" in " ".join(psutil.Process(p).cmdline())]
    assert left == [], "the campaign has ended its servers on the workers"
    again = CompareOptions(**{**vars(campaign.options)})
    assert _compare(again) == 0
    whole(tmp_path, 3)


@pytest.mark.parametrize(("lost", "reason"), [("workers", "no workers are left"), ("scheduler", "scheduler went away")])
def test_a_cluster_that_goes_away_ends_the_campaign(
    lost: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("distributed")
    monkeypatch.setattr(on_dask, "_WORKERS_S", 0.3)
    monkeypatch.setattr(on_dask, "_LOOK_S", 0.1)
    plan = Plan(("small",), seeds=(0, 1), solvers=(f"{GATED}:Gated:folder={tmp_path}",), time_limits=(100.0,))
    with cluster_of(tmp_path, "--no-nanny") as (address, started):
        (tmp_path / "go").touch()
        engine = engine_of(f"dask://{address}", plan, 1, tmp_path)
        ended = engine.run((task.key, task) for task in tasks(plan))
        assert next(ended)["feasible"]
        (tmp_path / "go").unlink()
        until(lambda: len(begun(tmp_path)) == 2)
        started[1 if lost == "workers" else 0].kill()
        with pytest.raises(InputError, match=reason) as caught:
            next(ended)
        assert "\n" not in str(caught.value)
        engine.close()
    until(lambda: not any(lives(pid) for starts in begun(tmp_path).values() for pids in starts for pid in pids))


def test_a_scheduler_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nobody listens
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "hisopt.compare", "--preset", "small", "--solver", "exact", "--on", f"dask://127.0.0.1:{port}",
                   "--records", str(tmp_path / "r")]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and f"--on: dask://127.0.0.1:{port}: cannot be reached" in done.stderr


@pytest.mark.parametrize(
    ("on", "reason"),
    [
        ("cloud", "must be local, dask://HOST:PORT or slurm"), ("dask://host", "must be dask://HOST:PORT"), ("dask://a b:1", "must be dask://HOST:PORT"),
        ("slurm-local:partition=", "must be NAME=VALUE"), ("slurm-local:magic=1", "magic"),
    ],
)  # fmt: skip
def test_where_no_campaign_can_run_is_said(on: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=reason) as caught:
        engine_of(on, Plan(("small",)), 1, tmp_path)
    assert "\n" not in str(caught.value)


def test_a_job_killed_midway_and_whoever_asked_too(tmp_path: Path) -> None:
    pytest.importorskip("submitit")
    (tmp_path / "notes").mkdir()
    campaign = Campaign("slurm-local", tmp_path)
    starts = until(lambda: begun(tmp_path / "notes"))
    solver = psutil.Process(next(iter(starts.values()))[0][0])
    job = next(p for p in solver.parents() if "submitit.core._submit" in " ".join(p.cmdline()))
    family = kin(job.pid)
    job.kill()
    until(lambda: not any(map(lives, family)))
    (tmp_path / "notes" / "go").touch()
    campaign.join(PATIENCE_S)
    assert campaign.code == 0
    whole(tmp_path, 3)
    starts = begun(tmp_path / "notes")
    assert sorted(map(len, starts.values())) == [1, 1, 2]
    until(lambda: not any(lives(pid) for each in starts.values() for pids in each for pid in pids))
    assert not list((tmp_path / "records" / ".jobs").glob("*.keys"))


SLURM = {  # a scheduler of this machine without accounting: jobs are processes, and the queue those that live
    "sbatch": """folder=$(dirname "$0")/../queue; mkdir -p "$folder"
setsid bash -c 'export SLURM_JOB_ID=$$ SLURM_JOB_NODELIST=here SLURM_NNODES=1 SLURM_NODEID=0; exec bash "$1"' job "${@: -1}" > /dev/null 2>&1 < /dev/null &
touch "$folder/$!"; echo "Submitted batch job $!" """,
    "srun": """while [ "${1#-}" != "$1" ]; do case $1 in --output|--error) shift;; esac; shift; done
export SLURM_LOCALID=0 SLURM_PROCID=0 SLURM_NTASKS=1; exec "$@" """,
    "squeue": """for job in $(ls "$(dirname "$0")/../queue"); do kill -0 "$job" 2> /dev/null && echo "$job"; done; true""",
    "scancel": """kill -9 -- -"${@: -1}" """,
    "sacct": "echo 'Slurm accounting storage is disabled' >&2; exit 1",
}  # fmt: skip


def test_a_cancelled_job_of_slurm_without_accounting_is_given_out_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("submitit")
    (tmp_path / "bin").mkdir()
    for name, text in SLURM.items():
        (tmp_path / "bin" / name).write_text(f"#!/usr/bin/env bash\n{text}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setitem(on_slurm._POLL_S, "slurm", 0.1)
    (tmp_path / "notes").mkdir()
    campaign = Campaign("slurm", tmp_path)
    starts = until(lambda: begun(tmp_path / "notes"))
    (job,) = (tmp_path / "queue").iterdir()
    subprocess.run(["scancel", job.name], check=True)
    until(lambda: not any(lives(pid) for each in starts.values() for pids in each for pid in pids))
    (tmp_path / "notes" / "go").touch()
    campaign.join(PATIENCE_S)
    assert campaign.code == 0
    whole(tmp_path, 3)
    assert sorted(len(each) for each in begun(tmp_path / "notes").values()) == [1, 1, 2]


def test_a_scheduler_that_stays_silent_ends_the_campaign_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("submitit")
    for name, text in {"sbatch": "", "srun": "", "squeue": "echo 'slurm_load_jobs error' >&2; exit 1"}.items():
        (tmp_path / name).write_text(f"#!/usr/bin/env bash\n{text}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    engine = on_slurm.Slurm("slurm", Plan(("small",), time_limits=(1.0,)), tmp_path / "records")
    assert engine._queued(("7",)) == {"7"}  # for a while it may be restarting
    monkeypatch.setattr(on_slurm, "_SILENT_S", -1.0)
    with pytest.raises(InputError, match="squeue fails: slurm_load_jobs error"):
        engine._queued(("7",))


def test_jobs_of_an_earlier_call_are_waited_for(tmp_path: Path) -> None:
    pytest.importorskip("submitit")
    (tmp_path / "notes").mkdir()
    solver = f"{GATED}:Gated:folder={tmp_path / 'notes'}"
    command = [sys.executable, "-m", "hisopt.compare", "--preset", "small", "--seeds", "2", "--solver", solver, "--time-limit", "100",
               "--on", "slurm-local", "--records", str(tmp_path / "records")]  # fmt: skip
    first = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    until(lambda: begun(tmp_path / "notes") and list((tmp_path / "records" / ".jobs").glob("*.keys")))
    first.kill()  # the job goes on
    first.wait()
    campaign = Campaign("slurm-local", tmp_path, seeds=2)
    (tmp_path / "notes" / "go").touch()
    campaign.join(PATIENCE_S)
    assert campaign.code == 0
    whole(tmp_path, 2)
    assert [len(each) for each in begun(tmp_path / "notes").values()] == [1, 1]


def test_other_source_than_the_one_that_asks_is_refused() -> None:
    task = next(iter(tasks(Plan(("small",), solvers=("no-sharing",)))))
    request = remote.Request.of("a key of other versions", task)
    with pytest.raises(remote.Different, match="differ from those of the machine that asks"):
        remote.solve(request, None, shared=True, engine="dask")  # type: ignore[arg-type]
    assert remote.Request.of(task.key, task).task.key == task.key


def test_a_kept_runner_ends_when_nothing_is_asked_of_it() -> None:
    task = next(iter(tasks(Plan(("small",), solvers=("no-sharing",)))))
    found = remote.Kept(Limits(), 1, idle_s=0.0)
    with found.runner() as runner:
        assert remote.solve(remote.Request.of(task.key, task), runner, shared=True, engine="dask")["feasible"]
        server = runner._servers[0]._process
        assert server is not None
    assert server.wait(PATIENCE_S) is not None
    with found.runner() as again:
        assert again is not runner
    found.close()


def test_a_follower_sees_each_record_once(tmp_path: Path) -> None:
    follower = records.Follower(tmp_path)
    with records.Segment(tmp_path) as one, records.Segment(tmp_path, alone=False) as two:
        one.append({"key": "a"})
        assert [r["key"] for r in follower.new()] == ["a"]
        two.append({"key": "b"})
        two.append({"key": "a"})
        assert [r["key"] for r in follower.new()] == ["b"]
        path = next(p for p in tmp_path.glob("*.jsonl") if "a" in p.read_text() and "b" not in p.read_text())
        with open(path, "ab") as file:
            file.write(b'{"key": "c"')
            file.flush()
            assert list(follower.new()) == []
            file.write(b"}\n")
        assert [r["key"] for r in follower.new()] == ["c"]
    assert follower.keys == {"a", "b", "c"}
