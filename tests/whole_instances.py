"""Instances small enough for enumeration, in which whole SMs decide."""

from __future__ import annotations

import numpy as np

from hisopt import Instance
from hisopt.instances import Gpu, Latent, Radio, StepLimits, Weights


def tiny(
    labels: list[int], device_cost: list[float], sms: float, clusters: int | None = None, **changes: object
) -> Instance:
    """One server step costs |N_m| / v_m (and nothing else), one device step of user n ``device_cost[n]``."""
    plain = {
        "flop_per_cycle": 1.0,
        "utilisation": 1.0,
        "energy_coefficient": 1.0,
        "power_per_sm": 0.0,
        "frequency_hz": 1.0,
    }
    fields = {
        "users": len(labels),
        "max_clusters": clusters or max(labels) + 1,
        "edge": Gpu(sms=sms, power_static=0.0, **plain),
        "devices": Gpu(sms=1 / np.array(device_cost), power_static=0.0, **plain),
        "radio": Radio(bandwidth_hz=1e9, power_w=1.0, gain=1e9),
        "latent": Latent(height=1, width=1, channels=1, bits=1),
        "steps": StepLimits(total=1, common_max=1, edge_max=0, device_min=0, device_max=1),
        "weights": Weights(quality=0, delay=1, energy=0),
        "flop_edge": 1.0,
        "flop_device": 1.0,
        "clusters": labels,
        "similarity": [0.5] * len(labels),
    }
    return Instance(**{**fields, **changes})
