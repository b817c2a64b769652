"""FLOPs counted on the meta device, against the architecture written out by hand, and the command line."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from hisopt import PRESETS, Instance
from hisopt.commands import solve
from hisopt.commands.profile import ProfileOptions, count, main
from hisopt.diffusion import flops
from hisopt.diffusion.calibration import SAME_FLOP, TABLE_FLOP, calibrated, load_profile
from hisopt.errors import InputError

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    Call = Callable[..., subprocess.CompletedProcess[str]]

TINY = {
    "_class_name": "SD3Transformer2DModel", "sample_size": 8, "patch_size": 2, "in_channels": 4, "out_channels": 4,
    "num_layers": 3, "attention_head_dim": 8, "num_attention_heads": 2, "joint_attention_dim": 24,
    "caption_projection_dim": 16, "pooled_projection_dim": 20, "pos_embed_max_size": 16,
}  # fmt: skip


def by_hand(c: dict, side: int, text: int, batch: int) -> tuple[int, int, int]:  # type: ignore[type-arg]
    """Linear, attention and convolution FLOPs of an SD3 transformer: 2 FLOP a multiply-add."""
    width, layers, patch = c["attention_head_dim"] * c["num_attention_heads"], c["num_layers"], c["patch_size"]
    image = (side // patch) ** 2
    linear = 0
    for layer in range(layers):
        last = layer == layers - 1  # its text stream ends with the attention
        linear += (4 + 8) * width**2 * image + 3 * width**2 * text
        linear += 6 * width**2 + (2 if last else 6) * width**2  # the modulations
        linear += 0 if last else (1 + 8) * width**2 * text
    linear += c["joint_attention_dim"] * width * text
    linear += 256 * width + width**2 + c["pooled_projection_dim"] * width + width**2  # time and pooled text
    linear += 2 * width**2 + width * patch**2 * c["out_channels"] * image
    attention = layers * 2 * (image + text) ** 2 * width
    convolution = c["in_channels"] * patch**2 * width * image
    return 2 * linear * batch, 2 * attention * batch, 2 * convolution * batch


@pytest.mark.parametrize("batch", [1, 3])
def test_the_tiny_model_costs_what_its_layers_do(batch: int) -> None:
    found = flops.denoiser(TINY, 64, 7, batch)
    assert (found.linear, found.attention, found.convolution) == by_hand(TINY, 8, 7, batch)


def test_sd3_medium() -> None:
    config = flops.architecture("sd3-medium")["denoiser"]
    found = flops.denoiser(config, 1024, 333, 1)
    assert found.parameters == 2_028_328_000
    assert (found.linear, found.attention, found.convolution) == by_hand(config, 128, 333, 1)
    assert found.total == pytest.approx(8.904e12, rel=1e-4)


def test_every_shipped_architecture_is_counted() -> None:
    assert flops.known() == ["flux.1-dev", "sd3-medium", "sd3.5-large", "sd3.5-medium", "sdxl"]
    large = flops.denoiser(flops.architecture("sd3.5-large")["denoiser"], 256, 77, 1)
    assert large.parameters == pytest.approx(8.06e9, rel=1e-2)
    unet = flops.denoiser(flops.architecture("sdxl")["denoiser"], 256, 77, 1)
    assert unet.parameters == pytest.approx(2.567e9, rel=1e-3)
    assert unet.convolution > 0


FLUX = {
    "_class_name": "FluxTransformer2DModel", "in_channels": 16, "num_layers": 2, "num_single_layers": 3,
    "attention_head_dim": 8, "num_attention_heads": 2, "joint_attention_dim": 24, "pooled_projection_dim": 20,
    "guidance_embeds": True, "axes_dims_rope": [2, 2, 4],
}  # fmt: skip


def flux_by_hand(c: dict, side: int, text: int, batch: int) -> tuple[int, int]:  # type: ignore[type-arg]
    """Linear and attention FLOPs of a FLUX.1 transformer: double blocks as SD3's, single ones with one joined stream."""
    width, image = c["attention_head_dim"] * c["num_attention_heads"], (side // 2) ** 2
    everything = image + text
    linear = c["num_layers"] * ((4 + 8) * width**2 * everything + 2 * 6 * width**2)
    linear += c["num_single_layers"] * ((3 + 4 + 5) * width**2 * everything + 3 * width**2)
    linear += c["in_channels"] * width * image * 2 + c["joint_attention_dim"] * width * text
    linear += (
        2 * (256 * width + width**2) + c["pooled_projection_dim"] * width + width**2
    )  # time, guidance, pooled text
    linear += 2 * width**2  # the last modulation
    attention = (c["num_layers"] + c["num_single_layers"]) * 2 * everything**2 * width
    return 2 * linear * batch, 2 * attention * batch


@pytest.mark.parametrize("batch", [1, 3])
def test_flux_costs_what_its_layers_do(batch: int) -> None:
    found = flops.denoiser(FLUX, 64, 7, batch)
    assert (found.linear, found.attention, found.convolution) == (*flux_by_hand(FLUX, 8, 7, batch), 0)


def test_flux_1_dev() -> None:
    spec = flops.architecture("flux.1-dev")
    found = flops.denoiser(spec["denoiser"], 1024, spec["text_tokens"], 1)
    assert found.parameters == pytest.approx(11.9e9, rel=1e-2)
    assert (found.linear, found.attention) == flux_by_hand(spec["denoiser"], 128, 512, 1)


def test_a_model_that_takes_guidance_as_an_input_runs_once_a_step(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(FLUX))
    options = ProfileOptions(resolution=64, text_tokens=7, batch=1)
    for guidance in (True, False):
        counted = count(str(tmp_path / "config.json"), replace(options, guidance=guidance))
        assert counted["flop_per_step"] == sum(flux_by_hand(FLUX, 8, 7, 1))
        assert counted["conditions"]["forward_passes"] == 1


def test_a_profile_fills_the_models_parameters(tmp_path: Path, call: Call) -> None:
    (tmp_path / "config.json").write_text(json.dumps(TINY))
    done = call(main, "--model", "config.json", "--resolution", "64", "--text-tokens", "7", "--output", "p.json")
    assert done.returncode == 0, done.stderr
    step = 2 * sum(by_hand(TINY, 8, 7, 1))
    written = json.loads((tmp_path / "p.json").read_text())
    latent = {"channels": 4, "height": 8, "width": 8}
    assert written["parameters"] == {"flop_edge": step, "flop_device": step, "latent": latent}
    solved = call(solve.main, "--problem", "joint", "--solver", "greedy", "--profile", "p.json", "--format", "json")
    assert solved.returncode == 0
    instance = json.loads(solved.stdout)["instance"]
    assert instance["flop_edge"] == step
    assert instance["latent"]["channels"] == 4 and instance["latent"]["height"] == 8
    assert "T = 28 steps and the quality curve are of Stable Diffusion 3 Medium, not of config.json" in solved.stderr


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("{", "not JSON"),
        ("{}", "_class_name"),
        ('{"_class_name": "Nothing"}', "no model 'Nothing'"),
        ('{"_class_name": "AutoencoderKL"}', "width of its text embeddings"),
    ],
)
def test_bad_configs_are_one_line(tmp_path: Path, config: str, words: str, call: Call) -> None:
    (tmp_path / "config.json").write_text(config)
    done = call(main, "--model", "config.json")
    assert done.returncode == 2
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


