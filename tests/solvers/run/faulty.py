"""Solvers with one fault each, for the tests of the runner."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from hisopt import Decision, Limits, Problem, SolverResult, Termination
from hisopt.problems import Clustering, Joint
from hisopt.result import Guarantee
from hisopt.solvers.base import Solver
from hisopt.solvers.joint.exact import JointExact
from hisopt.solvers.run.progress import report


@dataclass(frozen=True)
class Faulty(Solver[Any]):
    problems = (Joint, Clustering)
    guarantee = Guarantee.EXACT

    def solve(self, problem: Problem, limits: Limits) -> SolverResult:
        result: SolverResult = self.act(problem)
        return result

    def act(self, problem: Problem) -> Any:
        raise NotImplementedError


class Hangs(Faulty):
    name = "hangs"

    def act(self, problem: Problem) -> Any:
        while True:
            time.sleep(60)


class HangsInChildren(Faulty):
    name = "hangs-in-children"

    def act(self, problem: Problem) -> Any:
        marker = os.environ["HISOPT_TEST_MARKER"]
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
        with open(marker, "w") as file:
            file.write(str(child.pid))
        child.wait()


class LeavesOrphans(Faulty):
    """Ends at once, and leaves a process behind that has left its session, twice."""

    name = "leaves-orphans"

    def act(self, problem: Problem) -> Any:
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                os.setsid()
                while True:
                    time.sleep(60)
            os._exit(0)
        return SolverResult(Termination.COMPLETED, feasible(problem))


class HangsWithOrphans(LeavesOrphans):
    name = "hangs-with-orphans"

    def act(self, problem: Problem) -> Any:
        super().act(problem)
        Path(tempfile.mkdtemp(), "scratch").write_text("left behind")
        Path(os.environ["HISOPT_TEST_MARKER"]).write_text("hanging")
        while True:
            time.sleep(60)


class KillsServer(Faulty):
    name = "kills-server"

    def act(self, problem: Problem) -> Any:
        os.kill(os.getppid(), signal.SIGKILL)
        return SolverResult(Termination.COMPLETED, feasible(problem))


class LeavesNakedOrphans(Faulty):
    """Leaves a process behind with no environment, in a session of its own, and its id in the marker; see `end`."""

    name = "leaves-naked-orphans"

    def act(self, problem: Problem) -> Any:
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                marker = os.environ["HISOPT_TEST_MARKER"]
                Path(f"{marker}.part").write_text(str(os.getpid()))
                os.rename(f"{marker}.part", marker)
                os.execve(sys.executable, [sys.executable, "-S", "-c", "import time; time.sleep(600)"], {})
            os._exit(0)
        while not os.path.exists(os.environ["HISOPT_TEST_MARKER"]):
            os.sched_yield()
        return self.end(problem)

    def end(self, problem: Problem) -> Any:
        return SolverResult(Termination.COMPLETED, feasible(problem))


class LeavesNakedOrphansAndHangs(LeavesNakedOrphans):
    name = "leaves-naked-orphans-and-hangs"

    def end(self, problem: Problem) -> Any:
        Path(tempfile.mkdtemp(), "scratch").write_text("left behind")
        return Hangs().act(problem)


class LeavesNakedOrphansAndKillsServer(LeavesNakedOrphans):
    name = "leaves-naked-orphans-and-kills-server"

    def end(self, problem: Problem) -> Any:
        return KillsServer().act(problem)


class Reports(Faulty):
    """Tells better and better decisions and bounds, some that are neither."""

    name = "reports"

    def act(self, problem: Problem) -> Any:
        worst, best = feasible(problem), JointExact().solve(problem, Limits())
        assert best.bound is not None and worst.sms is not None
        report(bound=best.bound + 2)
        report(worst)
        report(best.decision, best.bound + 1)
        report(worst, best.bound + 3)
        report(replace(worst, sms=worst.sms + 1))  # passes the budget
        return self.end(problem)

    def end(self, problem: Problem) -> Any:
        return SolverResult(Termination.TIME_LIMIT)


class ReportsAndHangs(Reports):
    name = "reports-and-hangs"

    def end(self, problem: Problem) -> Any:
        return Hangs().act(problem)


class ReportsAndExits(Reports):
    name = "reports-and-exits"

    def end(self, problem: Problem) -> Any:
        os._exit(9)


class ReportsTooMuch(Reports):
    """A bound that its own incumbent beats."""

    name = "reports-too-much"

    def end(self, problem: Problem) -> Any:
        report(bound=-5.0)
        os._exit(9)


class Segfaults(Faulty):
    name = "segfaults"

    def act(self, problem: Problem) -> Any:
        ctypes.string_at(0)


class EatsMemory(Faulty):
    name = "eats-memory"

    def act(self, problem: Problem) -> Any:
        hoard = []
        while True:
            hoard.append(np.ones(1 << 22))  # 32 MiB, written to


class Exits(Faulty):
    name = "exits"

    def act(self, problem: Problem) -> Any:
        os._exit(7)


class Raises(Faulty):
    name = "raises"

    def act(self, problem: Problem) -> Any:
        raise ZeroDivisionError("one\nover zero")


class ReturnsText(Faulty):
    name = "returns-text"

    def act(self, problem: Problem) -> Any:
        return "optimal"


class ReturnsUnpicklable(Faulty):
    name = "returns-unpicklable"

    def act(self, problem: Problem) -> Any:
        return SolverResult(Termination.COMPLETED, details={"f": lambda: 0})


class ReturnsWrongShapes(Faulty):
    name = "returns-wrong-shapes"

    def act(self, problem: Problem) -> Any:
        one = np.ones((2, 2))
        return SolverResult(Termination.OPTIMAL, Decision(one, one, one, one, one), 1.0)  # type: ignore[arg-type]


class ReturnsWords(Faulty):
    name = "returns-words"

    def act(self, problem: Problem) -> Any:
        return SolverResult(Termination.OPTIMAL, Decision("a", "b", "c", "d", "e"), 1.0)  # type: ignore[arg-type]


class ReturnsNaN(Faulty):
    name = "returns-nan"

    def act(self, problem: Problem) -> Any:
        return SolverResult(Termination.COMPLETED, None, float("nan"))


class ReturnsInfinity(Faulty):
    name = "returns-infinity"

    def act(self, problem: Problem) -> Any:
        return SolverResult(Termination.COMPLETED, None, float("inf"))


class ClaimsTooMuch(Faulty):
    """A feasible decision, an optimum claimed, no bound to prove it."""

    name = "claims-too-much"

    def act(self, problem: Problem) -> Any:
        return SolverResult(Termination.OPTIMAL, feasible(problem), None)


class BoundsTooTight(Faulty):
    name = "bounds-too-tight"

    def act(self, problem: Problem) -> Any:
        return SolverResult(Termination.COMPLETED, None, -1e9)


class ClaimsInfeasible(Faulty):
    name = "claims-infeasible"

    def act(self, problem: Problem) -> Any:
        return SolverResult(Termination.INFEASIBLE)


class BreaksConstraints(Faulty):
    name = "breaks-constraints"

    def act(self, problem: Problem) -> Any:
        decision = feasible(problem)
        steps = decision.steps_edge
        assert steps is not None
        return SolverResult(
            Termination.COMPLETED,
            Decision(decision.clusters, decision.steps_common, steps + 1, decision.steps_device, decision.sms),
        )


class Sound(Faulty):
    name = "sound"

    def act(self, problem: Problem) -> Any:
        print("noise on standard output")
        return SolverResult(Termination.COMPLETED, feasible(problem), None)


def feasible(problem: Problem) -> Decision:
    users, count = problem.instance.users, problem.instance.max_clusters
    zero = np.zeros(users, dtype=np.int64)
    sms = np.full(count, problem.instance.sm_budget / count)
    return Decision.of_steps(problem.instance.steps.total, zero, zero, sms, zero)
