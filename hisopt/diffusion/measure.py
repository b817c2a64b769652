"""Measure a denoising step: seconds, TFLOP/s, memory, power and energy, and the laws over SMs. Random weights do."""

from __future__ import annotations

import gc
import hashlib
import json
import sys
import time
from collections import Counter
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, cast

import torch

import hisopt
from hisopt.diffusion import flops
from hisopt.diffusion.board import one_line
from hisopt.diffusion.measurement_plan import Point, planned
from hisopt.diffusion.records import Records
from hisopt.diffusion.sm_series import laws

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from hisopt.diffusion.meters import Meter, Timing


def step_of(
    config: dict[str, Any], conditions: dict[str, Any], device: str, dtype: str, latent_factor: int
) -> tuple[torch.nn.Module, dict[str, Any]]:
    """Return a denoiser of random weights and inputs for one step of a batch: both halves of guidance in one pass.

    Weights are drawn in the target precision, so building takes no more memory than running.
    """
    import diffusers

    diffusers.utils.logging.set_verbosity_error()  # its advice on casting is for trained weights
    torch.manual_seed(0)
    kind = cast("Any", getattr(diffusers, config["_class_name"]))
    precision, before = getattr(torch, dtype), torch.get_default_dtype()
    torch.set_default_dtype(precision)
    try:
        with torch.device(device):
            model = kind.from_config({key: value for key, value in config.items() if not key.startswith("_")})
            model = model.to(precision).eval().requires_grad_(False)
            inputs = flops.inputs(
                model, conditions["resolution"] // latent_factor, conditions["text_tokens"],
                conditions["forward_passes"] * conditions["batch"],
            )  # fmt: skip
    finally:
        torch.set_default_dtype(before)

    def drawn(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: drawn(part) for key, part in value.items()}
        return torch.randn_like(value).to(precision)

    drawn_inputs = {name: drawn(value) for name, value in inputs.items()}
    drawn_inputs["timestep"] = torch.full_like(inputs["timestep"], 500.0)
    return model, drawn_inputs


def compile_blocks(model: Any) -> Any:
    """Compile the blocks that a model repeats, each by itself: seconds of compilation where the whole takes minutes."""
    names = set(getattr(model, "_repeated_blocks", None) or ())
    names |= {
        type(block).__name__ for part in model.children() if isinstance(part, torch.nn.ModuleList) for block in part
    }
    blocks = [module for module in model.modules() if type(module).__name__ in names]
    for block in blocks:
        block.compile()
    if not blocks:
        model.compile()
    return model


def measure(
    spec: dict[str, Any], conditions: dict[str, Any], flop: float, meter: Meter, *,
    dtypes: Sequence[str] = ("bfloat16", "float16"), modes: Sequence[str] = ("eager", "compiled"),
    sm_counts: Sequence[int] | None = None, flop_per_cycle: float | None = None, budget_s: float | None = None,
    seed: int = 0, samples: Path | None = None, compile_step: Callable[[Any], Any] = compile_blocks,
    clock: Callable[[], float] = time.monotonic,
) -> dict[str, Any]:  # fmt: skip
    """Return everything measured, as plain data: device, versions, conditions, raw samples, fits, and what is missing.

    Whatever fails costs its own sample: it is told in ``missing``, and the rest goes on.

    Parameters
    ----------
    spec, conditions
        An architecture of `hisopt.diffusion.flops.architecture`, and resolution, text_tokens, forward_passes, batch.
    flop
        FLOPs of one step of the whole batch.
    meter
        Of the processor to measure on.
    dtypes, modes
        Every combination is measured; the laws over SMs with the first precision, in every mode.
    sm_counts
        SMs of the laws; None takes 8, 16, ... and all, as far as the budget goes.
    flop_per_cycle
        D; None takes that of the card's data sheet for this precision, if it is known here.
    budget_s
        Seconds by which the plan must end, see `hisopt.diffusion.measurement_plan.planned`; None for all points.
    seed
        Of the random order.
    samples
        File that takes every sample as it is made; samples that it has are not made again.
    """
    start = clock()
    versions = _versions()
    device = meter.describe()  # before the first kernel, so that idle power is
    about = {
        "architecture": hashlib.sha256(json.dumps(spec["denoiser"], sort_keys=True).encode()).hexdigest()[:12],
        "conditions": conditions, "device": device["name"], "sms": meter.sms, "versions": versions,
    }  # fmt: skip
    records = Records(samples, about)
    if "device" in records.samples:
        device = records.samples["device"]
    else:
        records.add("device", device)
    plan = planned(dtypes, modes, meter.sms, sm_counts, meter.seconds_each, budget_s, seed)
    missing = [f"{what}, at the start" for what in device.get("lost", ())]
    deadline = None if budget_s is None else start + budget_s
    _all(plan.points, spec, conditions, flop, meter, records, missing, deadline, compile_step, clock)
    runs = [records.samples[p.key] | {"dtype": p.dtype, "mode": p.mode}
            for p in (Point(dtype, mode) for dtype in dtypes for mode in modes) if p.key in records.samples]  # fmt: skip
    law = None
    if meter.sms is None:
        missing.append("the law of SMs: only a GPU has SMs")
    else:
        law = laws(records.samples, dtypes[0], modes, meter.sms, device, flop, flop_per_cycle, missing)
    if plan.left_out:
        missing.append(f"{len(plan.left_out)} more points of the law of SMs: --budget has no time for them")
    missing += _lost(records)
    if all(run["watts"] is None for run in runs):
        missing.append("power and energy: the processor has no reading")
    return {
        "device": device,
        "versions": versions,
        "conditions": {"weights": "random", "flop_per_step_of_batch": flop, "seed": seed, "budget_s": budget_s,
                       "planned_s": plan.seconds, "seconds_each": meter.seconds_each},
        "runs": runs,
        "sm_law": law,
        "missing": missing,
    }  # fmt: skip


