"""A solve on a machine of a cluster: what is sent there, and how it is solved there."""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hisopt.commands.campaign import Task, flat
from hisopt.solvers.run.identity import record_name
from hisopt.solvers.run.place import Place, found_at, place_of
from hisopt.solvers.run.runner import Runner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hisopt.problems import Problem
    from hisopt.result import Limits

IDLE_S = 60.0  # after which a worker that is asked nothing ends the processes that it keeps for solving


@dataclass(frozen=True)
class Request:
    """A task without the solver's class, which is found again where the task is solved."""

    key: str
    problem: Problem
    solver: tuple[Place, dict[str, Any]]
    limits: Limits
    place: dict[str, Any]

    @classmethod
    def of(cls, key: str, task: Task) -> Request:
        """Return the request for a task; raise `InputError` where its solver's class cannot be sent."""
        return cls(key, task.problem, (place_of(type(task.solver)), vars(task.solver)), task.limits, task.place)

    @property
    def task(self) -> Task:
        """The task again."""
        where, options = self.solver
        return Task(self.problem, found_at(where)(**options), self.limits, self.place)


class Lost(Exception):
    """A solve has no result, through no fault of its solver: it may be tried again."""


class Different(Exception):
    """This machine has other versions or other source than the one that asks, so that its record would be of another solve."""


def solve(request: Request, runner: Runner, *, shared: bool, engine: str) -> dict[str, Any]:
    """Solve a request by a runner of this process and return its record."""
    task = request.task
    if record_name(task.problem, task.solver, task.limits) != request.key:
        raise Different(
            f"{os.uname().nodename}: hisopt, its source or a solver's packages differ from those of the machine that asks"
        )
    run = runner.run(task.problem, task.solver, task.limits)
    if run.lost:
        raise Lost(run.message)
    return flat(task, request.key, run, shared=shared, engine=engine)


class Kept:
    """A runner that this process keeps between requests of one campaign, and ends when none came for a while.

    So that nothing stays behind where whoever asked is gone without a word.
    """

    def __init__(self, limits: Limits, jobs: int, idle_s: float = IDLE_S) -> None:
        self._make: Callable[[], Runner] = lambda: Runner(limits, jobs)
        self._idle_s = idle_s
        self._lock = threading.Lock()
        self._runner: Runner | None = None
        self._used = 0
        self._timer: threading.Timer | None = None

    @contextmanager
    def runner(self) -> Iterator[Runner]:
        """Hand out the runner."""
        with self._lock:
            self._used += 1
            if self._timer is not None:
                self._timer.cancel()
            runner = self._runner = self._runner or self._make()
        try:
            yield runner
        finally:
            with self._lock:
                self._used -= 1
                if not self._used:
                    self._timer = threading.Timer(self._idle_s, self.close, (True,))
                    self._timer.daemon = True
                    self._timer.start()

    def close(self, only_if_idle: bool = False) -> None:
        """End the runner, and what it solves."""
        with self._lock:
            if only_if_idle and self._used:
                return
            runner, self._runner = self._runner, None
            if self._timer is not None:
                self._timer.cancel()
        if runner is not None:
            runner.__exit__()


_kept: dict[str, Kept] = {}
_lock = threading.Lock()


def kept(campaign: str, limits: Limits, jobs: int) -> Kept:
    """Return this process's runner for a campaign."""
    with _lock:
        return _kept.setdefault(campaign, Kept(limits, jobs))


def forget(campaign: str) -> None:
    """End this process's runner for a campaign."""
    with _lock:
        found = _kept.pop(campaign, None)
    if found is not None:
        found.close()
