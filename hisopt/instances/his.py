"""Instances of the hybrid inference scheme: the journal model."""

from __future__ import annotations

from typing import ClassVar, Self

import numpy as np
from pydantic import Field, model_validator

from hisopt.arrays import IndexVector, IntArray
from hisopt.errors import InputError
from hisopt.instances.common import Gpu, System


class Instance(System):
    """One instance of the hybrid inference scheme (journal model, (7)-(28)).

    Attributes
    ----------
    users, max_clusters
        N and M.
    edge, devices
        The server's GPU (its ``sms`` is the budget V) and the users' GPUs, per user.
    radio, latent, steps, weights, quality, public_prompt
        See their classes.
    flop_edge, flop_device
        Work of one denoising step on the server and on a device, xi in FLOP.
    cluster_size_min, cluster_size_max
        Optional limits on the size of a non-empty cluster.
    embeddings, prompts
        Unit-norm sentence embeddings, shape (N, d), and the prompts they come from.
    clusters, similarity
        The given clusters of ``allocation`` and ``joint``, labels of shape (N,), and phi_n, shape (N,); where
        ``similarity`` is absent it follows from the embeddings, the clusters and ``public_prompt``.
    given_common, given_edge
        The given steps x_n and y_n of ``allocation``, shape (N,).

    Raises
    ------
    pydantic.ValidationError
        If a field is missing, unknown, of the wrong shape or out of range.
    """

    model: ClassVar[str] = "his"
    _processors: ClassVar[tuple[str, ...]] = ("devices",)

    edge: Gpu
    devices: Gpu
    flop_edge: float = Field(default=12e12, gt=0)
    flop_device: float = Field(default=12e12, gt=0)
    given_common: IndexVector | None = None
    given_edge: IndexVector | None = None

    @model_validator(mode="after")
    def _check_edge(self) -> Self:
        for field in Gpu.model_fields:
            if getattr(self.edge, field).ndim:
                raise ValueError(f"edge.{field}: must be one number")
        if (self.given_common is None) != (self.given_edge is None):
            raise ValueError("given_common and given_edge: give both or none")
        if self.given_common is not None and self.given_edge is not None:
            self._check_given(self.given_common, self.given_edge)
        return self

    def _check_given(self, common: IntArray, steps_edge: IntArray) -> None:
        limits = self.steps
        for name, steps, low, high in (
            ("given_common", common, 0, limits.common_max),
            ("given_edge", steps_edge, limits.edge_min, limits.edge_max),
            ("given_common + given_edge", common + steps_edge, limits.served_min, limits.served_max),
        ):
            bad = np.flatnonzero((steps < low) | (steps > high))
            if len(bad):
                raise ValueError(f"{name}: user {bad[0]} has {steps[bad[0]]}, must be in {low} .. {high}")

    @property
    def sm_budget(self) -> float:
        """V, the SMs of the server's GPU, which the clusters share."""
        return float(self.edge.sms)

    @property
    def given_steps(self) -> tuple[IntArray, IntArray]:
        """The given x_n and y_n, shapes (N,), known to be there; `InputError` where they are not."""
        if self.given_common is None or self.given_edge is None:
            raise InputError("given_common: missing, and this problem needs them")
        return self.given_common, self.given_edge
