"""Hybrid inference on tiny random models of Stable Diffusion 3, 3.5 and FLUX.1, held to the plain pipelines."""

from __future__ import annotations

from copy import deepcopy
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
from tiny_models import tiny_flux, tiny_sd3, tiny_sd35

from hisopt.decision import Decision
from hisopt.diffusion.pipeline import HybridInference, Prompt
from hisopt.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

STEPS = 5
PROMPTS = ["a red cat", "a blue dog", "the old tree", "some bird"]
NEGATIVE = ["blur", "", "noise", "text"]
PUBLIC = ["an animal", "a plant"]
SIZE: dict[str, Any] = {"height": 8, "width": 8}
MODELS = {"sd3": tiny_sd3, "sd3.5": tiny_sd35, "flux": tiny_flux}
# guidance of every kind: none, classifier-free, with skipped layers, by a second negative pass
OPTIONS: dict[str, dict[str, Any]] = {
    "sd3": {},
    "sd3.5": {
        "max_sequence_length": 16, "skip_guidance_layers": [1], "skip_layer_guidance_start": 0.2,
        "skip_layer_guidance_stop": 0.8,
    },
    "flux": {"max_sequence_length": 16, "true_cfg_scale": 3.0},
}  # fmt: skip


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> StableDiffusion3Pipeline:
    return tiny_sd3(tmp_path_factory.mktemp("sd3"))


def decision(clusters: list[int], common: list[int], edge: list[int], total: int = STEPS) -> Decision:
    return Decision.of_steps(total, np.array(common), np.array(edge), clusters=np.array(clusters))


def alone(
    pipe: Any, prompt: str, negative: str, guidance: float, seed: int, output_type: str = "latent", **options: Any
) -> torch.Tensor:
    made = pipe(
        prompt, negative_prompt=negative, num_inference_steps=STEPS, guidance_scale=guidance, output_type=output_type,
        generator=torch.Generator().manual_seed(seed), **SIZE, **options,
    ).images  # fmt: skip
    return made  # type: ignore[no-any-return]


def same(found: Any, expected: Any) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def one_prompt_in_both_phases(
    pipe: Any, options: dict[str, Any], guidance: float = 4.0, commons: Sequence[int] = range(STEPS + 1)
) -> None:
    expected = alone(pipe, "a red cat", "blur", guidance, 3, "pt", **options)
    for common in commons:
        edge = min(1, STEPS - common)
        found = HybridInference(pipe)(
            [Prompt("a red cat", negative="blur")], ["a red cat"], decision([0], [common], [edge]), ["blur"],
            public_guidance=guidance, personal_guidance=guidance, seed=3, hand_over=False, output_type="pt", **SIZE, **options,
        )  # fmt: skip
        same(found.images[0], expected[0])


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


def counted(model: torch.nn.Module) -> list[int]:
    sizes: list[int] = []

    def hook(_: torch.nn.Module, given: tuple[Any, ...], inputs: dict[str, torch.Tensor]) -> None:
        sizes.append(len(inputs["hidden_states"] if "hidden_states" in inputs else given[0]))

    model.register_forward_pre_hook(hook, with_kwargs=True)
    return sizes


