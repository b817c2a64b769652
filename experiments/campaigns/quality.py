"""``python -m hisopt.experiments.campaigns.quality``: images made with shared steps, scored for ``hisopt.fit``.

For pairs of a public and a personal prompt over the range of similarities, every number of common steps and several seeds,
with the modules (SIM: guidance w1 = 2.0 in the common phase; NPI: a negative prompt and guidance w2 = 8.0 after it) and
without (one guidance scale, no negative prompt): the CLIP score of image and personal prompt, and BRISQUE.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from hisopt import Decision, __version__
from hisopt.commands.common import require_at_least, run_command, taking
from hisopt.diffusion.similarity_bins import BINS, nearest_bin, parse_bins
from hisopt.errors import InputError
from hisopt.experiments.campaigns.records import Store
from hisopt.files import require_writable, write_atomically
from hisopt.text.corpus import Corpus, load, shipped
from hisopt.text.negative import negative_prompts

if TYPE_CHECKING:
    from hisopt.arrays import FloatArray, IntArray

CLIP = "openai/clip-vit-large-patch14-336"
COLUMNS = ("public", "personal", "similarity", "seed", "common_steps", "sim_npi", "clip_score", "brisque")


@dataclass(frozen=True)
class Group:
    """Images that share their common phase.

    Attributes
    ----------
    public, personal
        Numbers of the two prompts.
    seed
        Of the noise.
    modules
        Whether SIM and NPI are on.
    common
        Numbers of common steps, one image each.
    """

    public: int
    personal: int
    seed: int
    modules: bool
    common: tuple[int, ...]


@dataclass(frozen=True)
class Conditions:
    """What an image depends on besides its group: names of the models, T, resolution, dtype, guidance without modules."""

    model: str
    clip: str
    total: int
    resolution: int | None
    dtype: str
    plain_guidance: float


Judge = Callable[[Any, str], dict[str, float | None]]  # of a PIL image and the personal prompt


def pairs_by_similarity(similarity: FloatArray, bins: Sequence[float], count: int, seed: int) -> list[tuple[int, int]]:
    """Draw for every bin ``count`` ordered pairs of different prompts within half a bin's width, shape (P, P) in.

    Fewer where there are fewer; raises `InputError` where a bin has none.
    """
    rng = np.random.default_rng(seed)
    nearest = _nearest(similarity, tuple(bins))
    found: list[tuple[int, int]] = []
    for index, centre in enumerate(bins):
        rows, columns = np.nonzero(nearest == index)
        if not len(rows):
            raise InputError(
                f"no two prompts have a similarity of about {centre:g}: give more prompts, or other --bins"
            )
        chosen = rng.choice(len(rows), size=min(count, len(rows)), replace=False)
        found += [(int(rows[i]), int(columns[i])) for i in np.sort(chosen)]
    return found


def reached_bins(similarity: FloatArray) -> tuple[float, ...]:
    """Return the published bins that two prompts of a corpus have; raise `InputError` where they are fewer than two."""
    found = tuple(BINS[index] for index in sorted(set(_nearest(similarity, BINS).ravel().tolist()) - {-1}))
    if len(found) < 2:
        raise InputError(
            f"--bins: the prompts' similarities reach {len(found)} of {', '.join(map(str, BINS))}: give others"
        )
    return found


def _nearest(similarity: FloatArray, bins: tuple[float, ...]) -> IntArray:
    """Return the bin of every pair of different prompts, shape (P, P), or -1."""
    found = nearest_bin(similarity.ravel(), bins).reshape(similarity.shape)
    np.fill_diagonal(found, -1)
    return found


def record_name(corpus: Corpus, group: Group, common: int, conditions: Conditions) -> str:
    """Return the name of an image's record: a hash of all that it depends on."""
    negative = negative_of(corpus, group) if group.modules else corpus.negative_prompts[group.personal]
    texts = [corpus.prompts[group.public], corpus.prompts[group.personal], negative]
    parts = [texts, group.seed, group.modules, common, vars(conditions)]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:24]


def negative_of(corpus: Corpus, group: Group) -> str:
    """Return the negative prompt of a group with modules: the corpus's, else the prompt with its adjectives turned."""
    return corpus.negative_prompts[group.personal] or negative_prompts([corpus.prompts[group.personal]])[0].text


def images(pipe: Any, corpus: Corpus, group: Group, conditions: Conditions) -> Iterator[tuple[int, Any]]:
    """Yield the number of common steps and the PIL image, for each of a group's."""
    public, personal = corpus.prompts[group.public], corpus.prompts[group.personal]
    common = np.array(group.common)
    decision = Decision.of_steps(conditions.total, common, conditions.total - common, clusters=np.zeros_like(common))
    guidance: dict[str, float] = {}
    negative = ""
    if group.modules:
        negative = negative_of(corpus, group)
    else:
        guidance = {"public_guidance": conditions.plain_guidance, "personal_guidance": conditions.plain_guidance}
    made = pipe.stream(
        [public], [personal] * len(common), decision, [negative] * len(common), seed=group.seed, max_batch=1,
        height=conditions.resolution, width=conditions.resolution, **guidance,
    )  # fmt: skip
    for done in made:
        yield group.common[done.user], done.image


