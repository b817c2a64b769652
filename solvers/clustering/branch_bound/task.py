"""What a search over partitions maximises: the task, its relaxation, and the best partition so far."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hisopt.decision import Decision
from hisopt.equations import clustering_value
from hisopt.solvers.clustering.balance import balance, packed
from hisopt.solvers.clustering.branch_bound.size_limits import SizeLimits, Sizes
from hisopt.solvers.clustering.branch_bound.spectral_relaxation import Cuts, Relaxation, SpectralSet
from hisopt.solvers.clustering.hac import average_linkage
from hisopt.solvers.clustering.kmeans import lloyd
from hisopt.solvers.clustering.moves import refine
from hisopt.solvers.clustering.refined_hac import best_refined
from hisopt.solvers.run.progress import report

if TYPE_CHECKING:
    from hisopt.arrays import FloatArray, IntArray
    from hisopt.problems import Clustering
    from hisopt.solvers.base import Deadline
    from hisopt.solvers.clustering.branch_bound.merged_users import Weighted


@dataclass(frozen=True)
class Task:
    """What is maximised: the criterion, at most ``clusters`` clusters, of ``least`` to ``most`` users each."""

    criterion: str
    users: int
    clusters: int
    least: int
    most: int

    @classmethod
    def of(cls, problem: Clustering) -> Task:
        """Return a problem's task, its limits tightened to what is possible."""
        limits = SizeLimits.of(problem)
        return cls(problem.criterion, limits.users, limits.clusters, limits.least, limits.most)

    @property
    def longest(self) -> int:
        """Most users that a cluster of some optimum holds."""
        if self.criterion != "sum" and self.least == 1:  # splitting never hurts, so all clusters are used
            return min(self.most, self.users - self.clusters + 1)
        return self.most

    def plain_bound(self, embeddings: FloatArray) -> float:
        """Return a bound that all clusters of equal prompts attain: no distance within clusters, or no cancellation."""
        lengths = np.linalg.norm(embeddings, axis=1)
        value = lengths.sum() if self.criterion == "centroid" else np.square(lengths).sum()
        size = self.most if self.criterion == "sum" else 1
        return float(size * value * (1 + 8 * self.users * np.finfo(float).eps))

    def from_relaxation(self, bound: float) -> float:
        """Return the bound on the criterion: that of the relaxation; for ``centroid``, sqrt(N mean)."""
        return math.sqrt(self.users * max(bound, 0.0)) if self.criterion == "centroid" else bound

    def relaxation(self, nodes: Weighted, sizes: Sizes) -> tuple[Relaxation, FloatArray, Cuts]:
        """Return the relaxation, the factors by which its matrix is the pairs' own, and the cuts it always has.

        Both use D^1/2 Z D^1/2 with D the weights of merged users, whose unit eigenvector or row sums come from the root
        of the weights. ``mean``: Z the Peng-Wei matrix. ``sum``: Z the 0-1 matrix, Z - 1 1'/M psd, with cluster sizes as
        weighted row sums, and as eigenvalues, so none exceeds the largest size; if all are equal, the row sums are known.
        """
        size, weights = len(nodes), nodes.weights
        root = np.sqrt(weights)
        scale, vector = np.outer(root, root), root / np.linalg.norm(root)
        if self.criterion != "sum":
            spectral = SpectralSet(vector, 1.0, self.clusters - 1.0, 1.0, orthogonal=True, at_most=self.least > 1)
            upper = 1 / np.maximum(weights[:, None] + weights[None, :], float(self.least))
            np.fill_diagonal(upper, 1 / np.maximum(weights, self.least))
            lower = np.zeros((size, size))
            np.fill_diagonal(lower, 1 / self.longest)
            cuts = Cuts.none()
        elif sizes.least == sizes.most:
            spectral = SpectralSet(vector, sizes.most, self.users - sizes.most, sizes.most, orthogonal=True)
            upper, lower, cuts = np.ones((size, size)), np.eye(size), Cuts.none()
        else:
            fixed = self.users / self.clusters
            rest = self.users - fixed  # of the trace
            spectral = SpectralSet(vector, fixed, rest, min(rest, float(sizes.most)), orthogonal=False)
            upper, lower, cuts = np.ones((size, size)), np.eye(size), sizes.cuts(weights).scaled(scale)
        upper = np.where(nodes.apart, 0.0, upper * scale)
        return Relaxation(nodes.products / scale, spectral, lower * scale, upper), scale, cuts


@dataclass
class Incumbent:
    """The best partition so far."""

    task: Task
    embeddings: FloatArray
    deadline: Deadline | None = None
    value: float = -math.inf
    labels: IntArray | None = None

    def offer(self, labels: IntArray, *, improve: bool = True) -> None:
        """Take a partition, improved by relocation and swap, if it is allowed and better."""
        task = self.task
        if improve and task.least == 1 and task.most >= task.users:
            labels = refine(self.embeddings, labels, task.clusters, task.criterion, self.deadline)
        sizes = np.unique(labels, return_counts=True)[1]
        if len(sizes) > task.clusters or sizes.min() < task.least or sizes.max() > task.most:
            return
        value = clustering_value(task.criterion, self.embeddings, labels)
        if value > self.value:
            self.value, self.labels = value, labels
            report(Decision(clusters=labels))

    def round(self, matrix: FloatArray, nodes: Weighted) -> None:
        """Offer what a relaxation's matrix suggests: k-means on its leading eigenvectors."""
        vectors = np.linalg.eigh(matrix)[1][:, -self.task.clusters :]
        for start in range(2):
            self.balanced(lloyd(vectors, self.task.clusters, start)[nodes.groups])

    def balanced(self, labels: IntArray) -> None:
        """Offer a partition brought within the limits on sizes."""
        task = self.task
        self.offer(
            balance(self.embeddings, labels, task.criterion, task.clusters, task.least, task.most, self.deadline)
        )

    def begin(self) -> None:
        """Offer what the heuristics find: HAC, k-means, either refined, and with sizes groups as large as allowed."""
        task, embeddings, deadline = self.task, self.embeddings, self.deadline
        self.balanced(average_linkage(embeddings, task.clusters))
        self.balanced(best_refined(embeddings, task.clusters, task.criterion, deadline))
        for seed in range(2 if task.users > 120 else 6):
            if deadline is None or not deadline.passed:
                self.balanced(lloyd(embeddings, task.clusters, seed))
        if task.criterion == "sum":  # fewer clusters than allowed are better where they hold all
            for used in range(-(-task.users // task.most), task.clusters + 1):
                for seed in range(10):
                    if deadline is not None and deadline.passed:
                        return
                    labels = packed(embeddings, seed, used, task.least, task.most)
                    self.offer(balance(embeddings, labels, task.criterion, used, task.least, task.most, deadline))
