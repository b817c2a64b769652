"""Run solvers, each in a process of its own, and check what they claim.

A server process imports the libraries once and forks a child for every solve, so that a child starts in
milliseconds. The child leads a process group of its own, which is killed whole when it overruns its limits. POSIX only.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import pickle
import select
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from numbers import Real
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Self

import psutil

from hisopt.decision import Decision
from hisopt.evaluation import evaluate
from hisopt.problem import Problem
from hisopt.result import Limits, SolutionStatus, SolverResult, Termination, relative_gap
from hisopt.solvers.interface import Solver
from hisopt.solvers.place import place_of

CLAIM_TOLERANCE = 1e-6  # relative; what MIP and conic solvers reach
CLAIM_TOLERANCE_ABSOLUTE = 1e-8  # their feasibility tolerance, where the objective cancels to almost nothing
_GRACE_S = 3.0  # on top of the time limit, before a solve is killed
_POLL_S = 0.02
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class Run:
    """One solve, checked: what the solver said, what the evaluation found, what it took.

    ``objective`` is the evaluation's, ``seconds`` the time inside the solver, ``peak_memory`` the largest resident
    set in bytes, ``refuted`` the claims found wrong.
    """

    problem: Problem
    solver: type[Solver]
    termination: Termination
    solution_status: SolutionStatus = SolutionStatus.NONE
    objective: float | None = None
    bound: float | None = None
    gap: float | None = None
    seconds: float | None = None
    peak_memory: int | None = None
    decision: Decision | None = None
    parts: dict[str, float] = field(default_factory=dict)
    violations: tuple[str, ...] = ()
    message: str = ""
    details: dict[str, Any] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    refuted: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the run as JSON values."""
        return {
            "problem": self.problem.kind,
            "criterion": self.problem.criterion,
            "integer_sms": self.problem.integer_sms,
            "solver": self.solver.name,
            "guarantee": self.solver.guarantee.value,
            "termination": self.termination.value,
            "solution_status": self.solution_status.value,
            "objective": self.objective,
            "bound": self.bound,
            "gap": self.gap,
            "seconds": self.seconds,
            "peak_memory": self.peak_memory,
            "decision": self.decision.to_dict() if self.decision else None,
            "parts": self.parts,
            "violations": list(self.violations),
            "message": self.message,
            "details": self.details,
            "limits": vars(self.limits),
            "versions": versions(self.solver),
            "refuted": list(self.refuted),
        }


def versions(solver: type[Solver]) -> dict[str, str]:
    """Return the versions of hisopt, numpy and the packages that a solver names."""
    return {name: found for name in ("hisopt", "numpy", *solver.packages) if (found := _version(name))}


@cache
def _version(name: str) -> str | None:
    if name == "hisopt":
        import hisopt

        return hisopt.__version__
    try:
        return version(name)
    except PackageNotFoundError:
        return None


class Runner:
    """Solves problems in child processes; use as a context manager. ``jobs`` solves run at a time."""

    def __init__(self, limits: Limits | None = None, jobs: int = 1) -> None:
        self.limits = limits or Limits()
        self._pool = ThreadPoolExecutor(jobs)
        self._free: SimpleQueue[_Server] = SimpleQueue()
        self._servers = [_Server(self.limits.threads) for _ in range(jobs)]
        for server in self._servers:
            self._free.put(server)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
        for server in self._servers:
            server.close()

    def run(self, problem: Problem, solver: type[Solver]) -> Run:
        """Solve one problem and check the outcome against itself."""
        reason = solver.unavailable()
        if reason is not None:
            return Run(problem, solver, Termination.UNAVAILABLE, message=reason, limits=self.limits)
        server = self._free.get()
        try:
            outcome = server.solve(problem, solver, self.limits)
        finally:
            self._free.put(server)
        return check(problem, solver, self.limits, outcome)

    def run_all(self, tasks: Iterable[tuple[Problem, type[Solver]]]) -> Iterator[Run]:
        """Solve many, ``jobs`` at a time; results come in the order of the tasks."""
        futures = [self._pool.submit(self.run, *task) for task in tasks]
        for future in futures:
            yield future.result()


