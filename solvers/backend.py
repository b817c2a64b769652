"""One class for "this model in that solver": subclasses say by data which model and which solver."""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from typing_extensions import override

from hisopt.equations import device_step_cost, edge_step_energy_cost, edge_work_cost
from hisopt.problems import Allocation, Full, Joint, Problem
from hisopt.result import PROVEN, Guarantee, Limits, SolverResult, Termination
from hisopt.solvers import engines
from hisopt.solvers.base import Deadline, OutOfTime, P, Solver
from hisopt.solvers.run.progress import report

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from hisopt.decision import Decision

_MOST_WHOLE_SMS = 1e5
_MOST_RANGE = 1e8  # of a step's costs: SCIP and HiGHS take coefficients below 1e-9 of the others' unit for zero


@dataclass(frozen=True)
class ModelSolver(Solver[P]):
    """A Pyomo model of a problem, in a general solver.

    A subclass sets ``form``, the model's module below `hisopt.models` (``joint.natural``), and ``engine``
    (`hisopt.solvers.engines`); ``watched`` where the form's ``build`` takes a function to call as it goes, which raises
    when time is up. It overrides `refused` for problems that are not for the solver, and, where the model is a relaxation,
    sets ``rounds`` and overrides `refine`.
    """

    guarantee = Guarantee.EXACT
    form: ClassVar[str]
    engine: ClassVar[str]
    watched: ClassVar[bool] = False
    rounds: ClassVar[int] = 1

    def refused(self, problem: P) -> SolverResult | None:
        """Return the answer to a problem that needs no model or is not for this solver; None for all others."""
        return _out_of_range(problem)

    def refine(self, model: Any, problem: P, decision: Decision, bound: float) -> bool:  # noqa: ARG002
        """Cut the model's optimum off, where ``decision`` is worth less than it; False if there is nothing to cut off."""
        return False

    def module(self, problem: P) -> ModuleType:  # noqa: ARG002
        """Return the module that states the problem."""
        return import_module(f"hisopt.models.{self.form}")

    def most_rounds(self, problem: P) -> int:  # noqa: ARG002
        """Return how often the model may be solved, refined in between; 1 where it states the problem exactly."""
        return self.rounds

    def optimise(
        self, model: Any, limits: Limits, deadline: Deadline, read: Callable[[], Decision] | None
    ) -> engines.Answer:
        """Solve a model and load the best solution into it."""
        return engines.optimise(self.engine, model, limits, deadline, read)

    @override
    def solve(self, problem: P, limits: Limits) -> SolverResult:
        """Build the model, solve it, refine it while it is a relaxation, and read the decision back; see `proven_only`."""
        if (answer := self.refused(problem)) is not None:
            return answer
        return self._modelled(problem, limits)

    def _modelled(self, problem: P, limits: Limits) -> SolverResult:
        form, deadline = self.module(problem), Deadline(limits)
        try:
            model = form.build(problem, deadline.check) if self.watched else form.build(problem)
        except OutOfTime:
            return SolverResult(
                Termination.TIME_LIMIT, message=f"{self.engine}: the time passed while the model was built"
            )
        most = self.most_rounds(problem)
        relaxed = most > 1
        bound: float | None = None
        decision: Decision | None = None
        for rounds in range(1, most + 1):
            answer = self.optimise(model, limits, deadline, lambda: form.extract(model, problem))
            bound = _tighter(problem, bound, answer.bound)
            if not answer.solved:
                break
            decision = form.extract(model, problem)
            if not relaxed:
                break
            report(decision, bound)
            if answer.termination is not Termination.OPTIMAL or bound is None:
                break
            if not self.refine(model, problem, decision, bound):
                break
            if deadline.passed:
                answer = replace(answer, termination=Termination.TIME_LIMIT)
                break
        else:
            answer = replace(answer, termination=Termination.ITERATION_LIMIT)
        details = {"rounds": rounds} if relaxed else {}
        return proven_only(problem, SolverResult(answer.termination, decision, bound, answer.message, details))


@dataclass(frozen=True)
class InHighs(ModelSolver[P]):
    """A linear model in HiGHS."""

    engine = "highs"
    packages = ("highspy", "pyomo")
    requires = ("highspy",)

    @override
    def prepare(self) -> None:
        super().prepare()
        import hisopt.solvers.highs_progress  # noqa: F401 - before the clock


@dataclass(frozen=True)
class InScip(ModelSolver[P]):
    """A model in SCIP, by PySCIPOpt; real or whole SMs.

    Whole SMs so many that SCIP's tolerances of 1e-8 are worth some are refused: it proves what is not so.
    """

    engine = "scip_direct"
    packages = ("pyscipopt", "pyomo")
    requires = ("pyscipopt",)

    @override
    def prepare(self) -> None:
        super().prepare()
        import hisopt.solvers.scip_progress  # noqa: F401 - before the clock

    def serves(self, problem: Problem) -> bool:
        """The class's kinds, whole SMs and limits on sizes included."""
        return isinstance(problem, self.problems)

    @override
    def refused(self, problem: P) -> SolverResult | None:
        if not isinstance(problem, (Allocation, Joint, Full)) or not problem.whole_sms:
            return super().refused(problem)
        budget = problem.instance.sm_budget
        if budget <= _MOST_WHOLE_SMS:
            return super().refused(problem)
        return SolverResult(Termination.UNAVAILABLE, message=f"SCIP does not tell {budget:g} whole SMs apart")


def _out_of_range(problem: Problem) -> SolverResult | None:
    """Refuse steps whose costs are so far apart that tolerances of 1e-9 lose the cheap ones: optima are cut off then."""
    if not isinstance(problem, (Joint, Full)):
        return None
    instance = problem.instance
    sizes = np.array([1, instance.users])
    server = edge_work_cost(instance, sizes) / instance.sm_budget + edge_step_energy_cost(instance)
    costs = np.concatenate([device_step_cost(instance), server])
    costs = costs[costs > 0]
    if not len(costs) or costs.max() <= _MOST_RANGE * costs.min():
        return None
    message = f"a step costs from {costs.min():.1e} to {costs.max():.1e}: no tolerances of a general solver hold both"
    return SolverResult(Termination.UNAVAILABLE, message=message)


def proven_only(problem: Problem, result: SolverResult) -> SolverResult:
    """Return a result that calls a decision optimal only where its bound proves it; else the tolerances have failed.

    A bound that the solver's own decision beats is wrong, and goes: such numbers as a device's 1e12 joules a step are more
    than a tolerance of 1e-9 can hold.
    """
    decision, bound = result.decision, result.bound
    if decision is None or bound is None:
        proven = beaten = False
    else:
        found = problem.evaluate(decision)
        proven = problem.gap(decision, bound) <= PROVEN
        value = found.objective if found.feasible else None
        beaten = not proven and value is not None and (value > bound) == problem.maximise
    if beaten:
        message = f"{result.message}, but its tolerances have failed: its own decision beats its bound"
        return replace(result, termination=Termination.NUMERICAL_ERROR, bound=None, message=message)
    if proven or result.termination is not Termination.OPTIMAL:
        return result
    message = f"{result.message}, but its tolerances leave a gap between its decision and its bound"
    return replace(result, termination=Termination.NUMERICAL_ERROR, message=message)


def _tighter(problem: Problem, known: float | None, new: float | None) -> float | None:
    """The tighter of two bounds on a problem's optimum; each round's model is a relaxation of the problem."""
    if known is None or new is None:
        return new if known is None else known
    return min(known, new) if problem.maximise else max(known, new)
