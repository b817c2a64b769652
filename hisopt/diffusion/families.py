"""What differs between the diffusers pipelines that hybrid inference runs on: text, guidance and the first noise."""

from __future__ import annotations

import inspect
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from diffusers import FluxPipeline, StableDiffusion3Pipeline
from torch import Generator, Tensor
from typing_extensions import override

from hisopt.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

Embedding = tuple[Tensor, Tensor]  # of one text: tokens (1, S, D) and pooled (1, P)
Texts = tuple[str, str, str]  # for the first, second and third text encoder


@dataclass(frozen=True)
class Prompt:
    """A prompt and what the other text encoders and the negative half of guidance read; None: the same text."""

    text: str
    text_2: str | None = None
    text_3: str | None = None
    negative: str = ""
    negative_2: str | None = None
    negative_3: str | None = None

    @property
    def texts(self) -> Texts:
        """The prompt for each encoder."""
        return _texts(self.text, self.text_2, self.text_3)

    @property
    def negative_texts(self) -> Texts:
        """The negative prompt for each encoder."""
        return _texts(self.negative, self.negative_2, self.negative_3)


def _texts(first: str, second: str | None, third: str | None) -> Texts:
    return first, first if second is None else second, first if third is None else third


class Family(Protocol):
    """How to prepare a call of a pipeline. ``options`` are keyword arguments of the pipeline's own call."""

    def guided(self, guidance: float, options: dict[str, Any]) -> bool:
        """Whether a step needs the negative prompt as well."""

    def encode(self, pipe: Any, texts: Sequence[Texts], options: dict[str, Any], negative: bool) -> list[Embedding]:
        """Return the embeddings of texts, encoded in one batch."""

    def noise(
        self, pipe: Any, generators: Sequence[Generator], height: int, width: int, dtype: Any, device: Any
    ) -> list[Tensor]:
        """Return one user's first latents (1, ...) for each generator."""

    def continued(self, options: dict[str, Any], first: int, total: int) -> dict[str, Any]:
        """Return the options of a call that begins at step ``first`` of ``total`` and counts its steps from 0."""


class StableDiffusion3(Family):
    """Stable Diffusion 3 and 3.5: classifier-free guidance where the scale is above 1, up to three text encoders."""

    @override
    def guided(self, guidance: float, options: dict[str, Any]) -> bool:
        return guidance > 1

    @override
    def encode(self, pipe: Any, texts: Sequence[Texts], options: dict[str, Any], negative: bool) -> list[Embedding]:
        """Encode; ``clip_skip`` does not act on negative prompts, as in the pipeline."""
        first, second, third = (list(part) for part in zip(*texts, strict=True))
        settings = _chosen(options, ("max_sequence_length",) if negative else ("max_sequence_length", "clip_skip"))
        tokens, _, pooled, _ = pipe.encode_prompt(
            prompt=first, prompt_2=second, prompt_3=third, device=pipe._execution_device,
            do_classifier_free_guidance=False, lora_scale=_lora_scale(options), **settings,
        )  # fmt: skip
        return _rows(tokens, pooled)

    @override
    def noise(
        self, pipe: Any, generators: Sequence[Generator], height: int, width: int, dtype: Any, device: Any
    ) -> list[Tensor]:
        """Latents (1, C, H, W)."""
        channels = pipe.transformer.config.in_channels
        drawn = pipe.prepare_latents(len(generators), channels, height, width, dtype, device, list(generators))
        return list(drawn.split(1))

    @override
    def continued(self, options: dict[str, Any], first: int, total: int) -> dict[str, Any]:
        """Skip-layer guidance acts on the steps i with T start < i < T stop of the whole schedule."""
        if options.get("skip_guidance_layers") is None:
            return options
        defaults = inspect.signature(StableDiffusion3Pipeline.__call__).parameters
        start, stop = (
            options.get(name, defaults[name].default)
            for name in ("skip_layer_guidance_start", "skip_layer_guidance_stop")
        )
        begin, end = math.floor(total * start) + 1, math.ceil(total * stop) - 1
        # halves keep the comparisons clear of rounding
        return options | {
            "skip_layer_guidance_start": (begin - first - 0.5) / total,
            "skip_layer_guidance_stop": (end - first + 0.5) / total,
        }


class Flux(Family):
    """FLUX.1: its guidance scale is an input of the model; negative prompts act where ``true_cfg_scale`` is above 1."""

    @override
    def guided(self, guidance: float, options: dict[str, Any]) -> bool:
        return bool(options.get("true_cfg_scale", 1.0) > 1)

    @override
    def encode(self, pipe: Any, texts: Sequence[Texts], options: dict[str, Any], negative: bool) -> list[Embedding]:
        """CLIP reads the first text, T5 the second."""
        first, second, _ = (list(part) for part in zip(*texts, strict=True))
        tokens, pooled, _ = pipe.encode_prompt(
            prompt=first, prompt_2=second, device=pipe._execution_device, lora_scale=_lora_scale(options),
            **_chosen(options, ("max_sequence_length",)),
        )  # fmt: skip
        return _rows(tokens, pooled)

    @override
    def noise(
        self, pipe: Any, generators: Sequence[Generator], height: int, width: int, dtype: Any, device: Any
    ) -> list[Tensor]:
        """Latents (1, tokens, 4 C), packed two by two."""
        channels = pipe.transformer.config.in_channels // 4
        drawn, _ = pipe.prepare_latents(len(generators), channels, height, width, dtype, device, list(generators))
        return list(drawn.split(1))

    @override
    def continued(self, options: dict[str, Any], first: int, total: int) -> dict[str, Any]:
        return options  # nothing depends on a step's number


def family(pipe: Any) -> Family:
    """Return how to call a pipeline; raise `InputError` for one that is not known here."""
    for kind, known in ((StableDiffusion3Pipeline, StableDiffusion3()), (FluxPipeline, Flux())):
        if type(pipe) is kind:
            return known
    raise InputError(f"{type(pipe).__name__}: hybrid inference runs on StableDiffusion3Pipeline and FluxPipeline")


def _chosen(options: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: options[name] for name in names if name in options}


def _lora_scale(options: dict[str, Any]) -> Any:
    return (options.get("joint_attention_kwargs") or {}).get("scale")


def _rows(tokens: Tensor, pooled: Tensor) -> list[Embedding]:
    return [(tokens[row : row + 1], pooled[row : row + 1]) for row in range(len(tokens))]
