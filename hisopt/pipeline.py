"""The hybrid inference scheme as a diffusers pipeline on the components of Stable Diffusion 3.

Per cluster one common phase with the public prompt at guidance w1 (SIM); every user resumes it after x_n of its steps
with the personal and negative prompts at guidance w2 (NPI), first on the server, then, after y_n more, on a second device.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import Any

import torch
from diffusers import StableDiffusion3Pipeline
from diffusers.pipelines.stable_diffusion_3.pipeline_stable_diffusion_3 import calculate_shift
from safetensors.torch import load, save
from torch import Tensor

from hisopt.decision import Decision

PUBLIC_GUIDANCE, PERSONAL_GUIDANCE = 2.0, 8.0  # w1 of SIM and w2 of NPI


@dataclass
class HybridOutput:
    """What a run returns.

    Attributes
    ----------
    images
        One per user: PIL images, or latents (1, C, H, W) with ``output_type="latent"``.
    steps_common, steps_edge, steps_device
        Denoising steps that the model ran: per cluster (X_m), and summed over users on server and device. W_m summed
        over clusters is ``sum(steps_common) + steps_edge``.
    payload_bits
        Bits of latents handed to each user's device: n_h n_w n_c times 16, tau times the payload of (14); 0 if none were.
    """

    images: list[Any]
    steps_common: list[int]
    steps_edge: int
    steps_device: int
    payload_bits: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Finished:
    """One user's image, and the bits of latents handed to the user's device."""

    user: int
    image: Any
    payload_bits: int


@dataclass(frozen=True)
class _Prompt:
    """Embeddings of one prompt and its negative: both halves of guidance."""

    tokens: tuple[Tensor, Tensor]
    pooled: tuple[Tensor, Tensor]
    guidance: float


class HybridInferencePipeline(StableDiffusion3Pipeline):  # type: ignore[misc]
    """``HybridInferencePipeline(**pipe.components)`` shares the weights of a StableDiffusion3Pipeline.

    ``device_transformer``, the user's device's copy of the denoiser, is used after the hand-over; the server's own if None.
    """

    device_transformer: torch.nn.Module | None = None

    def __call__(
        self,
        public_prompts: Sequence[str],
        prompts: Sequence[str],
        decision: Decision,
        negative_prompts: Sequence[str] | None = None,
        **options: Any,
    ) -> HybridOutput:
        """Make an image for every user; takes what `stream` takes and returns when all are done."""
        clusters, common, edge, total = _checked(public_prompts, prompts, negative_prompts, decision)
        images: list[Any] = [None] * len(prompts)
        payload = [0] * len(prompts)
        for done in self.stream(public_prompts, prompts, decision, negative_prompts, **options):
            images[done.user], payload[done.user] = done.image, done.payload_bits
        longest = _longest(clusters, common, len(public_prompts))
        return HybridOutput(
            images, longest, sum(edge), sum(total - x - y for x, y in zip(common, edge, strict=True)), payload
        )

    @torch.no_grad()
    def stream(
        self,
        public_prompts: Sequence[str],
        prompts: Sequence[str],
        decision: Decision,
        negative_prompts: Sequence[str] | None = None,
        *,
        public_guidance: float = PUBLIC_GUIDANCE,
        personal_guidance: float = PERSONAL_GUIDANCE,
        seed: int = 0,
        height: int | None = None,
        width: int | None = None,
        max_batch: int = 8,
        hand_over: bool = True,
        output_type: str = "pil",
    ) -> Iterator[Finished]:
        """Make an image for every user, and yield each as soon as it is finished.

        Parameters
        ----------
        public_prompts, prompts, negative_prompts
            One per cluster; one per user; one per user or none.
        decision
            Its clusters (N,) and its common, edge and device steps (N,), which sum to the same T for every user.
        public_guidance, personal_guidance
            Guidance scales of the two phases; a scale of 1 or less runs without guidance.
        seed
            The noise of cluster m has the seed ``seed + m``: users of a cluster start from the same noise.
        max_batch
            Users that resume at the same step run together, so many at a time.
        hand_over
            Whether latents pass through half precision on their way to the device, as they are sent.
        output_type
            As in diffusers: pil, np, pt or latent.

        Raises
        ------
        ValueError
            For prompts or a decision that do not fit each other.
        """
        clusters, common, edge, total = _checked(public_prompts, prompts, negative_prompts, decision)
        height = height or self.default_sample_size * self.vae_scale_factor
        width = width or self.default_sample_size * self.vae_scale_factor
        schedule = partial(self._scheduler, total, self._shift(height, width))
        users = range(len(prompts))
        negative = negative_prompts or [""] * len(prompts)
        longest = _longest(clusters, common, len(public_prompts))
        latents = dict(enumerate(
            self._common_phase(public_prompts, clusters, common, longest, public_guidance, seed, height, width, schedule)
        ))  # fmt: skip
        personal = [self._encode(prompts[n], negative[n], personal_guidance) for n in users]
        device = self.device_transformer or self.transformer
        place = next(device.parameters()).device
        payload = [0] * len(prompts)
        left = [total - common[n] - edge[n] for n in users]
        on_server = {n: (common[n], common[n] + edge[n]) for n in users}
        advanced = self._run(self.transformer, latents, personal, on_server, max_batch, schedule)
        for group in chain(([n] for n in users if not edge[n]), advanced):
            for n in group:
                if not left[n]:
                    yield Finished(n, self._decoded(latents.pop(n), output_type), 0)
                    continue
                if hand_over:
                    latents[n], payload[n] = _sent(latents[n])
                latents[n] = latents[n].to(place)
        on_device = {n: (common[n] + edge[n], total) for n in users if left[n]}
        for group in self._run(device, latents, personal, on_device, max_batch, schedule):
            for n in group:
                yield Finished(n, self._decoded(latents.pop(n), output_type), payload[n])

    def _shift(self, height: int, width: int) -> float | None:
        config = self.scheduler.config
        if not config.get("use_dynamic_shifting", None):
            return None
        side = self.vae_scale_factor * self.transformer.config.patch_size
        tokens = (height // side) * (width // side)
        return float(calculate_shift(
            tokens, config.get("base_image_seq_len", 256), config.get("max_image_seq_len", 4096),
            config.get("base_shift", 0.5), config.get("max_shift", 1.16),
        ))  # fmt: skip

    def _encode(self, prompt: str, negative: str, guidance: float) -> _Prompt:
        tokens, negative_tokens, pooled, negative_pooled = self.encode_prompt(
            prompt=prompt, prompt_2=None, prompt_3=None, negative_prompt=negative,
            do_classifier_free_guidance=guidance > 1, device=self._execution_device,
        )  # fmt: skip
        return _Prompt((negative_tokens, tokens), (negative_pooled, pooled), guidance)

    def _common_phase(
        self, public_prompts: Sequence[str], clusters: list[int], common: list[int], longest: list[int],
        guidance: float, seed: int, height: int, width: int, schedule: Callable[[int], Any],
    ) -> list[Tensor]:  # fmt: skip
        """Run each cluster's X_m steps once; return the latents at each user's x_n."""
        found: list[Tensor | None] = [None] * len(clusters)
        for m, text in enumerate(public_prompts):
            members = [n for n, cluster in enumerate(clusters) if cluster == m]
            if not members:
                continue
            prompt = self._encode(text, "", guidance)
            generator = torch.Generator(self._execution_device).manual_seed(seed + m)
            state = self.prepare_latents(
                1,
                self.transformer.config.in_channels,
                height,
                width,
                prompt.tokens[1].dtype,
                self._execution_device,
                generator,
            )
            scheduler = schedule(0)
            for step in range(longest[m] + 1):
                for n in members:
                    if common[n] == step:
                        found[n] = state.clone()
                if step < longest[m]:
                    state = _step(self.transformer, scheduler, step, state, [prompt])
        return [latents for latents in found if latents is not None]

    def _scheduler(self, total: int, mu: float | None, begin: int) -> Any:
        scheduler = deepcopy(self.scheduler)
        scheduler.set_timesteps(total, device=self._execution_device, **({} if mu is None else {"mu": mu}))
        scheduler.set_begin_index(begin)
        return scheduler

    def _run(
        self, model: torch.nn.Module, latents: dict[int, Tensor], prompts: list[_Prompt],
        spans: dict[int, tuple[int, int]], max_batch: int, schedule: Callable[[int], Any],
    ) -> Iterator[list[int]]:  # fmt: skip
        """Advance users' latents from the first to the second step of their spans; yield those that started together."""
        starting = defaultdict(list)
        for n, (first, last) in spans.items():
            if last > first:
                starting[first].append(n)
        place, width = next(model.parameters()).device, max(max_batch, 1)
        for first, users in sorted(starting.items()):
            for begin in range(0, len(users), width):
                group = users[begin : begin + width]
                scheduler = schedule(first)
                for step in range(first, max(spans[n][1] for n in group)):
                    active = [n for n in group if spans[n][1] > step]
                    state = torch.cat([latents[n].to(place) for n in active])
                    state = _step(model, scheduler, step, state, [prompts[n] for n in active])
                    for row, n in enumerate(active):
                        latents[n] = state[row : row + 1]
                yield group

    def _decoded(self, latents: Tensor, output_type: str) -> Any:
        if output_type == "latent":
            return latents
        latents = latents.to(self.vae.device)
        latents = (latents / self.vae.config.scaling_factor) + self.vae.config.shift_factor
        return self.image_processor.postprocess(
            self.vae.decode(latents, return_dict=False)[0], output_type=output_type
        )[0]


