"""k-means, the usual heuristic for the criterion ``mean``."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from typing_extensions import override

from hisopt.decision import Decision
from hisopt.problems import Clustering, SumOfSquares
from hisopt.result import Guarantee, Limits, SolverResult, Termination
from hisopt.solvers.base import Solver

if TYPE_CHECKING:
    from hisopt.arrays import FloatArray, IntArray


def lloyd(points: FloatArray, clusters: int, seed: int) -> IntArray:
    """k-means (scipy's) of points (N, d) from one seeded k-means++ start; labels (N,), some perhaps unused."""
    from scipy.cluster.vq import kmeans2

    rng = np.random.default_rng(seed)
    with warnings.catch_warnings(), np.errstate(invalid="ignore"):  # fewer distinct points than clusters
        warnings.simplefilter("ignore", UserWarning)  # of empty clusters, which are allowed
        return np.asarray(kmeans2(points, clusters, minit="++", rng=rng, check_finite=False)[1], dtype=np.int64)


@dataclass(frozen=True)
class KMeans(Solver[Clustering | SumOfSquares]):
    """scikit-learn's k-means on the embeddings, best of ``restarts``; for unit vectors N - SSE is the ``mean``."""

    name = "kmeans"
    problems = (Clustering, SumOfSquares)
    guarantee = Guarantee.HEURISTIC
    requires = ("sklearn",)
    packages = ("scikit-learn",)
    restarts: int = 10

    @override
    def solve(self, problem: Clustering | SumOfSquares, limits: Limits) -> SolverResult:
        from sklearn.cluster import KMeans as SklearnKMeans
        from sklearn.exceptions import ConvergenceWarning

        with warnings.catch_warnings():  # fewer distinct prompts than clusters
            warnings.simplefilter("ignore", ConvergenceWarning)
            model = SklearnKMeans(problem.clusters, n_init=self.restarts, random_state=limits.seed)
            labels = model.fit_predict(problem.points)
        return SolverResult(Termination.COMPLETED, Decision(clusters=np.asarray(labels, dtype=np.int64)))
