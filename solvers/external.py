"""Pyomo models handed to HiGHS and SCIP, and what they say brought into our terms."""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from hisopt.solvers.interface import Deadline

from hisopt.problem import Problem
from hisopt.result import Limits, SolverResult, Termination

_OPTIONS: dict[str, dict[str, Any]] = {
    "highs": {
        "mip_feasibility_tolerance": 1e-9,
        "primal_feasibility_tolerance": 1e-9,
        "dual_feasibility_tolerance": 1e-9,
    },
    # SCIP's output goes through a pipe that a reader thread empties; with output on, that reader can block for ever
    "scip_direct": {"display/verblevel": 0, "numerics/feastol": 1e-9},
}
_RELATIVE_GAP = 1e-9


@dataclass(frozen=True)
class Answer:
    """Why the solver stopped, its dual bound, and whether the model's variables hold a solution."""

    termination: Termination
    bound: float | None
    solved: bool
    message: str


def optimise(name: str, model: Any, limits: Limits, deadline: Deadline) -> Answer:
    """Solve a Pyomo model within what is left of the time limit and load the best solution into it."""
    from pyomo.contrib.solver.common.factory import SolverFactory
    from pyomo.contrib.solver.common.results import TerminationCondition as Condition

    solver = SolverFactory(name)
    options = dict(_OPTIONS[name])
    if name == "scip_direct":
        options |= {"randomization/randomseedshift": limits.seed, "limits/memory": 900 * limits.memory_gb}
    else:
        options["random_seed"] = limits.seed
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
    condition = results.termination_condition
    termination = {
        Condition.convergenceCriteriaSatisfied: Termination.OPTIMAL,
        Condition.maxTimeLimit: Termination.TIME_LIMIT,
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
    return Answer(termination, bound, solved, f"{results.solver_name}: {condition.name}")


def solve_model(name: str, form: ModuleType, problem: Problem, limits: Limits) -> SolverResult:
    """Build a form of the problem, solve it and read the decision back."""
    deadline = Deadline(limits)
    model = form.build(problem)
    answer = optimise(name, model, limits, deadline)
    decision = form.extract(model, problem) if answer.solved else None
    return SolverResult(answer.termination, decision, answer.bound, answer.message)
