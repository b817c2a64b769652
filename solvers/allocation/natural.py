"""P_II^B as the natural nonlinear program, in SCIP."""

from __future__ import annotations

from dataclasses import dataclass

from hisopt.problems import Allocation
from hisopt.solvers.backend import InScip


@dataclass(frozen=True)
class AllocationScip(InScip[Allocation]):
    """P_II^B with t_m v_m >= A_m in SCIP's spatial branch and bound."""

    name = "pyomo-scip"
    problems = (Allocation,)
    form = "allocation.natural"
