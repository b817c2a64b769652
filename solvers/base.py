"""What a solver is."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import MISSING, dataclass, fields
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from hisopt.problems import Clustering, Full, Problem, SumOfSquares, sizes_of
from hisopt.solvers.run.progress import heard

if TYPE_CHECKING:
    from hisopt.result import Guarantee, Limits, SolverResult

P = TypeVar("P", bound=Problem)
PARTS = {  # what is imported of a package whose parts come late, and of each by its name
    "scipy": ("scipy.linalg", "scipy.optimize", "scipy.sparse.linalg", "scipy.cluster.hierarchy"),
    "pyomo": ("pyomo.environ",),
    "highspy": ("highspy",),
    "pyscipopt": ("pyscipopt",),
    "cvxpy": ("cvxpy",),
    "scikit-learn": ("sklearn.cluster",),
}


@dataclass(frozen=True)
class Solver(Generic[P]):
    """Base of every solver: a frozen dataclass whose fields are its options, with class data that says what it can do.

    A subclass sets ``name``, ``problems`` (types of problems) and ``guarantee``, and implements `solve`; it overrides
    `serves` where it takes only some problems of its types, and sets ``requires`` to the modules that must be importable.
    """

    name: ClassVar[str]
    problems: ClassVar[tuple[type[Problem], ...]]
    guarantee: ClassVar[Guarantee]
    requires: ClassVar[tuple[str, ...]] = ()
    packages: ClassVar[tuple[str, ...]] = ()  # distributions that it uses: imported before the clock, versions recorded
    up_to: ClassVar[int | None] = None  # users or points beyond which it does not even begin, for want of memory
    numpy_only: ClassVar[bool] = False  # whether it imports no other library: its solves begin in a third of the time

    def __init_subclass__(cls, **named: Any) -> None:
        super().__init_subclass__(**named)
        if "solve" in vars(cls):
            type.__setattr__(cls, "solve", heard(vars(cls)["solve"]))

    @property
    def options(self) -> dict[str, Any]:
        """The options that differ from their defaults."""
        return {
            f.name: getattr(self, f.name)
            for f in fields(self)
            if f.init and (f.default is MISSING or getattr(self, f.name) != f.default)
        }

    @property
    def label(self) -> str:
        """The name, with the options that differ from their defaults: ``kmeans:restarts=50``."""
        options = ",".join(f"{name}={value}" for name, value in self.options.items())
        return f"{self.name}:{options}" if options else self.name

    def serves(self, problem: Problem) -> bool:
        """Whether this solver takes the problem: one of its types, real SMs, no limits on cluster sizes."""
        return isinstance(problem, self.problems) and not whole_sms(problem) and not sized(problem)

    def too_large(self, problem: Problem) -> str | None:
        """Return that a problem of its types has more users or points than it takes, or None."""
        if self.up_to is None or not isinstance(problem, self.problems) or problem.users <= self.up_to:
            return None
        return f"{self.name} takes N up to {self.up_to:,}, and N is {problem.users:,}"

    def unavailable(self) -> str | None:
        """Return why this solver cannot run here, or None if it can."""
        missing = [module for module in self.requires if find_spec(module) is None]
        return f"needs {', '.join(missing)}" if missing else None

    def prepare(self) -> None:
        """Import what a solve needs and the registry does not; outside the time that is reported.

        Unless overridden, the large libraries among ``packages``.
        """
        for package in self.packages:
            for module in PARTS.get(package, ()):
                with suppress(ImportError):  # then the solve says so
                    import_module(module)

    def solve(self, problem: P, limits: Limits) -> SolverResult:
        """Solve a problem within limits; the runner enforces them from outside, too."""
        raise NotImplementedError


def whole_sms(problem: Problem) -> bool:
    """Whether a problem has SMs that must be whole numbers."""
    return bool(getattr(problem, "whole_sms", False))


def sized(problem: Problem) -> bool:
    """Whether a problem limits the clusters that it chooses, their sizes or which points may share one."""
    if isinstance(problem, SumOfSquares):
        return not problem.plain
    if isinstance(problem, Clustering):
        return problem.sizes.binds(problem.users)
    return isinstance(problem, Full) and sizes_of(problem.instance).binds(problem.users)


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
