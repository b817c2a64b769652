"""Costs that floating-point numbers hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hisopt.equations import (
    device_step_cost,
    edge_step_energy_cost,
    edge_work_cost,
    quality_at_bins,
    transmission_cost,
)
from hisopt.errors import InputError

if TYPE_CHECKING:
    from hisopt.instances import Instance

_LARGEST = 1e200  # part of the utility; squares and sums of smaller ones stay finite where they are needed


def check_scales(instance: Instance) -> None:
    """Raise `InputError` for costs whose sums or squares would leave the floating-point range."""
    work = instance.steps.common_max + instance.steps.edge_max * instance.users
    with np.errstate(all="ignore"):
        load = instance.max_clusters * float(np.sqrt(edge_work_cost(instance, np.asarray(instance.users)) * work))
        coupling = max(load, 1.0) * max(load / instance.sm_budget, 1.0)
        step = float(np.max(device_step_cost(instance)))
        sizes = {
            "edge": max(edge_step_energy_cost(instance) * work, coupling),
            "devices": step * instance.steps.total * instance.users,
            "radio, latent": -transmission_cost(instance),
        }
        bins = quality_at_bins(instance.quality, np.arange(instance.steps.common_max + 1))
        sizes["quality"] = instance.weights.quality * float(np.max(np.abs(bins))) * instance.users
    for place, size in sizes.items():
        if not abs(size) < _LARGEST:
            raise InputError(f"{place}: their part of the utility can reach {float(size):.3g}, must stay below 1e200")
