"""Calls of the tiny pipelines, plain and shared, that tests hold against each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from tiny_models import tiny_flux, tiny_sd3, tiny_sd35

from hisopt.decision import Decision
from hisopt.diffusion.pipeline import HybridInference, Prompt

if TYPE_CHECKING:
    from collections.abc import Sequence

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


def decision(clusters: list[int], common: list[int], steps_edge: list[int], total: int = STEPS) -> Decision:
    return Decision.of_steps(total, np.array(common), np.array(steps_edge), clusters=np.array(clusters))


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
        steps_edge = min(1, STEPS - common)
        found = HybridInference(pipe)(
            [Prompt("a red cat", negative="blur")], ["a red cat"], decision([0], [common], [steps_edge]), ["blur"],
            public_guidance=guidance, personal_guidance=guidance, seed=3, hand_over=False, output_type="pt", **SIZE, **options,
        )  # fmt: skip
        same(found.images[0], expected[0])
