"""Solvers that run for long tell what they have on the way: what each reports is true, and ends where the solver ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from hisopt import PRESETS, Decision, Guarantee, Limits, SolverResult, Termination
from hisopt.problems import Clustering, Full, Joint, Problem, problem_of
from hisopt.solvers.allocation.natural import AllocationScip
from hisopt.solvers.base import Solver
from hisopt.solvers.clustering.branch_bound.search import BranchBound
from hisopt.solvers.clustering.hac import clustered
from hisopt.solvers.clustering.ilp import IlpHighs, IlpScip
from hisopt.solvers.clustering.pairs import PairsHighs
from hisopt.solvers.clustering.refined_hac import HacRefined
from hisopt.solvers.full.local_search import PartitionSearch
from hisopt.solvers.full.natural import FullScip
from hisopt.solvers.full.subsets import Subsets
from hisopt.solvers.joint.exact import JointExact
from hisopt.solvers.joint.local_search import LocalSearch
from hisopt.solvers.joint.milp import JointMilp
from hisopt.solvers.joint.natural import JointScip
from hisopt.solvers.joint.whole import JointExactInteger
from hisopt.solvers.run import progress
from hisopt.solvers.run.progress import listening, report

SMALL: Any = clustered(PRESETS["small"].replace(users=6, max_clusters=2).sample(0))
FEW: Any = clustered(PRESETS["small"].replace(users=3, max_clusters=2).sample(0))
TIED: Any = clustered(PRESETS["paper"].sample(2))
GIVEN = SMALL.replace(given_common=[2] * 6, given_edge=[2] * 6)
CASES: list[tuple[Problem, Solver[Any], bool, bool]] = [  # whether decisions, and bounds, are reported
    (Clustering.of(SMALL, "mean"), PairsHighs(), True, True),
    (Clustering.of(SMALL, "sum"), IlpHighs(), True, True),
    (Clustering.of(SMALL, "mean"), IlpScip(), True, True),
    (Clustering.of(PRESETS["small"].sample(1), "mean"), BranchBound(), True, True),
    (Clustering.of(PRESETS["small"].sample(1), "mean"), HacRefined(), True, False),
    (Joint(FEW), JointScip(), True, True),
    (problem_of("allocation", GIVEN), AllocationScip(), True, True),
    (Full(FEW), FullScip(), True, True),
    (Joint(TIED), JointExact(), True, True),
    (problem_of("joint", SMALL, whole_sms=True), JointExactInteger(), True, True),
    (Joint(TIED), LocalSearch(), True, False),
    (Joint(SMALL), JointMilp(), True, True),
    (Full(SMALL), Subsets(), True, True),
    (Full(SMALL), PartitionSearch(), True, False),
]


@pytest.mark.parametrize(
    ("problem", "solver", "decides", "bounds"), CASES, ids=[f"{p.label}-{s.name}" for p, s, _, _ in CASES]
)
def test_a_trajectory_comes(
    problem: Problem, solver: Solver[Any], decides: bool, bounds: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "PACE_S", 0.0)  # tell everything
    heard: list[tuple[Decision | None, float | None]] = []
    with listening(lambda decision, bound: heard.append((decision, bound))):
        result = solver.solve(problem, Limits(time_s=60))
    assert result.decision is not None
    best = problem.evaluate(result.decision)
    assert best.objective is not None
    up = 1 if problem.maximise else -1
    room = 2e-6 * max(abs(best.objective), best.scale / 1000)
    found = [problem.evaluate(decision) for decision, _ in heard if decision is not None]
    values = [up * e.objective for e in found if e.feasible and e.objective is not None]
    told = [up * bound for _, bound in heard if bound is not None]
    assert bool(values) is decides
    assert all(value <= up * best.objective + room for value in values)
    assert bool(told) is bounds
    assert all(bound >= up * best.objective - room for bound in told)


def test_quick_solves_tell_nothing() -> None:
    heard: list[Any] = []
    with listening(lambda decision, bound: heard.append(bound)):
        pace = progress.Pace()
        assert not pace.due
    assert not progress.Pace().due and heard == []


@dataclass(frozen=True)
class Asks(Solver[Full]):
    """Solves a part of its problem with another solver, whose bound is that of the part."""

    name = "asks"
    problems = (Full,)
    guarantee = Guarantee.HEURISTIC

    def solve(self, problem: Full, limits: Limits) -> SolverResult:
        report(bound=1e9)
        part = JointExact().solve(Joint(problem.instance), limits)
        report(bound=1e8)
        return SolverResult(Termination.COMPLETED, part.decision)


@dataclass(frozen=True)
class Inherits(JointExact):
    """What a solver does in its base's name is its own."""

    name = "inherits"

    def solve(self, problem: Joint, limits: Limits) -> SolverResult:
        return super().solve(problem, limits)


def test_solvers_within_solvers_are_not_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "PACE_S", 0.0)
    heard: list[float | None] = []
    with listening(lambda decision, bound: heard.append(bound)):
        Asks().solve(Full(TIED), Limits(10.0))
        assert heard == [1e9, 1e8]
        Inherits().solve(Joint(TIED), Limits(10.0))
    assert len(heard) > 2
