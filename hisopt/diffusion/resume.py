"""A range of the denoising steps of a stock diffusers pipeline: latents in after ``first`` steps, out after ``last``.

The pipeline runs as it is on a schedule of which it sees a part, so that two ranges one after the other are the whole bit
for bit. Giving the pipeline a part of the noise levels instead would not be: it shifts them again, in single precision,
and the Karras, exponential and beta schedules depend on where they end.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from torch import Tensor

from hisopt.diffusion.families import Embedding, family
from hisopt.errors import InputError

Observe = Callable[
    [int, Any, dict[str, Any]], dict[str, Any]
]  # steps done, timestep and tensors; returns changed tensors
_OWN = {
    "self", "prompt", "prompt_2", "prompt_3", "negative_prompt", "negative_prompt_2", "negative_prompt_3", "prompt_embeds",
    "negative_prompt_embeds", "pooled_prompt_embeds", "negative_pooled_prompt_embeds", "num_inference_steps", "sigmas",
    "guidance_scale", "latents", "num_images_per_prompt", "ip_adapter_image", "ip_adapter_image_embeds",
    "negative_ip_adapter_image", "negative_ip_adapter_image_embeds", "height", "width", "generator", "output_type",
    "return_dict", "callback_on_step_end", "callback_on_step_end_tensor_inputs",
}  # fmt: skip


class PartialSchedule(FlowMatchEulerDiscreteScheduler):  # type: ignore[misc]
    """The steps ``first`` to ``last`` of another scheduler's schedule."""

    first: int = 0
    last: int | None = None
    timesteps: Tensor
    sigmas: Tensor

    @classmethod
    def of(cls, scheduler: Any, first: int, last: int) -> PartialSchedule:
        """Return a part of a scheduler's steps; the scheduler stays as it is."""
        part: PartialSchedule = cls.from_config(scheduler.config)
        part.set_shift(scheduler.shift)
        part.first, part.last = first, last
        return part

    def set_timesteps(
        self, num_inference_steps: int | None = None, device: Any = None, sigmas: list[float] | None = None,
        mu: float | None = None, timesteps: list[float] | None = None,
    ) -> None:  # fmt: skip
        """Set the whole schedule and keep the part; arguments are the scheduler's."""
        super().set_timesteps(num_inference_steps, device, sigmas, mu, timesteps)
        last = len(self.timesteps) if self.last is None else self.last
        self.timesteps = self.timesteps[self.first : last]
        self.sigmas = self.sigmas[self.first : last + 1]


def check_scheduler(pipe: Any) -> None:
    """Raise `InputError` for a scheduler whose steps depend on more than the latents and the step's number."""
    scheduler = pipe.scheduler
    if type(scheduler) is not FlowMatchEulerDiscreteScheduler:
        raise InputError(f"{type(scheduler).__name__}: its steps cannot be shared; use FlowMatchEulerDiscreteScheduler")
    if scheduler.config.stochastic_sampling:
        raise InputError(
            "FlowMatchEulerDiscreteScheduler: stochastic_sampling draws noise in every step, which cannot be shared"
        )


def check_options(pipe: Any, options: dict[str, Any]) -> None:
    """Raise `InputError` for an option that the pipeline's call does not take, or that is not its caller's to choose."""
    taken = set(inspect.signature(type(pipe).__call__).parameters) - _OWN
    for name in options:
        if name not in taken:
            raise InputError(f"{name}: not an option of hybrid inference on {type(pipe).__name__}")


@dataclass(frozen=True)
class Part:
    """A pipeline with everything that its calls share.

    Attributes
    ----------
    pipe
        A diffusers pipeline.
    guidance
        Its ``guidance_scale``.
    total
        Denoising steps T of the whole schedule.
    height, width
        Pixels.
    options
        Further keyword arguments of the pipeline's call.
    foreign
        Whether prompts were encoded by another pipeline, perhaps in another precision.
    """

    pipe: Any
    guidance: float
    total: int
    height: int
    width: int
    options: dict[str, Any]
    foreign: bool = False

    @property
    def guided(self) -> bool:
        """Whether a step needs the negative prompt as well."""
        return family(self.pipe).guided(self.guidance, self.options)

    def run(
        self, latents: Sequence[Tensor], prompts: Sequence[tuple[Embedding, Embedding | None]], first: int, last: int,
        observe: Observe, inputs: Sequence[str] = ("latents",), output_type: str = "latent",
    ) -> Any:  # fmt: skip
        """Advance a batch from ``first`` steps done to ``last``; with no step between them images are decoded only.

        Parameters
        ----------
        latents, prompts
            Of every row: latents (1, ...), and the embeddings of the prompt and, where guided, of its negative.
        observe
            Called after each step.
        inputs
            Tensors given to ``observe``, by the pipeline's names.
        output_type
            As in diffusers; ``latent`` for latents.

        Returns
        -------
        list or tensor
            One image, or one row of latents, for every row.
        """
        place, dtype = self.pipe._execution_device, self.pipe.transformer.dtype if self.foreign else None

        def joined(half: int, which: int) -> Tensor:
            return torch.cat([prompt[half][which] for prompt in prompts]).to(place, dtype)  # type: ignore[index]

        embeddings = {"prompt_embeds": joined(0, 0), "pooled_prompt_embeds": joined(0, 1)}
        if self.guided:
            embeddings |= {"negative_prompt_embeds": joined(1, 0), "negative_pooled_prompt_embeds": joined(1, 1)}

        def after(_: Any, index: int, time: Any, tensors: dict[str, Any]) -> dict[str, Any]:
            return observe(first + index + 1, time, tensors)

        with _borrowed(self.pipe, first, last):
            return self.pipe(
                **embeddings, guidance_scale=self.guidance, height=self.height, width=self.width,
                num_inference_steps=self.total, latents=torch.cat(list(latents)), output_type=output_type,
                return_dict=False, callback_on_step_end=after, callback_on_step_end_tensor_inputs=list(inputs),
                **family(self.pipe).continued(self.options, first, self.total),
            )[0]  # fmt: skip


@contextmanager
def _borrowed(pipe: Any, first: int, last: int) -> Iterator[None]:
    """Give a pipeline a part of its schedule, no progress bar, and models that stay where they are after the call."""
    scheduler, hooks = pipe.scheduler, getattr(pipe, "_all_hooks", None)
    bar = getattr(pipe, "_progress_bar_config", {})
    pipe.scheduler = PartialSchedule.of(scheduler, first, last)
    pipe.set_progress_bar_config(disable=True)
    if hooks:
        pipe._all_hooks = []  # the pipeline would move its models off the device after every range of steps
    try:
        yield
    finally:
        pipe.scheduler = scheduler
        pipe.set_progress_bar_config(**bar)
        if hooks:
            pipe._all_hooks = hooks
