"""A solver that writes down when it begins and ends, and in between waits for a file `go`; for tests that kill meanwhile."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from hisopt import Guarantee, Limits, SolverResult, Termination
from hisopt.problems import Joint
from hisopt.solvers.base import Solver
from hisopt.solvers.joint.no_sharing import NoSharing

MARK = "HISOPT_TEST_GATED"  # the folder, and in the environment of all that a solve starts


@dataclass(frozen=True)
class Gated(Solver[Joint]):
    """Solves like no-sharing, once the gate is open; a child of its own waits beside it."""

    folder: str = ""
    name = "gated"
    problems = (Joint,)
    guarantee = Guarantee.HEURISTIC

    def solve(self, problem: Joint, limits: Limits) -> SolverResult:
        folder, name = Path(self.folder), f"{problem.content_hash}-{limits.seed}"
        child = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"])
        self._note(folder / f"{name}.begun", f"{os.getpid()} {child.pid}")
        while not (folder / "go").exists():
            time.sleep(0.01)
        self._note(folder / f"{name}.ended", str(os.getpid()))
        return SolverResult(Termination.COMPLETED, NoSharing().solve(problem, limits).decision)

    @staticmethod
    def _note(path: Path, line: str) -> None:
        with open(path, "a") as file:
            file.write(line + "\n")
