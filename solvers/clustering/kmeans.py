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
from hisopt.solvers.base import Deadline, Solver
from hisopt.solvers.run.progress import report

if TYPE_CHECKING:
    from hisopt.arrays import FloatArray, IntArray

_AT_ONCE = 20_000  # points up to which all restarts together take no time worth looking at the clock


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

        deadline = Deadline(limits)
        state = np.random.RandomState(limits.seed)  # what scikit-learn draws its restarts from
        whole = problem.users <= _AT_ONCE
        best, least, done = np.zeros(problem.users, dtype=np.int64), np.inf, 0
        with warnings.catch_warnings():  # fewer distinct prompts than clusters
            warnings.simplefilter("ignore", ConvergenceWarning)
            while done == 0 or (done < self.restarts and not deadline.passed):
                model = SklearnKMeans(problem.clusters, n_init=self.restarts if whole else 1, random_state=state)
                labels = model.fit_predict(problem.points)
                done += self.restarts if whole else 1
                if model.inertia_ < least:
                    best, least = np.asarray(labels, dtype=np.int64), float(model.inertia_)
                    report(Decision(clusters=best))
        if done < self.restarts:
            message = f"time for {done} of {self.restarts} restarts"
            return SolverResult(Termination.TIME_LIMIT, Decision(clusters=best), message=message)
        return SolverResult(Termination.COMPLETED, Decision(clusters=best))
