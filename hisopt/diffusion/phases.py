"""The phases of hybrid inference: common steps per cluster, then every user's own on the server and on a device."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from hisopt.diffusion.families import Embedding, Prompt, Texts, family
from hisopt.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from hisopt.decision import Decision
    from hisopt.diffusion.resume import Part

_Pair = tuple[Embedding, Embedding | None]  # of a prompt and, where guided, of its negative


@dataclass(frozen=True)
class Finished:
    """One user's image, the bits of latents handed to the user's device, and images after fewer steps."""

    user: int
    image: Any
    payload_bits: int
    intermediate: dict[int, Any]


@dataclass(frozen=True)
class Plan:
    """Clusters, and the steps done when each user leaves the common phase and the server; X_m per cluster with users."""

    clusters: list[int]
    common: list[int]
    server: list[int]
    total: int
    longest: dict[int, int]

    @classmethod
    def of(cls, count: int, users: int, decision: Decision) -> Plan:
        """Return the plan of a decision; raise `InputError` where it does not fit prompts."""
        parts = (decision.clusters, decision.steps_common, decision.steps_edge, decision.steps_device)
        if any(part is None for part in parts):
            raise InputError("decision: clusters and all steps are needed")
        clusters, common, steps_edge, device = ([int(value) for value in part] for part in parts if part is not None)
        if not users or any(len(part) != users for part in (clusters, common, steps_edge, device)):
            raise InputError(f"decision: is not for {users} users, one per prompt")
        if min(clusters) < 0 or max(clusters) >= count:
            raise InputError(f"public_prompts: {count}, but the decision has cluster {max(clusters)}")
        totals = {sum(steps) for steps in zip(common, steps_edge, device, strict=True)}
        if len(totals) > 1 or min(common + steps_edge + device) < 0 or not totals - {0}:
            raise InputError("decision: steps must be >= 0 and have the same positive sum for every user")
        longest: dict[int, int] = {}
        for m, x in sorted(zip(clusters, common, strict=True)):
            longest[m] = max(longest.get(m, 0), x)
        return cls(clusters, common, [x + y for x, y in zip(common, steps_edge, strict=True)], totals.pop(), longest)


class _Interrupted(Exception):
    """A callback set the pipeline's ``_interrupt``."""


