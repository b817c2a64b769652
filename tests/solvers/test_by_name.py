"""Solvers of Pyomo asked for by name: the same optima, no claim without a bound, one line where one is missing."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from hisopt import PRESETS, Clustering, Joint, Limits, Steps, Termination
from hisopt.errors import InputError
from hisopt.result import SolutionStatus
from hisopt.solvers import by_name, registry
from hisopt.solvers.by_name import PyomoSolver
from hisopt.solvers.clustering.hac import clustered
from hisopt.solvers.clustering.partitions import Partitions
from hisopt.solvers.joint.exact import JointExact
from hisopt.solvers.run.runner import Outcome, Run, check
from hisopt.solvers.steps.enumeration import Enumeration

if TYPE_CHECKING:
    from hisopt.problems import Problem
    from hisopt.solvers.base import Solver

LIMITS = Limits(time_s=60)


def instance(preset: str) -> Any:
    return clustered(PRESETS[preset].replace(users=5, max_clusters=2).sample(0))


def solved(solver: Solver[Any], problem: Problem) -> Run:
    return check(problem, solver, LIMITS, Outcome(solver.solve(problem, LIMITS), 0.0))


CASES: dict[str, tuple[Any, Solver[Any]]] = {
    "mean": (lambda: Clustering.of(instance("small"), "mean"), Partitions()),
    "sum": (lambda: Clustering.of(instance("small"), "sum"), Partitions()),
    "joint": (lambda: Joint(instance("small")), JointExact()),
    "steps": (lambda: Steps(instance("icc")), Enumeration()),
}


@pytest.mark.parametrize("backend", ["appsi_highs", "highs"])
@pytest.mark.parametrize("case", CASES)
def test_a_linear_model_in_a_solver_by_name_proves_the_optimum(case: str, backend: str) -> None:
    problem, known = CASES[case][0](), CASES[case][1]
    run = solved(PyomoSolver(backend=backend, linear=True), problem)
    assert run.termination is Termination.OPTIMAL, run.message
    assert run.refuted == ()
    assert run.objective == pytest.approx(solved(known, problem).objective, rel=1e-9)


def test_a_quadratic_model_in_scip_by_name_proves_the_optimum() -> None:
    problem = Clustering.of(instance("small"), "centroid")
    run = solved(PyomoSolver(backend="scip_direct"), problem)
    assert run.termination is Termination.OPTIMAL
    assert run.objective == pytest.approx(solved(Partitions(), problem).objective, rel=1e-7)


def test_what_a_solver_cannot_state_is_one_line() -> None:
    run = solved(PyomoSolver(backend="appsi_highs"), Joint(instance("small")))
    assert run.termination is Termination.NUMERICAL_ERROR
    assert run.decision is None
    assert "\n" not in run.message
    lacking = by_name._lacking
    assert lacking(by_name._found("ipopt"), linear=False, whole=True) == "whole numbers"
    assert lacking(by_name._found("glpk"), linear=False, whole=True) == "products of variables"
    assert lacking(by_name._found("glpk"), linear=True, whole=True) is None


class Stub:
    """A solver of Pyomo that says what it is told to, with all variables at their lower bounds."""

    def __init__(self, condition: str, lower: float | None) -> None:
        self.condition, self.lower = condition, lower

    def solve(self, model: Any, **_: Any) -> Any:
        from pyomo.environ import Var

        self.sense = int(model.value.sense)
        for variable in model.component_data_objects(Var):
            variable.set_value(variable.lb or 0.0, skip_validation=True)
            variable.stale = False
        for n in model.users:
            model.chosen[n, 0].set_value(1)
        return SimpleNamespace(
            solver=SimpleNamespace(termination_condition=self.condition),
            problem=SimpleNamespace(lower_bound=self.lower),
        )


@pytest.mark.parametrize(
    ("condition", "bound", "termination"),
    [
        ("optimal", None, Termination.COMPLETED),  # as of ipopt: a local optimum
        ("optimal", float("-inf"), Termination.COMPLETED),
        ("optimal", -1e6, Termination.NUMERICAL_ERROR),  # a bound that proves nothing
        ("locallyOptimal", -1e6, Termination.COMPLETED),
        ("infeasible", None, Termination.INFEASIBLE),
        ("maxTimeLimit", -1e6, Termination.TIME_LIMIT),
        ("unbounded", None, Termination.NUMERICAL_ERROR),
    ],
)
def test_no_optimum_is_claimed_without_a_bound(
    monkeypatch: pytest.MonkeyPatch, condition: str, bound: float | None, termination: Termination
) -> None:
    stub, problem = Stub(condition, bound), Steps(instance("icc"))
    monkeypatch.setattr(by_name, "_found", lambda name: stub)
    result = PyomoSolver(backend="stub").solve(problem, LIMITS)
    assert stub.sense == 1, "a maximum is stated as a minimum: Pyomo gives cbc's bound of a maximum the wrong sign"
    assert result.termination is termination
    if bound == -1e6:
        assert result.bound is not None
        assert result.bound > 1e3, "minus a lower bound of what is minimised, in units of the utility"
    else:
        assert result.bound is None


def test_infeasible_of_a_nonlinear_model_is_no_proof() -> None:
    assert by_name._termination("infeasible", None, linear=False) is Termination.NUMERICAL_ERROR


def test_a_solver_that_is_not_there_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="backend: 'no-such' is neither a solver of Pyomo nor a program here"):
        registry.parse("pyomo:backend=no-such", "joint")
    monkeypatch.setenv("PATH", "")
    solver = registry.parse("pyomo:backend=conopt", "joint")
    assert solver is not None
    assert solver.unavailable() == "needs conopt, which Pyomo knows and does not find here"
    assert PyomoSolver().unavailable() == "needs backend=NAME"


def test_settings_are_the_solvers_own() -> None:
    solver = PyomoSolver(backend="highs", settings="mip_rel_gap=0.5;presolve=off")
    assert solver._own_settings() == {"mip_rel_gap": 0.5, "presolve": "off"}
    assert solved(solver, Steps(instance("icc"))).solution_status is SolutionStatus.FEASIBLE
    with pytest.raises(InputError, match="settings: 'oops' is not name=value"):
        PyomoSolver(backend="highs", settings="oops")


def test_it_runs_only_where_it_is_asked_for() -> None:
    assert all(solver.name != "pyomo" for kind in registry.TABLE for solver in registry.registered(kind))
    assert isinstance(registry.parse("pyomo:backend=highs,linear=yes", "joint"), PyomoSolver)
