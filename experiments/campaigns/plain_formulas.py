"""The formulas of the papers for one user, cluster or group at a time, written without the package's own equations."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from hisopt.arrays import FloatArray, IntArray
    from hisopt.instances import IccInstance, Instance

_ZERO_SUM = 1e-6  # a cluster whose mean embedding is shorter than this points nowhere: phi = 0


def at(parameter: FloatArray, user: int) -> float:
    """A parameter of one user, whether it is given per user or for all."""
    return float(parameter[user] if np.ndim(parameter) else parameter)


def cluster_work(labels: IntArray, count: int, x: IntArray, y: IntArray) -> list[int]:
    """W_m = X_m + Y_m of each cluster."""
    members = [[n for n in range(len(labels)) if labels[n] == m] for m in range(count)]
    return [max((int(x[n]) for n in own), default=0) + sum(int(y[n]) for n in own) for own in members]


def work_costs(instance: Instance, labels: IntArray) -> list[float]:
    """c_m = w2 N_m xi / (F D rho) + w3 kappa xi F^2 mu2 / (D rho)."""
    gpu, w, flop = instance.edge, instance.weights, instance.flop_edge
    per_sm = float(gpu.flop_per_cycle) * float(gpu.utilisation)
    wait = flop / (float(gpu.frequency_hz) * per_sm)
    idle = float(gpu.energy_coefficient) * flop * float(gpu.frequency_hz) ** 2 * float(gpu.power_static) / per_sm
    return [w.delay * int(np.sum(labels == m)) * wait + w.energy * idle for m in range(instance.max_clusters)]


def step_energy(instance: Instance) -> float:
    """e = w3 kappa xi F^2 mu1 / (D rho)."""
    gpu = instance.edge
    energy = float(gpu.energy_coefficient) * instance.flop_edge * float(gpu.frequency_hz) ** 2
    return instance.weights.energy * energy * float(gpu.power_per_sm) / float(gpu.flop_per_cycle * gpu.utilisation)


def device_delay(instance: Instance, n: int) -> float:
    """Seconds of one step on a device, (16) and (17)."""
    gpu = instance.devices
    return instance.flop_device / (
        at(gpu.sms, n) * at(gpu.frequency_hz, n) * at(gpu.flop_per_cycle, n) * at(gpu.utilisation, n)
    )


def device_energy(instance: Instance, n: int) -> float:
    """Joules of one step on a device, (18)."""
    gpu = instance.devices
    energy = at(gpu.energy_coefficient, n) * instance.flop_device * at(gpu.frequency_hz, n) ** 2
    power = at(gpu.power_per_sm, n) + at(gpu.power_static, n) / at(gpu.sms, n)
    return energy * power / (at(gpu.flop_per_cycle, n) * at(gpu.utilisation, n))


def sending(instance: Instance | IccInstance) -> float:
    """w2 sum B / r_n + w3 sum p_n B / r_n."""
    radio, w, latent = instance.radio, instance.weights, instance.latent
    bits = latent.height * latent.width * latent.channels * latent.bits / latent.compression
    total = []
    for n in range(instance.users):
        band, power, gain = at(radio.bandwidth_hz, n), at(radio.power_w, n), at(radio.gain, n)
        rate = band * math.log1p(power * gain / (radio.noise_w_per_hz * band)) / math.log(2)
        total.append(w.delay * bits / rate + w.energy * power * bits / rate)
    return math.fsum(total)


def qualities(instance: Instance | IccInstance, phi: FloatArray) -> FloatArray:
    """HIQM at every x, values interpolated linearly in phi and clamped; shape (N, x_max + 1)."""
    table = instance.quality
    columns = []
    for x in range(instance.steps.common_max + 1):
        with np.errstate(over="ignore"):
            at_knots = [a / (1 + np.exp(k * (x - b))) + g for a, k, b, g in table.coefficients]
        columns.append(np.interp(phi, table.similarity, at_knots))
    return np.stack(columns, axis=1)


def similarities(instance: Instance | IccInstance, labels: IntArray) -> FloatArray:
    """phi_n: given, or by the rule of the public prompt; 0 in a cluster whose embeddings sum to zero."""
    if instance.similarity is not None:
        return instance.similarity
    vectors, rule = np.asarray(instance.embeddings), instance.public_prompt
    phi = np.zeros(instance.users)
    for m in set(labels.tolist()):
        own = np.flatnonzero(labels == m)
        total = vectors[own].sum(axis=0)
        if rule.rule == "ideal":
            length = math.sqrt(math.fsum(total**2))
            phi[own] = vectors[own] @ total / length if length > _ZERO_SUM * len(own) else 0.0
        elif rule.rule == "affine":
            phi[own] = rule.slope * (vectors[own] @ total) / len(own) + rule.intercept
        else:
            sums = np.round(vectors[own] @ total, 9)
            phi[own] = vectors[own] @ vectors[own[int(np.argmax(sums))]]
    return phi


def icc_rates(instance: IccInstance, n: int) -> tuple[float, float]:
    """What one personalised step and one device step of a user cost."""
    w = instance.weights
    f, g = at(instance.edge_frequency_hz, n), at(instance.device_frequency_hz, n)
    edge_cost = (
        w.delay * instance.cycles_edge / f + w.energy * instance.energy_coefficient_edge * instance.cycles_edge * f**2
    )
    device = w.delay * instance.cycles_device / g
    return edge_cost, device + w.energy * instance.energy_coefficient_device * instance.cycles_device * g**2


def icc_group(instance: IccInstance, size: int) -> float:
    """What one common step of a group costs: its users' waiting, and the energy once."""
    w, f = instance.weights, instance.group_frequency_hz
    energy = instance.energy_coefficient_edge * instance.cycles_edge * f**2
    return w.delay * size * instance.cycles_edge / f + w.energy * energy
