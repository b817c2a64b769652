"""HAC, then single users relocated and pairs swapped while the criterion improves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hisopt.arrays import FloatArray, IntArray
from hisopt.decision import Decision
from hisopt.equations import cluster_sizes
from hisopt.problem import Problem
from hisopt.result import Guarantee, Limits, SolverResult, Termination
from hisopt.solvers.hac import average_linkage
from hisopt.solvers.interface import Deadline, Solver


def cluster_values(criterion: str, squared: FloatArray, sizes: FloatArray) -> FloatArray:
    """Value of clusters from |s_m|^2 and |N_m|, elementwise; empty ones are worth 0."""
    squared = np.maximum(squared, 0.0)
    if criterion == "sum":
        return squared
    if criterion == "mean":
        return squared / np.maximum(sizes, 1)
    return np.sqrt(squared)


def refine(
    embeddings: FloatArray, labels: IntArray, count: int, criterion: str, deadline: Deadline | None = None
) -> IntArray:
    """Relocate and swap users, best improvement first, until a local optimum of both; labels of shape (N,).

    Works with all ``count`` clusters, empty ones included. O(N M) a relocation and O(N^2) a swap.
    """
    labels = labels.copy()
    users = np.arange(len(labels))
    own_square = np.einsum("nd,nd->n", embeddings, embeddings)
    gram = embeddings @ embeddings.T if len(labels) <= 3000 else None
    while deadline is None or not deadline.passed:
        sums = np.zeros((count, embeddings.shape[1]))
        np.add.at(sums, labels, embeddings)
        sizes = cluster_sizes(labels, count).astype(np.float64)
        squared = np.einsum("md,md->m", sums, sums)
        dots = embeddings @ sums.T
        now = cluster_values(criterion, squared, sizes)
        left = squared[labels] - 2 * dots[users, labels] + own_square
        leave = cluster_values(criterion, left, sizes[labels] - 1) - now[labels]
        enter = cluster_values(criterion, squared + 2 * dots + own_square[:, None], sizes + 1) - now
        change = leave[:, None] + enter
        change[users, labels] = -np.inf
        user, target = divmod(int(np.argmax(change)), count)
        if change[user, target] > 1e-12 * max(1.0, float(np.abs(now).sum())):
            labels[user] = target
            continue
        if gram is None or not _swap(labels, criterion, squared, sizes, dots, own_square, now, gram):
            return labels
    return labels


def _swap(
    labels: IntArray, criterion: str, squared: FloatArray, sizes: FloatArray, dots: FloatArray,
    own_square: FloatArray, now: FloatArray, gram: FloatArray,
) -> bool:  # fmt: skip
    """Swap the pair of users that gains most; False if none gains."""
    own = dots[np.arange(len(labels)), labels]
    cross = dots[:, labels]  # [i, j]: e_i with the sum of j's cluster
    moved = own_square[:, None] + own_square[None, :] - 2 * gram
    after_i = squared[labels][:, None] + 2 * (cross.T - own[:, None]) + moved  # i's cluster with j instead of i
    after = cluster_values(criterion, after_i, sizes[labels][:, None]) - now[labels][:, None]
    change = after + after.T
    change[labels[:, None] == labels[None, :]] = -np.inf
    i, j = divmod(int(np.argmax(change)), len(labels))
    if not change[i, j] > 1e-12 * max(1.0, float(np.abs(now).sum())):
        return False
    labels[i], labels[j] = labels[j], labels[i]
    return True


@dataclass(frozen=True)
class HacRefined(Solver):
    """HAC's clusters improved by relocation and swap for the criterion asked for."""

    name = "hac-refined"
    kinds = ("clustering",)
    guarantee = Guarantee.HEURISTIC
    packages = ("scipy",)

    def solve(self, problem: Problem, limits: Limits) -> SolverResult:
        """See the class."""
        instance, deadline = problem.instance, Deadline(limits)
        assert instance.embeddings is not None and problem.criterion is not None
        start = average_linkage(instance.embeddings, instance.max_clusters)
        labels = refine(instance.embeddings, start, instance.max_clusters, problem.criterion, deadline)
        return SolverResult(Termination.COMPLETED, Decision(clusters=labels))
