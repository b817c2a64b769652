"""P_II^B in CVXPY: the convex program with its multiplier, by an interior-point and by a first-order solver."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from typing_extensions import override

from hisopt.decision import Decision
from hisopt.equations import given_busy, given_work_costs, optimal_sms
from hisopt.problems import Allocation
from hisopt.result import PROVEN, Guarantee, Limits, SolverResult, Termination
from hisopt.solvers.base import Solver


@dataclass(frozen=True)
class _Conic(Solver[Allocation]):
    problems = (Allocation,)
    guarantee = Guarantee.EXACT
    solver: ClassVar[str]

    @override
    def prepare(self) -> None:
        super().prepare()
        import hisopt.models.allocation.conic  # noqa: F401 - before the clock

    def solve(self, problem: Allocation, limits: Limits) -> SolverResult:
        """Solve the program; the bound is the Lagrangian at the solver's own multiplier, valid however inexact."""
        import cvxpy as cp

        from hisopt.models.allocation import conic as form

        cost = given_work_costs(problem.instance)
        if not cost.any():
            sms = optimal_sms(cost, problem.instance.sm_budget, given_busy(problem.instance))
            return SolverResult(Termination.OPTIMAL, Decision(sms=sms), 0.0, "no work that costs anything")
        model = form.build(problem)
        try:
            model.program.solve(solver=self.solver, **self._options(limits))
        except cp.SolverError as error:
            return SolverResult(Termination.NUMERICAL_ERROR, message=str(error).splitlines()[0])
        status = model.program.status
        if model.shares.value is None:
            return SolverResult(Termination.NUMERICAL_ERROR, message=f"{self.solver}: {status}")
        price = form.price(model, problem)
        decision, bound = form.extract(model, problem), form.dual_value(problem, price)
        return SolverResult(
            Termination.OPTIMAL if problem.gap(decision, bound) <= PROVEN else Termination.NUMERICAL_ERROR,
            decision,
            bound,
            f"{self.solver}: {status}",
            {"price_of_an_sm": price},
        )

    def _options(self, limits: Limits) -> dict[str, Any]:
        raise NotImplementedError


@dataclass(frozen=True)
class CvxpyClarabel(_Conic):
    """The convex program in Clarabel (interior point)."""

    name = "cvxpy-clarabel"
    packages = ("cvxpy", "clarabel")
    requires = ("clarabel",)
    solver = "CLARABEL"

    def _options(self, limits: Limits) -> dict[str, Any]:
        return {
            "time_limit": limits.time_s, "max_threads": limits.threads,
            "tol_gap_abs": 1e-10, "tol_gap_rel": 1e-10, "tol_feas": 1e-10,
        }  # fmt: skip


@dataclass(frozen=True)
class CvxpyScs(_Conic):
    """The convex program in SCS (first order)."""

    name = "cvxpy-scs"
    packages = ("cvxpy", "scs")
    requires = ("scs",)
    solver = "SCS"

    def _options(self, limits: Limits) -> dict[str, Any]:
        return {"time_limit_secs": limits.time_s, "eps_abs": 1e-10, "eps_rel": 1e-10, "max_iters": 200_000}
