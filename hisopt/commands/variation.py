"""What the command line changes of an instance: weights, modules, and how public prompts come about."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from hisopt.errors import InputError

if TYPE_CHECKING:
    from hisopt.instances import IccInstance, Instance

PUBLIC_PROMPTS = ("ideal", "affine", "medoid", "extracted", "random")
_RULES = ("ideal", "affine", "medoid")


def weights_of(text: str) -> dict[str, float]:
    """Return quality, delay and energy from ``q,d,e``; raise `InputError` for anything but three numbers >= 0."""
    parts = text.split(",")
    try:
        values = [float(part) for part in parts]
    except ValueError:
        values = []
    if len(values) != 3 or not all(math.isfinite(value) and value >= 0 for value in values):
        raise InputError(f"--weights: is {text!r}, must be quality,delay,energy: three numbers >= 0, as in 1,0.01,3e-6")
    return dict(zip(("quality", "delay", "energy"), values, strict=True))


def modules_of(text: str) -> bool:
    """Return whether quality is that with SIM and NPI; raise `InputError` for a single one, for which nothing is published."""
    names = frozenset(part.strip().lower() for part in text.split(","))
    if names == {"none"}:
        return False
    if names == {"sim", "npi"}:
        return True
    if names <= {"sim", "npi", "none"}:
        raise InputError(
            f"--modules: no quality is published for {text!r} alone; give 'sim,npi' or 'none', or a table fitted by "
            "hisopt.fit with --quality"
        )
    raise InputError(f"--modules: unknown {text!r}; known are 'sim,npi' and 'none'")


def check_public(text: str) -> str:
    """Return a known way to public prompts; raise `InputError` for another."""
    if text not in PUBLIC_PROMPTS:
        raise InputError(f"--public-prompt: unknown {text!r}; known are {', '.join(PUBLIC_PROMPTS)}")
    return text


def reweighted(instance: Instance | IccInstance, weights: str | None) -> Instance | IccInstance:
    """Return the instance with the weights asked for."""
    return instance if weights is None else instance.replace(weights=weights_of(weights))


def varied(
    instance: Instance | IccInstance, modules: str | None, public_prompt: str | None, seed: int
) -> tuple[Instance | IccInstance, list[str]]:
    """Return the instance with the quality table and the public prompts asked for, and notes on what that fixed.

    The rules of `PublicPrompt` hold for every clustering. Extracted and random public prompts are made for one: the given
    clusters, or those of HAC.
    """
    from hisopt.instances import PublicPrompt, QualityTable
    from hisopt.solvers.clustering.hac import clustered
    from hisopt.solvers.schemes.groups import extracted_similarity, member_similarity
    from hisopt.text.corpus import embed

    if modules is not None:
        instance = instance.replace(quality=QualityTable.published(modules=modules_of(modules)))
    if public_prompt is None:
        return instance, []
    rule = check_public(public_prompt)
    if instance.embeddings is None:
        if instance.prompts is None:
            raise InputError("--public-prompt: the instance has neither embeddings nor prompts")
        instance = instance.replace(embeddings=embed(instance.prompts))
    if rule in _RULES:
        kept = instance.public_prompt if instance.public_prompt.rule == rule else PublicPrompt(rule=rule)
        return instance.replace(similarity=None, public_prompt=kept), []
    notes = []
    if instance.clusters is None:
        instance = clustered(instance)
        notes.append("no clusters given: those of HAC are used where a problem takes them as given")
    if rule == "random":
        similarity = member_similarity(instance.vectors, instance.labels, seed)
    else:
        similarity = extracted_similarity(instance.prompts, instance.vectors, instance.labels)
    notes.append(f"public prompts: {rule}, for the given clusters; other clusters take the ideal one")
    return instance.replace(similarity=similarity), notes
