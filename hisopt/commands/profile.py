"""``python -m hisopt.profile``: what one denoising step costs, and a profile that fills the model's parameters."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

from hisopt import __version__
from hisopt.commands.common import require_at_least, run_command, taking
from hisopt.commands.tables import grid
from hisopt.diffusion.calibration import SCHEMA_VERSION
from hisopt.files import written_through

_KINDS = ("linear", "attention", "convolution", "total")
CONVENTION = "a multiply-add is 2 FLOP; linear layers, attention products and convolutions"


@dataclass(frozen=True)
class ProfileOptions:
    """What the command line says, a field an option; None and () stand for what was not given."""

    models: tuple[str, ...] = ()
    resolution: int = 1024
    text_tokens: int | None = None
    guidance: bool = True
    batch: int = 1
    device: str = "auto"
    dtypes: str = "bfloat16,float16"
    compiled: bool = True
    repeats: int = 20
    sm_counts: str | None = None
    flop_per_cycle: float | None = None
    budget: float = 480.0
    fresh: bool = False
    check: str | None = None
    style: str = "table"
    output: str | None = None


@dataclass(frozen=True)
class _Wanted:
    """What to measure."""

    dtypes: tuple[str, ...]
    modes: tuple[str, ...]
    sm_counts: tuple[int, ...] | None
    flop_per_cycle: float | None
    budget_s: float


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="NAME",
    help="sd3-medium, sd3.5-medium, sd3.5-large, sdxl, flux.1-dev, or a diffusers config.json; repeatable. [default: sd3-medium]",
)
@click.option("--resolution", type=int, default=1024, show_default=True, help="Pixels a side.")
@click.option(
    "--text-tokens", type=int, help="Tokens that the denoiser attends to. [default: the model's, 333 for SD3]"
)
@click.option(
    "--guidance/--no-guidance",
    default=True,
    show_default=True,
    help="Classifier-free guidance, two forward passes a step (as every guidance scale but 1 needs).",
)
@click.option("--batch", type=int, default=1, show_default=True, help="Images at a time.")
@click.option(
    "--device",
    type=click.Choice(["auto", "none", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="Measure seconds, power and the law of SMs there; auto: on a GPU, if there is one.",
)
@click.option("--dtypes", default="bfloat16,float16", show_default=True, help="Precisions to measure.")
@click.option(
    "--compile/--no-compile", "compiled", default=True, show_default=True, help="Measure the compiled model as well."
)
@click.option(
    "--repeats",
    type=int,
    default=20,
    show_default=True,
    help="Steps timed on the processor; on a GPU, five seconds of them.",
)
@click.option(
    "--sm-counts",
    metavar="LIST",
    help="SMs of the law, with commas, most wanted first. [default: all, 128, 8, 32, 64, ... as the budget goes]",
)
@click.option(
    "--flop-per-cycle",
    type=float,
    help="D of the first precision, FLOP a cycle of one SM. [default: the data sheet's, where known]",
)
@click.option(
    "--budget",
    type=float,
    default=480,
    show_default=True,
    metavar="SECONDS",
    help="On a GPU, plan the sweep of a model to end in time.",
)
@click.option(
    "--fresh",
    is_flag=True,
    help="Measure all again, though FILE.samples.jsonl beside --output has samples of an earlier run.",
)
@click.option(
    "--check", metavar="FILE", help="Compare a written profile with published figures; exit 1 if it is far from them."
)
@click.option("--format", "style", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.option("--output", metavar="FILE", help="Write the first model's profile as JSON, for hisopt.solve --profile.")
@click.version_option(__version__, prog_name="hisopt")
@taking(ProfileOptions)
def _command(options: ProfileOptions) -> None:
    """Count FLOPs per denoising step, of the text encoders and of the decoder; measure the step where there is a GPU.

    Counting happens on the meta device and needs no GPU; neither needs weights. Convention: a multiply-add is 2 FLOP.
    Measuring reads the card (CUDA events, NVML, green contexts) and changes none of its settings. Every sample is written to
    FILE.samples.jsonl as it is made; the same command again goes on from there.
    """
    from hisopt.errors import InputError
    from hisopt.files import deliver, require_writable

    if options.check:
        return _checked(options.check)
    if options.output:
        require_writable("--output", options.output)
    require_at_least(1, options, "resolution", "batch", "text_tokens", "repeats", "flop_per_cycle", "budget")
    if options.resolution % 16:
        raise InputError(f"--resolution: is {options.resolution}, must be a multiple of 16")
    wanted = _wanted(options)
    profiles = [count(name, options) for name in options.models or ("sd3-medium",)]
    for number, profile in enumerate(profiles, 1):
        _measured(profile, options, wanted, _samples_file(options, number))
    if options.output:
        deliver(json.dumps(profiles[0], indent=1) + "\n", options.output, ".json")
    if options.style == "json":
        deliver(json.dumps(profiles) + "\n", None, ".json")
    else:
        deliver("".join(f"{_table(profile)}\n" for profile in profiles), None, ".txt")


def count(name: str, options: ProfileOptions) -> dict[str, Any]:
    """Return a model's profile as plain data."""
    from hisopt.diffusion import flops

    spec, batch = flops.architecture(name), options.batch
    tokens = options.text_tokens or spec["text_tokens"]
    passes = 2 if options.guidance and not flops.guided_by_input(spec["denoiser"]) else 1
    forward = flops.denoiser(spec["denoiser"], options.resolution, tokens, batch, spec["latent_factor"])
    parts = {"denoiser, one forward pass": forward}
    for encoder in spec["text_encoders"]:
        parts[encoder["name"]] = flops.text_encoder(encoder, batch)
    if spec["vae"] is not None:
        parts["decoder"] = flops.vae_decoder(spec["vae"], options.resolution, batch, spec["latent_factor"])
    step = passes * forward.total / batch
    return {
        "schema_version": SCHEMA_VERSION,
        "model": name,
        "convention": CONVENTION,
        "conditions": {"resolution": options.resolution, "text_tokens": tokens, "guidance": options.guidance,
                       "forward_passes": passes, "batch": batch},
        "flop": {part: asdict(found) | {"total": found.total} for part, found in parts.items()},
        "flop_per_step": step,
        "linear_flop_per_step": passes * forward.linear / batch,
        "measured": None,
        "not_measured": ["seconds, power and the law of SMs need a GPU; only FLOPs are filled"],
        "parameters": {"flop_edge": step, "flop_device": step,
                       "latent": _latent(spec, options.resolution // spec["latent_factor"])},
    }  # fmt: skip


def _latent(spec: dict[str, Any], side: int) -> dict[str, int]:
    """Size of what is sent: the decoder's channels, which a denoiser that takes patches has several times."""
    vae = spec["vae"] or {"config": {}}
    channels = vae["config"].get("latent_channels") or spec["denoiser"]["in_channels"]
    return {"channels": channels, "height": side, "width": side}


def _samples_file(options: ProfileOptions, number: int) -> Path | None:
    """Where a model's samples go: beside the output, or to the temporary folder, whose name is said; None without any."""
    if options.device == "none":
        return None
    if options.output and not written_through(options.output):
        path = Path(f"{options.output}{'' if number == 1 else f'.{number}'}.samples.jsonl")
        if options.fresh:
            path.unlink(missing_ok=True)
        return path
    return Path(tempfile.gettempdir()) / f"hisopt-profile-{os.getpid()}-{number}.samples.jsonl"


def _checked(path: str) -> None:
    from hisopt.diffusion.calibration import load_profile
    from hisopt.diffusion.published import compared
    from hisopt.errors import InputError

    load_profile(path)
    try:
        lines, good = compared(json.loads(Path(path).read_text(encoding="utf-8")))
    except (KeyError, TypeError, AttributeError):
        raise InputError(f"{path}: measured: not as hisopt.profile writes it") from None
    print("\n".join(lines))
    if not good:
        raise SystemExit(1)


def _wanted(options: ProfileOptions) -> _Wanted:
    """Return what to measure; raise `InputError` for what nobody can."""
    from hisopt.errors import InputError

    dtypes = options.dtypes.split(",")
    if unknown := [name for name in dtypes if name not in ("bfloat16", "float16", "float32")]:
        raise InputError(f"--dtypes: unknown {unknown[0]!r}; known are bfloat16, float16, float32")
    counts = None
    if options.sm_counts:
        try:
            counts = tuple(int(text) for text in options.sm_counts.split(","))
        except ValueError:
            counts = (0,)
        if min(counts) < 1:
            raise InputError(
                f"--sm-counts: {options.sm_counts!r} are not positive whole numbers with commas between them"
            )
    modes = ("eager", "compiled") if options.compiled else ("eager",)
    return _Wanted(tuple(dict.fromkeys(dtypes)), modes, counts, options.flop_per_cycle, options.budget)


def _measured(profile: dict[str, Any], options: ProfileOptions, wanted: _Wanted, samples: Path | None) -> None:
    """Fill in what can be measured on the device asked for."""
    if options.device == "none":
        return
    from hisopt.diffusion import flops, measure
    from hisopt.diffusion.meters import CpuMeter, CudaMeter, Meter, Unavailable
    from hisopt.errors import InputError

    try:
        meter: Meter = CpuMeter(options.repeats) if options.device == "cpu" else CudaMeter()
    except Unavailable as error:
        if options.device == "cuda":
            raise InputError(f"--device: {error}") from None
        return
    if any(count > (meter.sms or 0) for count in wanted.sm_counts or ()):
        raise InputError(f"--sm-counts: {max(wanted.sm_counts or ())} exceeds the device's {meter.sms or 'none'}")
    spec, conditions = flops.architecture(profile["model"]), profile["conditions"]
    if samples is not None:
        print(f"measuring: every sample is kept in {samples}", file=sys.stderr)
    found = measure.measure(
        spec, conditions, profile["flop_per_step"] * conditions["batch"], meter, samples=samples, **vars(wanted)
    )
    profile["not_measured"] = found.pop("missing")
    profile["measured"] = found
    if edge := measure.parameters(found):
        profile["parameters"]["edge"] = edge


def _table(profile: dict[str, Any]) -> str:
    c = profile["conditions"]
    passes = {1: "1 forward pass", 2: "2 forward passes"}[c["forward_passes"]]
    guided = f"with guidance ({passes} a step)" if c["guidance"] else "without guidance"
    size = f"{c['resolution']} x {c['resolution']}, {c['text_tokens']} text tokens, batch {c['batch']}"
    lines = [
        f"{profile['model']}: {size}, {guided}", f"({profile['convention']}; TFLOP)",
        grid(("part", *_KINDS, "parameters"),
             [(part, *(f"{found[kind] / 1e12:.3f}" for kind in _KINDS), f"{found['parameters'] / 1e6:.0f} M")
              for part, found in profile["flop"].items()], right=(*_KINDS, "parameters")),
    ]  # fmt: skip
    lines += [f"One step of one image: {profile['flop_per_step'] / 1e12:.2f} TFLOP, of which linear layers "
              f"{profile['linear_flop_per_step'] / 1e12:.2f}."]  # fmt: skip
    if profile["model"] == "sd3-medium" and c["resolution"] == 1024 and c["guidance"]:
        lines.append(
            "The papers' 12 TFLOP a step match the linear layers of both passes. Attention, a third of the total, is not in\n"
            "them, nor are the text encoders, which run once a prompt, and the decoder, which runs once an image."
        )
    lines += _measurements(profile["measured"]) if profile["measured"] else []
    lines += [f"Not measured: {what}." for what in profile["not_measured"]]
    return "\n".join(lines) + "\n"


def _measurements(measured: dict[str, Any]) -> list[str]:
    def cell(value: float | None, scale: float, digits: int) -> str:
        return "-" if value is None else f"{value * scale:.{digits}f}"

    rows = [
        (f"{run['dtype']}, {run['mode']}", *(cell(run[field], *how) for field, how in _READINGS.values()))
        for run in measured["runs"]
    ]
    lines = ["", f"On {measured['device']['name']}, a step of the whole batch (median, interquartile range):",
             grid(("step", *_READINGS), rows, right=_READINGS).rstrip()]  # fmt: skip
    law = measured["sm_law"] or {"series": [], "published": None}
    for series in law["series"]:
        lines += _series(series)
    if published := law["published"]:
        lines += ["", f"Published as parameters: {published['mode']}, {published['way']} ({published['rule']})."]
    return [*lines, ""]


_READINGS: dict[str, tuple[str, tuple[float, int]]] = {  # heading: field, and its scale and digits
    "ms": ("median_s", (1e3, 2)), "range": ("spread_s", (1e3, 2)), "TFLOP/s": ("tflops", (1.0, 3)),
    "peak GB": ("peak_bytes", (1e-9, 2)), "W": ("watts", (1.0, 0)), "J": ("joules", (1.0, 1)), "MHz": ("clock_hz", (1e-6, 0)),
}  # fmt: skip
_WAYS = {
    "stream": "a stream of a green context",
    "hint": "and the carve-out hint",
    "current": "and the context current",
}


def _series(series: dict[str, Any]) -> list[str]:
    lines = ["", f"{series['mode']}, on {_WAYS[series['way']]}, {len(series['samples'])} numbers of SMs:"]
    if ratio := series["step_ratio"]:
        lines.append(
            f"  seconds on {ratio['sms'][0]} over {ratio['sms'][1]} SMs: {ratio['ratio']:.3f} "
            f"(linear in v: {ratio['linear']:.3f})"
        )
    if speed := series["speed"]:
        low, high = speed["utilisation_95"]
        worst = max(abs(value) for value in speed["residuals"])
        lines.append(
            f"  (9): rho = {speed['utilisation']:.4f} (95 %: {low:.4f} to {high:.4f}), off by at most {100 * worst:.1f} %; "
            f"grows as v^{speed['exponent']:.3f} ({speed['exponent_95'][0]:.3f} to {speed['exponent_95'][1]:.3f})"
        )
    if waves := series["waves"]:
        lines.append(
            f"  (9) with waves: rho = {waves['utilisation']:.4f}, {100 * waves['quantised_share']:.0f} % of the work in waves; "
            f"rms error {100 * waves['rms']:.1f} % in place of {100 * speed['rms']:.1f} %"
        )
    if power := series["power"]:
        worst = max(abs(value) for value in power["residuals_w"])
        lines.append(
            f"  (10), kappa = {power['kappa']:g}: mu1 = {power['mu1']:.3f} ({power['mu1_95'][0]:.3f} to "
            f"{power['mu1_95'][1]:.3f}), mu2 = {power['mu2']:.1f} ({power['mu2_95'][0]:.1f} to {power['mu2_95'][1]:.1f}), "
            f"off by at most {worst:.0f} W"
        )
    return lines


def main() -> None:
    """Run the command line."""
    run_command(_command, "hisopt.profile", extra="diffusion")