def _step(model: torch.nn.Module, scheduler: Any, step: int, latents: Tensor, prompts: list[_Prompt]) -> Tensor:
    """Return the latents (users, C, H, W) after one denoising step of prompts with one guidance scale."""
    guidance, time = prompts[0].guidance, scheduler.timesteps[step]
    halves = (0, 1) if guidance > 1 else (1,)
    tokens = torch.cat([prompt.tokens[half] for half in halves for prompt in prompts]).to(latents.device)
    pooled = torch.cat([prompt.pooled[half] for half in halves for prompt in prompts]).to(latents.device)
    inputs = torch.cat([latents] * len(halves))
    predicted = model(
        hidden_states=inputs, timestep=time.to(latents.device).expand(len(inputs)), encoder_hidden_states=tokens,
        pooled_projections=pooled, joint_attention_kwargs=None, return_dict=False,
    )[0]  # fmt: skip
    if guidance > 1:
        without, given = predicted.chunk(2)
        predicted = without + guidance * (given - without)
    result: Tensor = scheduler.step(predicted, time, latents, return_dict=False)[0]
    return result


def _longest(clusters: list[int], common: list[int], count: int) -> list[int]:
    """X_m of every cluster."""
    return [
        max((x for x, cluster in zip(common, clusters, strict=True) if cluster == m), default=0) for m in range(count)
    ]


