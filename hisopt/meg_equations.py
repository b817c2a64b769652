"""The equations of MEG, each written once and vectorised. Shapes: H channel bins, A numbers of steps, B merging ratios.

Numbers and forms are the MEG paper's (see `hisopt.instances.meg`), energies in joules throughout.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from hisopt.arrays import FloatArray, IntArray
    from hisopt.instances.meg import MegInstance


def merged_tokens(instance: MegInstance) -> IntArray:
    """m = floor(N_t beta) of each merging ratio, shape (B,)."""
    # a ratio such as 0.3 times 4,000 must not fall below 1,200 by rounding
    return np.floor(instance.tokens * instance.ratios * (1 + 4 * np.finfo(float).eps)).astype(np.int64)


def payload_bits(instance: MegInstance) -> FloatArray:
    """Z = bits (channels (N_t - m) + m) of each merging ratio, shape (B,): merged tokens keep one channel of sixteen.

    An instance's own ``payload`` takes its place.
    """
    if instance.payload is not None:
        return instance.payload
    merged = merged_tokens(instance)
    return np.asarray(
        instance.token_bits * (instance.token_channels * (instance.tokens - merged) + merged), dtype=np.float64
    )


def rate(instance: MegInstance) -> FloatArray:
    """R = b log2(1 + p g / sigma^2) in bit/s of each bin, shape (H,)."""
    snr = instance.power_w * instance.channel.gain / instance.noise_w
    return np.asarray(instance.bandwidth_hz * np.log1p(snr) / np.log(2))


def visits(instance: MegInstance) -> FloatArray:
    """Weight of each bin in all means, shape (H,): nu in the long run, (1 - gamma) mu (I - gamma P)^-1 discounted from mu."""
    channel, gamma = instance.channel, instance.discount
    if gamma is None or channel.start is None:
        return channel.probability
    if channel.transition is None:
        return np.asarray((1 - gamma) * channel.start + gamma * channel.probability)
    balance = np.eye(channel.bins) - gamma * channel.transition.T
    return np.asarray(np.maximum(np.linalg.solve(balance, (1 - gamma) * channel.start), 0.0))


@dataclass(frozen=True)
class MegTables:
    """Reward, latency (s) and energy (J) of every bin and action, shapes (H, A B); action a is n = a // B, beta = a % B."""

    reward: FloatArray
    latency: FloatArray
    energy: FloatArray


def tables(instance: MegInstance) -> MegTables:
    """Tabulate the reward -ln MSE and both costs.

    T = Z / R + a (n F_U + F_txt) + s a F_vae + b and E = e (n F_U + F_txt) + r e F_vae + P Z / R, with s = 2 and r = 1.25.
    """
    bins, actions = instance.channel.bins, len(instance.steps) * len(instance.ratios)
    sent = payload_bits(instance)[None, :] / rate(instance)[:, None]  # (H, B), seconds
    sent = np.broadcast_to(sent[:, None, :], (bins, len(instance.steps), len(instance.ratios)))
    work = (instance.steps * instance.flop_step + instance.flop_text)[None, :, None]
    decode = instance.flop_decode
    a, e = instance.seconds_per_flop, instance.joules_per_flop
    latency = sent + a * work + instance.device_slowdown * a * decode + instance.seconds_base
    energy = e * work + instance.device_energy_ratio * e * decode + instance.power_w * sent
    reward = np.broadcast_to(-np.log(instance.errors)[None], latency.shape)
    return MegTables(*(np.ascontiguousarray(part.reshape(bins, actions)) for part in (reward, latency, energy)))
