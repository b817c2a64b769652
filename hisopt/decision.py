"""What a solver returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, TypeVar

import numpy as np

from hisopt.arrays import FloatArray, IntArray

Array = TypeVar("Array", FloatArray, IntArray)
Shapes = Mapping[str, tuple[int, ...]]
REAL = ("sms", "policy")  # the fields that are no integers


@dataclass(frozen=True, eq=False)
class Decision:
    """Clusters, steps, SMs or a policy; a problem reads the fields it decides and takes the rest from its instance.

    Attributes
    ----------
    clusters
        Cluster label of each user, 0 .. M-1, shape (N,).
    steps_common, steps_edge, steps_device
        x_n, y_n and z_n of each user, integers of shape (N,).
    sms
        SMs v_m of each cluster, shape (M,).
    policy
        Of MEG: the probability of each action in each channel bin, shape (H, A).
    """

    clusters: IntArray | None = None
    steps_common: IntArray | None = None
    steps_edge: IntArray | None = None
    steps_device: IntArray | None = None
    sms: FloatArray | None = None
    policy: FloatArray | None = None

    @classmethod
    def of_steps(
        cls,
        total: int,
        common: IntArray,
        steps_edge: IntArray,
        sms: FloatArray | None = None,
        clusters: IntArray | None = None,
    ) -> Decision:
        """Return a decision whose device steps are what is left of ``total``, (28f)."""
        common, steps_edge = np.asarray(common, dtype=np.int64), np.asarray(steps_edge, dtype=np.int64)
        return cls(clusters, common, steps_edge, total - common - steps_edge, sms)

    @property
    def labels(self) -> IntArray:
        """The cluster labels, known to be there; ValueError where they are not."""
        return _present("clusters", self.clusters)

    @property
    def server_steps(self) -> tuple[IntArray, IntArray]:
        """x_n and y_n, known to be there; ValueError where they are not."""
        return _present("steps_common", self.steps_common), _present("steps_edge", self.steps_edge)

    @property
    def device_steps(self) -> IntArray:
        """z_n, known to be there; ValueError where they are not."""
        return _present("steps_device", self.steps_device)

    @property
    def cluster_sms(self) -> FloatArray:
        """v_m, known to be there; ValueError where they are not."""
        return _present("sms", self.sms)

    @property
    def probabilities(self) -> FloatArray:
        """The policy, known to be there; ValueError where it is not."""
        return _present("policy", self.policy)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields that are set, as lists."""
        return {name: np.asarray(value).tolist() for name, value in vars(self).items() if value is not None}


def _present(name: str, value: Array | None) -> Array:
    if value is None:
        raise ValueError(f"decision: {name} is missing")
    return value


def shapes_of(users: int, clusters: int) -> Shapes:
    """Return the shapes of the fields of a decision on users' clusters, steps and SMs."""
    return dict.fromkeys(("clusters", "steps_common", "steps_edge", "steps_device"), (users,)) | {"sms": (clusters,)}


def plain(decision: Decision, shapes: Shapes) -> tuple[Decision, tuple[str, ...]]:
    """Return a decision whose fields are plain int64 and float64 arrays of the right shapes, and what was refused.

    This is the one door through which decisions of solvers come: what lies behind it computes with plain arrays only, so
    that no narrow integer wraps and no subclass answers for itself. Refused, and left out, are masked arrays, other
    shapes than those given, fields that have none, labels and steps that are not integers of 64 bits, SMs and
    probabilities that are not finite real numbers, and whatever is no array, list or tuple. Lengths are looked at before
    anything is copied. Fields that are None stay None.
    """
    kept: dict[str, Any] = {}
    faults = []
    for field in fields(Decision):
        value = getattr(decision, field.name)
        if value is None:
            continue
        if field.name not in shapes:
            faults.append(f"{field.name}: is no part of a decision here")
            continue
        array = _plain(value, shapes[field.name], field.name in REAL)
        if array is None:
            faults.append(malformed(field.name, *shapes[field.name]))
        else:
            kept[field.name] = array
    return Decision(**kept), tuple(faults)


def malformed(name: str, *shape: int) -> str:
    """Say what a field of a decision must be."""
    count = " x ".join(map(str, shape))
    if name in REAL:
        return f"{name}: must be {count} finite numbers"
    return f"{name}: must be {count} {'integer labels' if name == 'clusters' else 'integers'}"


def _plain(value: Any, shape: tuple[int, ...], real: bool) -> FloatArray | IntArray | None:
    if isinstance(value, np.ma.MaskedArray):
        return None
    if not isinstance(value, np.ndarray):
        if not isinstance(value, (list, tuple)) or len(value) != shape[0]:
            return None
        try:
            value = np.asarray(value)
        except (TypeError, ValueError, OverflowError):
            return None
    array = np.asarray(value)  # the data itself, without a subclass's methods
    if array.shape != shape or array.dtype.kind not in ("iuf" if real else "iu"):
        return None
    if real:
        with np.errstate(over="ignore"):
            numbers = np.array(array, dtype=np.float64, order="C")
        return numbers if np.isfinite(numbers).all() else None
    if array.dtype.kind == "u" and array.size and array.max() > np.iinfo(np.int64).max:
        return None
    return np.array(array, dtype=np.int64)
