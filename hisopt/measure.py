"""Measure a denoising step: seconds, TFLOP/s, memory, power and energy, and the laws over SMs. Random weights do."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from importlib import metadata
from typing import Any, cast

import torch

from hisopt import flops
from hisopt.errors import InputError
from hisopt.meters import Meter, Timing, Unavailable
from hisopt.sm_law import FLOP_PER_CYCLE, fit_power, fit_speed

_KAPPA = 1e-27  # of Table II; only its products with mu1 and mu2 are identifiable
_SM_STEP = 8  # SMs between two green contexts: what drivers grant on recent cards


def step_of(
    config: dict[str, Any], conditions: dict[str, Any], device: str, dtype: str, latent_factor: int
) -> tuple[torch.nn.Module, dict[str, Any]]:
    """Return a denoiser of random weights and inputs for one step of a batch: both halves of guidance in one pass."""
    import diffusers

    diffusers.utils.logging.set_verbosity_error()  # its advice on casting is for trained weights
    torch.manual_seed(0)
    kind = cast(Any, getattr(diffusers, config["_class_name"]))
    precision = getattr(torch, dtype)
    with torch.device(device):
        model = kind.from_config({key: value for key, value in config.items() if not key.startswith("_")})
        model = model.to(precision).eval().requires_grad_(False)
        inputs = flops.inputs(
            model, conditions["resolution"] // latent_factor, conditions["text_tokens"],
            conditions["forward_passes"] * conditions["batch"],
        )  # fmt: skip

    def drawn(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: drawn(part) for key, part in value.items()}
        return torch.randn_like(value).to(precision)

    drawn_inputs = {name: drawn(value) for name, value in inputs.items()}
    drawn_inputs["timestep"] = torch.full_like(inputs["timestep"], 500.0)
    return model, drawn_inputs


def measure(
    spec: dict[str, Any], conditions: dict[str, Any], flop: float, meter: Meter, *,
    dtypes: Sequence[str] = ("bfloat16", "float16"), modes: Sequence[str] = ("eager", "compiled"),
    sm_counts: Sequence[int] | None = None, repeats: int = 20, warm_up: int = 3,
    flop_per_cycle: float | None = None, compile_step: Callable[[Any], Any] = torch.compile,
) -> dict[str, Any]:  # fmt: skip
    """Return everything measured, as plain data: device, versions, conditions, raw samples, fits, and what is missing.

    Parameters
    ----------
    spec, conditions
        An architecture of `hisopt.flops.architecture`, and resolution, text_tokens, forward_passes, batch.
    flop
        FLOPs of one step of the whole batch.
    meter
        Of the processor to measure on.
    dtypes, modes
        Every combination is measured; the laws over SMs with the first of each.
    sm_counts
        SMs of the laws; None takes 8, 16, ... and all.
    flop_per_cycle
        D; None takes that of the card's data sheet, if it is known here.
    """
    missing: list[str] = []
    runs: list[dict[str, Any]] = []
    law: dict[str, Any] | None = None
    for dtype in dtypes:
        model, inputs = step_of(spec["denoiser"], conditions, meter.device, dtype, spec["latent_factor"])
        for mode in modes:
            _say(f"{dtype}, {mode}")
            run = model if mode == "eager" else compile_step(model)

            @torch.no_grad()
            def work(run: Any = run, inputs: dict[str, Any] = inputs) -> None:
                run(**inputs)

            try:
                timing = meter.time(work, repeats, warm_up)
            except torch.OutOfMemoryError as error:
                raise InputError(
                    f"the card's memory does not hold this model and batch: {str(error).splitlines()[0]}"
                ) from None
            except RuntimeError as error:
                if mode == "eager":
                    raise
                missing.append(f"{dtype}, {mode}: {next(iter(str(error).splitlines()), type(error).__name__)}")
                continue
            runs.append({"dtype": dtype, "mode": mode} | _plain(timing, flop))
            if law is None:
                law = _law(work, flop, meter, sm_counts, repeats, warm_up, flop_per_cycle, missing)
                law |= {"dtype": dtype, "mode": mode} if law else {}
        del model, inputs, run, work
        if meter.device == "cuda":
            torch.cuda.empty_cache()
    if all(run["watts"] is None for run in runs):
        missing.append("power and energy: " + str(meter.describe().get("no_power", "the processor has no reading")))
    return {
        "device": meter.describe(),
        "versions": {name: metadata.version(name) for name in ("hisopt", "torch", "diffusers")} | {"cuda": torch.version.cuda},
        "conditions": {"repeats": repeats, "warm_up": warm_up, "weights": "random", "flop_per_step_of_batch": flop},
        "runs": runs,
        "sm_law": law or None,
        "missing": missing,
    }  # fmt: skip


def _law(
    work: Callable[[], None], flop: float, meter: Meter, sm_counts: Sequence[int] | None, repeats: int, warm_up: int,
    flop_per_cycle: float | None, missing: list[str],
) -> dict[str, Any]:  # fmt: skip
    if meter.sms is None:
        missing.append("the law of SMs: only a GPU has SMs")
        return {}
    samples: list[dict[str, Any]] = []
    for count in sm_counts or [*range(_SM_STEP, meter.sms, _SM_STEP), meter.sms]:
        _say(f"{count} of {meter.sms} SMs")
        try:
            timing = meter.time(work, repeats, warm_up, count)
        except Unavailable as error:
            missing.append(f"the law of SMs at {count}: {error}")
            continue
        samples.append({"asked_sms": count} | _plain(timing, flop))
    description = meter.describe()
    found: dict[str, Any] = {"samples": samples, "speed": None, "power": None}
    per_cycle = flop_per_cycle or FLOP_PER_CYCLE.get(tuple(description.get("capability", ())))
    clocks = [float(s["clock_hz"] or description.get("highest_clock_hz", 0)) for s in samples]
    sms = [s["granted_sms"] for s in samples]
    if per_cycle is None:
        missing.append("the law of speed: D of this card is not known here, give --flop-per-cycle")
    elif not all(clocks):
        missing.append("the laws of speed and power: no reading of the clock")
    else:
        try:
            found["speed"] = fit_speed(sms, [s["median_s"] for s in samples], clocks, flop, per_cycle)
            if all(s["watts"] is not None for s in samples):
                found["power"] = fit_power(sms, [s["watts"] for s in samples], clocks, _KAPPA)
        except ValueError as error:
            missing.append(f"the law of SMs: {error}")
    return found


def parameters(measured: dict[str, Any]) -> dict[str, float]:
    """Return what the measurements say of the server's GPU, as fields of `hisopt.instance.Gpu`; empty without a law."""
    law = measured["sm_law"] or {}
    found: dict[str, float] = {}
    if law.get("speed"):
        clocks = [s["clock_hz"] or measured["device"].get("highest_clock_hz") for s in law["samples"]]
        found = {
            "frequency_hz": sum(clocks) / len(clocks),
            "flop_per_cycle": float(law["speed"]["flop_per_cycle"]),
            "utilisation": law["speed"]["utilisation"],
        }
    power = law.get("power")
    if power and power["mu1"] >= 0 and power["mu2"] >= 0:
        found |= {"energy_coefficient": power["kappa"], "power_per_sm": power["mu1"], "power_static": power["mu2"]}
    return found


def _plain(timing: Timing, flop: float) -> dict[str, Any]:
    return asdict(timing) | {
        "seconds": list(timing.seconds), "median_s": timing.median, "spread_s": timing.spread,
        "tflops": flop / timing.median / 1e12,
    }  # fmt: skip


def _say(what: str) -> None:
    print(f"measuring: {what}", file=sys.stderr, flush=True)
