"""Clusterings that need no thought."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hisopt.decision import Decision
from hisopt.problem import Problem
from hisopt.result import Guarantee, Limits, SolverResult, Termination
from hisopt.solvers.base import Solver


@dataclass(frozen=True)
class OneCluster(Solver):
    """Everyone together (GFIS, CFIS)."""

    name = "one-cluster"
    kinds = ("clustering",)
    guarantee = Guarantee.HEURISTIC

    def solve(self, problem: Problem, limits: Limits) -> SolverResult:
        """See the class."""
        labels = np.zeros(problem.instance.users, dtype=np.int64)
        return SolverResult(Termination.COMPLETED, Decision(clusters=labels))


@dataclass(frozen=True)
class RandomClusters(Solver):
    """A uniform label for every user."""

    name = "random"
    kinds = ("clustering",)
    guarantee = Guarantee.HEURISTIC

    def solve(self, problem: Problem, limits: Limits) -> SolverResult:
        """See the class."""
        instance = problem.instance
        labels = np.random.default_rng(limits.seed).integers(instance.max_clusters, size=instance.users)
        return SolverResult(Termination.COMPLETED, Decision(clusters=labels))
