"""What is said about a solve: why it stopped, what its decision is worth, and what was proven."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hisopt.decision import Decision


class Termination(StrEnum):
    """Why a solver stopped.

    OPTIMAL is claimed only for a global optimum of this very problem, proven within a `relative_gap` of 1e-6. COMPLETED
    is a heuristic or a relaxation that ran to its end.
    """

    OPTIMAL = "optimal"
    COMPLETED = "completed"
    INFEASIBLE = "infeasible"
    TIME_LIMIT = "time_limit"
    ITERATION_LIMIT = "iteration_limit"
    MEMORY_LIMIT = "memory_limit"
    NUMERICAL_ERROR = "numerical_error"
    CRASHED = "crashed"
    UNAVAILABLE = "unavailable"


class SolutionStatus(StrEnum):
    """What `hisopt.evaluate` found about a decision."""

    NONE = "none"
    FEASIBLE = "feasible"
    INFEASIBLE = "infeasible"


class Guarantee(StrEnum):
    """What a solver promises when it runs to its end."""

    EXACT = "exact"
    BOUND = "bound"
    HEURISTIC = "heuristic"
    LEARNED = "learned"


@dataclass(frozen=True)
class Limits:
    """Limits of one solve: wall-clock seconds, resident memory in GB (1e9 bytes), threads; and its seed."""

    time_s: float = 60.0
    memory_gb: float = 8.0
    threads: int = 1
    seed: int = 0


@dataclass(frozen=True)
class SolverResult:
    """What a solver says of itself. Its objective is not asked for: `hisopt.evaluate` computes it.

    Attributes
    ----------
    termination
        Why it stopped.
    decision
        The best decision found, if any.
    bound
        A proven bound on the optimum: from above where the problem maximises, from below where it minimises.
    message
        The solver's own words.
    details
        Numbers worth keeping (nodes, iterations, multipliers), JSON values only.
    """

    termination: Termination
    decision: Decision | None = None
    bound: float | None = None
    message: str = ""
    details: dict[str, Any] = field(default_factory=dict)


PROVEN = 1e-6  # the gap within which a bound proves an optimum; what MIP and conic solvers reach
_CANCELLED = 1e-3  # of the size of the parts; a value below has lost digits that no solver's tolerance gives back


def relative_gap(objective: float, bound: float, scale: float = 0.0) -> float:
    """Return |p - d| / max(|p|, |d|, s / 1000), and 0 where p = d.

    ``scale`` is s, the size of the parts that the objective is a difference of (`hisopt.Evaluation`). A value that
    nearly cancels, to less than a thousandth of its parts, is measured by them: `PROVEN` then stands for 1e-9 of the
    parts, as much as the tolerance on the budget of SMs is worth. Nothing here is absolute, so that stating a problem
    in other units changes no gap.
    """
    difference = abs(objective - bound)
    return difference / max(abs(objective), abs(bound), _CANCELLED * scale) if difference else 0.0