@dataclass(frozen=True)
class Outcome:
    """What came back from a child: the solver's result, or the reason why there is none."""

    result: SolverResult
    seconds: float | None = None
    peak_memory: int | None = None


def check(problem: Problem, solver: type[Solver], limits: Limits, outcome: Outcome) -> Run:
    """Evaluate a result and refute what it claims wrongly of itself."""
    result, refuted = _sound(outcome.result), []
    objective, parts = None, {}
    violations: tuple[str, ...] = ()
    status = SolutionStatus.NONE
    evaluation = None
    if result.decision is not None:
        try:
            evaluation = evaluate(problem, result.decision)
        except Exception as error:  # a decision that is no decision; the solver's fault, not ours
            result = _nonsense(f"its decision cannot be evaluated: {type(error).__name__}: {error}")
    if evaluation is not None:
        objective, parts, violations = evaluation.objective, evaluation.parts, evaluation.violations
        status = SolutionStatus.FEASIBLE if evaluation.feasible else SolutionStatus.INFEASIBLE
    feasible = status is SolutionStatus.FEASIBLE
    gap = None
    if result.bound is not None and objective is not None and feasible:
        gap = relative_gap(objective, result.bound)
        if beats(problem, objective, result.bound):
            refuted.append(f"its own objective {objective:.9g} beats its bound {result.bound:.9g}")
    if result.termination is Termination.OPTIMAL:
        if not feasible:
            refuted.append("claims an optimum without a feasible decision")
        elif gap is None or not _close(objective, result.bound):
            refuted.append("claims an optimum that its bound does not prove")
    return Run(
        problem, solver, result.termination, status, objective, result.bound, gap, outcome.seconds,
        outcome.peak_memory, result.decision, parts, violations, result.message, result.details, limits,
        tuple(refuted),
    )  # fmt: skip


def _sound(result: SolverResult) -> SolverResult:
    """Return a result whose parts are what they should be, or a crash that says which is not."""
    if not isinstance(result.termination, Termination):
        return _nonsense(f"its termination is {result.termination!r}, not a Termination")
    if result.decision is not None and not isinstance(result.decision, Decision):
        return _nonsense(f"its decision is a {type(result.decision).__name__}, not a Decision")
    bound = result.bound
    if bound is not None and (isinstance(bound, bool) or not isinstance(bound, Real) or math.isnan(bound)):
        return _nonsense(f"its bound is {bound!r}, not a number")
    try:
        json.dumps(result.details, allow_nan=False)
    except (TypeError, ValueError) as error:
        return _nonsense(f"its details are not JSON values: {error}")
    bound = None if bound is None or math.isinf(bound) else float(bound)
    return replace(result, bound=bound, message=" ".join(str(result.message).split())[:500])


def _nonsense(reason: str) -> SolverResult:
    return SolverResult(Termination.CRASHED, message=" ".join(reason.split())[:500])


def beats(problem: Problem, objective: float, bound: float) -> bool:
    """Whether an objective lies beyond a bound by more than the tolerance on claims."""
    excess = objective - bound if problem.maximise else bound - objective
    return excess > 0 and not _close(objective, bound)


def _close(objective: float | None, bound: float | None) -> bool:
    if objective is None or bound is None:
        return False
    tolerance = max(CLAIM_TOLERANCE * max(abs(bound), abs(objective)), CLAIM_TOLERANCE_ABSOLUTE)
    return abs(objective - bound) <= tolerance


def contradictions(runs: Iterable[Run]) -> list[str]:
    """Return one line for each claim that the runs of one problem refute."""
    runs = list(runs)
    lines = [f"{run.problem.label}: {run.solver.name}: {reason}" for run in runs for reason in run.refuted]
    for claim in runs:
        infeasible = claim.termination is Termination.INFEASIBLE
        if claim.bound is None and not infeasible:
            continue
        for other in runs:
            if other is claim or other.solution_status is not SolutionStatus.FEASIBLE or other.objective is None:
                continue
            if infeasible:
                lines.append(
                    f"{claim.problem.label}: {claim.solver.name} claims infeasible, {other.solver.name} has a solution"
                )
            elif claim.bound is not None and beats(claim.problem, other.objective, claim.bound):
                lines.append(
                    f"{claim.problem.label}: {other.solver.name} has {other.objective:.9g}, "
                    f"beyond the bound {claim.bound:.9g} claimed by {claim.solver.name}"
                )
    return lines


