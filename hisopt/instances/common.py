"""What instances of both models are made of: frozen, validated data.

Units are SI: seconds, joules, watts, hertz, FLOP, bits. ``N`` is the number of users (UEs), ``M`` the largest
number of clusters. A per-user parameter is an array of shape (N,) or one number that holds for every user.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from functools import cache, cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from hisopt.arrays import (
    FloatArray,
    IndexVector,
    IntArray,
    NonNegativePerUser,
    PositivePerUser,
    RealMatrix,
    RealVector,
    SimilarityVector,
)
from hisopt.errors import InputError

SCHEMA_VERSION = 1
_UNIT_NORM_TOLERANCE = 1e-6


class Data(BaseModel):
    """Base of all parts: frozen, without unknown fields, every number finite."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", arbitrary_types_allowed=True, allow_inf_nan=False, validate_default=True
    )

    def replace(self, **changes: Any) -> Self:
        """Return a copy with the given fields changed, validated again."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        return type(self)(**{**values, **changes})


class Gpu(Data):
    """A processor in the model of (9)-(13) and (16)-(18).

    Attributes: ``sms`` streaming multiprocessors (the budget V of the server, v_n of a device), ``frequency_hz`` F,
    ``flop_per_cycle`` D per SM, ``utilisation`` rho, ``energy_coefficient`` kappa, ``power_per_sm`` mu1,
    ``power_static`` mu2. Speed is v F D rho in FLOP/s, power kappa (mu1 v + mu2) F^3 in W.
    """

    sms: PositivePerUser
    frequency_hz: PositivePerUser
    flop_per_cycle: PositivePerUser
    utilisation: PositivePerUser = np.float64(0.245)  # type: ignore[assignment]
    energy_coefficient: NonNegativePerUser = np.float64(1e-27)  # type: ignore[assignment]
    power_per_sm: NonNegativePerUser = np.float64(4.0)  # type: ignore[assignment]
    power_static: NonNegativePerUser = np.float64(135.0)  # type: ignore[assignment]


class Radio(Data):
    """Downlink of (14)-(15): bandwidth b_n in Hz, transmit power p_n in W, channel gain g_n, noise density in W/Hz."""

    bandwidth_hz: PositivePerUser
    power_w: PositivePerUser
    gain: PositivePerUser
    noise_w_per_hz: float = Field(default=10 ** (-174 / 10) * 1e-3, gt=0)


class Latent(Data):
    """The latent that is sent to a device; ``payload_bits`` is B of (14)."""

    height: int = Field(default=128, gt=0)
    width: int = Field(default=128, gt=0)
    channels: int = Field(default=16, gt=0)
    bits: int = Field(default=16, gt=0)
    compression: float = Field(default=2.0, gt=0)

    @property
    def payload_bits(self) -> float:
        """B = n_h n_w n_c rho_bits / tau."""
        return self.height * self.width * self.channels * self.bits / self.compression


class StepLimits(Data):
    """Bounds (28b-d) and the sum (28f) of the denoising steps: x common, y on the server, z on the device."""

    total: int = Field(default=28, ge=1)
    common_max: int = Field(default=16, ge=0)
    edge_min: int = Field(default=0, ge=0)
    edge_max: int = Field(default=11, ge=0)
    device_min: int = Field(default=1, ge=0)
    device_max: int = Field(default=28, ge=0)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.edge_min > self.edge_max:
            raise ValueError(f"edge_min {self.edge_min} exceeds edge_max {self.edge_max}")
        if self.device_min > self.device_max:
            raise ValueError(f"device_min {self.device_min} exceeds device_max {self.device_max}")
        low, high = self.edge_min + self.device_min, self.common_max + self.edge_max + self.device_max
        if not low <= self.total <= high:
            raise ValueError(f"total {self.total} cannot be reached: the bounds allow {low} to {high}")
        return self

    @property
    def served_min(self) -> int:
        """Fewest steps x + y that the server runs for a user, from z <= z_max and y >= y_min."""
        return max(self.total - self.device_max, self.edge_min)

    @property
    def served_max(self) -> int:
        """Most steps x + y that the server runs for a user, from z >= z_min."""
        return min(self.total - self.device_min, self.common_max + self.edge_max)

    def middle(self) -> tuple[int, int]:
        """Return x and y in the middle of their bounds, moved as little as the bounds on z need."""
        common, steps_edge = self.common_max // 2, (self.edge_min + self.edge_max) // 2
        excess = max(common + steps_edge - self.served_max, 0)
        common, steps_edge = common - min(common, excess), steps_edge - max(excess - common, 0)
        short = max(self.served_min - common - steps_edge, 0)
        rise = min(short, self.common_max - common)
        return common + rise, steps_edge + short - rise

    def pairs(self) -> IntArray:
        """Return all allowed (x, y), x major, shape (K, 2)."""
        x, y = np.meshgrid(np.arange(self.common_max + 1), np.arange(self.edge_min, self.edge_max + 1), indexing="ij")
        allowed = (x + y >= self.served_min) & (x + y <= self.served_max)
        return np.stack([x[allowed], y[allowed]], axis=1)

    @property
    def device_binds(self) -> bool:
        """Whether the bounds on z cut off some (x, y) of the box."""
        return self.served_max < self.common_max + self.edge_max or self.served_min > self.edge_min


class Weights(Data):
    """Weights of quality, delay and energy in the utility (23)."""

    quality: float = Field(default=1.0, ge=0)
    delay: float = Field(default=0.01, ge=0)
    energy: float = Field(default=3e-6, ge=0)


class QualityTable(Data):
    """HIQM, (7): coefficients (L, K, B, G) per similarity, shape (bins, 4), similarities increasing, shape (bins,)."""

    similarity: RealVector
    coefficients: RealMatrix

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.coefficients.shape != (len(self.similarity), 4):
            raise ValueError(f"coefficients: shape {self.coefficients.shape}, must be ({len(self.similarity)}, 4)")
        if len(self.similarity) < 2 or (np.diff(self.similarity) <= 0).any():
            raise ValueError("similarity: needs two or more increasing values")
        return self

    @classmethod
    def published(cls, *, modules: bool = True) -> Self:
        """Return the table fitted to the published CLIP scores, with or without the SIM and NPI modules (iota)."""
        data = _fitted_quality()
        return cls(similarity=data["similarity"], coefficients=data["with_modules" if modules else "without_modules"])


@cache
def _fitted_quality() -> dict[str, list[Any]]:
    data: dict[str, list[Any]] = json.loads((Path(__file__).parents[1] / "data" / "hiqm.json").read_text())
    return data


class PublicPrompt(Data):
    """How similar a cluster's public prompt is to its members' prompts (phi_n), as a function of the cluster.

    ``ideal``: phi_n = <e_n, normalised mean of the cluster>. ``affine``: slope times the mean similarity of n to its
    cluster's members (n included) plus intercept, the law of Fig. 8. ``medoid``: similarity to the member with the
    largest sum of similarities.
    """

    rule: Literal["ideal", "affine", "medoid"] = "ideal"
    slope: float = 1.0
    intercept: float = 0.0


class System(Data):
    """What both models share."""

    users: int = Field(ge=1)
    max_clusters: int = Field(ge=1)
    radio: Radio
    latent: Latent = Latent()
    steps: StepLimits = StepLimits()
    weights: Weights = Weights()
    quality: QualityTable = Field(default_factory=QualityTable.published)
    public_prompt: PublicPrompt = PublicPrompt()
    cluster_size_min: int = Field(default=1, ge=1)
    cluster_size_max: int | None = Field(default=None, ge=1)
    prompts: tuple[str, ...] | None = None
    embeddings: RealMatrix | None = None
    similarity: SimilarityVector | None = None
    clusters: IndexVector | None = None

    _processors: ClassVar[tuple[str, ...]] = ()

    @model_validator(mode="after")
    def _check_shapes(self) -> Self:
        faults = list(self._shape_faults())
        if faults:
            raise ValueError("; ".join(faults))
        return self

    def _shape_faults(self) -> Iterator[str]:
        if self.max_clusters > self.users:
            yield f"max_clusters {self.max_clusters} exceeds users {self.users}"
        for path, array in self._per_user():
            if array.ndim == 1 and len(array) != self.users:
                yield f"{path}: {len(array)} values for {self.users} users"
        if self.prompts is not None and len(self.prompts) != self.users:
            yield f"prompts: {len(self.prompts)} prompts for {self.users} users"
        if self.embeddings is not None:
            if len(self.embeddings) != self.users or self.embeddings.shape[1] == 0:
                yield f"embeddings: shape {self.embeddings.shape}, must be ({self.users}, d) with d >= 1"
            elif fault := norm_fault(self.embeddings):
                yield f"embeddings: {fault}"
        if self.clusters is not None and (self.clusters >= self.max_clusters).any():
            yield f"clusters: label {self.clusters.max()}, must be < max_clusters {self.max_clusters}"
        if self.cluster_size_max is not None:
            if self.cluster_size_max * self.max_clusters < self.users:
                yield (
                    f"cluster_size_max: {self.max_clusters} clusters of at most {self.cluster_size_max} users "
                    f"cannot hold {self.users} users"
                )
            if self.cluster_size_max < self.cluster_size_min:
                yield f"cluster_size_max {self.cluster_size_max} is below cluster_size_min {self.cluster_size_min}"

    def _per_user(self) -> Iterator[tuple[str, FloatArray]]:
        for name in (*self._processors, "radio"):
            part = getattr(self, name)
            for field in type(part).model_fields:
                value = getattr(part, field)
                if isinstance(value, np.ndarray):
                    yield f"{name}.{field}", value
        for field in ("similarity", "clusters", "given_common", "given_edge"):
            value = getattr(self, field, None)
            if value is not None:
                yield field, value

    @cached_property
    def content_hash(self) -> str:
        """First 16 hex digits of SHA-256 over every value that defines the instance (prompts' wording excluded)."""
        return content_hash(self, f"{type(self).__name__} {SCHEMA_VERSION}")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, System) and self.content_hash == other.content_hash

    def __hash__(self) -> int:
        return hash(self.content_hash)

    @cached_property
    def similarity_matrix(self) -> FloatArray:
        """S_ij = <e_i, e_j>, shape (N, N)."""
        matrix = self.vectors @ self.vectors.T
        return np.asarray((matrix + matrix.T) / 2)

    @property
    def size(self) -> str:
        """N and M in words."""
        return f"N = {self.users:,} users, M = {self.max_clusters:,} clusters"

    @property
    def vectors(self) -> FloatArray:
        """The embeddings, shape (N, d), known to be there; `InputError` where they are not."""
        if self.embeddings is None:
            raise InputError("embeddings: missing, and this problem needs them")
        return self.embeddings

    @property
    def labels(self) -> IntArray:
        """The given clusters' labels, shape (N,), known to be there; `InputError` where they are not."""
        if self.clusters is None:
            raise InputError("clusters: missing, and this problem needs them")
        return self.clusters

    def with_clusters(self, labels: IntArray) -> Self:
        """Return the instance with other clusters; similarities that belonged to the clusters before are dropped."""
        return self.replace(clusters=labels, similarity=None)

    model: ClassVar[str] = ""


