"""What is believed of a solve: its decision evaluated, its claims held against each other and against other solvers'."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from hisopt.problems import Evaluation, Problem
from hisopt.result import PROVEN, Limits, SolutionStatus, SolverResult, Termination, relative_gap
from hisopt.solvers.run.answers import nonsense

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hisopt.decision import Decision
    from hisopt.solvers.base import Solver
    from hisopt.solvers.run.progress import Point


@dataclass(frozen=True)
class Run:
    """One solve, checked: what the solver said, what the evaluation found, what it took.

    ``objective`` and ``scale`` are the evaluation's, ``gap`` is `hisopt.result.relative_gap`, ``seconds`` the time
    inside the solver, ``peak_memory`` the largest resident set in bytes, ``refuted`` the claims found wrong,
    ``trajectory`` what the solver reported while it ran (evaluated in the solver's own process). ``lost`` says that the
    runner failed, not the solver: such a run is no result.
    """

    problem: Problem
    solver: Solver[Any]
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
    trajectory: tuple[Point, ...] = ()
    lost: bool = False
    scale: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return the run as JSON values."""
        return {
            **self.problem.record(),
            "solver": self.solver.label,
            "guarantee": self.solver.guarantee.value,
            "termination": self.termination.value,
            "solution_status": self.solution_status.value,
            "objective": self.objective,
            "scale": self.scale,
            "bound": self.bound,
            "gap": self.gap,
            "seconds": self.seconds,
            "peak_memory": self.peak_memory,
            "decision": self.decision.to_dict() if self.decision else None,
            "parts": self.parts,
            "violations": list(self.violations),
            "message": self.message,
            "details": self.details,
            "options": self.solver.options,
            "limits": vars(self.limits),
            "versions": versions(self.solver),
            "refuted": list(self.refuted),
            "trajectory": [[point.seconds, point.objective, point.bound] for point in self.trajectory],
        }


def versions(solver: Solver[Any]) -> dict[str, str]:
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


@dataclass(frozen=True)
class Outcome:
    """What came back from a child: the solver's result, or the reason why there is none; ``refused`` of its decision."""

    result: SolverResult
    seconds: float | None = None
    peak_memory: int | None = None
    refused: tuple[str, ...] = ()
    trajectory: tuple[Point, ...] = ()
    lost: bool = False


def check(problem: Problem, solver: Solver[Any], limits: Limits, outcome: Outcome) -> Run:
    """Evaluate a result and refute what it claims wrongly of itself."""
    result, refuted = outcome.result, []
    objective, parts, scale = None, {}, 0.0
    violations: tuple[str, ...] = ()
    status = SolutionStatus.NONE
    if result.decision is not None:
        try:
            evaluation = problem.evaluate(result.decision)
        except Exception as error:  # a decision that is no decision; the solver's fault, not ours
            result = nonsense(f"its decision cannot be evaluated: {type(error).__name__}: {error}")
        else:
            if outcome.refused:  # what is left of it is not what the solver decided
                evaluation = Evaluation(None, violations=outcome.refused)
            objective, parts, violations = evaluation.objective, evaluation.parts, evaluation.violations
            scale = evaluation.scale
            status = SolutionStatus.FEASIBLE if evaluation.feasible else SolutionStatus.INFEASIBLE
    feasible = status is SolutionStatus.FEASIBLE
    gap = None
    if result.bound is not None and objective is not None and feasible:
        gap = relative_gap(objective, result.bound, scale)
        if beats(problem, objective, result.bound, scale):
            refuted.append(f"its own objective {objective:.9g} beats its bound {result.bound:.9g}")
    if result.termination is Termination.OPTIMAL:
        if not feasible:
            refuted.append("claims an optimum without a feasible decision")
        elif gap is None or gap > PROVEN:
            refuted.append("claims an optimum that its bound does not prove")
    if result.termination is Termination.INFEASIBLE and feasible:
        refuted.append("claims infeasible and has a feasible decision")
    return Run(
        problem, solver, result.termination, status, objective, result.bound, gap, outcome.seconds,
        outcome.peak_memory, result.decision, parts, violations, result.message, result.details, limits,
        tuple(refuted), outcome.trajectory, outcome.lost, scale,
    )  # fmt: skip


def beats(problem: Problem, objective: float, bound: float, scale: float) -> bool:
    """Whether an objective of a scale (`hisopt.Evaluation`) lies beyond a bound by more than the gap of a proof."""
    excess = objective - bound if problem.maximise else bound - objective
    return excess > 0 and relative_gap(objective, bound, scale) > PROVEN


def contradictions(runs: Iterable[Run]) -> list[str]:
    """Return one line for each claim that the runs of one problem refute."""
    runs = list(runs)
    lines = [f"{run.problem.label}: {run.solver.label}: {reason}" for run in runs for reason in run.refuted]
    for claim in runs:
        infeasible = claim.termination is Termination.INFEASIBLE
        if claim.bound is None and not infeasible:
            continue
        for other in runs:
            if other is claim or other.solution_status is not SolutionStatus.FEASIBLE or other.objective is None:
                continue
            if infeasible:
                lines.append(
                    f"{claim.problem.label}: {claim.solver.label} claims infeasible, {other.solver.label} has a solution"
                )
            elif claim.bound is not None and beats(claim.problem, other.objective, claim.bound, other.scale):
                lines.append(
                    f"{claim.problem.label}: {other.solver.label} has {other.objective:.9g}, "
                    f"beyond the bound {claim.bound:.9g} claimed by {claim.solver.label}"
                )
    return lines
