"""Instances whose parameters all differ from each other, from 0 and from 1, so that no factor can be left out or swapped."""

from __future__ import annotations

import numpy as np

from hisopt.instances import Gpu, IccInstance, Instance, Latent, PublicPrompt, QualityTable, Radio, StepLimits, Weights

LABELS = [2, 0, 2, 0, 0, 3, 2]  # cluster 1 of five has no users, and neither has the last
STEPS = StepLimits(total=11, common_max=5, edge_min=0, edge_max=4, device_min=2, device_max=11)


def unit_rows(rng: np.random.Generator, users: int, size: int = 3) -> np.ndarray:
    rows = rng.normal(size=(users, size))
    return np.asarray(rows / np.linalg.norm(rows, axis=1)[:, None])


def _shared(rng: np.random.Generator, prompt: PublicPrompt, labels: list[int]) -> dict[str, object]:
    users = len(labels)
    return {
        "users": users, "max_clusters": min(users, max(labels) + 2), "clusters": labels, "embeddings": unit_rows(rng, users), "steps": STEPS,
        "public_prompt": prompt, "weights": Weights(quality=0.8, delay=1.7, energy=0.45),
        "latent": Latent(height=3, width=2, channels=5, bits=7, compression=1.6),
        "radio": Radio(
            bandwidth_hz=rng.uniform(2, 3, users), power_w=rng.uniform(4, 5, users), gain=rng.uniform(1.2, 1.9, users),
            noise_w_per_hz=0.37,
        ),
        "quality": QualityTable(
            similarity=[-0.6, 0.15, 0.4, 0.9],
            coefficients=[[2.5, -0.4, 1.3, -2.2], [3.1, -0.7, 2.2, -2.9], [1.4, 0.3, 3.3, -2.4], [4.2, -1.1, 2.7, 0.9]],
        ),
    }  # fmt: skip


def odd(
    seed: int = 0, prompt: PublicPrompt | None = None, labels: list[int] | None = None, **changes: object
) -> Instance:
    """Seven users in three of five clusters, or users with other labels."""
    rng = np.random.default_rng(seed)
    users = len(labels or LABELS)
    given = {} if labels else {"given_common": [5, 0, 2, 3, 1, 0, 4], "given_edge": [1, 0, 3, 4, 2, 0, 1]}
    fields = _shared(rng, prompt or PublicPrompt(), labels or LABELS) | given | {
        "edge": Gpu(
            sms=37.5, frequency_hz=3.1, flop_per_cycle=2.3, utilisation=0.6, energy_coefficient=0.71, power_per_sm=1.9,
            power_static=5.3,
        ),
        "devices": Gpu(
            sms=rng.uniform(6, 9, users), frequency_hz=rng.uniform(1.3, 2, users), utilisation=rng.uniform(0.3, 0.5, users),
            flop_per_cycle=rng.uniform(2.6, 3.4, users), energy_coefficient=rng.uniform(0.2, 0.3, users),
            power_per_sm=rng.uniform(1.1, 1.4, users), power_static=rng.uniform(7, 8, users),
        ),
        "flop_edge": 4.4, "flop_device": 3.7,
    }  # fmt: skip
    return Instance(**{**fields, **changes})


def odd_icc(seed: int = 0, **changes: object) -> IccInstance:
    """The same users in the ICC model."""
    rng = np.random.default_rng(seed)
    users = len(LABELS)
    fields = _shared(rng, PublicPrompt(), LABELS) | {
        "group_frequency_hz": 2.9, "edge_frequency_hz": rng.uniform(3, 4, users), "cycles_edge": 4.6, "cycles_device": 3.8,
        "device_frequency_hz": rng.uniform(1.2, 1.9, users), "energy_coefficient_edge": 0.31,
        "energy_coefficient_device": 0.43,
    }  # fmt: skip
    return IccInstance(**{**fields, **changes})