def test_batches_are_one_by_one_and_the_model_runs_w_plus_z_steps(tmp_path: Path) -> None:
    pipe = tiny_sd3(tmp_path)
    device = StableDiffusion3Pipeline(
        **pipe.components | {"transformer": deepcopy(pipe.transformer), "text_encoder": None, "text_encoder_2": None}
    )
    clusters, common, edge = [0, 1, 0, 0], [2, 3, 2, 1], [1, 0, 3, 2]
    plan = decision(clusters, common, edge)
    single = HybridInference(pipe)(PUBLIC, PROMPTS, plan, NEGATIVE, max_batch=1, hand_over=False, output_type="latent")
    on_server, on_device = counted(pipe.transformer), counted(device.transformer)
    batched = HybridInference(pipe, device)(PUBLIC, PROMPTS, plan, NEGATIVE, hand_over=False, output_type="latent")
    work = [2 + 1 + 3 + 2, 3 + 0]  # W_m = X_m + Y_m
    assert sum(on_server) // 2 == sum(work)  # guidance doubles the batch
    assert sum(on_device) // 2 == batched.steps_device == sum(STEPS - x - y for x, y in zip(common, edge, strict=True))
    assert batched.steps_common == [2, 3]
    assert sum(batched.steps_common) + batched.steps_edge == sum(work)
    for one, other in zip(batched.images, single.images, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_users_that_are_at_the_same_step_are_one_call_of_the_model(tmp_path: Path) -> None:
    pipe = tiny_sd3(tmp_path)
    sizes = counted(pipe.transformer)
    HybridInference(pipe)(
        PUBLIC, PROMPTS, decision([0, 1, 0, 1], [0, 1, 2, 2], [5, 4, 3, 3]), output_type="latent", personal_guidance=1.0,
        public_guidance=1.0,
    )  # fmt: skip
    assert sizes == [2, 2, *(1, 2, 4, 4, 4)]  # both clusters' two common steps, then users as they join
    sizes.clear()
    HybridInference(pipe)(
        PUBLIC, PROMPTS, decision([0, 1, 0, 1], [0, 1, 2, 2], [5, 4, 3, 3]), output_type="latent", personal_guidance=1.0,
        public_guidance=1.0, max_batch=2,
    )  # fmt: skip
    assert max(sizes) == 2 and sum(sizes) == 4 + 15


def test_prompts_are_encoded_in_batches_and_equal_ones_once(tmp_path: Path) -> None:
    pipe, sizes = tiny_sd3(tmp_path), []
    pipe.text_encoder.register_forward_pre_hook(lambda _, given: sizes.append(len(given[0])))
    HybridInference(pipe)(
        PUBLIC, ["a red cat", "a blue dog", "a red cat", "an animal"], decision([0, 1, 0, 1], [1] * 4, [1] * 4),
        ["blur", "", "blur", "noise"], output_type="latent",
    )  # fmt: skip
    assert sizes == [2, 1, 2, 2]  # public, their negatives; personal that are new, negatives that are new


def test_other_encoders_read_their_own_texts(tmp_path: Path) -> None:
    pipe, plan = tiny_sd35(tmp_path), decision([0], [2], [1])
    texts = {"prompt_2": "a dog", "prompt_3": "a bird"}
    expected = pipe(
        "a cat", negative_prompt="blur", negative_prompt_2="noise", **texts, num_inference_steps=STEPS, guidance_scale=3,
        generator=torch.Generator().manual_seed(0), output_type="latent", max_sequence_length=16,
    ).images  # fmt: skip
    prompt = Prompt("a cat", "a dog", "a bird", "blur", "noise")
    found = HybridInference(pipe)(
        [prompt], [prompt], plan, public_guidance=3, personal_guidance=3, hand_over=False, output_type="latent",
        max_sequence_length=16,
    )  # fmt: skip
    same(found.images[0], expected)


def test_callbacks_see_the_whole_schedule_and_may_change_latents(plain: StableDiffusion3Pipeline) -> None:
    def halve(_: Any, step: int, __: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        seen.append((step, tensors.get("phase"), tensors.get("members"), tensors["prompt_embeds"].shape[-1]))
        return {"latents": tensors["latents"] / 2} if step in (1, 3) else {}

    seen: list[Any] = []
    tensors = {
        "callback_on_step_end": halve,
        "callback_on_step_end_tensor_inputs": ["latents", "prompt_embeds"],
    }
    expected = alone(plain, "a cat", "", 3.0, 0, **tensors)
    assert [step for step, *_ in seen] == list(range(STEPS))
    seen.clear()
    found = HybridInference(plain)(
        ["a cat"], ["a cat"], decision([0], [2], [1]), public_guidance=3, personal_guidance=3, hand_over=False,
        output_type="latent", **tensors,
    )  # fmt: skip
    same(found.images[0], expected)
    phases = ["common", "common", "edge", "device", "device"]
    assert seen == [(step, phase, (0,), 32) for step, phase in enumerate(phases)]


def test_a_callback_interrupts(plain: StableDiffusion3Pipeline) -> None:
    def stop(pipe: Any, step: int, _: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        pipe._interrupt = step == 3 and tensors["members"] == (1,)
        return {}

    found = HybridInference(plain)(
        ["x"], ["a", "b"], decision([0, 0], [1, 2], [4, 3]), max_batch=1, callback_on_step_end=stop
    )
    assert found.images[0] is not None and found.images[1] is None


@pytest.mark.parametrize("model", ["sd3", "flux"])
def test_intermediate_images_are_those_of_the_plain_pipeline(tmp_path: Path, model: str) -> None:
    pipe, options = MODELS[model](tmp_path), OPTIONS[model]
    reached: dict[int, torch.Tensor] = {}

    def keep(_: Any, step: int, __: Any, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        reached[step + 1] = tensors["latents"].clone()
        return {}

    alone(pipe, "a cat", "", 3.0, 0, callback_on_step_end=keep, **options)
    settings = {"public_guidance": 3.0, "personal_guidance": 3.0, "hand_over": False, "intermediate_steps": (1, 3, 4)}
    run = HybridInference(pipe)
    found = run(["a cat"], ["a cat"], decision([0], [3], [0]), **settings, output_type="latent", **SIZE, **options)
    assert list(found.intermediate[0]) == [1, 3, 4]
    for step, latents in found.intermediate[0].items():
        same(latents, reached[step])
    images = run(["a cat"], ["a cat"], decision([0], [3], [0]), **settings, **SIZE, **options).intermediate[0]
    assert [image.size for image in images.values()] == [(8, 8)] * 3


def test_the_progress_bar_counts_every_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe, bars = tiny_sd3(tmp_path), []
    made = pipe.progress_bar

    def bar(iterable: Any = None, total: int | None = None) -> Any:
        bars.append(made(iterable, total))
        return bars[-1]

    monkeypatch.setattr(pipe, "progress_bar", bar)
    pipe.set_progress_bar_config(mininterval=0, file=(tmp_path / "bar").open("w"))
    HybridInference(pipe)(PUBLIC, PROMPTS, decision([0, 1, 0, 1], [0, 1, 2, 3], [2, 0, 1, 1]))
    assert bars[0].n == bars[0].total == (2 + 3) + (5 + 4 + 3 + 2)
    assert all(inner.disable for inner in bars[1:])
    assert not pipe._progress_bar_config.get("disable", False)
    pipe._progress_bar_config["file"].close()


def test_the_hand_over_is_half_precision_and_as_large_as_said(plain: StableDiffusion3Pipeline) -> None:
    plan, run = decision([0, 0], [2, 2], [1, 3]), HybridInference(plain)
    sent = run(["x"], ["a", "b"], plan, output_type="latent")
    kept = run(["x"], ["a", "b"], plan, hand_over=False, output_type="latent")
    assert sent.payload_bits == [4 * 8 * 8 * 16, 0]  # the second user's image is finished on the server
    torch.testing.assert_close(sent.images[0], kept.images[0], rtol=2e-2, atol=2e-2)
    assert not torch.equal(sent.images[0], kept.images[0])
    same(sent.images[1], kept.images[1])


def test_packed_latents_are_as_large_as_others(tmp_path: Path) -> None:
    found = HybridInference(tiny_flux(tmp_path))(
        ["x"], ["a"], decision([0], [2], [1]), **SIZE, max_sequence_length=16, output_type="latent"
    )
    assert found.payload_bits == [4 * 8 * 8 * 16]


def test_a_device_of_another_precision_takes_over(tmp_path: Path) -> None:
    pipe = tiny_sd3(tmp_path)
    device = StableDiffusion3Pipeline(
        **pipe.components
        | {
            "transformer": deepcopy(pipe.transformer).to(torch.bfloat16), "text_encoder": None, "text_encoder_2": None,
        }
    )  # fmt: skip
    device.set_progress_bar_config(disable=True)
    plan = decision([0], [2], [1])
    whole = HybridInference(pipe)(["x"], ["a"], plan, output_type="latent").images[0]
    found = HybridInference(pipe, device)(["x"], ["a"], plan, output_type="latent").images[0]
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), whole, rtol=0.1, atol=0.1)
    assert not torch.equal(found.float(), whole)


def test_images_are_decoded(plain: StableDiffusion3Pipeline) -> None:
    run, plan = HybridInference(plain), decision([0, 0], [1, 2], [1, 0])
    assert [image.size for image in run(["x"], ["a", "b"], plan).images] == [(8, 8), (8, 8)]
    (images,) = run(["x"], ["a", "b"], plan, return_dict=False, output_type="np")
    assert [image.shape for image in images] == [(8, 8, 3)] * 2


def test_options_may_differ_in_the_common_phase(tmp_path: Path) -> None:
    pipe = tiny_flux(tmp_path)
    sizes = counted(pipe.transformer)
    HybridInference(pipe)(
        ["x"], ["a"], decision([0], [2], [3]), ["blur"], **SIZE, max_sequence_length=16, output_type="latent",
        true_cfg_scale=2.0, public_options={"true_cfg_scale": 1.0},
    )  # fmt: skip
    assert len(sizes) == 2 + 2 * 3  # FLUX guides by a second call


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
