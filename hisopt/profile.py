"""``python -m hisopt.profile``: what one denoising step costs in FLOPs, and a profile that fills the model's parameters."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from hisopt.command_line import run_command

SCHEMA_VERSION = 1
CONVENTION = "a multiply-add is 2 FLOP; linear layers, attention products and convolutions"


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="NAME",
    help="sd3-medium, sd3.5-medium, sd3.5-large, sdxl, or a diffusers config.json; repeatable. [default: sd3-medium]",
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
@click.option("--format", "style", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.option("--output", metavar="FILE", help="Write the first model's profile as JSON, for hisopt.solve --profile.")
def _command(**options: Any) -> None:
    """Count FLOPs per denoising step, of the text encoders and of the decoder, on the meta device.

    Needs no weights and no GPU. Convention: a multiply-add is 2 FLOP.
    """
    from hisopt.errors import InputError
    from hisopt.files import require_writable, write_atomically

    if options["output"]:
        require_writable("--output", options["output"])
    for name in ("resolution", "batch", "text_tokens"):
        if options[name] is not None and options[name] < 1:
            raise InputError(f"--{name.replace('_', '-')}: is {options[name]}, must be >= 1")
    if options["resolution"] % 16:
        raise InputError(f"--resolution: is {options['resolution']}, must be a multiple of 16")
    profiles = [count(name, options) for name in options["models"] or ("sd3-medium",)]
    if options["output"]:
        write_atomically(Path(options["output"]), json.dumps(profiles[0], indent=1) + "\n")
    if options["style"] == "json":
        print(json.dumps(profiles))
        return
    for profile in profiles:
        print(_table(profile))


def count(name: str, options: dict[str, Any]) -> dict[str, Any]:
    """Return a model's profile as plain data."""
    from hisopt import flops

    spec, batch = flops.architecture(name), options["batch"]
    tokens = options["text_tokens"] or spec["text_tokens"]
    passes = 2 if options["guidance"] else 1
    forward = flops.denoiser(spec["denoiser"], options["resolution"], tokens, batch, spec["latent_factor"])
    parts = {"denoiser, one forward pass": forward}
    for encoder in spec["text_encoders"]:
        parts[encoder["name"]] = flops.text_encoder(encoder, batch)
    if spec["vae"] is not None:
        parts["decoder"] = flops.vae_decoder(spec["vae"], options["resolution"], batch, spec["latent_factor"])
    step = passes * forward.total / batch
    return {
        "schema_version": SCHEMA_VERSION,
        "model": name,
        "convention": CONVENTION,
        "conditions": {"resolution": options["resolution"], "text_tokens": tokens, "guidance": options["guidance"],
                       "forward_passes": passes, "batch": batch},
        "flop": {part: asdict(found) | {"total": found.total} for part, found in parts.items()},
        "flop_per_step": step,
        "linear_flop_per_step": passes * forward.linear / batch,
        "measured": None,
        "not_measured": "seconds, power and the law of SMs need a GPU; only FLOPs are filled",
        "parameters": {"flop_edge": step, "flop_device": step},
    }  # fmt: skip


def _table(profile: dict[str, Any]) -> str:
    c = profile["conditions"]
    guided = "with guidance (2 forward passes a step)" if c["guidance"] else "without guidance"
    size = f"{c['resolution']} x {c['resolution']}, {c['text_tokens']} text tokens, batch {c['batch']}"
    lines = [
        f"{profile['model']}: {size}, {guided}", f"({profile['convention']}; TFLOP)", "",
        f"{'':32}{'linear':>10}{'attention':>11}{'convolution':>13}{'total':>10}{'parameters':>14}",
    ]  # fmt: skip
    for part, found in profile["flop"].items():
        cells = [found[kind] / 1e12 for kind in ("linear", "attention", "convolution", "total")]
        lines.append(
            f"{part:32}{cells[0]:10.3f}{cells[1]:11.3f}{cells[2]:13.3f}{cells[3]:10.3f}{found['parameters'] / 1e6:12.0f} M"
        )
    lines += ["", f"One step of one image: {profile['flop_per_step'] / 1e12:.2f} TFLOP, of which linear layers "
              f"{profile['linear_flop_per_step'] / 1e12:.2f}."]  # fmt: skip
    if profile["model"] == "sd3-medium" and c["resolution"] == 1024 and c["guidance"]:
        lines.append(
            "The papers' 12 TFLOP a step match the linear layers of both passes. Attention, a third of the total, is not in\n"
            "them, nor are the text encoders, which run once a prompt, and the decoder, which runs once an image."
        )
    lines.append(f"Not measured: {profile['not_measured']}.\n")
    return "\n".join(lines)


def load_parameters(path: str) -> dict[str, float]:
    """Read a profile's model parameters; raise `InputError` with file, field and reason if it is none."""
    from hisopt.errors import InputError

    try:
        document = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path}: {error.strerror if isinstance(error, OSError) else 'not a UTF-8 text file'}"
        ) from None
    except json.JSONDecodeError as error:
        raise InputError(f"{path}: not JSON: {error.msg} (line {error.lineno}, column {error.colno})") from None
    if not isinstance(document, dict) or document.get("schema_version") != SCHEMA_VERSION:
        raise InputError(
            f"{path}: schema_version: missing or not {SCHEMA_VERSION}; write a profile by hisopt.profile --output"
        )
    found = document.get("parameters")
    if not isinstance(found, dict) or set(found) - {"flop_edge", "flop_device"} or not found:
        raise InputError(f"{path}: parameters: must hold flop_edge, flop_device, or both")
    for name, value in found.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1e30:
            raise InputError(f"{path}: parameters.{name}: is {value!r}, must be a positive number of FLOP")
    return {name: float(value) for name, value in found.items()}


def main() -> None:
    """Run the command line."""
    run_command(_command, "hisopt.profile", extra="diffusion")


if __name__ == "__main__":
    main()