def measure(
    corpus: Corpus, groups: Sequence[Group], conditions: Conditions, store: Store, pipe: Callable[[], Any],
    judge: Callable[[], Judge], keep: Path | None = None,
) -> Iterator[dict[str, Any]]:  # fmt: skip
    """Yield the record of every image, in a group the new ones first; models are made when the first image is missing.

    Every record is kept as soon as its image is scored, so that a run killed at any moment resumes at the next image.
    """
    similarity = corpus.embeddings @ corpus.embeddings.T
    made: tuple[Any, Judge] | None = None
    for group in groups:
        names = {x: record_name(corpus, group, x, conditions) for x in group.common}
        known = {x: store.read(name) for x, name in names.items()}
        missing = tuple(x for x, record in known.items() if record is None)
        if missing:
            made = made or (pipe(), judge())
            rest = Group(group.public, group.personal, group.seed, group.modules, missing)
            for common, image in images(made[0], corpus, rest, conditions):
                scores = made[1](image, corpus.prompts[group.personal])
                if keep is not None:
                    image.save(keep / f"{names[common]}.png")
                row = (group.public, group.personal, float(similarity[group.public, group.personal]), group.seed, common,
                       int(group.modules))  # fmt: skip
                known[common] = dict(zip(COLUMNS, row, strict=False)) | scores
                store.write(names[common], known[common] or {})
                yield {"new": True} | (known[common] or {})
        for x in group.common:
            if x not in missing:
                yield {"new": False} | (known[x] or {})


def hybrid_pipeline(name: str, device: str, dtype: str) -> Any:
    """Load a Stable Diffusion 3 in diffusers' format from a folder or the hub; raise `InputError` where that fails."""
    import torch
    from diffusers import StableDiffusion3Pipeline

    from hisopt.diffusion.pipeline import HybridInference

    try:
        parts = StableDiffusion3Pipeline.load_config(name)
        absent = {part: None for part, source in parts.items() if source == [None, None]}  # as T5 often is
        plain = StableDiffusion3Pipeline.from_pretrained(name, dtype=getattr(torch, dtype), **absent)
    except (OSError, ValueError) as error:
        raise InputError(f"--model: {name} cannot be loaded: {_first_line(error)}") from None
    pipe = plain.to(device)
    pipe.set_progress_bar_config(disable=True)
    return HybridInference(pipe)


def clip_judge(name: str, device: str) -> Judge:
    """Return the judge that gives the cosine of CLIP's image and text embeddings, and BRISQUE where piq is installed."""
    import torch
    from transformers import AutoTokenizer, CLIPImageProcessorPil, CLIPModel

    try:
        model = CLIPModel.from_pretrained(name).to(device).eval()  # type: ignore[arg-type]
        tokenizer = AutoTokenizer.from_pretrained(name)
        processor = CLIPImageProcessorPil.from_pretrained(name)
    except (OSError, ValueError) as error:
        raise InputError(f"--clip: {name} cannot be loaded: {_first_line(error)}") from None
    length = model.config.text_config.max_position_embeddings
    brisque = _brisque()

    @torch.no_grad()
    def judge(image: Any, prompt: str) -> dict[str, float | None]:
        pixels = processor(images=image, return_tensors="pt")["pixel_values"].to(device)
        tokens = tokenizer(prompt, truncation=True, max_length=length, return_tensors="pt").to(device)
        found = model(pixel_values=pixels, **tokens)
        score = torch.nn.functional.cosine_similarity(found.image_embeds, found.text_embeds).item()
        return {"clip_score": score, "brisque": None if brisque is None else brisque(image)}

    return judge


def _brisque() -> Callable[[Any], float | None] | None:
    import torch

    try:
        import piq
    except (ImportError, RuntimeError):  # the latter where torchvision is there, and made for another torch
        print(
            "BRISQUE is left out: piq is not installed (extra 'quality') or its torchvision does not load",
            file=sys.stderr,
        )
        return None

    def score(image: Any) -> float | None:
        pixels = torch.from_numpy(np.asarray(image.convert("RGB"), dtype=np.float32) / 255).permute(2, 0, 1)[None]
        try:
            return float(piq.brisque(pixels, data_range=1.0))
        except AssertionError:  # an image of one colour has none
            return None

    return score


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:200]


def to_csv(rows: Sequence[dict[str, Any]]) -> str:
    """Return records as the CSV that ``hisopt.fit`` reads."""
    import pandas as pd

    return str(pd.DataFrame(list(rows), columns=list(COLUMNS)).to_csv(index=False))