@dataclass(frozen=True)
class Run:
    """One run of a plan."""

    plan: Plan
    parts: dict[str, Part]
    max_batch: int
    hand_over: bool
    intermediate: frozenset[int]
    output_type: str
    callback: Callable[[Any, int, Any, dict[str, Any]], dict[str, Any]] | None
    tensors: tuple[str, ...]

    def images(
        self, public: list[Prompt], personal: list[Prompt], generators: Sequence[torch.Generator]
    ) -> Iterator[Finished]:
        """Yield every user's image."""
        plan, pipe = self.plan, self.parts["common"].pipe
        users = sorted(range(len(personal)), key=lambda n: (plan.common[n], plan.server[n], n))
        steps = sum(plan.longest.values()) + sum(plan.total - x for x in plan.common)
        try:
            with pipe.progress_bar(total=steps) as bar:
                known: dict[Any, Embedding] = {}
                publicly = self._encoded("common", {m: public[m] for m in plan.longest}, known)
                prompts = self._encoded("edge", dict(enumerate(personal)), known)
                shared = self._common_phase(publicly, generators, bar)
                for batch in _chunks(users, self.max_batch):
                    yield from self._personal_phase(batch, prompts, publicly, shared, bar)
        except _Interrupted:
            return
        finally:
            for part in {id(part.pipe): part.pipe for part in self.parts.values()}.values():
                part.maybe_free_model_hooks()

    @torch.no_grad()
    def _encoded(self, phase: str, prompts: dict[int, Prompt], known: dict[Any, Embedding]) -> dict[int, _Pair]:
        """Encode prompts in batches, equal ones once; ``known`` holds what was encoded before."""
        part = self.parts[phase]
        adapters = part.options.get("joint_attention_kwargs") or {}
        settings = part.options.get("max_sequence_length"), part.options.get("clip_skip"), adapters.get("scale")

        def encode(texts: list[Texts], negative: bool) -> None:
            new = [text for text in dict.fromkeys(texts) if (text, negative, settings) not in known]
            for batch in _chunks(new, self.max_batch):
                found = family(part.pipe).encode(part.pipe, batch, part.options, negative)
                known.update(zip([(text, negative, settings) for text in batch], found, strict=True))

        encode([prompt.texts for prompt in prompts.values()], False)
        if part.guided:
            encode([prompt.negative_texts for prompt in prompts.values()], True)
        return {
            key: (known[prompt.texts, False, settings],
                  known[prompt.negative_texts, True, settings] if part.guided else None)
            for key, prompt in prompts.items()
        }  # fmt: skip

    def _common_phase(
        self, prompts: dict[int, _Pair], generators: Sequence[torch.Generator], bar: Any
    ) -> dict[tuple[int, int], Tensor]:
        """Run each cluster's X_m steps once; return the latents by cluster and steps done, where a user needs them."""
        plan, part = self.plan, self.parts["common"]
        wanted = {(m, x) for m, x in zip(plan.clusters, plan.common, strict=True)}
        wanted |= {(m, step) for m in plan.longest for step in self.intermediate if 0 <= step <= plan.longest[m]}
        found: dict[tuple[int, int], Tensor] = {}

        def keep(m: int, step: int, latents: Tensor) -> None:
            if (m, step) in wanted:
                found[m, step] = latents

        for batch in _chunks(sorted(plan.longest, key=lambda m: (plan.longest[m], m)), self.max_batch):
            noise = family(part.pipe).noise(
                part.pipe, [generators[m] for m in batch], part.height, part.width, prompts[batch[0]][0][0].dtype,
                part.pipe._execution_device,
            )  # fmt: skip
            state = dict(zip(batch, noise, strict=True))
            for m in batch:
                keep(m, 0, state[m])
            self._advance("common", state, prompts, {m: (0, plan.longest[m]) for m in batch}, bar, keep)
        return found

    def _personal_phase(
        self, users: list[int], prompts: dict[int, _Pair], publicly: dict[int, _Pair],
        shared: dict[tuple[int, int], Tensor], bar: Any,
    ) -> Iterator[Finished]:  # fmt: skip
        """Finish a batch of users, on the server and on their devices."""
        plan = self.plan
        state = {n: shared[plan.clusters[n], plan.common[n]] for n in users}
        between: dict[int, dict[int, Tensor]] = {}
        payload = dict.fromkeys(users, 0)
        for n in users:
            between[n] = {
                step: latents for (m, step), latents in shared.items()
                if m == plan.clusters[n] and step in self.intermediate and step <= plan.common[n]
            }  # fmt: skip

        def keep(n: int, step: int, latents: Tensor) -> None:
            if step in self.intermediate:
                between[n][step] = latents

        done = self._advance("edge", state, prompts, {n: (plan.common[n], plan.server[n]) for n in users}, bar, keep)
        for n in users:
            if plan.server[n] < plan.total and self.hand_over:
                state[n], payload[n] = _sent(state[n])
        done |= self._advance("device", state, prompts, {n: (plan.server[n], plan.total) for n in users}, bar, keep)
        for n in users:
            if n not in done:  # all of its steps were common
                done[n] = self._decoded("edge", state[n], prompts[n])
            images = {
                step: self._decoded("common" if step <= plan.common[n] else "edge", latents,
                                    publicly[plan.clusters[n]] if step <= plan.common[n] else prompts[n])
                for step, latents in sorted(between[n].items())
            }  # fmt: skip
            yield Finished(n, done[n], payload[n], images)

    def _advance(
        self, phase: str, state: dict[int, Tensor], prompts: dict[int, _Pair], spans: dict[int, tuple[int, int]], bar: Any,
        keep: Callable[[int, int, Tensor], None],
    ) -> dict[int, Any]:  # fmt: skip
        """Advance latents over their spans of steps, together where they overlap; return the images that are finished."""
        part, done = self.parts[phase], {}
        for first, last in pairwise(sorted({step for span in spans.values() for step in span})):
            members = [n for n, (begin, end) in spans.items() if begin <= first and last <= end]
            if not members:
                continue

            def observe(step: int, time: Any, tensors: dict[str, Any], members: list[int] = members) -> dict[str, Any]:
                changed: dict[str, Any] = {}
                if self.callback is not None:
                    about = {"phase": phase, "members": tuple(members)}
                    changed = self.callback(part.pipe, step - 1, time, tensors | about) or {}
                for n, row in zip(members, changed.get("latents", tensors["latents"]).split(1), strict=True):
                    keep(n, step, row.clone())
                bar.update(len(members))
                return changed

            finished = last == self.plan.total and phase != "common"
            rows = part.run(
                [state[n] for n in members], [prompts[n] for n in members], first, last, observe,
                tuple(dict.fromkeys(("latents", *self.tensors))), self.output_type if finished else "latent",
            )  # fmt: skip
            if part.pipe.interrupt:
                raise _Interrupted
            for k, n in enumerate(members):
                if finished:
                    done[n] = rows[k : k + 1] if self.output_type == "latent" else rows[k]
                else:
                    state[n] = rows[k : k + 1]
        return done

    def _decoded(self, phase: str, latents: Tensor, prompt: _Pair) -> Any:
        if self.output_type == "latent":
            return latents
        total = self.plan.total
        return self.parts[phase].run([latents], [prompt], total, total, lambda *_: {}, output_type=self.output_type)[0]


def _chunks(items: list[Any], width: int) -> list[list[Any]]:
    return [items[begin : begin + width] for begin in range(0, len(items), width)]


def _sent(latents: Tensor) -> tuple[Tensor, int]:
    """Return latents as they arrive at the other end, and how many bits they are: half precision, safetensors."""
    message = save({"latents": latents.detach().to("cpu", torch.float16).contiguous()})
    arrived = load(message)["latents"]
    return arrived.to(latents.dtype), arrived.numel() * 16
