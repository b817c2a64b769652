"""P_II as the natural nonlinear program, in SCIP."""

from __future__ import annotations

from dataclasses import dataclass

from hisopt.problems import Joint
from hisopt.solvers.backend import InScip


@dataclass(frozen=True)
class JointScip(InScip[Joint]):
    """P_II as the natural mixed-integer nonlinear program in SCIP."""

    name = "scip"
    problems = (Joint,)
    form = "joint.natural"
