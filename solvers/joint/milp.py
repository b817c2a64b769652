"""P_II as a mixed-integer linear program in HiGHS, tangents added until it is exact."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from hisopt.problems import Joint
from hisopt.solvers.backend import InHighs

if TYPE_CHECKING:
    from hisopt.decision import Decision


@dataclass(frozen=True)
class JointMilp(InHighs[Joint]):
    """HiGHS on the program of `hisopt.models.joint.milp`: a relaxation, refined at each of its optima."""

    name = "milp-highs"
    problems = (Joint,)
    form = "joint.milp"
    rounds = 30

    @override
    def refine(self, model: Any, problem: Joint, decision: Decision, bound: float) -> bool:
        from hisopt.models.joint import milp

        return milp.refine(model, problem, milp.tolerance(model))
