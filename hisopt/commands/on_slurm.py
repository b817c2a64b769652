"""A campaign as job arrays of Slurm, by submitit; records come through the campaign's folder, which the nodes share."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import time
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from hisopt.campaign.records import Follower, Segment, read
from hisopt.commands import remote
from hisopt.commands.engine import Engine, not_kept
from hisopt.errors import InputError
from hisopt.files import write_atomically
from hisopt.result import Limits
from hisopt.solvers.run.runner import Runner

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hisopt.campaign.plan import Plan
    from hisopt.commands.engine import Named
    from hisopt.commands.remote import Request

_JOBS = ".jobs"  # in the folder of records: what submitit keeps, and the keys that each job was given
_CHUNK_S = 1800.0  # a job is given solves that take at most so long, and one at least
_CHUNK, _OUTSTANDING = 500, 64  # solves of a job, jobs at a time
_START_S, _GRACE_S = 60.0, 5.0  # a job's own, and a solve's beyond its limit
_TRIES = 3
_POLL_S = {"slurm": 5.0, "local": 0.1}
_SILENT_S = 600.0  # that a scheduler may leave questions unanswered, as one does that is restarted


@dataclass(frozen=True)
class _Job:
    job: Any
    requests: tuple[Request, ...]
    tried: int


class Slurm(Engine):
    """Jobs of Slurm, each with some solves one after another; ``slurm-local`` runs the same jobs on this machine.

    A job appends to a segment of records of its own, so that a record outlives both the job and whoever asked. Jobs that an
    earlier call left running are waited for first; what a job that was killed had not solved is given to another.
    """

    keeps = True

    def __init__(self, on: str, plan: Plan, folder: Path) -> None:
        name, _, options = on.partition(":")
        self._cluster = "local" if name == "slurm-local" else "slurm"
        try:
            import submitit
        except ModuleNotFoundError as error:
            raise InputError(
                f"--on {name}: needs {error.name}: install the extra 'cluster' (pip install 'hisopt[cluster]')"
            ) from None
        if self._cluster == "slurm" and shutil.which("sbatch") is None:
            raise InputError("--on slurm: this machine has no sbatch; call it from a login node")
        longest = max(plan.time_limits) + _GRACE_S
        self._size = max(1, min(_CHUNK, int(_CHUNK_S / longest)))
        self._plan, self._folder = plan, folder.resolve()
        self._executor = submitit.AutoExecutor(self._folder / _JOBS, cluster=self._cluster)
        chosen = _options(on, options)
        minutes = 1 + int((_START_S + self._size * longest) / 60)
        try:
            self._executor.update_parameters(
                name="hisopt", timeout_min=minutes, cpus_per_task=plan.threads, mem_gb=int(plan.memory_limit) + 2,
                **{f"slurm_{key}": value for key, value in chosen.items()},
            )  # fmt: skip
        except (NameError, ValueError, TypeError) as error:
            raise InputError(f"--on: {on!r}: {' '.join(str(error).split())[:200]}") from None
        self._shared = "exclusive" not in chosen
        self._running: list[_Job] = []
        self._answered = time.monotonic()
        where = "this machine, as jobs" if self._cluster == "local" else "Slurm"
        self.about = f"jobs of up to {self._size} solves on {where}" + (
            ", so that times are those of shared machines" if self._shared else ""
        )

    @override
    def run(self, tasks: Iterator[Named]) -> Iterator[dict[str, Any]]:
        follower = Follower(self._folder)
        yield from self._earlier(follower)
        known = follower.keys
        ahead = (remote.Request.of(key, task) for key, task in tasks if key not in known)
        while True:
            while len(self._running) < _OUTSTANDING and (chunk := tuple(islice(ahead, self._size))):
                self._submit(chunk, 1)
            if not self._running:
                return
            ended = self._ended()
            yield from follower.new()  # after looking who ended: what they wrote is there
            for job in ended:
                left = tuple(request for request in job.requests if request.key not in follower.keys)
                if left and job.tried < _TRIES:
                    self._submit(left, job.tried + 1)
                for request in left if job.tried >= _TRIES else ():
                    not_kept(request.task, f"its job {job.job.job_id} ended without it: {_last_line(job.job)}")

    @override
    def close(self) -> None:
        for job in self._running:
            with contextlib.suppress(Exception):  # a scheduler that does not answer ends them at their time limit
                job.job.cancel()
        for job in self._running if self._cluster == "local" else ():
            with contextlib.suppress(Exception):
                job.job._process.wait(10)

    def _submit(self, requests: tuple[Request, ...], tried: int) -> None:
        limits = Limits(memory_gb=self._plan.memory_limit, threads=self._plan.threads)
        try:
            job = self._executor.submit(_solve, str(self._folder), requests, limits, self._shared)
        except Exception as error:  # what sbatch said
            raise InputError(f"--on: the job was refused: {' '.join(str(error).split())[:300]}") from None
        self._running.append(_Job(job, requests, tried))
        keys = [request.key for request in requests]
        write_atomically(self._folder / _JOBS / f"{job.job_id}.keys", json.dumps(keys))

    def _ended(self) -> list[_Job]:
        """Return the jobs that have ended since; wait a moment where none has."""
        queued = self._queued()
        ended = [job for job in self._running if str(job.job.job_id) not in queued]
        if not ended:
            time.sleep(_POLL_S[self._cluster])
        for job in ended:
            self._running.remove(job)
            self._forget(str(job.job.job_id))
        return ended

    def _earlier(self, follower: Follower) -> Iterator[dict[str, Any]]:
        """Wait for the jobs of earlier calls, and yield what they have solved since."""
        follower.skip()
        while left := list((self._folder / _JOBS).glob("*.keys")):
            queued = self._queued(tuple(path.stem for path in left))
            for path in left:
                if path.stem not in queued:
                    self._forget(path.stem)
            yield from follower.new()
            if any(path.exists() for path in left):
                time.sleep(_POLL_S[self._cluster])

    def _queued(self, earlier: tuple[str, ...] = ()) -> set[str]:
        """Return which of the running and of some earlier jobs wait or run; all of them while the scheduler is silent.

        Slurm is asked for its queue. submitit asks its accounting, which not every cluster keeps: there a job that was
        cancelled would count as running for ever.
        """
        if self._cluster == "local":
            alive = {str(job.job.job_id) for job in self._running if not job.job.done()}
            return alive | set(filter(_lives, earlier))
        asked = {*(str(job.job.job_id) for job in self._running), *earlier}
        command = ["squeue", "--noheader", "--format=%A", f"--user={os.getuid()}"]
        try:
            answer = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
        except (OSError, subprocess.SubprocessError) as error:
            if time.monotonic() - self._answered > _SILENT_S:
                said = (getattr(error, "stderr", None) or str(error)).strip().splitlines() or ["no answer"]
                raise InputError(f"--on slurm: squeue fails: {said[-1][:200]}") from None
            return asked
        self._answered = time.monotonic()
        return asked & set(answer.split())

    def _forget(self, job_id: str) -> None:
        (self._folder / _JOBS / f"{job_id}.keys").unlink(missing_ok=True)


def _lives(job_id: str) -> bool:
    """Say whether a process runs one of submitit's local jobs."""
    import psutil

    try:
        process = psutil.Process(int(job_id))
        return process.status() != psutil.STATUS_ZOMBIE and "submitit.local._local" in process.cmdline()
    except (psutil.Error, ValueError):
        return False


def _options(on: str, text: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for part in filter(None, text.split(",")):
        name, equals, value = part.partition("=")
        if not re.fullmatch(r"[a-z_]+", name) or (equals and not value):
            raise InputError(f"--on: {on!r}: {part!r}, must be NAME=VALUE as of sbatch, or NAME alone")
        found[name] = int(value) if value.isdigit() else value if equals else True
    return found


def _last_line(job: Any) -> str:
    """The last line of what a job said on standard error."""
    try:
        lines = [line for line in (job.stderr() or "").splitlines() if line.strip()]
    except Exception:
        lines = []
    return lines[-1][:300] if lines else "it was killed"


def _solve(folder: str, requests: tuple[Request, ...], limits: Limits, shared: bool) -> None:
    """Solve requests one after another, in a job; what an earlier start of the same job solved is passed over."""
    done = {record["key"] for record in read([Path(folder)])}
    with Segment(Path(folder), alone=False) as segment, Runner(limits, 1) as runner:
        for request in requests:
            if request.key not in done:
                with contextlib.suppress(remote.Lost):
                    segment.append(remote.solve(request, runner, shared=shared, engine="slurm"))
