"""Hybrid inference on tiny random models of Stable Diffusion 3, 3.5 and FLUX.1, held to the plain pipelines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from diffusers import (
    FlowMatchEulerDiscreteScheduler,
    StableDiffusion3Pipeline,
)
from tiny_models import tiny_sd3, tiny_sd35
from tiny_pipelines import (
    MODELS,
    NEGATIVE,
    OPTIONS,
    PROMPTS,
    PUBLIC,
    SIZE,
    alone,
    decision,
    one_prompt_in_both_phases,
    same,
)  # fmt: skip

from hisopt.diffusion.pipeline import HybridInference

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("guidance", [1.0, 4.0])
def test_one_prompt_in_both_phases_is_the_plain_pipeline_bit_for_bit(
    tmp_path: Path, model: str, guidance: float
) -> None:
    one_prompt_in_both_phases(MODELS[model](tmp_path), OPTIONS[model], guidance)


@pytest.mark.parametrize("model", ["sd3", "flux"])
@pytest.mark.parametrize(
    "schedule", ["use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas", "shift_terminal"]
)
def test_schedules_that_depend_on_their_ends_are_resumed_as_they_were(
    tmp_path: Path, model: str, schedule: str
) -> None:
    pipe = MODELS[model](tmp_path)
    pipe.scheduler = FlowMatchEulerDiscreteScheduler(
        shift=3.0, use_dynamic_shifting=model == "flux", **{schedule: 0.1 if schedule == "shift_terminal" else True}
    )
    one_prompt_in_both_phases(pipe, OPTIONS[model], commons=[1, 3])


def test_half_precision_is_the_plain_pipelines(tmp_path: Path) -> None:
    one_prompt_in_both_phases(tiny_sd35(tmp_path).to(torch.bfloat16), OPTIONS["sd3.5"], commons=[0, 2])


def test_a_shift_set_by_hand_or_by_the_resolution_is_the_plain_pipelines(tmp_path: Path) -> None:
    pipe = tiny_sd3(tmp_path, dynamic=True)
    one_prompt_in_both_phases(pipe, {}, commons=[2])
    pipe.scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    pipe.scheduler.set_shift(1.5)
    one_prompt_in_both_phases(pipe, {}, commons=[2])
    assert pipe.scheduler.shift == 1.5
    assert type(pipe.scheduler) is FlowMatchEulerDiscreteScheduler
    assert pipe.config["scheduler"] == ("diffusers", "FlowMatchEulerDiscreteScheduler")


class _Hook:
    """What accelerate leaves on a module whose weights it moves: where it runs."""

    execution_device = torch.device("cpu")


def offload(pipe: Any) -> None:
    """Keep every weight on the meta device but while its module runs, as sequential offloading does."""

    def moved(module: torch.nn.Module) -> None:
        weights = dict(module._parameters) | dict(module._buffers)
        for name, value in weights.items():
            if value is not None:
                weights[name] = value.detach().clone()

        def put(where: Callable[[torch.Tensor], torch.Tensor]) -> None:
            for name, value in weights.items():
                if value is None:
                    continue
                if name in module._parameters:
                    module._parameters[name] = torch.nn.Parameter(where(value), requires_grad=False)
                else:
                    module._buffers[name] = where(value)

        def load(*_: Any) -> None:
            put(lambda value: value)

        def free(*_: Any) -> None:
            put(lambda value: value.to("meta"))

        free()
        module.register_forward_pre_hook(load)
        module.register_forward_hook(free)

    for model in pipe.components.values():
        if isinstance(model, torch.nn.Module):
            model._hf_hook = _Hook()  # type: ignore[assignment]
            for module in model.modules():
                if module._parameters or module._buffers:
                    moved(module)


@pytest.mark.parametrize("model", MODELS)
def test_weights_that_are_on_the_device_only_while_they_run(tmp_path: Path, model: str) -> None:
    pipe = MODELS[model](tmp_path)
    expected = alone(pipe, "a red cat", "blur", 4.0, 3, "pt", **OPTIONS[model])
    offload(pipe)
    assert pipe.device.type == "meta"
    same(alone(pipe, "a red cat", "blur", 4.0, 3, "pt", **OPTIONS[model]), expected)
    one_prompt_in_both_phases(pipe, OPTIONS[model])


@pytest.mark.parametrize("whole", [True, False])
def test_models_that_were_moved_to_the_device_are_freed_once_at_the_end(tmp_path: Path, whole: bool) -> None:
    pipe, calls = tiny_sd3(tmp_path), []
    pipe._all_hooks = ["hook"]
    pipe.enable_model_cpu_offload = lambda device: calls.append(device)
    run = HybridInference(pipe).stream(PUBLIC, PROMPTS, decision([0, 1, 0, 1], [0, 1, 2, 3], [2, 0, 1, 1]), max_batch=2)
    next(run)
    assert not calls
    if whole:
        assert len(list(run)) == 3
    else:
        run.close()
    assert len(calls) == 1
    assert pipe._all_hooks == ["hook"]


def test_without_common_steps_everyone_gets_the_plain_pipelines_image(plain: StableDiffusion3Pipeline) -> None:
    found = HybridInference(plain)(
        PUBLIC, PROMPTS, decision([0, 1, 0, 1], [0] * 4, [2, 0, 1, 5]), NEGATIVE, seed=5, max_batch=1, hand_over=False,
        output_type="latent",
    )  # fmt: skip
    for n, cluster in enumerate([0, 1, 0, 1]):
        same(found.images[n], alone(plain, PROMPTS[n], NEGATIVE[n], 8.0, 5 + cluster))


def test_the_noise_is_a_given_generators(plain: StableDiffusion3Pipeline) -> None:
    plan = decision([0, 1], [0, 0], [5, 5])
    found = HybridInference(plain)(
        PUBLIC, PROMPTS[:2], plan, max_batch=1, output_type="latent",
        generator=[torch.Generator().manual_seed(11), torch.Generator().manual_seed(7)],
    )  # fmt: skip
    for n, seed in enumerate((11, 7)):
        same(found.images[n], alone(plain, PROMPTS[n], "", 8.0, seed))


@pytest.mark.parametrize("model", MODELS)
def test_users_leave_the_common_phase_at_their_own_steps(tmp_path: Path, model: str) -> None:
    """Against a pipeline whose callback swaps prompts: X_m is the largest x_n, and each resumes where it left."""
    pipe, options = MODELS[model](tmp_path), OPTIONS[model]
    found = HybridInference(pipe)(
        ["an animal"], PROMPTS[:3], decision([0, 0, 0], [1, 4, 2], [1, 1, 0]), NEGATIVE[:3], seed=9, max_batch=1,
        public_guidance=3.0, personal_guidance=3.0, hand_over=False, output_type="latent", **SIZE, **options,
    )  # fmt: skip
    reached: dict[int, torch.Tensor] = {}

    def keep(_: Any, step: int, __: Any, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        reached[step + 1] = tensors["latents"].clone()
        return {}

    alone(pipe, "an animal", "", 3.0, 9, callback_on_step_end=keep, **options)
    for n, x in enumerate((1, 4, 2)):

        def resume(_: Any, step: int, __: Any, tensors: dict[str, torch.Tensor], x: int = x) -> dict[str, torch.Tensor]:
            return {"latents": reached[x]} if step + 1 == x else {}

        same(
            found.images[n],
            alone(pipe, PROMPTS[n], NEGATIVE[n], 3.0, 9, callback_on_step_end=resume, **options),
        )