def test_bad_arguments(tmp_path: Path, call: Call) -> None:
    with pytest.raises(InputError, match="neither a known model"):
        flops.architecture("unknown")
    assert "multiple of 16" in call(main, "--resolution", "100").stderr
    (tmp_path / "p.json").write_text('{"schema_version": 1, "parameters": {"flop_edge": -1}}')
    done = call(solve.main, "--profile", "p.json")
    assert done.returncode == 2
    assert done.stderr == "hisopt.solve: p.json: parameters.flop_edge: is -1, must be a positive number\n"


def steps_a_second(instance: Instance, sms: float) -> tuple[float, float]:
    """(9) over xi for an A100 of 108 SMs on the server, and for a device with so many SMs."""
    edge, devices = instance.edge, instance.devices
    return (
        float(108 * edge.frequency_hz * edge.flop_per_cycle * edge.utilisation / instance.flop_edge),
        float(np.max(sms * devices.frequency_hz * devices.flop_per_cycle * devices.utilisation / instance.flop_device)),
    )


def test_counting_otherwise_makes_no_processor_slower(tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text(json.dumps(count("sd3-medium", ProfileOptions())))
    before = PRESETS["small"].sample(0)
    assert isinstance(before, Instance)
    after, notes = calibrated(before, load_profile(str(tmp_path / "p.json")))
    assert after.flop_edge == pytest.approx(17.81e12, rel=1e-3)
    assert steps_a_second(after, 84) == pytest.approx(steps_a_second(before, 84), rel=1e-12)
    assert steps_a_second(after, 84)[0] == pytest.approx(6.379, rel=5e-3)
    assert float(after.edge.utilisation) == pytest.approx(0.364, abs=5e-4)
    assert after.latent == before.latent
    assert len(notes) == 1 and "utilisation is 1.484 times Table II's" in notes[0]
    again, _ = calibrated(after, load_profile(str(tmp_path / "p.json")))
    assert steps_a_second(again, 84) == steps_a_second(after, 84)


def test_the_step_that_table_ii_means_is_counted_here() -> None:
    found = flops.denoiser(flops.architecture("sd3-medium")["denoiser"], 1024, 333, 1)
    assert 2 * found.total == SAME_FLOP
    assert 2 * found.linear == pytest.approx(TABLE_FLOP, rel=2e-3)


def test_a_heavier_model_is_slower_and_sends_its_own_latent(tmp_path: Path) -> None:
    profile = {"model": "sdxl", "system": {"flop_edge": 2 * SAME_FLOP}, "edge": {}, "latent": {"channels": 4}}
    before = PRESETS["small"].sample(0)
    assert isinstance(before, Instance)
    after, notes = calibrated(before, profile)
    assert 2 * steps_a_second(after, 84)[0] == pytest.approx(steps_a_second(before, 84)[0])
    assert after.latent.payload_bits == before.latent.payload_bits / 4
    assert "not of sdxl" in notes[1]
    measured, _ = calibrated(before, profile | {"edge": {"utilisation": 0.5}})
    assert measured.edge.utilisation == 0.5


def test_a_profile_is_compared_with_published_figures(tmp_path: Path, call: Call) -> None:
    def check(ms: float, joules: float | None, card: str = "NVIDIA H200") -> subprocess.CompletedProcess[str]:
        run = {"dtype": "bfloat16", "mode": "eager", "median_s": ms / 1e3, "joules": joules}
        document = {
            "schema_version": 1, "model": "sd3-medium", "parameters": {"flop_edge": 1e13},
            "conditions": {"resolution": 1024, "guidance": True, "batch": 1},
            "measured": {"device": {"name": card}, "runs": [run]},
        }  # fmt: skip
        (tmp_path / "p.json").write_text(json.dumps(document))
        return call(main, "--check", "p.json")

    good = check(66, 42)
    assert good.returncode == 0 and "76.1 ms and 50.3 J a step" in good.stdout and "as expected" in good.stdout
    for bad in (check(152, 42), check(66, 10), check(66, None), check(66, 42, "Tesla T4")):
        assert bad.returncode == 1
        assert not bad.stderr
    broken = {"schema_version": 1, "parameters": {"flop_edge": 1e13}, "measured": {"runs": [1]}}
    (tmp_path / "p.json").write_text(json.dumps(broken))
    done = call(main, "--check", "p.json")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
