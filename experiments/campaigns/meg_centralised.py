"""MEG against centralised generation, where the server decodes and sends the image: the abstract's "over 40 % less latency".

With r = E[1 / R], the compute a (n F_U + F_txt) = a W, the decoding a V (s a V on the device, s = 2) and b,

    MEG: Z(beta) r + a W + s a V + b      centralised: I r + a W + a V + b,

so that MEG saves a share k or more exactly where the image takes I >= (Z + ((s - 1 + k) a V + k (a W + b)) / r) / (1 - k) bits:
the set of constants is a half-space in I, Z and the ratios of compute and base to r. Latencies are means over the channel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hisopt.cmdp import Cmdp
from hisopt.instances import MegInstance
from hisopt.meg_equations import payload_bits, rate
from hisopt.problems import Meg
from hisopt.solvers.meg import dual

if TYPE_CHECKING:
    from collections.abc import Sequence

SAVING = 0.4
STEPS = (4.0, 8.0, 12.0)
SIDES = (512, 1024, 2048)
RAW_BITS = 24.0  # a pixel of three bytes
SIZES = (24.0, 12.0, 6.0, 3.0, 1.0)  # bits a pixel: raw, and what lossless and lossy files may take


def at_resolution(side: int) -> MegInstance:
    """Return the preset for square images of so many pixels a side, FLOPs counted on SDXL with guidance.

    The latent has a token for 16 x 16 pixels, as published for 1024.
    """
    if side == 1024:
        return MegInstance()  # whose defaults are those counts
    from hisopt.diffusion import flops

    spec = flops.architecture("sdxl")
    step = flops.denoiser(spec["denoiser"], side, spec["text_tokens"], 1, spec["latent_factor"])
    decode = flops.vae_decoder(spec["vae"], side, 1, spec["latent_factor"])
    return MegInstance(tokens=(side // 16) ** 2, flop_step=2.0 * step.total, flop_decode=float(decode.total))


def seconds_per_bit(instance: MegInstance) -> float:
    """r = E[1 / R]."""
    return float(instance.channel.probability @ (1 / rate(instance)))


def mean_latency(instance: MegInstance, steps: float, ratio: float) -> float:
    """Return the mean latency of one fixed action."""
    table = Meg(instance).tables.latency
    action = int(np.flatnonzero(instance.steps == steps)[0]) * len(instance.ratios)
    return float(instance.channel.probability @ table[:, action + int(np.flatnonzero(instance.ratios == ratio)[0])])


def _compute(instance: MegInstance, steps: float, saving: float) -> float:
    """(s - 1 + k) a V + k (a W + b), in seconds: what a share of the image's sending must make up for."""
    a = instance.seconds_per_flop
    work = a * (steps * instance.flop_step + instance.flop_text) + instance.seconds_base
    return (instance.device_slowdown - 1 + saving) * a * instance.flop_decode + saving * work


def needed_bits(instance: MegInstance, steps: float, ratio: float, saving: float = SAVING) -> float:
    """Return the bits of an image from which MEG takes ``saving`` less latency than centralised generation."""
    sent = float(payload_bits(instance)[np.flatnonzero(instance.ratios == ratio)[0]])
    return (sent + _compute(instance, steps, saving) / seconds_per_bit(instance)) / (1 - saving)


def widest_band_hz(
    instance: MegInstance, steps: float, ratio: float, image_bits: float, saving: float = SAVING
) -> float:
    """Return the bandwidth up to which MEG saves that much, the noise power as given; 0 where it never does."""
    sent = float(payload_bits(instance)[np.flatnonzero(instance.ratios == ratio)[0]])
    margin = (1 - saving) * image_bits - sent
    if margin <= 0:
        return 0.0
    return instance.bandwidth_hz * seconds_per_bit(instance) * margin / _compute(instance, steps, saving)


def fastest(instance: MegInstance, quality: float) -> float:
    """Return the least mean latency of a policy whose mean reward is at least ``quality``."""
    problem = Meg(instance)
    t = problem.tables
    found = dual.solve(Cmdp.of(problem.process.probability, -t.latency, -t.reward[None], np.array([-quality])))
    if found is None or found.policy is None:
        raise ValueError("no policy attains the quality")
    return -found.bound


def saved(instance: MegInstance, steps: float, ratio: float, image_bits: float) -> float:
    """Return the share of the latency of centralised generation that a fixed action saves."""
    image = mean_latency(instance.centralised(image_bits), steps, 0.0)
    return 1 - mean_latency(instance, steps, ratio) / image


def report(sides: Sequence[int] = SIDES) -> str:
    """Return the tables in Markdown."""
    lines = [
        "| pixels | n | TFLOP of a step, of decoding | MEG without merging, s | with beta = 0.75, s | "
        "fastest at the quality of n, s | centralised, raw image, s | saved: without merging, beta = 0.75, fastest | "
        "40 % from so many bit a pixel: without merging, beta = 0.75 |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    bands = [
        "| pixels | n | " + " | ".join(f"{bits:g} bit a pixel" for bits in SIZES) + " |",
        "|---|---" + "|---" * len(SIZES) + "|",
    ]
    for side in sides:
        instance = at_resolution(side)
        pixels = side * side
        work = f"{instance.flop_step / 1e12:.2f}, {instance.flop_decode / 1e12:.2f}"
        for steps in STEPS:
            raw = RAW_BITS * pixels
            image = mean_latency(instance.centralised(raw), steps, 0.0)
            quality = float(-np.log(instance.errors[np.flatnonzero(instance.steps == steps)[0], 0]))
            best = fastest(instance, quality)
            shares = ", ".join(
                f"{s:.1%}" for s in (*(saved(instance, steps, b, raw) for b in (0.0, 0.75)), 1 - best / image)
            )
            bits = ", ".join(f"{needed_bits(instance, steps, b) / pixels:.2f}" for b in (0.0, 0.75))
            plain, merged = (mean_latency(instance, steps, b) for b in (0.0, 0.75))
            lines.append(
                f"| {side} | {steps:g} | {work} | {plain:.3f} | {merged:.3f} | {best:.3f} | {image:.2f} | {shares} | {bits} |"
            )
            found = [[widest_band_hz(instance, steps, b, size * pixels) / 1e6 for b in (0.0, 0.75)] for size in SIZES]
            bands.append(
                f"| {side} | {steps:g} | "
                + " | ".join(", ".join(f"{w:.3g}" if w else "never" for w in pair) for pair in found)
                + " |"
            )
    return "\n".join(
        [*lines, "", "Bandwidth in MHz up to which MEG saves 40 %, without merging and with beta = 0.75:", "", *bands]
    )
