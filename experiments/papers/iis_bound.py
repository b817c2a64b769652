"""What Fig. 11's pair for IIS cannot be: a bound on two losses of utility that holds for optimal decisions at any open parameter.

Without common steps a user's y_n <= y_max run on the server and z_n = T - y_n >= T - y_max on his device. Let U be the optimal
utility, V_1 > V_0 the ends of the server's range, v_1 > v_0 those of the devices', K = (sum_m sqrt(c_m W_m))^2 / V_1 at the
optimum with V_1, d_n = a / v_n + b the cost of a device's step (`hisopt.equations.device_step_cost`), e that of a server's.

1. Keeping the steps and SMs' shares when V_1 shrinks to V_0 costs K (V_1 / V_0 - 1), so a loss of share s of U_1 on the server's
   range needs K >= s U_1 / (V_1 / V_0 - 1).
2. Taking y = 0 instead must not pay: K + e W <= sum_n d_n y_n <= N y_max (a / v_0 + b). By Cauchy-Schwarz K V_1 <= sum_m c_m W.
3. Keeping the steps of v_0 at v_1 gains a (1 / v_0 - 1 / v_1) sum_n z_n, so the devices' range changes utility by at least
   D = a (1 / v_0 - 1 / v_1) N (T - y_max), at any V.
4. a = w2 p + w3 q mu2, b = w3 q mu1 and c_m = N_m w2 p' + w3 q' mu2, e = w3 q' mu1, where q / p is kappa F^3 of a device and
   q' / p' of the server: utilisations, FLOP and the scale of the weights cancel in D / K, and one ratio r = w2 p / (w3 q) of
   delay to energy is left.
5. The devices' range starts from at most U_1 + (its own change), as V <= V_1 and all v_n >= v_0. So the share lost there is at
   least L / (1 + L) with L = s min_r (D / K) / (V_1 / V_0 - 1).

Transmission, quality and everything else that does not move with the SMs is part of U and never enters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from hisopt.arrays import FloatArray
    from hisopt.instances import Gpu, Instance


def least_device_loss(
    instance: Instance, server_loss: float, server: tuple[float, float], devices: tuple[float, float], clusters: int
) -> float:
    """Return a lower bound on the share of utility that IIS loses on the devices' range of SMs.

    Parameters
    ----------
    instance
        Gives N, T, y_max, the clocks, mu1 and mu2; its weights, utilisations and radio do not matter.
    server_loss
        The share of utility that it loses from the upper to the lower end of the server's range.
    server, devices
        The two ranges of SMs, lower end first.
    clusters
        Most clusters that the server's SMs are shared among; with more the bound is weaker.
    """
    steps = instance.steps
    gap = 1 / devices[0] - 1 / devices[1]
    # D / K as a function of r is (r + mu2) (A r + B + mu1 V) / ((C r + E) (A r + B)) times a factor: a ratio of polynomials
    server_mu, device_mu = (
        (float(np.max(gpu.power_per_sm)), float(np.max(gpu.power_static))) for gpu in (instance.edge, instance.devices)
    )
    lever = np.array([_clock(instance.devices) / _clock(instance.edge) * instance.users, server_mu[1] * clusters])
    numerator = np.polymul([1.0, device_mu[1]], np.add(lever, (0.0, server_mu[0] * server[1])))
    denominator = np.polymul([1 / devices[0], device_mu[1] / devices[0] + device_mu[0]], lever)
    factor = gap * (steps.total - steps.edge_max) / steps.edge_max
    stationary: FloatArray = np.polysub(
        np.polymul(np.polyder(numerator), denominator), np.polymul(numerator, np.polyder(denominator))
    )
    ratios = [factor * devices[0]]  # r without end: energy weighs nothing
    for r in (0.0, *np.roots(stationary).real):
        if r >= 0:
            ratios.append(factor * float(np.polyval(numerator, r) / np.polyval(denominator, r)))
    least = server_loss * min(ratios) / (server[1] / server[0] - 1)
    return least / (1 + least)


def _clock(gpu: Gpu) -> float:
    """kappa F^3, energy over delay of a FLOP."""
    return float(np.max(gpu.energy_coefficient) * np.max(gpu.frequency_hz) ** 3)
