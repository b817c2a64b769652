"""Pyomo models handed to HiGHS, SCIP or another solver, and what they say brought into our terms."""

from __future__ import annotations

import math
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hisopt.result import Limits, Termination
from hisopt.solvers.base import Deadline, OutOfTime
from hisopt.solvers.run.progress import report

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hisopt.decision import Decision

OPTIONS: dict[str, dict[str, Any]] = {
    "highs": {
        "mip_feasibility_tolerance": 1e-9,
        "primal_feasibility_tolerance": 1e-9,
        "dual_feasibility_tolerance": 1e-9,
    },
    # SCIP's output goes through a pipe that a reader thread empties; with output on, that reader can block for ever
    "scip_direct": {
        "display/verblevel": 0,
        "numerics/feastol": 1e-8,
        "numerics/dualfeastol": 1e-9,
        # with these reductions, with Gomory cuts and with those of aggregated rows (complemented mixed-integer rounding,
        # flow covers), SCIP 10 cut off optima of the full problem
        "misc/allowstrongdualreds": False,
        "misc/allowweakdualreds": False,
        "separating/gomory/freq": -1,
        "separating/aggregation/freq": -1,
    },
}
# and by the model's name: SCIP 10 cut off optima of the full problem by presolving, too
_OF_MODEL: dict[tuple[str, str], dict[str, Any]] = {("scip_direct", "full"): {"presolving/maxrounds": 0}}
_RELATIVE_GAP = 1e-9


def options_of(name: str, model: Any) -> dict[str, Any]:
    """Return the solver's options for a Pyomo model."""
    return OPTIONS[name] | _OF_MODEL.get((name, model.name), {})


@dataclass(frozen=True)
class Answer:
    """Why the solver stopped, its dual bound, and whether the model's variables hold a solution."""

    termination: Termination
    bound: float | None
    solved: bool
    message: str


def optimise(
    name: str, model: Any, limits: Limits, deadline: Deadline, read: Callable[[], Decision] | None = None
) -> Answer:
    """Solve a Pyomo model within what is left of the time limit and load the best solution into it.

    The solver is given the objective in units of ``model.unit``, if it has one, against which its absolute tolerances
    are small. HiGHS and SCIP report their bounds as they come, and their incumbents where ``read`` makes a decision of
    the model's variables.
    """
    if name == "scip_direct":
        refuse_shifted_ranges(model)
    with in_units(model) as unit:
        return _optimised(name, model, unit, limits, deadline, read)


@contextmanager
def in_units(model: Any) -> Iterator[float]:
    """State the objective in units of ``model.unit``, if it has one; yields the unit, in which bounds come back."""
    stated, unit = model.value.expr, getattr(model, "unit", 1.0)
    model.value.set_value(stated / unit)
    try:
        yield unit
    finally:
        model.value.set_value(stated)


def _optimised(
    name: str, model: Any, unit: float, limits: Limits, deadline: Deadline, read: Callable[[], Decision] | None
) -> Answer:
    from pyomo.contrib.solver.common.results import TerminationCondition as Condition

    solver = _reporting(name, deadline, read, unit)
    options = options_of(name, model)
    if name == "scip_direct":
        options |= {"randomization/randomseedshift": limits.seed, "limits/memory": 900 * limits.memory_gb}
    else:
        options["random_seed"] = limits.seed
        late = Answer(Termination.TIME_LIMIT, None, False, f"{name}: the time passed while the model was stated")
        try:
            solver.set_instance(model)  # seconds for a large model, which HiGHS' own clock would leave out
        except OutOfTime:
            return late
        for update in solver.config.auto_updates:
            solver.config.auto_updates[update] = False
        if deadline.passed:
            return late
    try:
        results = solver.solve(
            model,
            time_limit=max(deadline.left, 0.1),
            threads=limits.threads,
            rel_gap=_RELATIVE_GAP,
            abs_gap=0.0,
            raise_exception_on_nonoptimal_result=False,
            load_solutions=False,
            solver_options=options,
        )
    except Exception as error:
        if not str(error).startswith("SCIP:"):  # how PySCIPOpt reports SCIP's own failures
            raise
        return Answer(Termination.NUMERICAL_ERROR, None, False, str(error))
    condition = results.termination_condition
    if name == "highs" and condition is Condition.unknown and _interrupted(solver):
        condition = Condition.interrupted  # which Pyomo 6.10.1 does not know of HiGHS
    termination = {
        Condition.convergenceCriteriaSatisfied: Termination.OPTIMAL,
        Condition.maxTimeLimit: Termination.TIME_LIMIT,
        Condition.interrupted: Termination.TIME_LIMIT,  # by our own callback
        Condition.iterationLimit: Termination.ITERATION_LIMIT,
        Condition.provenInfeasible: Termination.INFEASIBLE,
        Condition.infeasibleOrUnbounded: Termination.INFEASIBLE,
    }.get(condition, Termination.NUMERICAL_ERROR)
    solved = results.incumbent_objective is not None and math.isfinite(results.incumbent_objective)
    if solved:
        results.solution_loader.load_vars()
    bound = results.objective_bound
    if bound is None or not math.isfinite(bound) or abs(bound) >= 1e19:
        bound = None
    else:
        bound *= unit
    return Answer(termination, bound, solved, f"{results.solver_name}: {condition.name}")


def _reporting(name: str, deadline: Deadline, read: Callable[[], Decision] | None, unit: float) -> Any:
    """Return a solver of a name that reports what it finds."""

    def tell(new: bool, bound: float) -> None:
        decision = None
        if new and read is not None:
            with suppress(ValueError, IndexError):  # a solution that rounds to no decision
                decision = read()
        report(decision, bound * unit if abs(bound) < 1e19 else None)

    if name == "highs":
        from hisopt.solvers.highs_progress import ReportingHighs

        return ReportingHighs.of(tell, deadline)
    from hisopt.solvers.scip_progress import ReportingScip

    return ReportingScip.of(tell)


def _interrupted(solver: Any) -> bool:
    """Whether HiGHS ended because a callback of ours said so."""
    from highspy import HighsModelStatus

    return bool(solver._solver_model.getModelStatus() == HighsModelStatus.kInterrupt)


def refuse_shifted_ranges(model: Any) -> None:
    """Raise ValueError for a constraint ``low <= 1 + x <= high``: Pyomo 6.10.1 moves its constant into SCIP wrongly."""
    from pyomo.environ import Constraint
    from pyomo.repn import generate_standard_repn

    for constraint in model.component_data_objects(Constraint, active=True):
        ranged = constraint.has_lb() and constraint.has_ub() and not constraint.equality
        if ranged and generate_standard_repn(constraint.body, compute_values=True).constant:
            raise ValueError(
                f"{constraint.name}: a range with a constant in its body reaches SCIP shifted; move it out"
            )
