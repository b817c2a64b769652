"""The hybrid inference scheme on the diffusers pipelines of Stable Diffusion 3, 3.5 and FLUX.1.

Per cluster one common phase with the public prompt at guidance w1 (SIM); every user resumes it after x_n of its steps
with the personal and negative prompts at guidance w2 (NPI), first on the server, then, after y_n more, on a second device.
Every step is taken by the pipeline's own call (see `hisopt.diffusion.resume`), with its offloading, adapters and attention.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from hisopt.diffusion.families import Prompt, family
from hisopt.diffusion.phases import Finished, Plan, Run
from hisopt.diffusion.resume import Part, check_options, check_scheduler
from hisopt.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from hisopt.decision import Decision

__all__ = ["Finished", "HybridInference", "HybridOutput", "Prompt"]

PUBLIC_GUIDANCE, PERSONAL_GUIDANCE = 2.0, 8.0  # w1 of SIM and w2 of NPI


@dataclass
class HybridOutput:
    """What a run returns.

    Attributes
    ----------
    images
        One per user: PIL images, or latents (1, ...) with ``output_type="latent"``; None where a callback interrupted.
    steps_common, steps_edge, steps_device
        Denoising steps of the decision: per cluster (X_m), and summed over users on server and device. W_m summed over
        clusters is ``sum(steps_common) + steps_edge``.
    payload_bits
        Bits of latents handed to each user's device: n_h n_w n_c times 16, tau times the payload of (14); 0 if none were.
    intermediate
        Per user the images after the numbers of steps asked for.
    """

    images: list[Any]
    steps_common: list[int]
    steps_edge: int
    steps_device: int
    payload_bits: list[int] = field(default_factory=list)
    intermediate: list[dict[int, Any]] = field(default_factory=list)


class HybridInference:
    """Hybrid inference with a pipeline of the server and one of the users' devices.

    Parameters
    ----------
    pipe
        A StableDiffusion3Pipeline or a FluxPipeline, wherever and however its weights are kept.
    device
        The users' pipeline, such as one with a smaller or quantised transformer, on a device of its own; without text
        encoders if need be, because embeddings come from the server. The server's pipeline if None.

    Raises
    ------
    InputError
        For a pipeline or a scheduler that cannot be resumed, and for two that do not fit each other.
    """

    def __init__(self, pipe: Any, device: Any = None) -> None:
        for part in (pipe, device or pipe):
            family(part)
            check_scheduler(part)
        if device is not None:
            if type(device) is not type(pipe):
                raise InputError(f"device: a {type(device).__name__}, but the server's is a {type(pipe).__name__}")
            if _schedule(device) != _schedule(pipe):
                raise InputError("device: its scheduler has another schedule than the server's")
            if device.transformer.config.in_channels != pipe.transformer.config.in_channels:
                raise InputError("device: its latents have another number of channels than the server's")
        self.pipe, self.device = pipe, device

    def __call__(
        self,
        public_prompts: Sequence[str | Prompt],
        prompts: Sequence[str | Prompt],
        decision: Decision,
        negative_prompts: Sequence[str] | None = None,
        *,
        return_dict: bool = True,
        **options: Any,
    ) -> HybridOutput | tuple[list[Any]]:
        """Make an image for every user; takes what `stream` takes and returns when all are done.

        With ``return_dict=False`` the images alone, in a tuple as in diffusers.
        """
        made = {done.user: done for done in self.stream(public_prompts, prompts, decision, negative_prompts, **options)}
        images = [made[n].image if n in made else None for n in range(len(prompts))]
        if not return_dict:
            return (images,)
        plan = Plan.of(len(public_prompts), len(prompts), decision)
        users = range(len(prompts))
        return HybridOutput(
            images, [plan.longest.get(m, 0) for m in range(len(public_prompts))],
            sum(plan.server[n] - plan.common[n] for n in users), sum(plan.total - plan.server[n] for n in users),
            [made[n].payload_bits if n in made else 0 for n in users],
            [made[n].intermediate if n in made else {} for n in users],
        )  # fmt: skip

    def stream(
        self,
        public_prompts: Sequence[str | Prompt],
        prompts: Sequence[str | Prompt],
        decision: Decision,
        negative_prompts: Sequence[str] | None = None,
        *,
        public_guidance: float = PUBLIC_GUIDANCE,
        personal_guidance: float = PERSONAL_GUIDANCE,
        seed: int = 0,
        generator: Sequence[torch.Generator] | None = None,
        height: int | None = None,
        width: int | None = None,
        max_batch: int = 8,
        hand_over: bool = True,
        intermediate_steps: Collection[int] = (),
        output_type: str = "pil",
        callback_on_step_end: Callable[[Any, int, Any, dict[str, Any]], dict[str, Any]] | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = ("latents",),
        public_options: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Iterator[Finished]:
        """Make an image for every user, and yield users as soon as their batch is finished.

        Parameters
        ----------
        public_prompts, prompts, negative_prompts
            One per cluster; one per user; one per user or none. A `Prompt` has texts for further encoders as well.
        decision
            Its clusters (N,) and its common, edge and device steps (N,), which sum to the same T for every user.
        public_guidance, personal_guidance
            The pipeline's ``guidance_scale`` in the two phases. Stable Diffusion 3 runs without guidance at 1 or less;
            FLUX.1 takes the scale as an input, and guides by negative prompts with the option ``true_cfg_scale``.
        seed
            The noise of cluster m comes from a CPU generator with the seed ``seed + m``: users of a cluster start from
            the same noise, on every device.
        generator
            One generator per cluster, in place of ``seed``.
        height, width
            Pixels; the model's by default.
        max_batch
            So many users run together, and so many prompts are encoded together. At every step all users of a batch
            that are on the server are one call of the model, as are all that are on their devices.
        hand_over
            Whether latents pass through half precision on their way to the device, as they are sent.
        intermediate_steps
            Numbers of steps done after which latents are decoded as well.
        output_type
            As in diffusers: pil, np, pt or latent.
        callback_on_step_end, callback_on_step_end_tensor_inputs
            As in diffusers, with the step's number in the whole schedule. The tensors' dictionary also says the ``phase``
            (common, edge or device) and its ``members``: clusters in the common phase, else users.
        public_options
            Options that differ in the common phase.
        options
            Further keyword arguments of the pipeline's call, such as ``joint_attention_kwargs``,
            ``max_sequence_length``, ``skip_guidance_layers`` and ``true_cfg_scale``.

        Raises
        ------
        InputError
            For prompts, a decision or options that do not fit each other or the pipeline.
        ValueError
            For what the pipeline itself refuses, before anything is computed.
        """
        for part in (self.pipe, self.device or self.pipe):
            check_scheduler(part)
        plan = Plan.of(len(public_prompts), len(prompts), decision)
        if negative_prompts is not None and len(negative_prompts) != len(prompts):
            raise InputError(f"negative_prompts: {len(negative_prompts)} for {len(prompts)} users")
        if generator is not None and (isinstance(generator, torch.Generator) or len(generator) != len(public_prompts)):
            raise InputError(f"generator: one for each of {len(public_prompts)} clusters is needed, as a list")
        if max_batch < 1:
            raise InputError(f"max_batch: is {max_batch}, must be >= 1")
        if callback_on_step_end is not None and hasattr(callback_on_step_end, "tensor_inputs"):
            raise InputError("callback_on_step_end: diffusers' callback objects act on one call, and these are many")
        for name in (common_options := dict(public_options or {})):
            check_options(self.pipe, {name: None})
        check_options(self.pipe, options)
        height = height or self.pipe.default_sample_size * self.pipe.vae_scale_factor
        width = width or self.pipe.default_sample_size * self.pipe.vae_scale_factor
        public = [_prompt(text) for text in public_prompts]
        personal = [
            _prompt(text, None if negative_prompts is None else negative_prompts[n]) for n, text in enumerate(prompts)
        ]
        parts = {
            "common": Part(self.pipe, public_guidance, plan.total, height, width, options | common_options),
            "edge": Part(self.pipe, personal_guidance, plan.total, height, width, options),
            "device": Part(
                self.device or self.pipe, personal_guidance, plan.total, height, width, options, self.device is not None
            ),
        }
        for part, given in ((parts["common"], public), (parts["edge"], personal)):
            _check_inputs(part, given, callback_on_step_end_tensor_inputs)
        generators = generator or [torch.Generator("cpu").manual_seed(seed + m) for m in range(len(public))]
        run = Run(
            plan, parts, max_batch, hand_over, frozenset(intermediate_steps), output_type,
            callback_on_step_end, tuple(callback_on_step_end_tensor_inputs),
        )  # fmt: skip
        return run.images(public, personal, generators)


def _schedule(pipe: Any) -> dict[str, Any]:
    config = {key: value for key, value in pipe.scheduler.config.items() if not key.startswith("_")}
    return config | {"shift": pipe.scheduler.shift}


def _prompt(given: str | Prompt, negative: str | None = None) -> Prompt:
    if not isinstance(given, str | Prompt):
        raise InputError(f"prompts: {given!r} is neither a text nor a Prompt")
    prompt = Prompt(given) if isinstance(given, str) else given
    if negative is None:
        return prompt
    return Prompt(prompt.text, prompt.text_2, prompt.text_3, negative)


def _check_inputs(part: Part, prompts: list[Prompt], tensors: Sequence[str]) -> None:
    """Let the pipeline check a call's inputs; raise `InputError` for negative prompts that would not be read."""
    pipe = part.pipe
    if not part.guided and type(pipe).__name__ == "FluxPipeline" and any(prompt.negative for prompt in prompts):
        raise InputError("negative_prompts: FLUX reads them with the option true_cfg_scale above 1 only")
    call = {
        "prompt": [prompt.text for prompt in prompts], "prompt_2": None, "prompt_3": None, "height": part.height,
        "width": part.width, "callback_on_step_end_tensor_inputs": list(tensors),
        "max_sequence_length": part.options.get("max_sequence_length"),
    }  # fmt: skip
    takes = inspect.signature(pipe.check_inputs).parameters
    pipe.check_inputs(**{name: value for name, value in call.items() if name in takes})
