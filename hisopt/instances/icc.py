"""Instances of the earlier ICC model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import numpy as np
from pydantic import Field

from hisopt.arrays import FloatArray, PositivePerUser
from hisopt.instances.common import System


class IccInstance(System):
    """One instance of the earlier ICC model (problem ``steps``), where processors are CPUs with fixed frequencies.

    ``cycles_edge`` and ``cycles_device`` are the cycles of one step; ``group_frequency_hz`` is f_m of the common
    phase, ``edge_frequency_hz`` f_n^ES and ``device_frequency_hz`` f_n^UE per user; energy of a step is
    kappa * cycles * f^2. ``clusters`` are the given groups.
    """

    model: ClassVar[str] = "icc"

    group_frequency_hz: float = Field(default=2e9, gt=0)
    edge_frequency_hz: PositivePerUser = np.float64(2e9)  # type: ignore[assignment]
    device_frequency_hz: PositivePerUser
    cycles_edge: float = Field(default=15e6, gt=0)
    cycles_device: float = Field(default=14e6, gt=0)
    energy_coefficient_edge: float = Field(default=1e-27, ge=0)
    energy_coefficient_device: float = Field(default=1e-27, ge=0)

    def _per_user(self) -> Iterator[tuple[str, FloatArray]]:
        yield from super()._per_user()
        yield "edge_frequency_hz", self.edge_frequency_hz
        yield "device_frequency_hz", self.device_frequency_hz
