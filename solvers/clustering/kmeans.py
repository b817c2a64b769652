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
from hisopt.solvers.base import Deadline, Solver, sized
from hisopt.solvers.run.progress import report

if TYPE_CHECKING:
    from hisopt.arrays import FloatArray, IntArray
    from hisopt.problems import Problem

_LIMITED_UP_TO = 20_000  # points that an integer program assigns
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
    """scikit-learn's k-means on the embeddings, best of ``restarts``; for unit vectors N - SSE is the ``mean``.

    With limits on sizes or pairs, an integer program assigns the points to the centres (Bradley, Bennett and Demiriz, 2000).
    """

    name = "kmeans"
    problems = (Clustering, SumOfSquares)
    guarantee = Guarantee.HEURISTIC
    requires = ("sklearn",)
    packages = ("scikit-learn",)
    restarts: int = 10

    @override
    def serves(self, problem: Problem) -> bool:
        return isinstance(problem, self.problems) and (problem.users <= _LIMITED_UP_TO or not sized(problem))

    @override
    def solve(self, problem: Clustering | SumOfSquares, limits: Limits) -> SolverResult:
        if sized(problem):
            return self._within_limits(problem, limits)
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

    def _within_limits(self, problem: Clustering | SumOfSquares, limits: Limits) -> SolverResult:
        from hisopt.solvers.clustering.sum_of_squares.hybrid import constrained_lloyd, spread
        from hisopt.solvers.clustering.sum_of_squares.items import Impossible, items_of

        deadline, rng = Deadline(limits), np.random.default_rng(limits.seed)
        apart, together = (problem.apart, problem.together) if isinstance(problem, SumOfSquares) else ((), ())
        best, least, done = None, np.inf, 0
        try:
            items = items_of(
                problem.points, problem.clusters, least=problem.sizes.least, most=problem.sizes.most,
                must_link=together, cannot_link=apart, exactly=False,
            )  # fmt: skip
            while done == 0 or (done < self.restarts and not deadline.passed):
                found = constrained_lloyd(items, spread(items, items.clusters, rng), deadline)
                done += 1
                if found is not None and items.squares(found) < least:
                    best, least = Decision(clusters=found[items.groups]), items.squares(found)
                    report(best)
        except Impossible as error:
            return SolverResult(Termination.COMPLETED, message=str(error))
        if best is None or done < self.restarts:
            return SolverResult(Termination.TIME_LIMIT, best, message=f"time for {done} of {self.restarts} restarts")
        return SolverResult(Termination.COMPLETED, best)