def _sent(latents: Tensor) -> tuple[Tensor, int]:
    """Return latents as they arrive at the other end, and how many bits they are: half precision, safetensors."""
    message = save({"latents": latents.detach().to("cpu", torch.float16).contiguous()})
    arrived = load(message)["latents"]
    return arrived.to(latents.dtype), arrived.numel() * 16


def _checked(
    public_prompts: Sequence[str], prompts: Sequence[str], negative: Sequence[str] | None, decision: Decision
) -> tuple[list[int], list[int], list[int], int]:
    parts = (decision.clusters, decision.steps_common, decision.steps_edge, decision.steps_device)
    if any(part is None for part in parts):
        raise ValueError("decision: clusters and all steps are needed")
    clusters, common, edge, device = ([int(value) for value in part] for part in parts if part is not None)
    if not prompts or any(len(part) != len(prompts) for part in (clusters, common, edge, device)):
        raise ValueError(f"decision: is not for {len(prompts)} users, one per prompt")
    if negative is not None and len(negative) != len(prompts):
        raise ValueError(f"negative_prompts: {len(negative)} for {len(prompts)} users")
    if min(clusters) < 0 or max(clusters) >= len(public_prompts):
        raise ValueError(f"public_prompts: {len(public_prompts)}, but the decision has cluster {max(clusters)}")
    totals = {sum(steps) for steps in zip(common, edge, device, strict=True)}
    if len(totals) > 1 or min(common + edge + device) < 0 or not totals - {0}:
        raise ValueError("decision: steps must be >= 0 and have the same positive sum for every user")
    return clusters, common, edge, totals.pop()
