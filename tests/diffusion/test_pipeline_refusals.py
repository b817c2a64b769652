"""What hybrid inference refuses, before anything runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from diffusers import (
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    FlowMatchHeunDiscreteScheduler,
    FluxPipeline,
    StableDiffusion3Pipeline,
)
from tiny_models import tiny_flux, tiny_sd3
from tiny_pipelines import (
    SIZE,
    decision,
)  # fmt: skip

from hisopt.decision import Decision
from hisopt.diffusion.pipeline import HybridInference
from hisopt.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("scheduler", "words"),
    [
        (FlowMatchHeunDiscreteScheduler(shift=3.0), "FlowMatchHeunDiscreteScheduler: its steps cannot be shared"),
        (
            DPMSolverMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True),
            "DPMSolverMultistepScheduler: its steps cannot be shared",
        ),
        (FlowMatchEulerDiscreteScheduler(stochastic_sampling=True), "stochastic_sampling draws noise in every step"),
    ],
)
def test_schedulers_whose_steps_cannot_be_shared_are_refused(tmp_path: Path, scheduler: Any, words: str) -> None:
    pipe = tiny_sd3(tmp_path)
    run = HybridInference(pipe)
    pipe.scheduler = scheduler
    for refused in (
        lambda: HybridInference(pipe),
        lambda: run(["x"], ["a"], decision([0], [1], [1])),
    ):
        with pytest.raises(InputError, match=words) as error:
            refused()
        assert "\n" not in str(error.value)


def test_pipelines_that_do_not_fit_are_refused(tmp_path: Path, plain: StableDiffusion3Pipeline) -> None:
    with pytest.raises(InputError, match="dict: hybrid inference runs on"):
        HybridInference({})
    with pytest.raises(InputError, match="device: a FluxPipeline, but the server's is a StableDiffusion3Pipeline"):
        HybridInference(plain, tiny_flux(tmp_path))
    device = StableDiffusion3Pipeline(**plain.components)
    device.scheduler = FlowMatchEulerDiscreteScheduler(shift=2.0)
    with pytest.raises(InputError, match="another schedule"):
        HybridInference(plain, device)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((["x"], ["a"], decision([1], [1], [1])), "public_prompts"),
        ((["x"], ["a", "b"], decision([0], [1], [1])), "decision"),
        ((["x"], ["a"], decision([0], [1], [1]), ["a", "b"]), "negative_prompts"),
        ((["x"], ["a"], Decision(clusters=np.zeros(1, dtype=int))), "all steps"),
        ((["x"], ["a"], decision([0], [4], [3])), "steps must be"),
        ((["x"], [3], decision([0], [1], [1])), "3 is neither a text nor a Prompt"),
    ],
)
def test_what_does_not_fit(plain: StableDiffusion3Pipeline, arguments: tuple, words: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(InputError, match=words):
        HybridInference(plain)(*arguments)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"max_batch": 0}, "max_batch: is 0"),
        ({"generator": torch.Generator()}, "generator: one for each of 1 clusters"),
        ({"sigmas": [1.0]}, "sigmas: not an option"),
        ({"true_cfg_scale": 2}, "true_cfg_scale: not an option of hybrid inference on StableDiffusion3Pipeline"),
        ({"public_options": {"strength": 2}}, "strength: not an option"),
        ({"callback_on_step_end_tensor_inputs": ["nothing"]}, "has to be in"),
        ({"max_sequence_length": 600}, "cannot be greater than 512"),
    ],
)
def test_what_the_pipeline_does_not_take_is_told_before_anything_runs(
    plain: StableDiffusion3Pipeline, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        HybridInference(plain).stream(["x"], ["a"], decision([0], [1], [1]), **options)


def test_negative_prompts_that_would_not_be_read_are_refused(tmp_path: Path) -> None:
    run = HybridInference(tiny_flux(tmp_path))
    assert isinstance(run.pipe, FluxPipeline)
    with pytest.raises(InputError, match="true_cfg_scale above 1"):
        run(["x"], ["a"], decision([0], [1], [1]), ["blur"], **SIZE)
