"""The laws over SMs of a measured sweep: one series for every mode and way, and which of them is published."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hisopt.diffusion.green_contexts import WAYS
from hisopt.diffusion.sm_law import FLOP_PER_CYCLE, fit_power, fit_speed, fit_waves

if TYPE_CHECKING:
    from collections.abc import Sequence

_KAPPA = 1e-27  # of Table II; only its products with mu1 and mu2 are identifiable


def laws(
    samples: dict[str, dict[str, Any]], dtype: str, modes: Sequence[str], whole: int, device: dict[str, Any],
    flop: float, flop_per_cycle: float | None, missing: list[str],
) -> dict[str, Any] | None:  # fmt: skip
    """Fit (9), without and with waves, and (10) to every series; append to ``missing`` what cannot be. None without samples.

    The sample of the whole card belongs to all series of its mode. Published is the series whose steps are the fastest in
    geometric mean over the numbers of SMs that all fitted series have: how an operator would confine work.
    """
    from hisopt.diffusion.measurement_plan import Point

    per_cycle = flop_per_cycle or FLOP_PER_CYCLE.get(tuple(device.get("capability", ())), {}).get(dtype)
    if per_cycle is None:
        missing.append(f"the law of speed: D of this card in {dtype} is not known here, give --flop-per-cycle")
    series = []
    for mode in modes:
        for way in WAYS:
            start = f"{dtype}, {mode}, "
            found = [
                {"asked_sms": int(key.removeprefix(start).split()[0])} | sample
                for key, sample in samples.items()
                if key.startswith(start) and key.endswith(f" SMs, {way}")
            ]
            if not found:
                continue
            if (head := samples.get(Point(dtype, mode).key)) is not None:
                found.append({"asked_sms": whole} | head)
            found.sort(key=lambda sample: sample["granted_sms"])
            series.append({"mode": mode, "way": way, "samples": found}
                          | _fits(found, f"{mode}, {way}", whole, device, flop, per_cycle, missing))  # fmt: skip
    if not series:
        return None
    return {"dtype": dtype, "series": series, "published": _published(series)}


def _fits(
    samples: list[dict[str, Any]], name: str, whole: int, device: dict[str, Any], flop: float, per_cycle: float | None,
    missing: list[str],
) -> dict[str, Any]:  # fmt: skip
    found: dict[str, Any] = {"speed": None, "waves": None, "power": None, "step_ratio": _step_ratio(samples)}
    clocks = [float(s["clock_hz"] or device.get("highest_clock_hz") or 0) for s in samples]
    if not all(clocks):
        missing.append(f"the laws of speed and power ({name}): no reading of the clock")
        return found
    sms, seconds = [s["granted_sms"] for s in samples], [s["median_s"] for s in samples]
    if per_cycle is not None:
        found["speed"] = _fit(missing, f"the law of speed ({name})", fit_speed, sms, seconds, clocks, flop, per_cycle)
        if found["speed"]:
            found["waves"] = _fit(
                missing,
                f"the law of speed with waves ({name})",
                fit_waves,
                sms,
                seconds,
                clocks,
                flop,
                per_cycle,
                whole,
            )
    read = [k for k, s in enumerate(samples) if s["watts"] is not None]
    if read:
        chosen = [sms[k] for k in read], [samples[k]["watts"] for k in read], [clocks[k] for k in read]
        found["power"] = _fit(missing, f"the law of power ({name})", fit_power, *chosen, _KAPPA)
    return found


def _fit(missing: list[str], what: str, fit: Any, *data: Any) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = fit(*data)
    except (ValueError, np.linalg.LinAlgError) as error:
        missing.append(f"{what}: {error}")
        return None
    return found


def _step_ratio(samples: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Seconds on the most SMs short of all of them, over seconds on all: their numbers' ratio inverted, or twice with waves."""
    by_size = sorted(samples, key=lambda sample: sample["granted_sms"])
    most = by_size[-1]["granted_sms"]
    below = [sample for sample in by_size if sample["granted_sms"] < most]
    if not below:
        return None
    return {"sms": [below[-1]["granted_sms"], most], "ratio": below[-1]["median_s"] / by_size[-1]["median_s"],
            "linear": most / below[-1]["granted_sms"]}  # fmt: skip


def _published(series: list[dict[str, Any]]) -> dict[str, Any] | None:
    fitted = [s for s in series if s["speed"]]
    if not fitted:
        return None
    times = [{sample["granted_sms"]: sample["median_s"] for sample in s["samples"]} for s in fitted]
    common = set.intersection(*(set(found) for found in times))
    means = [float(np.exp(np.mean([np.log(found[v]) for v in common]))) if common else 0.0 for found in times]
    best = int(np.argmin(means))
    return {"mode": fitted[best]["mode"], "way": fitted[best]["way"], "common_sms": sorted(common),
            "rule": "fastest in geometric mean over the numbers of SMs that all series have"}  # fmt: skip
