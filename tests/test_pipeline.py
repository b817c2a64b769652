"""Hybrid inference on a tiny random Stable Diffusion 3, held to the plain pipeline."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusion3Pipeline
from tiny_models import tiny_sd3

from hisopt.decision import Decision
from hisopt.pipeline import HybridInferencePipeline

STEPS = 5
PROMPTS = ["a red cat", "a blue dog", "the old tree", "some bird"]
NEGATIVE = ["blur", "", "noise", "text"]
PUBLIC = ["an animal", "a plant"]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> StableDiffusion3Pipeline:
    return tiny_sd3(tmp_path_factory.mktemp("sd3"))


def hybrid(plain: StableDiffusion3Pipeline) -> HybridInferencePipeline:
    pipe = HybridInferencePipeline(**plain.components)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def decision(clusters: list[int], common: list[int], edge: list[int], total: int = STEPS) -> Decision:
    return Decision.of_steps(total, np.array(common), np.array(edge), clusters=np.array(clusters))


def alone(plain: StableDiffusion3Pipeline, prompt: str, negative: str, guidance: float, seed: int) -> torch.Tensor:
    return plain(
        prompt, negative_prompt=negative, num_inference_steps=STEPS, guidance_scale=guidance, output_type="latent",
        generator=torch.Generator().manual_seed(seed),
    ).images  # fmt: skip


@pytest.mark.parametrize("guidance", [1.0, 4.0])
@pytest.mark.parametrize("common", range(STEPS + 1))
def test_one_prompt_in_both_phases_is_the_plain_pipeline_bit_for_bit(
    plain: StableDiffusion3Pipeline, common: int, guidance: float
) -> None:
    edge = min(1, STEPS - common)
    found = hybrid(plain)(
        ["a red cat"], ["a red cat"], decision([0], [common], [edge]), public_guidance=guidance, personal_guidance=guidance,
        seed=3, hand_over=False, output_type="latent",
    )  # fmt: skip
    torch.testing.assert_close(found.images[0], alone(plain, "a red cat", "", guidance, 3), rtol=0, atol=0)


def test_without_common_steps_everyone_gets_the_plain_pipelines_image(plain: StableDiffusion3Pipeline) -> None:
    found = hybrid(plain)(
        PUBLIC, PROMPTS, decision([0, 1, 0, 1], [0] * 4, [2, 0, 1, 5]), NEGATIVE, seed=5, max_batch=1, hand_over=False,
        output_type="latent",
    )  # fmt: skip
    for n, cluster in enumerate([0, 1, 0, 1]):
        torch.testing.assert_close(
            found.images[n], alone(plain, PROMPTS[n], NEGATIVE[n], 8.0, 5 + cluster), rtol=0, atol=0
        )


def test_a_dynamic_shift_is_the_plain_pipelines(tmp_path: Path) -> None:
    plain = tiny_sd3(tmp_path, dynamic=True)
    found = hybrid(plain)(
        ["a cat"], ["a cat"], decision([0], [2], [1]), public_guidance=3, personal_guidance=3, hand_over=False,
        output_type="latent",
    )  # fmt: skip
    torch.testing.assert_close(found.images[0], alone(plain, "a cat", "", 3.0, 0), rtol=0, atol=0)


def test_batches_are_one_by_one_and_the_model_runs_w_plus_z_steps(plain: StableDiffusion3Pipeline) -> None:
    clusters, common, edge = [0, 1, 0, 0], [2, 3, 2, 1], [1, 0, 3, 2]
    plan = decision(clusters, common, edge)
    calls = {"server": 0, "device": 0}

    def counted(name: str):  # type: ignore[no-untyped-def]
        def hook(_: torch.nn.Module, __: tuple[()], inputs: dict[str, torch.Tensor]) -> None:
            calls[name] += len(inputs["hidden_states"]) // 2  # guidance doubles the batch

        return hook

    pipe = hybrid(plain)
    pipe.device_transformer = deepcopy(pipe.transformer)
    handles = [
        pipe.transformer.register_forward_pre_hook(counted("server"), with_kwargs=True),
        pipe.device_transformer.register_forward_pre_hook(counted("device"), with_kwargs=True),
    ]
    batched = pipe(PUBLIC, PROMPTS, plan, NEGATIVE, hand_over=False, output_type="latent")
    for handle in handles:
        handle.remove()
    work = [2 + 1 + 3 + 2, 3 + 0]  # W_m = X_m + Y_m
    assert calls == {"server": sum(work), "device": sum(STEPS - x - y for x, y in zip(common, edge, strict=True))}
    assert batched.steps_common == [2, 3]
    assert sum(batched.steps_common) + batched.steps_edge == sum(work)
    assert batched.steps_device == calls["device"]
    single = hybrid(plain)(PUBLIC, PROMPTS, plan, NEGATIVE, max_batch=1, hand_over=False, output_type="latent")
    for one, other in zip(batched.images, single.images, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_the_hand_over_is_half_precision_and_as_large_as_said(plain: StableDiffusion3Pipeline) -> None:
    plan = decision([0, 0], [2, 2], [1, 3])
    sent = hybrid(plain)(["x"], ["a", "b"], plan, output_type="latent")
    kept = hybrid(plain)(["x"], ["a", "b"], plan, hand_over=False, output_type="latent")
    assert sent.payload_bits == [4 * 8 * 8 * 16, 0]  # the second user's image is finished on the server
    torch.testing.assert_close(sent.images[0], kept.images[0], rtol=2e-2, atol=2e-2)
    assert not torch.equal(sent.images[0], kept.images[0])
    torch.testing.assert_close(sent.images[1], kept.images[1], rtol=0, atol=0)


def test_images_are_decoded(plain: StableDiffusion3Pipeline) -> None:
    found = hybrid(plain)(["x"], ["a", "b"], decision([0, 0], [1, 2], [1, 0]))
    assert [image.size for image in found.images] == [(8, 8), (8, 8)]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((["x"], ["a"], decision([1], [1], [1])), "public_prompts"),
        ((["x"], ["a", "b"], decision([0], [1], [1])), "decision"),
        ((["x"], ["a"], decision([0], [1], [1]), ["a", "b"]), "negative_prompts"),
        ((["x"], ["a"], Decision(clusters=np.zeros(1, dtype=int))), "all steps"),
        ((["x"], ["a"], decision([0], [4], [3])), "steps must be"),
    ],
)
def test_what_does_not_fit(plain: StableDiffusion3Pipeline, arguments: tuple, words: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(ValueError, match=words):
        hybrid(plain)(*arguments)
