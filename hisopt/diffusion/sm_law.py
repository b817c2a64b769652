"""The model's laws of speed (9) and power (10) over SMs, fitted to measurements, with residuals and confidence intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

FLOP_PER_CYCLE = {
    (8, 0): {"bfloat16": 2048, "float16": 2048, "float32": 128},
    (9, 0): {"bfloat16": 4096, "float16": 4096, "float32": 256},
}
"""D, dense FLOP a cycle of one SM, by compute capability and precision (float32 without TF32, torch's default): A100 312 and
19.5 TFLOP/s = 108 SMs x 1410 MHz x 2048 and 128; H100 and H200 989 TFLOP/s = 132 SMs x 1830 MHz x 4096, and 67 TFLOP/s =
132 SMs x 1980 MHz x 256 (NVIDIA's data sheets)."""


def fit_speed(
    sms: Sequence[float], seconds: Sequence[float], clock_hz: Sequence[float], flop: float, flop_per_cycle: float
) -> dict[str, Any]:
    """Fit rho of f_m = v F D rho, (9), to the seconds of a step of ``flop`` on v SMs at clock F.

    Returns ``utilisation`` rho (the geometric mean over samples) with a 95 % interval; ``exponent`` b of the free law
    f proportional to v^b with a 95 % interval, 1 if speed is linear in v; and ``residuals``, measured over fitted speed minus
    1. Only F D rho is identifiable from times: rho is relative to the D given. Raises ValueError for fewer than 3 samples.
    """
    from scipy import stats

    v, t, f = (np.asarray(values, dtype=float) for values in (sms, seconds, clock_hz))
    _check(v)
    ratio = np.log(flop / (t * v * f * flop_per_cycle))
    half = stats.t.ppf(0.975, len(v) - 1) * ratio.std(ddof=1) / np.sqrt(len(v))
    free = stats.linregress(np.log(v), np.log(flop / (t * f)))
    width = stats.t.ppf(0.975, len(v) - 2) * free.stderr
    return {
        "utilisation": float(np.exp(ratio.mean())),
        "utilisation_95": [float(np.exp(ratio.mean() - half)), float(np.exp(ratio.mean() + half))],
        "exponent": float(free.slope),
        "exponent_95": [float(free.slope - width), float(free.slope + width)],
        "residuals": (np.exp(ratio - ratio.mean()) - 1).tolist(),
        "rms": float(np.sqrt(((np.exp(ratio - ratio.mean()) - 1) ** 2).mean())),
        "flop_per_cycle": flop_per_cycle,
    }


def fit_waves(
    sms: Sequence[float],
    seconds: Sequence[float],
    clock_hz: Sequence[float],
    flop: float,
    flop_per_cycle: float,
    whole: int,
) -> dict[str, Any]:
    """Fit (9) with a share q of the work that comes in waves of as many blocks as the whole card has SMs, V.

    Kernels that launch V persistent blocks need ceil(V / v) rounds on v SMs. So t = flop / (F D rho) ((1 - q) / v +
    q ceil(V / v) / V), which is (9) at v = V and at q = 0; least squares of relative errors. Returns ``utilisation`` rho,
    ``quantised_share`` q with a 95 % interval (first order), ``residuals`` (measured over fitted speed minus 1) and ``rms``
    of the relative errors in time. Raises ValueError where the samples do not tell the two terms apart.
    """
    from scipy import stats

    v, t, f = (np.asarray(values, dtype=float) for values in (sms, seconds, clock_hz))
    _check(v)
    scaled = t * f * flop_per_cycle / flop
    basis = np.column_stack([1 / v, np.ceil(whole / v) / whole]) / scaled[:, None]
    if np.linalg.cond(basis) > 1e6:
        raise ValueError("these numbers of SMs divide the card evenly, so waves do not show")
    (linear, waves), *_ = np.linalg.lstsq(basis, np.ones(len(v)), rcond=None)
    fitted = basis @ np.array([linear, waves])
    total = linear + waves
    if total <= 0:
        raise ValueError("times do not follow a law with waves")
    half = None
    if (free := len(v) - 2) > 0:
        covariance = np.linalg.inv(basis.T @ basis) * ((1 - fitted) ** 2).sum() / free
        slope = np.array([-waves, linear]) / total**2
        half = float(stats.t.ppf(0.975, free) * np.sqrt(max(slope @ covariance @ slope, 0.0)))
    share = float(waves / total)
    return {
        "utilisation": float(1 / total),
        "quantised_share": share,
        "quantised_share_95": None if half is None else [share - half, share + half],
        "residuals": (fitted - 1).tolist(),
        "rms": float(np.sqrt(((1 - fitted) ** 2).mean())),
    }


def fit_power(sms: Sequence[float], watts: Sequence[float], clock_hz: Sequence[float], kappa: float) -> dict[str, Any]:
    """Fit mu1 and mu2 of P = kappa (mu1 v + mu2) F^3, (10), to board power on v SMs at clock F, by least squares.

    Only kappa mu1 and kappa mu2 are identifiable, so kappa is given. Returns both with 95 % intervals and the residuals in
    W. Raises ValueError for fewer than 3 samples.
    """
    from scipy import stats

    v, p, f = (np.asarray(values, dtype=float) for values in (sms, watts, clock_hz))
    _check(v)
    scale = kappa * f**3
    found = stats.linregress(v, p / scale)
    quantile = stats.t.ppf(0.975, len(v) - 2)
    mu1, mu2 = float(found.slope), float(found.intercept)
    half1, half2 = quantile * found.stderr, quantile * found.intercept_stderr
    return {
        "kappa": kappa,
        "mu1": mu1,
        "mu1_95": [float(mu1 - half1), float(mu1 + half1)],
        "mu2": mu2,
        "mu2_95": [float(mu2 - half2), float(mu2 + half2)],
        "residuals_w": (p - scale * (mu1 * v + mu2)).tolist(),
    }


def _check(sms: Any) -> None:
    if len(np.unique(sms)) < 3:
        raise ValueError(f"a law over SMs needs three numbers of SMs or more, not {len(np.unique(sms))}")