class _Server:
    """A process that forks a child for each solve; started on first use, and again if it dies."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._process: subprocess.Popen[bytes] | None = None

    def solve(self, problem: Problem, solver: type[Solver], limits: Limits) -> Outcome:
        with tempfile.TemporaryDirectory(prefix="hisopt-") as folder:
            response = Path(folder) / "response"
            request = pickle.dumps((problem, place_of(solver), limits, str(response)))
            try:
                return self._supervise(request, limits, response)
            except (OSError, EOFError) as error:
                self.close()
                return _failed(Termination.CRASHED, f"the solver's process broke off: {error}")

    def _supervise(self, request: bytes, limits: Limits, response: Path) -> Outcome:
        process = self._start()
        assert process.stdin is not None
        process.stdin.write(struct.pack("<Q", len(request)) + request)
        process.stdin.flush()
        pid = self._read(16)
        if pid is None:
            raise EOFError("no answer")
        started = time.monotonic()
        peak, killed = 0, None
        exit_status = None
        while exit_status is None:
            exit_status = self._read(_POLL_S)
            if exit_status is not None:
                break
            peak = max(peak, _tree_memory(pid))
            if killed is None and peak > limits.memory_gb * 1e9:
                killed = Termination.MEMORY_LIMIT
            if killed is None and time.monotonic() - started > limits.time_s + _GRACE_S:
                killed = Termination.TIME_LIMIT
            if killed is not None:
                _kill_tree(pid)
        _kill_tree(pid)  # whatever it left behind
        if killed is Termination.MEMORY_LIMIT:
            return _failed(killed, f"killed at {peak / 1e9:.2f} GB of memory", peak_memory=peak)
        if killed is not None:
            return _failed(killed, f"killed after {limits.time_s:g} s: it did not stop by itself")
        try:
            seconds, peak_memory, result = pickle.loads(response.read_bytes())  # written by our own child
        except FileNotFoundError:
            if os.WIFSIGNALED(exit_status):
                why = f"killed by {signal.Signals(os.WTERMSIG(exit_status)).name}"
            else:
                why = f"exited with code {os.waitstatus_to_exitcode(exit_status)} and no result"
            return _failed(Termination.CRASHED, why)
        except Exception as error:
            return _failed(Termination.CRASHED, f"its result cannot be read: {type(error).__name__}: {error}")
        return Outcome(result, seconds, max(peak, peak_memory))

    def _start(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            environment = dict(os.environ) | {name: str(self._threads) for name in _THREAD_VARIABLES}
            environment["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
            self._process = subprocess.Popen(
                [sys.executable, "-c", "from hisopt.solvers.worker import serve; serve()"],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, start_new_session=True,
            )  # fmt: skip
        return self._process

    def _read(self, timeout: float) -> int | None:
        """Return the next number the server sends, or None after the timeout. Numbers come whole: 8 bytes."""
        process = self._process
        assert process is not None and process.stdout is not None
        ready, _, _ = select.select([process.stdout], [], [], timeout)
        if not ready:
            return None
        data = os.read(process.stdout.fileno(), 8)
        if len(data) < 8:
            raise EOFError("the server of solver processes died")
        return int(struct.unpack("<q", data)[0])

    def close(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        _kill_tree(process.pid)
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        process.wait()


def _failed(termination: Termination, message: str, peak_memory: int | None = None) -> Outcome:
    return Outcome(SolverResult(termination, message=message), None, peak_memory)


def _tree(pid: int) -> list[psutil.Process]:
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _tree_memory(pid: int) -> int:
    total = 0
    for process in _tree(pid):
        try:
            total += process.memory_info().rss
        except psutil.Error:
            continue
    return total


def _kill_tree(pid: int) -> None:
    for process in _tree(pid):
        try:
            process.kill()
        except psutil.Error:
            continue
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
