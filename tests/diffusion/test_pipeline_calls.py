"""What a call of hybrid inference runs and hands over: batches, encodings, callbacks, images on the way."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

import pytest
import torch
from diffusers import (
    StableDiffusion3Pipeline,
)
from tiny_models import tiny_flux, tiny_sd3, tiny_sd35
from tiny_pipelines import (
    MODELS,
    NEGATIVE,
    OPTIONS,
    PROMPTS,
    PUBLIC,
    SIZE,
    STEPS,
    alone,
    decision,
    same,
)  # fmt: skip

from hisopt.diffusion.pipeline import HybridInference, Prompt

if TYPE_CHECKING:
    from pathlib import Path


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
    clusters, common, steps_edge = [0, 1, 0, 0], [2, 3, 2, 1], [1, 0, 3, 2]
    plan = decision(clusters, common, steps_edge)
    single = HybridInference(pipe)(PUBLIC, PROMPTS, plan, NEGATIVE, max_batch=1, hand_over=False, output_type="latent")
    on_server, on_device = counted(pipe.transformer), counted(device.transformer)
    batched = HybridInference(pipe, device)(PUBLIC, PROMPTS, plan, NEGATIVE, hand_over=False, output_type="latent")
    work = [2 + 1 + 3 + 2, 3 + 0]  # W_m = X_m + Y_m
    assert sum(on_server) // 2 == sum(work)  # guidance doubles the batch
    assert (
        sum(on_device) // 2
        == batched.steps_device
        == sum(STEPS - x - y for x, y in zip(common, steps_edge, strict=True))
    )
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
