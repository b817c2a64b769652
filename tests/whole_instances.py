"""Instances small enough for enumeration, in which whole SMs decide."""

from __future__ import annotations

from typing import Any

import numpy as np
from plain_instances import odd

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


STEPS = [
    StepLimits(total=3, common_max=2, edge_min=0, edge_max=1, device_min=0, device_max=3),
    StepLimits(total=3, common_max=1, edge_min=1, edge_max=2, device_min=0, device_max=3),
    StepLimits(total=2, common_max=2, edge_min=0, edge_max=2, device_min=0, device_max=1),
    StepLimits(total=2, common_max=1, edge_min=0, edge_max=1, device_min=1, device_max=2),
]


def few(seed: int, **changes: object) -> Instance:
    """Up to three users, up to six SMs; weights of which some are zero."""
    rng = np.random.default_rng(seed)
    labels = [[0], [0, 0], [1, 0], [0, 0, 1], [1, 0, 2], [0, 0, 0], [2, 0, 2]][seed % 7]
    given = odd(seed, labels=labels)
    quality, delay, energy = rng.choice([0, 0.4, 1.3]), rng.choice([0, 0.7, 1.9]), rng.choice([0, 0.02, 0.3])
    fields: dict[str, Any] = {
        "steps": STEPS[seed % 4],
        "flop_device": float(rng.choice([3.7, 37.0, 90.0])),
        "edge": given.edge.replace(sms=float(rng.integers(0, 7)) + (0.5 if seed % 3 == 0 else 0.25)),
        "weights": Weights(quality=quality, delay=delay, energy=energy),
    }
    return given.replace(**fields | changes)


def gapped(**changes: object) -> Instance:
    """Four clusters between which neither a price of an SM nor real SMs decide: the merge must."""
    return tiny([0, 1, 2, 3], [1.28, 0.91, 1.47, 0.51], 5, **changes)
