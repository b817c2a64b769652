"""Minimum sum-of-squares clustering of any points, with limits on sizes and pairs together or apart."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from typing_extensions import override

from hisopt.errors import InputError
from hisopt.instances import MegInstance
from hisopt.problems.base import Evaluation, Problem, labels_of
from hisopt.problems.clustering import Sizes, sizes_of

if TYPE_CHECKING:
    from hisopt.arrays import FloatArray, IntArray
    from hisopt.decision import Decision
    from hisopt.instances import AnyInstance

_DIGITS = 1e-9  # of the sum of squares about the mean: what rounding may leave of a sum inside clusters
_NAMED = 3  # violated pairs that are told


@dataclass(frozen=True, eq=False)
class SumOfSquares(Problem):
    """Cluster points into at most M clusters of least sum of squared distances to their centres.

    Attributes
    ----------
    points
        Shape (N, d), of any norm.
    clusters
        M.
    sizes
        Limits on the sizes of clusters.
    must_link, cannot_link
        Pairs of points (p, 2), numbered from 0, that share a cluster, or do not.

    Raises
    ------
    InputError
        For points that are no finite matrix, more clusters than points, or pairs of points that are not there. Pairs and
        sizes that exclude each other are no error: the problem then has no solution, and exact solvers prove it.
    """

    kind: ClassVar[str] = "clustering"
    needs: ClassVar[tuple[str, ...]] = ("embeddings",)
    maximise: ClassVar[bool] = False
    criterion: ClassVar[str] = "sse"

    points: FloatArray
    clusters: int
    sizes: Sizes = field(default_factory=Sizes)
    must_link: IntArray | None = None
    cannot_link: IntArray | None = None

    def __post_init__(self) -> None:
        try:
            points = np.array(self.points, dtype=np.float64)
        except (TypeError, ValueError):
            raise InputError("points: must be a regular array of numbers") from None
        if points.ndim != 2 or 0 in points.shape or not np.isfinite(points).all():
            raise InputError(f"points: must be finite numbers of shape (N, d), has shape {points.shape}")
        if not 1 <= self.clusters <= len(points):
            raise InputError(f"clusters: is {self.clusters}, must be 1 .. {len(points)}")
        points.setflags(write=False)
        object.__setattr__(self, "points", points)
        for name in ("must_link", "cannot_link"):
            object.__setattr__(self, name, _pairs(getattr(self, name), len(points), name))

    @classmethod
    def of(cls, instance: AnyInstance) -> Self:
        """Return the clustering of an instance's embeddings."""
        if isinstance(instance, MegInstance) or instance.embeddings is None:
            raise InputError(f"embeddings: missing, and the problem {cls.kind} needs it")
        return cls(instance.embeddings, instance.max_clusters, sizes_of(instance))

    @property
    @override
    def users(self) -> int:
        return len(self.points)

    @property
    @override
    def max_clusters(self) -> int:
        return self.clusters

    @property
    @override
    def detail(self) -> str:
        return self.criterion

    @property
    def together(self) -> IntArray:
        """``must_link``, shape (p, 2), perhaps empty."""
        return _NONE if self.must_link is None else self.must_link

    @property
    def apart(self) -> IntArray:
        """``cannot_link``, shape (q, 2), perhaps empty."""
        return _NONE if self.cannot_link is None else self.cannot_link

    @property
    def plain(self) -> bool:
        """Whether neither limits on sizes nor pairs exclude any partition."""
        return not len(self.together) and not len(self.apart) and not self.sizes.binds(self.users)

    @override
    def record(self) -> dict[str, Any]:
        return super().record() | {"criterion": self.criterion}

    @override
    def _score(self, decision: Decision) -> Evaluation:
        labels, faults = labels_of(decision, self.users, self.clusters)
        if labels is None:
            return Evaluation(None, violations=tuple(faults))
        squares = sum_of_squares(self.points, labels)
        whole = sum_of_squares(self.points, np.zeros_like(labels))
        faults = self.sizes.faults(labels)
        faults += _violated("must_link", self.together, labels[self.together[:, 0]] != labels[self.together[:, 1]])
        faults += _violated("cannot_link", self.apart, labels[self.apart[:, 0]] == labels[self.apart[:, 1]])
        # a gap is relative to the sum itself, unless rounding is all that is left of it
        return Evaluation(squares, violations=tuple(faults), scale=max(squares, 1000 * _DIGITS * whole))


_NONE = np.zeros((0, 2), dtype=np.int64)


def sum_of_squares(points: FloatArray, labels: IntArray) -> float:
    """Return the sum of squared distances of points (N, d) to the mean of their label (N,)."""
    order = np.argsort(labels, kind="stable")
    starts = np.flatnonzero(np.diff(labels[order], prepend=-1))
    total = 0.0
    for members in np.split(order, starts[1:]):
        part = points[members]
        part = part - part[0]  # from a member, so that equal points are exactly at their centre
        total += float(np.square(part - part.mean(axis=0)).sum())
    return total


def _pairs(given: Any, size: int, name: str) -> IntArray | None:
    if given is None:
        return None
    array = np.asarray(given)
    if not array.size:
        return None
    if array.ndim != 2 or array.shape[1] != 2 or array.dtype.kind not in "iu":
        raise InputError(f"{name}: must be pairs of point numbers")
    bad = np.flatnonzero((array < 0).any(axis=1) | (array >= size).any(axis=1))
    if len(bad):
        raise InputError(f"{name}: pair {bad[0]} is {tuple(array[bad[0]].tolist())}, must lie in 0 to {size - 1}")
    array = array.astype(np.int64)
    array.setflags(write=False)
    return array


def _violated(name: str, pairs: IntArray, wrong: Any) -> list[str]:
    found = pairs[wrong][:_NAMED].tolist()
    return [f"{name}: points {i} and {j}" for i, j in found]
