"""Clusterings that need no thought."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from typing_extensions import override

from hisopt.decision import Decision
from hisopt.problems import Clustering
from hisopt.result import Guarantee, Limits, SolverResult, Termination
from hisopt.solvers.base import Solver


@dataclass(frozen=True)
class OneCluster(Solver[Clustering]):
    """Everyone together (GFIS, CFIS)."""

    name = "one-cluster"
    problems = (Clustering,)
    guarantee = Guarantee.HEURISTIC
    numpy_only = True

    @override
    def solve(self, problem: Clustering, limits: Limits) -> SolverResult:
        labels = np.zeros(problem.users, dtype=np.int64)
        return SolverResult(Termination.COMPLETED, Decision(clusters=labels))


@dataclass(frozen=True)
class RandomClusters(Solver[Clustering]):
    """A uniform label for every user."""

    name = "random"
    problems = (Clustering,)
    guarantee = Guarantee.HEURISTIC
    numpy_only = True

    @override
    def solve(self, problem: Clustering, limits: Limits) -> SolverResult:
        labels = np.random.default_rng(limits.seed).integers(problem.clusters, size=problem.users)
        return SolverResult(Termination.COMPLETED, Decision(clusters=labels))
