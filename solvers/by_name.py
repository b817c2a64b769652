"""Any solver that Pyomo knows and that is installed, asked for by name: ``--solver pyomo:backend=cbc``."""

from __future__ import annotations

import logging
import math
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from hisopt.errors import InputError
from hisopt.problems import PROBLEMS, Clustering, Full, Joint, Meg, Problem
from hisopt.result import SolverResult, Termination
from hisopt.solvers.backend import ModelSolver
from hisopt.solvers.clustering.branch_bound.size_limits import impossible
from hisopt.solvers.engines import OPTIONS, Answer, in_units, options_of, refuse_shifted_ranges

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

    from hisopt.decision import Decision
    from hisopt.result import Limits
    from hisopt.solvers.base import Deadline

_SHARP: dict[
    str, dict[str, float]
] = {  # a family of solvers: what asks for a gap that is a proof, where defaults do not
    "cbc": {"ratioGap": 1e-9, "allowableGap": 0.0},
    "gurobi": {"MIPGap": 1e-9, "MIPGapAbs": 0.0, "FeasibilityTol": 1e-9, "IntFeasTol": 1e-9},
    "cplex": {"mip_tolerances_mipgap": 1e-9},
    "highs": {"mip_rel_gap": 1e-9} | OPTIONS["highs"],
    "scip": OPTIONS["scip_direct"],
    "xpress": {"miprelstop": 1e-9},
}


@dataclass(frozen=True)
class PyomoSolver(ModelSolver[Problem]):
    """The model that ``--export`` writes, in the solver of Pyomo that ``backend`` names, such as cbc, glpk, gurobi or ipopt.

    ``linear`` takes a linear model in its place: of `joint` with real SMs there is one, `hisopt.models.joint.milp`, refined
    at each of its optima. ``settings`` are the solver's own, as in ``ratioGap=0;threads=2``. An optimum is claimed where the
    solver gives a bound that proves it; the point of a local solver is a decision and no more.
    """

    backend: str = ""
    linear: bool = False
    settings: str = ""

    name = "pyomo"
    problems = tuple(PROBLEMS.values())
    packages = ("pyomo",)
    requires = ("pyomo",)

    def __post_init__(self) -> None:
        self._own_settings()
        if self.backend and super().unavailable() is None and _found(self.backend) is None:
            raise InputError(f"backend: {self.backend!r} is neither a solver of Pyomo nor a program here")

    @override
    def unavailable(self) -> str | None:
        if (reason := super().unavailable()) is not None:
            return reason
        if not self.backend:
            return "needs backend=NAME"
        with _quiet():
            there = _found(self.backend).available(exception_flag=False)
        return None if there else f"needs {self.backend}, which Pyomo knows and does not find here"

    @override
    def serves(self, problem: Problem) -> bool:
        """Every problem that has a model; see `refused` for what a linear one cannot state."""
        if isinstance(problem, Full):
            return problem.instance.public_prompt.rule in ("ideal", "affine")
        return isinstance(problem, self.problems)

    @override
    def refused(self, problem: Problem) -> SolverResult | None:
        if isinstance(problem, Clustering):
            return impossible(problem)
        if isinstance(problem, Meg):
            from hisopt.solvers.meg.exact import blocked

            return blocked(problem)
        return super().refused(problem)

    @override
    def module(self, problem: Problem) -> ModuleType:
        from hisopt.models.export import form_of

        return import_module("hisopt.models.joint.milp") if self._relaxed(problem) else form_of(problem)

    @override
    def most_rounds(self, problem: Problem) -> int:
        return 30 if self._relaxed(problem) else 1

    @override
    def refine(self, model: Any, problem: Problem, decision: Decision, bound: float) -> bool:
        from hisopt.models.joint import milp

        return isinstance(problem, Joint) and milp.refine(model, problem, milp.tolerance(model))

    @override
    def optimise(self, model: Any, limits: Limits, deadline: Deadline, read: Callable[[], Decision] | None) -> Answer:
        with in_units(model) as unit, _minimised(model) as sign:
            sharp = next((found for family, found in _SHARP.items() if family in self.backend), {})
            sharp = options_of("scip_direct", model) if sharp is OPTIONS["scip_direct"] else sharp
            answer = _solved(self.backend, model, sharp | self._own_settings(), deadline)
        return replace(answer, bound=None if answer.bound is None else sign * answer.bound * unit)

    def _relaxed(self, problem: Problem) -> bool:
        return self.linear and isinstance(problem, Joint) and not problem.whole_sms

    def _own_settings(self) -> dict[str, Any]:
        """Return the solver's own options; `InputError` where they are not name=value, with semicolons between."""
        found: dict[str, Any] = {}
        for part in filter(None, self.settings.split(";")):
            name, equals, value = part.partition("=")
            if not equals or not name.strip():
                raise InputError(f"settings: {part!r} is not name=value; settings have semicolons between them")
            found[name.strip()] = _number(value.strip())
        return found


