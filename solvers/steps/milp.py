"""Steps in the ICC model as a mixed-integer linear program, in HiGHS."""

from __future__ import annotations

from dataclasses import dataclass

from hisopt.problems import Steps
from hisopt.solvers.backend import InHighs


@dataclass(frozen=True)
class StepsMilp(InHighs[Steps]):
    """The ICC model's mixed-integer linear program in HiGHS."""

    name = "milp-highs"
    problems = (Steps,)
    form = "steps"
