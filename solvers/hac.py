"""Hierarchical agglomerative clustering, Algorithm 1."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hisopt.solvers.interface import Solver

from hisopt.arrays import FloatArray, IntArray
from hisopt.decision import Decision
from hisopt.problem import Problem
from hisopt.result import Guarantee, Limits, SolverResult, Termination


def average_linkage(embeddings: FloatArray, count: int) -> IntArray:
    """Merge clusters by the largest average similarity (27) down to ``count``; labels 0 .. count-1, shape (N,)."""
    from scipy.cluster.hierarchy import fcluster, linkage

    if len(embeddings) == 1:
        return np.zeros(1, dtype=np.int64)
    similarity = embeddings @ embeddings.T
    upper = np.triu_indices(len(embeddings), k=1)
    merges = linkage(np.maximum(1 - similarity[upper], 0.0), method="average")
    return np.asarray(fcluster(merges, count, criterion="maxclust"), dtype=np.int64) - 1


@dataclass(frozen=True)
class Hac(Solver):
    """Algorithm 1 by scipy's average linkage on 1 - S. One tree serves all criteria."""

    name = "hac"
    kinds = ("clustering",)
    guarantee = Guarantee.HEURISTIC
    packages = ("scipy",)

    def solve(self, problem: Problem, limits: Limits) -> SolverResult:
        """See the class."""
        instance = problem.instance
        assert instance.embeddings is not None
        labels = average_linkage(instance.embeddings, instance.max_clusters)
        return SolverResult(Termination.COMPLETED, Decision(clusters=labels))