def _all(
    points: Sequence[Point], spec: dict[str, Any], conditions: dict[str, Any], flop: float, meter: Meter, records: Records,
    missing: list[str], deadline: float | None, compile_step: Callable[[Any], Any], clock: Callable[[], float],
) -> None:  # fmt: skip
    """Make the samples that are not there yet, in this order, each written as it is made."""
    built: tuple[str, str] | None = None
    work: Callable[[], None] | None = None
    late = 0
    for point in points:
        if point.key in records.samples:
            continue
        if deadline is not None and point.sms is not None and clock() + meter.seconds_each > deadline:
            late += 1
            continue
        _say(point.key)
        try:
            if work is None or built != (point.dtype, point.mode):
                work, built = None, None
                _free(meter)
                work = _work(spec, conditions, meter, point, compile_step)
                built = point.dtype, point.mode
            sample = _plain(meter.time(work, point.sms, point.way or "stream"), flop)
        except Exception as error:  # out of memory, a driver's refusal, a compiler's: this sample only
            missing.append(f"{point.key}: {_reason(error)}")
            if isinstance(error, torch.OutOfMemoryError):
                work, built = None, None
                del error
                _free(meter)
            continue
        records.add(point.key, sample)
    if late:
        missing.append(f"{late} planned points of the law of SMs: the budget was spent")


def _work(
    spec: dict[str, Any], conditions: dict[str, Any], meter: Meter, point: Point, compile_step: Callable[[Any], Any]
) -> Callable[[], None]:
    model, inputs = step_of(spec["denoiser"], conditions, meter.device, point.dtype, spec["latent_factor"])
    run = model if point.mode == "eager" else compile_step(model)

    @torch.no_grad()
    def work() -> None:
        run(**inputs)

    return work


def _reason(error: BaseException) -> str:
    kind = "out of memory: " if isinstance(error, torch.OutOfMemoryError) else ""
    return kind + one_line(error)


def _free(meter: Meter) -> None:
    gc.collect()
    if meter.device == "cuda":
        with suppress(Exception):  # of a card that is lost; the next sample tells
            torch.cuda.empty_cache()


def _versions() -> dict[str, str | None]:
    import diffusers

    return {"hisopt": hisopt.__version__, "torch": str(torch.__version__), "diffusers": diffusers.__version__,
            "cuda": torch.version.cuda}  # fmt: skip


def _lost(records: Records) -> list[str]:
    counts = Counter(what for key, sample in records.samples.items() if key != "device" for what in sample["lost"])
    return [f"{what} (in {count} sample{'s' * (count > 1)})" for what, count in counts.items()]


def parameters(measured: dict[str, Any]) -> dict[str, float]:
    """Return what the measurements say of the server's GPU, as fields of `hisopt.instances.Gpu`; empty without a law."""
    law = measured["sm_law"] or {}
    published = law.get("published")
    if not published:
        return {}
    series = next(s for s in law["series"] if (s["mode"], s["way"]) == (published["mode"], published["way"]))
    clocks = [s["clock_hz"] or measured["device"].get("highest_clock_hz") for s in series["samples"]]
    found = {
        "frequency_hz": sum(clocks) / len(clocks),
        "flop_per_cycle": float(series["speed"]["flop_per_cycle"]),
        "utilisation": series["speed"]["utilisation"],
    }
    power = series["power"]
    if power and power["mu1"] > 0 and power["mu2"] > 0:
        found |= {"energy_coefficient": power["kappa"], "power_per_sm": power["mu1"], "power_static": power["mu2"]}
    return found


def _plain(timing: Timing, flop: float) -> dict[str, Any]:
    return asdict(timing) | {
        "seconds": list(timing.seconds), "lost": list(timing.lost), "median_s": timing.median,
        "spread_s": timing.spread, "tflops": flop / timing.median / 1e12,
    }  # fmt: skip


def _say(what: str) -> None:
    print(f"measuring: {what}", file=sys.stderr, flush=True)
