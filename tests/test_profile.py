"""FLOPs counted on the meta device, against the architecture written out by hand, and the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from hisopt import flops
from hisopt.errors import InputError
from hisopt.profile import count

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
    options = {"resolution": 64, "text_tokens": 7, "batch": 1}
    for guidance in (True, False):
        counted = count(str(tmp_path / "config.json"), options | {"guidance": guidance})
        assert counted["flop_per_step"] == sum(flux_by_hand(FLUX, 8, 7, 1))
        assert counted["conditions"]["forward_passes"] == 1


def profile(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hisopt.profile", *arguments], capture_output=True, text=True, cwd=cwd, check=False
    )


def test_a_profile_fills_the_models_parameters(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(TINY))
    done = profile(
        "--model", "config.json", "--resolution", "64", "--text-tokens", "7", "--output", "p.json", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    step = 2 * sum(by_hand(TINY, 8, 7, 1))
    written = json.loads((tmp_path / "p.json").read_text())
    assert written["parameters"] == {"flop_edge": step, "flop_device": step}
    command = [sys.executable, "-m", "hisopt.solve", "--problem", "joint", "--solver", "exact", "--profile", "p.json",
               "--format", "json"]  # fmt: skip
    solved = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=True)
    assert json.loads(solved.stdout)["instance"]["flop_edge"] == step


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("{", "not JSON"),
        ("{}", "_class_name"),
        ('{"_class_name": "Nothing"}', "no model 'Nothing'"),
        ('{"_class_name": "AutoencoderKL"}', "width of its text embeddings"),
    ],
)
def test_bad_configs_are_one_line(tmp_path: Path, config: str, words: str) -> None:
    (tmp_path / "config.json").write_text(config)
    done = profile("--model", "config.json", cwd=tmp_path)
    assert done.returncode == 2
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


def test_bad_arguments(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="neither a known model"):
        flops.architecture("unknown")
    assert "multiple of 16" in profile("--resolution", "100", cwd=tmp_path).stderr
    (tmp_path / "p.json").write_text('{"schema_version": 1, "parameters": {"flop_edge": -1}}')
    command = [sys.executable, "-m", "hisopt.solve", "--profile", "p.json"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert done.stderr == "hisopt.solve: p.json: parameters.flop_edge: is -1, must be a positive number\n"