@dataclass(frozen=True)
class QualityOptions:
    """What the command line says, a field an option; None stands for what was not given."""

    model: str
    clip: str = CLIP
    prompts: str | None = None
    pairs: int = 4
    bins: str | None = None
    steps: int = 28
    every: int = 1
    seeds: int = 2
    modules: str = "both"
    plain_guidance: float = 7.0
    resolution: int | None = None
    device: str = "cuda"
    dtype: str = "bfloat16"
    records: Path = Path("records/quality")
    keep: Path | None = None
    output: str = "scores.csv"


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option(
    "--model",
    required=True,
    metavar="NAME",
    help="A Stable Diffusion 3 in diffusers' format: folder, or name on the hub.",
)
@click.option(
    "--clip", default=CLIP, show_default=True, metavar="NAME", help="The CLIP that scores: folder, or name on the hub."
)
@click.option(
    "--prompts", metavar="FILE", help="CSV with columns prompt and negative_prompt. [default: the shipped prompts]"
)
@click.option("--pairs", type=int, default=4, show_default=True, help="Pairs of prompts in every bin of similarity.")
@click.option(
    "--bins",
    metavar="LIST",
    help=f"Similarities at the bins' centres. [default: those of {', '.join(map(str, BINS))} that two prompts have]",
)
@click.option("--steps", type=int, default=28, show_default=True, help="Denoising steps T of an image.")
@click.option("--every", type=int, default=1, show_default=True, help="Common steps 0, K, 2K, ... below T.")
@click.option(
    "--seeds", type=int, default=2, show_default=True, help="Images of every pair and number of common steps."
)
@click.option("--modules", type=click.Choice(["both", "with", "without"]), default="both", show_default=True)
@click.option("--plain-guidance", type=float, default=7.0, show_default=True, help="Guidance scale without modules.")
@click.option("--resolution", type=int, help="Pixels a side. [default: the model's]")
@click.option("--device", default="cuda", show_default=True, help="cuda or cpu.")
@click.option("--dtype", type=click.Choice(["float16", "bfloat16", "float32"]), default="bfloat16", show_default=True)
@click.option("--records", type=click.Path(path_type=Path), default=Path("records/quality"), show_default=True)
@click.option("--images", "keep", type=click.Path(path_type=Path), help="Folder that keeps the images, as PNG.")
@click.option("--output", default="scores.csv", show_default=True, metavar="FILE", help="For hisopt.fit.")
@click.version_option(__version__, prog_name="hisopt")
@taking(QualityOptions)
def _command(options: QualityOptions) -> None:
    """Make images with shared steps and score them; stopped or killed, the same command goes on at the next image."""
    import torch

    require_at_least(1, options, "pairs", "steps", "every", "seeds")
    given = parse_bins(options.bins) if options.bins else None
    require_writable("--output", options.output)
    if options.device not in ("cpu", "cuda") or (options.device == "cuda" and not torch.cuda.is_available()):
        raise InputError(f"--device: {options.device!r} is not available")
    corpus = load(options.prompts) if options.prompts else shipped()
    similarity = corpus.embeddings @ corpus.embeddings.T
    bins = given or reached_bins(similarity)
    if absent := sorted(set(BINS) - set(bins)) if given is None else []:
        print(
            f"note: no two prompts have a similarity of about {', '.join(f'{centre:g}' for centre in absent)}: left out",
            file=sys.stderr,
        )
    common = tuple(range(0, options.steps, options.every))
    groups = [
        Group(public, personal, seed, modules, common)
        for public, personal in pairs_by_similarity(similarity, bins, options.pairs, seed=0)
        for seed in range(options.seeds)
        for modules in {"both": (True, False), "with": (True,), "without": (False,)}[options.modules]
    ]
    conditions = Conditions(
        options.model,
        options.clip,
        options.steps,
        options.resolution,
        options.dtype,
        options.plain_guidance,
    )
    store = Store(options.records)
    if options.keep is not None:
        Store(options.keep)
    rows: list[dict[str, Any]] = []
    total, fresh, start = len(groups) * len(common), 0, time.perf_counter()
    made = measure(
        corpus, groups, conditions, store, lambda: hybrid_pipeline(options.model, options.device, options.dtype),
        lambda: clip_judge(options.clip, options.device), options.keep,
    )  # fmt: skip
    for row in made:
        rows.append(row)
        fresh += row["new"]
        if row["new"]:
            spent = time.perf_counter() - start
            left = spent / fresh * (total - len(rows))
            print(
                f"\rimage {len(rows)} of {total}, {spent:.0f} s, {left:.0f} s left ",
                end="",
                file=sys.stderr,
                flush=True,
            )
    if fresh:
        print(file=sys.stderr)
    rows.sort(key=lambda row: [row[name] for name in COLUMNS[:6]])
    write_atomically(Path(options.output), to_csv(rows))
    fitting = f"python -m hisopt.fit {options.output}" + (f" --bins {options.bins}" if given else "")
    print(f"{options.output}: {len(rows)} scores, {fresh} of them new; fit them by {fitting}")


def main() -> None:
    """Run the command line."""
    run_command(
        _command,
        "hisopt.experiments.campaigns.quality",
        extra="quality",
        hint="; the same command goes on at the next image",
    )


if __name__ == "__main__":
    main()
