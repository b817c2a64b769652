"""P_I: a partition of points."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, get_args

import numpy as np

from hisopt.equations import clustering_value
from hisopt.errors import InputError
from hisopt.instances import MegInstance
from hisopt.problems.base import Evaluation, Problem, labels_of

if TYPE_CHECKING:
    from hisopt.arrays import FloatArray, IntArray
    from hisopt.decision import Decision
    from hisopt.instances import AnyInstance, IccInstance, Instance

Criterion = Literal["mean", "centroid", "sum"]
CRITERIA: tuple[Criterion, ...] = get_args(Criterion)
_NEGATIVE = 1e-9  # relative size of a negative eigenvalue that is rounding


@dataclass(frozen=True)
class Sizes:
    """Fewest and most members of a cluster that is not empty; ``most`` None: no limit."""

    least: int = 1
    most: int | None = None

    def __post_init__(self) -> None:
        if self.least < 1:
            raise InputError(f"sizes: least is {self.least}, must be >= 1")
        if self.most is not None and self.most < self.least:
            raise InputError(f"sizes: most {self.most} is below least {self.least}")

    def binds(self, users: int) -> bool:
        """Whether they forbid any size of so many users' clusters."""
        return self.least > 1 or (self.most is not None and self.most < users)

    def faults(self, labels: IntArray) -> list[str]:
        """Say which limit labels violate."""
        sizes = np.bincount(labels)
        sizes = sizes[sizes > 0]
        found = []
        if sizes.min() < self.least:
            found.append(f"clusters: one has {sizes.min()} users, at least {self.least} allowed")
        if self.most is not None and sizes.max() > self.most:
            found.append(f"clusters: one has {sizes.max()} users, at most {self.most} allowed")
        return found


def sizes_of(instance: Instance | IccInstance) -> Sizes:
    """Return an instance's limits on cluster sizes."""
    return Sizes(instance.cluster_size_min, instance.cluster_size_max)


@dataclass(frozen=True, eq=False)
class Clustering(Problem):
    """Cluster points into at most M clusters.

    Attributes
    ----------
    points
        Shape (N, d); unit-norm sentence embeddings, or any other finite numbers.
    clusters
        M.
    criterion
        ``mean`` maximises the sums of inner products within clusters over their sizes, which is minimum sum-of-squares
        clustering; ``centroid`` the lengths of the clusters' sums; ``sum`` the sums of inner products, (25a).
    sizes
        Limits on the sizes of clusters.

    Raises
    ------
    InputError
        For points that are no finite matrix, an unknown criterion, or more clusters than points.
    """

    kind: ClassVar[str] = "clustering"
    needs: ClassVar[tuple[str, ...]] = ("embeddings",)

    points: FloatArray
    clusters: int
    criterion: Criterion = "mean"
    sizes: Sizes = Sizes()

    def __post_init__(self) -> None:
        try:
            points = np.array(self.points, dtype=np.float64)
        except (TypeError, ValueError):
            raise InputError("points: must be a regular array of numbers") from None
        if points.ndim != 2 or 0 in points.shape or not np.isfinite(points).all():
            raise InputError(f"points: must be finite numbers of shape (N, d), has shape {points.shape}")
        points.setflags(write=False)
        object.__setattr__(self, "points", points)
        if self.criterion not in CRITERIA:
            raise InputError(f"criterion {self.criterion!r}: clustering takes one of {', '.join(CRITERIA)}")
        if not 1 <= self.clusters <= len(points):
            raise InputError(f"clusters: is {self.clusters}, must be 1 .. {len(points)}")

    @classmethod
    def of(cls, instance: AnyInstance, criterion: Criterion = "mean") -> Self:
        """Return the clustering of an instance's embeddings."""
        if isinstance(instance, MegInstance) or instance.embeddings is None:
            raise InputError(f"embeddings: missing, and the problem {cls.kind} needs it")
        return cls(instance.embeddings, instance.max_clusters, criterion, sizes_of(instance))

    @classmethod
    def from_similarities(
        cls, similarities: FloatArray, clusters: int, criterion: Criterion = "mean", sizes: Sizes | None = None
    ) -> Self:
        """Return the clustering of points with these inner products, shape (N, N), symmetric and positive semidefinite."""
        matrix = np.asarray(similarities, dtype=np.float64)
        if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not np.isfinite(matrix).all():
            raise InputError(f"similarities: must be finite numbers of shape (N, N), has shape {matrix.shape}")
        if not np.allclose(matrix, matrix.T, rtol=1e-9, atol=1e-12):
            raise InputError("similarities: must be symmetric")
        values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
        largest = max(float(np.abs(values).max()), 1e-300)
        if values[0] < -_NEGATIVE * len(matrix) * largest:
            raise InputError(f"similarities: no inner products of points, an eigenvalue is {values[0]:.3g}")
        return cls(vectors * np.sqrt(np.maximum(values, 0.0)), clusters, criterion, sizes or Sizes())

    @property
    def users(self) -> int:
        """N."""
        return len(self.points)

    @property
    def max_clusters(self) -> int:
        """M."""
        return self.clusters

    @property
    def detail(self) -> str:
        """The criterion."""
        return self.criterion

    @cached_property
    def similarity_matrix(self) -> FloatArray:
        """S_ij = <e_i, e_j>, shape (N, N)."""
        matrix = self.points @ self.points.T
        return np.asarray((matrix + matrix.T) / 2)

    def record(self) -> dict[str, Any]:
        """Return what a record says of the problem."""
        return super().record() | {"criterion": self.criterion}

    def _score(self, decision: Decision) -> Evaluation:
        labels, faults = labels_of(decision, self.users, self.clusters)
        if labels is None:
            return Evaluation(None, violations=tuple(faults))
        value = clustering_value(self.criterion, self.points, labels)
        # of parallel points of the same lengths, which do not cancel
        scale = clustering_value(self.criterion, np.linalg.norm(self.points, axis=1, keepdims=True), labels)
        return Evaluation(value, violations=tuple(self.sizes.faults(labels)), scale=scale)