def norm_fault(vectors: FloatArray) -> str | None:
    """Return which row of embeddings, shape (N, d), has not norm 1, and what to do about it; None if all have."""
    norms = np.linalg.norm(vectors, axis=1)
    distance = np.abs(norms - 1)
    bad = np.flatnonzero(distance > _UNIT_NORM_TOLERANCE)
    if not len(bad):
        return None
    rounded = " (rounded to a few digits?)" if distance.max() < 0.01 else ""
    return f"row {bad[0]} has norm {norms[bad[0]]:.6g}, must be 1{rounded}: --normalise scales every row"


def content_hash(data: BaseModel, tag: str) -> str:
    """Return the first 16 hex digits of SHA-256 over a tag and every value, without the prompts' wording."""
    digest = hashlib.sha256(tag.encode())

    def feed(value: Any, path: str) -> None:
        if isinstance(value, BaseModel):
            for field in type(value).model_fields:
                if field != "prompts":
                    feed(getattr(value, field), f"{path}.{field}")
        elif isinstance(value, np.ndarray):
            digest.update(f"{path} {value.dtype} {value.shape}".encode())
            digest.update(np.ascontiguousarray(value).tobytes())
        else:
            digest.update(f"{path} {value!r}".encode())

    feed(data, "")
    return digest.hexdigest()[:16]
