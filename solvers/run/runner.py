"""Run solvers, each in a process of its own, and check what they claim."""

from __future__ import annotations

from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import suppress
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Self

from hisopt.result import Limits, Termination
from hisopt.solvers.run.checks import Outcome, Run, beats, check, contradictions, versions
from hisopt.solvers.run.server import Server

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from hisopt.problems import Problem
    from hisopt.solvers.base import Solver

__all__ = ["Outcome", "Run", "Runner", "beats", "check", "contradictions", "versions"]


class Runner:
    """Solves problems in child processes; use as a context manager. ``jobs`` solves run at a time.

    The clock of a solve begins when its solver's module and what it needs (`Solver.prepare`) are imported; ``start_s``
    seconds are allowed for that.
    """

    def __init__(self, limits: Limits | None = None, jobs: int = 1, start_s: float = 600.0) -> None:
        self.limits = limits or Limits()
        self._pool = ThreadPoolExecutor(jobs)
        self._futures: list[Future[Run]] = []
        self._free: SimpleQueue[tuple[Server, Server]] = SimpleQueue()
        # one for solvers of NumPy alone, one for others: a small process forks in a fraction of the time
        self._servers: list[Server] = []
        for _ in range(jobs):
            pair = (Server(self.limits.threads, start_s), Server(self.limits.threads, start_s))
            self._servers += pair
            self._free.put(pair)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
        for server in self._servers:
            server.stop()
        self._pool.shutdown(wait=True)

    def run(self, problem: Problem, solver: Solver[Any] | type[Solver[Any]], limits: Limits | None = None) -> Run:
        """Solve one problem, within the runner's limits or others, and check the outcome against itself.

        A class stands for its default options.
        """
        solver = solver() if isinstance(solver, type) else solver
        limits = limits or self.limits
        reason = solver.unavailable()
        if reason is not None:
            return Run(problem, solver, Termination.UNAVAILABLE, message=reason, limits=limits)
        pair = self._free.get()
        try:
            outcome = pair[0 if solver.numpy_only else 1].solve(problem, solver, limits)
        finally:
            self._free.put(pair)
        return check(problem, solver, limits, outcome)

    def run_all(self, tasks: Iterable[tuple[Problem, Solver[Any] | type[Solver[Any]]]]) -> Iterator[Run]:
        """Solve many, ``jobs`` at a time; results come in the order of the tasks."""
        self._futures = [self._pool.submit(self.run, *task) for task in tasks]
        for future in self._futures:
            yield future.result()

    def finished(self) -> list[Run]:
        """Return, in the order of the tasks, every run of the last `run_all` that has ended, fetched or not."""
        runs = []
        for future in self._futures:
            with suppress(CancelledError, Exception):
                if future.done():
                    runs.append(future.result())
        return [run for run in runs if not run.lost]
