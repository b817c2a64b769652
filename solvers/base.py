"""What a solver is."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import ClassVar

from hisopt.problem import Problem
from hisopt.result import Guarantee, Limits, SolverResult

Serves = Callable[[Problem], bool]


@dataclass(frozen=True)
class Solver:
    """Base of every solver: a frozen dataclass whose fields are its options, with class data that says what it can do.

    A subclass sets ``name``, ``kinds`` and ``guarantee``, and implements `solve`; it overrides `serves` where it takes
    only some problems of its kinds, and sets ``requires`` to the modules that must be importable.
    """

    name: ClassVar[str]
    kinds: ClassVar[tuple[str, ...]]
    guarantee: ClassVar[Guarantee]
    requires: ClassVar[tuple[str, ...]] = ()
    packages: ClassVar[tuple[str, ...]] = ()  # distributions whose versions a record keeps

    @classmethod
    def serves(cls, problem: Problem) -> bool:
        """Whether this solver takes the problem: one of its kinds, real SMs, no limits on cluster sizes."""
        return problem.kind in cls.kinds and not problem.integer_sms and not sized(problem)

    @classmethod
    def unavailable(cls) -> str | None:
        """Return why this solver cannot run here, or None if it can."""
        missing = [module for module in cls.requires if find_spec(module) is None]
        return f"needs {', '.join(missing)}" if missing else None

    def prepare(self) -> None:
        """Import what a solve needs and the table does not; outside the time that is reported."""

    def solve(self, problem: Problem, limits: Limits) -> SolverResult:
        """Solve a problem within limits; the runner enforces them from outside, too."""
        raise NotImplementedError


def sized(problem: Problem) -> bool:
    """Whether the instance limits the sizes of the clusters to be chosen."""
    instance = problem.instance
    return problem.kind in ("clustering", "full") and (
        instance.cluster_size_min > 1
        or (instance.cluster_size_max is not None and instance.cluster_size_max < instance.users)
    )


class OutOfTime(Exception):
    """The time limit passed before a solver had anything to choose from."""


class Deadline:
    """Seconds left of a time limit, counted from construction."""

    def __init__(self, limits: Limits) -> None:
        self._end = time.perf_counter() + limits.time_s

    @property
    def left(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self._end - time.perf_counter())

    @property
    def passed(self) -> bool:
        """Whether no time is left."""
        return self.left == 0.0

    def check(self) -> None:
        """Raise `OutOfTime` if no time is left."""
        if self.passed:
            raise OutOfTime