def _number(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence what Pyomo logs of solvers that are not there."""
    logger = logging.getLogger("pyomo")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


@contextmanager
def _minimised(model: Any) -> Iterator[int]:
    """State the objective as one to minimise, yield its sign: Pyomo 6.10.1 gives cbc's bound of a maximum the wrong sign."""
    from pyomo.environ import maximize, minimize

    sense, stated = model.value.sense, model.value.expr
    if sense != maximize:
        yield 1
        return
    model.value.set_value(-stated)
    model.value.sense = minimize
    try:
        yield -1
    finally:
        model.value.sense = maximize
        model.value.set_value(stated)


def _found(name: str) -> Any:
    """Return Pyomo's solver of a name, None where it knows none."""
    from pyomo.environ import SolverFactory
    from pyomo.opt.base.solvers import UnknownSolver

    with _quiet():
        solver = SolverFactory(name)
    return None if isinstance(solver, UnknownSolver) else solver


def _solved(name: str, model: Any, settings: dict[str, Any], deadline: Deadline) -> Answer:
    """Minimise a model by Pyomo's common interface; the bound is in the units of the model's objective."""
    from pyomo.environ import Constraint, Var
    from pyomo.solvers.plugins.solvers.persistent_solver import PersistentSolver

    refuse_shifted_ranges(model)
    variables = list(model.component_data_objects(Var, active=True))
    linear = all(c.body.polynomial_degree() in (0, 1) for c in model.component_data_objects(Constraint, active=True))
    solver = _found(name)
    if (lacking := _lacking(solver, linear, any(not v.is_continuous() for v in variables))) is not None:
        return Answer(Termination.UNAVAILABLE, None, False, f"{name} takes no {lacking}, which this model has")
    for variable in variables:
        if not variable.fixed:
            variable.set_value(None)
    arguments = {"timelimit": max(1, math.floor(deadline.left)), "options": settings}
    try:
        if isinstance(solver, PersistentSolver):
            solver.set_instance(model)
            results = solver.solve(**arguments)
        else:
            results = solver.solve(model, **arguments)
    except Exception as error:  # whatever a solver, or Pyomo's reader of its log, has to say
        return Answer(Termination.NUMERICAL_ERROR, None, False, f"{name}: {str(error).strip().splitlines()[0]}")
    condition = str(results.solver.termination_condition)
    loaded = [variable for variable in variables if not variable.stale]
    solved = bool(loaded) and all(variable.value is not None for variable in loaded)
    bound = results.problem.lower_bound
    bound = float(bound) if isinstance(bound, (int, float)) and math.isfinite(bound) and abs(bound) < 1e19 else None
    return Answer(_termination(condition, bound, linear=linear), bound, solved, f"{name}: {condition}")


def _lacking(solver: Any, linear: bool, whole: bool) -> str | None:
    """What a solver cannot do that the model asks for, as far as Pyomo knows."""
    has = getattr(solver, "has_capability", None)
    if has is None:
        return None
    if whole and not has("integer"):
        return "whole numbers"
    if not linear and not has("quadratic_constraint"):
        return "products of variables"
    return None


def _termination(condition: str, bound: float | None, *, linear: bool) -> Termination:
    """Bring Pyomo's word into ours: no bound, no optimum; of a nonlinear model, 'infeasible' may be a local matter."""
    if condition in ("optimal", "globallyOptimal"):
        return Termination.COMPLETED if bound is None else Termination.OPTIMAL
    if condition == "infeasible":
        return Termination.INFEASIBLE if linear else Termination.NUMERICAL_ERROR
    return {
        "locallyOptimal": Termination.COMPLETED,
        "feasible": Termination.COMPLETED,
        "maxTimeLimit": Termination.TIME_LIMIT,
        "maxIterations": Termination.ITERATION_LIMIT,
    }.get(condition, Termination.NUMERICAL_ERROR)
