"""The runner's end of a server of solver processes: it starts one, asks it, reads the answers and cleans up after it."""

from __future__ import annotations

import json
import os
import pickle
import secrets
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hisopt.errors import InputError
from hisopt.result import Limits, SolverResult, Termination
from hisopt.solvers.run import answers
from hisopt.solvers.run.checks import Outcome
from hisopt.solvers.run.guard import PREFIX
from hisopt.solvers.run.place import place_of
from hisopt.solvers.run.processes import kill_marked
from hisopt.solvers.run.progress import read_trajectory
from hisopt.solvers.run.worker import GRACE_S

if TYPE_CHECKING:
    from hisopt.problems import Problem
    from hisopt.solvers.base import Solver

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_MARK = "HISOPT_SERVER"  # in the environment of a server and all that descend from it
_PATIENCE_S = 60.0  # beyond all limits, before a server that says nothing counts as broken
_READY_S = 600.0  # for the libraries' imports, from a slow disk
_STOP_S = 5.0


class Server:
    """A process that forks a child for each solve; started on first use, and again if it breaks.

    It imports each library once, when the first solver needs it, so that a child starts in milliseconds, and enforces the
    limits. Its guard, the process started here, ends with this one and with the server, however they end, and takes all
    their children and the folder of results with it.
    """

    def __init__(self, threads: int, start_s: float) -> None:
        self._threads, self._start_s = threads, start_s
        self._lock = threading.Lock()
        self._stopped = False
        self._process: subprocess.Popen[bytes] | None = None
        self._mark, self._folder, self._solves = "", Path(), 0
        self._pending = b""

    def solve(self, problem: Problem, solver: Solver[Any], limits: Limits) -> Outcome:
        """Solve a problem in a child; where the server breaks, once more with another."""
        why = ""
        for _ in range(2):
            try:
                return self._solve(problem, solver, limits)
            except InputError as error:  # the solver's class cannot be sent
                return _failed(Termination.CRASHED, str(error))
            except (OSError, EOFError, ValueError) as error:  # ValueError: a pipe closed by `stop`
                why = f"{error}"
                with self._lock:
                    self._clean_up()
                    if self._stopped:
                        break
        return replace(_failed(Termination.CRASHED, f"the solver's process broke off: {why}"), lost=True)

    def _solve(self, problem: Problem, solver: Solver[Any], limits: Limits) -> Outcome:
        process = self._start()
        self._solves += 1
        folder = self._folder / f"solve-{self._solves}"
        request = pickle.dumps((problem, (place_of(type(solver)), vars(solver)), limits, self._start_s, str(folder)))
        if process.stdin is None:
            raise EOFError("the runner was closed")
        process.stdin.write(len(request).to_bytes(8, "little"))
        process.stdin.write(request)
        process.stdin.flush()
        try:
            end = self._receive(self._start_s + limits.time_s + GRACE_S + _PATIENCE_S)
            return self._outcome(problem, limits, folder, end)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _outcome(self, problem: Problem, limits: Limits, folder: Path, end: dict[str, Any]) -> Outcome:
        """Return a child's result; where it gave none, why, with what it had reported until then."""
        killed, peak, status, seconds = end["killed"], end["peak"], end["status"], end["seconds"]
        trajectory = read_trajectory(folder / "trajectory")
        if killed == "memory":
            result = SolverResult(
                Termination.MEMORY_LIMIT,
                message=f"killed at {peak / 1e9:.2f} GB of memory, the limit is {limits.memory_gb:g} GB",
            )
        elif killed == "time":
            limit = f"killed after {limits.time_s:g} s and {GRACE_S:g} s of grace"
            result = SolverResult(Termination.TIME_LIMIT, message=f"{limit}: it did not stop by itself")
        elif killed == "start":
            result = SolverResult(Termination.CRASHED, message=f"its imports took more than {self._start_s:g} s")
        else:
            try:
                answer = answers.read(folder / "answer", problem)
            except FileNotFoundError:
                if os.WIFSIGNALED(status):
                    why = f"killed by {signal.Signals(os.WTERMSIG(status)).name}"
                else:
                    why = f"exited with code {os.waitstatus_to_exitcode(status)} and no result"
                result = SolverResult(Termination.CRASHED, message=why)
            except (OSError, ValueError, TypeError, KeyError) as error:
                result = answers.nonsense(f"its result cannot be read: {type(error).__name__}: {error}")
            else:
                result = answer.result
                told = answer.seconds
                seconds = seconds if told is None or seconds is None else min(told, seconds)
                if result.decision is not None or answer.refused:
                    return Outcome(_bounded(result, problem, folder), seconds, peak, answer.refused, trajectory)
        return _with_incumbent(Outcome(result, seconds, peak, (), trajectory), problem, folder)

    def _start(self) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._stopped:
                raise EOFError("the runner was closed")
            if self._process is not None and self._process.poll() is None:
                return self._process
            self._clean_up()
            self._mark = secrets.token_hex(8)
            self._folder, self._pending = Path(tempfile.gettempdir()) / f"{PREFIX}{self._mark}", b""
            environment = dict(os.environ) | {name: str(self._threads) for name in _THREAD_VARIABLES}
            environment |= {"HF_HUB_DISABLE_PROGRESS_BARS": "1", _MARK: self._mark}
            program = "from hisopt.solvers.run.worker import serve; serve()"
            process = self._process = subprocess.Popen(
                [sys.executable, "-c", program, str(self._folder), str(os.getpid())],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, start_new_session=True,
            )  # fmt: skip
        if self._receive(_READY_S) != {"ready": True}:
            raise EOFError("the server of solver processes did not start")
        return process

    def _receive(self, timeout: float) -> dict[str, Any]:
        """Return the next line of the server."""
        process, end = self._process, time.monotonic() + timeout
        if process is None or process.stdout is None:
            raise EOFError("the runner was closed")
        while b"\n" not in self._pending:
            if not select.select([process.stdout], [], [], max(0.0, end - time.monotonic()))[0]:
                raise EOFError(f"no answer for {timeout:g} s")
            piece = os.read(process.stdout.fileno(), 4096)
            if not piece or len(self._pending) > 1 << 16:
                raise EOFError("the server of solver processes died")
            self._pending += piece
        line, _, self._pending = self._pending.partition(b"\n")
        try:
            answer = json.loads(line)
        except ValueError:
            raise EOFError("the server of solver processes speaks nonsense") from None
        if not isinstance(answer, dict):
            raise EOFError("the server of solver processes speaks nonsense")
        return answer

    def stop(self) -> None:
        """End the server and all that descends from it; a solve that is under way breaks off."""
        with self._lock:
            self._stopped = True
            self._clean_up()

    def _clean_up(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with suppress(OSError):
            process.terminate()
        try:
            clean = process.wait(_STOP_S) == 0
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            clean = False
        if not clean:  # the guard was killed and could not see to its descendants
            kill_marked(self._mark)
        shutil.rmtree(self._folder, ignore_errors=True)
        for pipe in (process.stdin, process.stdout):
            with suppress(OSError):
                if pipe is not None:
                    pipe.close()


def _failed(termination: Termination, message: str) -> Outcome:
    return Outcome(SolverResult(termination, message=message))


def _reported(problem: Problem, folder: Path) -> SolverResult | None:
    try:
        answer = answers.read(folder / "incumbent", problem)
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return None if answer.refused else answer.result


def _bounded(result: SolverResult, problem: Problem, folder: Path) -> SolverResult:
    """Return a result with the bound that was reported, where it has none; not where the solver's numbers have failed."""
    lacking = result.bound is None and result.termination is not Termination.NUMERICAL_ERROR
    reported = _reported(problem, folder) if lacking else None
    return result if reported is None else replace(result, bound=reported.bound)


def _with_incumbent(outcome: Outcome, problem: Problem, folder: Path) -> Outcome:
    """Return an outcome without a decision with the last that was reported, and its bound where it has none."""
    reported, result = _reported(problem, folder), outcome.result
    if reported is None:
        return outcome
    bound = reported.bound if result.bound is None else result.bound
    message = result.message
    if reported.decision is not None:
        message = f"{message}; what it had reported is kept" if message else "what it had reported is kept"
    return replace(outcome, result=replace(result, decision=reported.decision, bound=bound, message=message))
