"""The natural nonlinear programs in SCIP."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from typing_extensions import override

from hisopt.problems import Allocation, Full, Joint, Problem
from hisopt.result import Guarantee, Limits, SolverResult, Termination
from hisopt.solvers.backend import solve_model
from hisopt.solvers.base import P, Solver

if TYPE_CHECKING:
    from types import ModuleType

_MOST_WHOLE_SMS = 1e5


def _solve(form: ModuleType, problem: Allocation | Joint | Full, limits: Limits) -> SolverResult:
    """Solve a form; refuse whole SMs so many that SCIP's tolerances of 1e-8 are worth some: it proves what is not so."""
    budget = float(problem.instance.edge.sms)
    if problem.whole_sms and budget > _MOST_WHOLE_SMS:
        return SolverResult(Termination.UNAVAILABLE, message=f"SCIP does not tell {budget:g} whole SMs apart")
    return solve_model("scip_direct", form, problem, limits)


@dataclass(frozen=True)
class _Scip(Solver[P]):
    name = "scip"
    guarantee = Guarantee.EXACT
    packages = ("pyscipopt", "pyomo")
    requires = ("pyscipopt",)

    def serves(self, problem: Problem) -> bool:
        """The class's kind, real or whole SMs."""
        return isinstance(problem, self.problems)


@dataclass(frozen=True)
class AllocationScip(_Scip[Allocation]):
    """P_II^B with t_m v_m >= A_m in SCIP's spatial branch and bound."""

    name = "pyomo-scip"
    problems = (Allocation,)

    @override
    def solve(self, problem: Allocation, limits: Limits) -> SolverResult:
        from hisopt.models.allocation import natural as allocation

        return _solve(allocation, problem, limits)


@dataclass(frozen=True)
class JointScip(_Scip[Joint]):
    """P_II as the natural mixed-integer nonlinear program in SCIP."""

    problems = (Joint,)

    @override
    def solve(self, problem: Joint, limits: Limits) -> SolverResult:
        from hisopt.models.joint import natural as joint

        return _solve(joint, problem, limits)


@dataclass(frozen=True)
class FullScip(_Scip[Full]):
    """The full problem as one mixed-integer nonlinear program in SCIP: an independent check for a handful of users."""

    problems = (Full,)

    def serves(self, problem: Problem) -> bool:
        """The full problem with a public-prompt rule that has an algebraic form; beyond 8 users it finds nothing."""
        return (
            isinstance(problem, Full)
            and problem.instance.users <= 8
            and problem.instance.public_prompt.rule in ("ideal", "affine")
        )

    @override
    def solve(self, problem: Full, limits: Limits) -> SolverResult:
        from hisopt.models import full

        return _solve(full, problem, limits)
