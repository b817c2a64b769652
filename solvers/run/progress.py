"""What a solver tells while it runs: its incumbents and bounds, kept even if it is killed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from time import perf_counter
from typing import TYPE_CHECKING, Any

from hisopt.decision import Decision
from hisopt.result import SolverResult, Termination
from hisopt.solvers.run.answers import bound_of, number, packed, parsed, read_limited, write_whole

if TYPE_CHECKING:
    from pathlib import Path

    from hisopt.problems import Problem

_TRAJECTORY_BYTES = 1 << 20
_SMALL, _PAUSE_S = 1e-4, 0.05  # a bound alone that is better by less, relative, waits for the pause to pass

Listener = Callable[[Decision | None, float | None], None]

_listeners: list[Listener] = []
_solving: list[object] = []  # the solver that was asked, and those that it uses within itself
PACE_S = 0.02  # between reports of solvers that could tell something new every few microseconds


class Pace:
    """Says when the next report is due, the first ``PACE_S`` after the solve began: quick solves are not slowed by telling."""

    def __init__(self) -> None:
        self._next = perf_counter() + PACE_S

    @property
    def due(self) -> bool:
        """Whether somebody listens and enough time has passed; if so, the next report is due after a pause."""
        if not _listeners or (now := perf_counter()) < self._next:
            return False
        self._next = now + PACE_S
        return True


def report(decision: Decision | None = None, bound: float | None = None) -> None:
    """Tell the best decision so far, or a bound proven so far, or both; for solvers, as often as either improves.

    Under the runner, the best decision and the tightest bound are written to disk at once: a solve that is killed keeps
    them, checked like any other result, and a run's ``trajectory`` shows when they came. What is no better than what was
    told before is passed over. Nobody listening, it does nothing and costs nothing. Of solvers that one uses within itself,
    on problems of its own, nothing is heard: their bounds say nothing of the problem that was asked.
    """
    if all(solver is _solving[0] for solver in _solving):
        for listener in _listeners:
            listener(decision, bound)


def heard(solve: Callable[..., SolverResult]) -> Callable[..., SolverResult]:
    """Return a solver's method ``solve`` that says whose reports come while it runs."""

    @wraps(solve)
    def solving(self: object, *arguments: Any, **named: Any) -> SolverResult:
        _solving.append(self)
        try:
            return solve(self, *arguments, **named)
        finally:
            _solving.pop()

    return solving


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Hand every report of this process to a function while the context lasts."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


@dataclass(frozen=True)
class Point:
    """When, in seconds of the solve, which best objective (None: no decision yet) and tightest bound were known."""

    seconds: float
    objective: float | None
    bound: float | None


def read_trajectory(path: Path) -> tuple[Point, ...]:
    """Read the points that a solve wrote; what is no point ends them."""
    points: list[Point] = []
    try:
        for line in read_limited(path, _TRAJECTORY_BYTES).splitlines(keepends=True):
            seconds, objective, bound = map(number, parsed(line))
            if seconds is None or not line.endswith(b"\n") or (points and seconds < points[-1].seconds):
                break
            points.append(Point(seconds, objective, bound))
    except (OSError, ValueError, TypeError):
        pass
    return tuple(points)


class Writer:
    """Writes what a solver reports into a folder: the best so far, and when it came."""

    def __init__(self, problem: Problem, folder: Path, clock: Callable[[], float]) -> None:
        self._problem, self._folder, self._clock = problem, folder, clock
        self._best: tuple[Decision, float] | None = None
        self._bound: float | None = None
        self._left = _TRAJECTORY_BYTES
        self._next = 0.0

    def __call__(self, decision: Decision | None, bound: float | None) -> None:
        """Keep a report if it improves on those before."""
        seconds, better = self._clock(), False
        up = 1 if self._problem.maximise else -1
        if decision is not None:
            found = self._problem.evaluate(decision)
            value = found.objective if found.feasible else None
            if value is not None and (self._best is None or up * (value - self._best[1]) > 0):
                self._best, better = (decision, value), True
        told = bound_of(self._problem, bound)
        if told is not None and (self._bound is None or up * (self._bound - told) > 0):
            large = self._bound is None or abs(self._bound - told) > _SMALL * abs(self._bound)
            self._bound = told
            better |= large or seconds >= self._next
        if not better:
            return
        decision = self._best[0] if self._best else None
        data = packed(self._problem, SolverResult(Termination.TIME_LIMIT, decision, self._bound), seconds)
        write_whole(self._folder / "incumbent", data)
        self._next = seconds + _PAUSE_S
        line = json.dumps([seconds, self._best[1] if self._best else None, self._bound]) + "\n"
        self._left -= len(line)
        if self._left >= 0:
            with open(self._folder / "trajectory", "a") as file:
                file.write(line)
