"""A solver whose import, in a process that solves, takes longer than the limit and its grace."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

from hisopt import Limits, SolverResult, Termination
from hisopt.problems import Joint
from hisopt.result import Guarantee
from hisopt.solvers.base import Solver
from hisopt.solvers.run.worker import GRACE_S

LIMIT_S = 0.2


def wait(seconds: float) -> None:
    if "HISOPT_SERVER" in os.environ:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(end - time.monotonic())


wait(LIMIT_S + GRACE_S)


@dataclass(frozen=True)
class SlowStart(Solver[Joint]):
    name = "slow-start"
    problems = (Joint,)
    guarantee = Guarantee.HEURISTIC

    def prepare(self) -> None:
        wait(LIMIT_S)

    def solve(self, problem: Joint, limits: Limits) -> SolverResult:
        return SolverResult(Termination.COMPLETED)
