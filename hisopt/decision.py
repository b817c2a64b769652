"""What a solver returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from hisopt.arrays import FloatArray, IntArray


@dataclass(frozen=True, eq=False)
class Decision:
    """Clusters, steps and SMs; a problem reads the fields it decides and takes the rest from its instance.

    Attributes
    ----------
    clusters
        Cluster label of each user, 0 .. M-1, shape (N,).
    steps_common, steps_edge, steps_device
        x_n, y_n and z_n of each user, integers of shape (N,).
    sms
        SMs v_m of each cluster, shape (M,).
    """

    clusters: IntArray | None = None
    steps_common: IntArray | None = None
    steps_edge: IntArray | None = None
    steps_device: IntArray | None = None
    sms: FloatArray | None = None

    @classmethod
    def of_steps(
        cls,
        total: int,
        common: IntArray,
        edge: IntArray,
        sms: FloatArray | None = None,
        clusters: IntArray | None = None,
    ) -> Decision:
        """Return a decision whose device steps are what is left of ``total``, (28f)."""
        common, edge = np.asarray(common, dtype=np.int64), np.asarray(edge, dtype=np.int64)
        return cls(clusters, common, edge, total - common - edge, sms)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields that are set, as lists."""
        return {name: np.asarray(value).tolist() for name, value in vars(self).items() if value is not None}
