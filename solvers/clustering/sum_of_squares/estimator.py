"""Exact k-means as an estimator of scikit-learn."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, ClusterMixin, TransformerMixin
from sklearn.metrics import pairwise_distances, pairwise_distances_argmin
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from hisopt.errors import InputError
from hisopt.result import Limits
from hisopt.solvers.base import Deadline
from hisopt.solvers.clustering.sum_of_squares.groups import bounded, fair_groups
from hisopt.solvers.clustering.sum_of_squares.hybrid import hybrid
from hisopt.solvers.clustering.sum_of_squares.items import Impossible, Items, Pairs, items_of
from hisopt.solvers.clustering.sum_of_squares.search import Answer, solve

if TYPE_CHECKING:
    from hisopt.arrays import FloatArray, IntArray


_GROUP = 120  # points in a fair group
_SEARCHED_UP_TO = 3000  # different points, whose matrix of pairs a search holds many times


class ExactKMeans(ClassNamePrefixFeaturesOutMixin, TransformerMixin, ClusterMixin, BaseEstimator):  # type: ignore[misc]
    """k-means to a proven optimum, or with a proven gap where time runs out.

    Beyond 3,000 different points there is no search: the heuristic's partition comes with the bound of fair groups
    (`hisopt.solvers.clustering.sum_of_squares.groups`), or, with limits, pairs or weights, with the bound 0.

    Parameters
    ----------
    n_clusters
        Number of clusters, all of which are used where there are as many different points.
    size_min, size_max
        Least and most points in a cluster.
    must_link, cannot_link
        Pairs of row numbers of X that share a cluster, or do not.
    time_limit
        Seconds until the best partition so far is taken.
    tolerance
        Gap, relative to the sum of squares, that counts as closed.
    random_state
        Seed of the heuristic.
    n_jobs
        Nodes of the search, or groups of its bound, processed at a time, each in a process of its own; None is one, -1 as
        many as there are cores. A script that asks for several calls `fit` under ``if __name__ == "__main__"``.

    Attributes
    ----------
    labels_, cluster_centers_, inertia_
        As of scikit-learn's KMeans; clusters are numbered by their centres in lexicographic order.
    lower_bound_
        What no partition's sum of squares can be below.
    gap_
        (inertia_ - lower_bound_) / inertia_, 0 where both vanish.
    n_nodes_, n_features_in_
        Nodes of the search, features.

    Raises
    ------
    InputError
        From `fit`, where arguments make no sense, no partition meets limits and pairs (the text names why), or none was
        found in time. It is a ValueError.
    """

    def __init__(
        self, n_clusters: int = 3, *, size_min: int | None = None, size_max: int | None = None,
        must_link: Pairs | None = None, cannot_link: Pairs | None = None, time_limit: float = 60.0,
        tolerance: float = 1e-6, random_state: int = 0, n_jobs: int | None = None,
    ) -> None:  # fmt: skip
        self.n_clusters = n_clusters
        self.size_min = size_min
        self.size_max = size_max
        self.must_link = must_link
        self.cannot_link = cannot_link
        self.time_limit = time_limit
        self.tolerance = tolerance
        self.random_state = random_state
        self.n_jobs = n_jobs

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:  # noqa: ARG002
        """Cluster the rows of X (N, d), weighted by ``sample_weight`` (N,); ``y`` is not used."""
        X = validate_data(self, X, dtype=np.float64)
        weights = None if sample_weight is None else _check_sample_weight(sample_weight, X, ensure_non_negative=True)
        deadline = Deadline(Limits(time_s=float(self.time_limit)))
        try:
            items = items_of(
                X, self.n_clusters, weights=weights, least=self.size_min, most=self.size_max,
                must_link=self.must_link if self.must_link is not None else (),
                cannot_link=self.cannot_link if self.cannot_link is not None else (),
            )  # fmt: skip
        except Impossible as error:
            raise InputError(str(error)) from None
        seed, jobs = int(self.random_state or 0), _processes(self.n_jobs)
        if len(items) > _SEARCHED_UP_TO:
            answer = _bounded_only(X, items, deadline, seed, jobs)
        else:
            answer = solve(items, deadline, self.tolerance, seed, processes=jobs)
        if answer.labels is None:
            raise InputError(answer.impossible or f"no partition found in {self.time_limit} s")
        self.labels_, self.cluster_centers_ = _numbered(X, answer.labels, weights)
        self.inertia_, self.lower_bound_ = answer.squares, answer.lower
        self.gap_, self.n_nodes_ = answer.gap, answer.nodes
        return self

    def predict(self, X: Any) -> IntArray:
        """Return the nearest centre of each row; limits and pairs play no part."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        return np.asarray(pairwise_distances_argmin(X, self.cluster_centers_), dtype=np.int64)

    def transform(self, X: Any) -> FloatArray:
        """Return the distances to the centres, shape (rows, clusters)."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        return np.asarray(pairwise_distances(X, self.cluster_centers_))

    @property
    def _n_features_out(self) -> int:
        return len(self.cluster_centers_)


def _processes(jobs: int | None) -> int:
    return (os.cpu_count() or 1) if jobs == -1 else int(jobs or 1)


def _bounded_only(points: FloatArray, items: Items, deadline: Deadline, seed: int, processes: int) -> Answer:
    """Return the heuristic's partition of many points, and the bound of fair groups where nothing constrains them."""
    brief = Deadline(Limits(time_s=0.2 * deadline.left))
    found = hybrid(items, seed, 20, patience=10, deadline=brief)
    if found is None:
        return Answer(None, np.inf, 0.0, 0, False)
    labels, lower = np.where(items.groups >= 0, found[items.groups], -1), 0.0
    if items.plain and int(items.counts.sum()) == len(points) and items.counted:
        centred = points - points.mean(axis=0)
        groups = fair_groups(centred, labels, max(len(points) // _GROUP, 1), seed)
        lower = bounded(points, items.clusters, groups, deadline, processes=processes).lower
    squares = items.squares(found) * items.unit
    return Answer(labels, squares, min(lower, squares), 0, False)


def _numbered(points: FloatArray, labels: IntArray, weights: FloatArray | None) -> tuple[IntArray, FloatArray]:
    """Number clusters by their centres in lexicographic order; rows of weight zero go to the nearest centre."""
    inside = np.flatnonzero(labels >= 0)
    own = np.unique(labels[inside], return_inverse=True)[1]
    count = int(own.max()) + 1
    w = np.ones(len(inside)) if weights is None else weights[inside] / weights.max()
    centres = np.array([np.average(points[inside][own == m], axis=0, weights=w[own == m]) for m in range(count)])
    digits = centres / (float(np.abs(centres).max()) or 1.0)
    order = np.lexsort(np.round(digits, 9).T[::-1])  # so that rounding does not change the numbers
    own, centres = np.argsort(order)[own], centres[order]
    new = np.asarray(pairwise_distances_argmin(points, centres), dtype=np.int64)
    new[inside] = own
    return new, centres
