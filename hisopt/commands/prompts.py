"""``python -m hisopt.prompts``: a public prompt for each cluster and a negative prompt for each user."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hisopt import __version__
from hisopt.commands.common import require_at_least, run_command, taking
from hisopt.commands.tables import grid
from hisopt.errors import missing_package

if TYPE_CHECKING:
    from collections.abc import Callable

    from hisopt.arrays import FloatArray, IntArray
    from hisopt.text.chat import Model

METHODS = ("extract", "endpoint", "gguf")


@dataclass(frozen=True)
class PromptsOptions:
    """What the command line says, a field an option; None and () stand for what was not given."""

    prompts: str | None = None
    clusters: int | None = None
    method: str = "extract"
    url: str | None = None
    model: str | None = None
    key_variable: str = "OPENAI_API_KEY"
    timeout: float = 60.0
    retries: int = 3
    cache: str | None = None
    negative: bool = True
    negative_style: str = "antonyms"
    output: str | None = None
    style: str = "table"


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.argument("prompts", required=False, metavar="[PROMPTS]")
@click.option("--clusters", type=int, help="Clusters, found by HAC. [default: 3; an instance's own]")
@click.option(
    "--method", default="extract", show_default=True, metavar="NAME",
    help="extract (from the users' own words), endpoint (a chat endpoint of the OpenAI protocol), or gguf (a local model).",
)  # fmt: skip
@click.option("--url", metavar="URL", help="endpoint: its base URL, such as http://localhost:8000/v1.")
@click.option("--model", metavar="NAME", help="endpoint: the model's name; gguf: the model's file.")
@click.option("--key-variable", default="OPENAI_API_KEY", show_default=True, metavar="NAME",
              help="endpoint: environment variable that holds the API key.")  # fmt: skip
@click.option("--timeout", type=float, default=60.0, show_default=True, help="endpoint: seconds to wait for an answer.")
@click.option("--retries", type=int, default=3, show_default=True, help="endpoint: repetitions of a failed request.")
@click.option("--cache", metavar="FOLDER", help="Keeps a model's answers. [default: ~/.cache/hisopt/chat]")
@click.option("--negative/--no-negative", default=True, show_default=True, help="Write negative prompts as well.")
@click.option(
    "--negative-style", type=click.Choice(["antonyms", "unshared"]), default="antonyms", show_default=True,
    help="antonyms: the user's prompt with opposite adjectives, as published; unshared: what the public prompt alone has.",
)  # fmt: skip
@click.option("--output", metavar="FILE", help="Write all prompts as JSON.")
@click.option("--format", "style", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.version_option(__version__, prog_name="hisopt")
@taking(PromptsOptions)
def _command(options: PromptsOptions) -> None:
    """Write public and negative prompts, and say how similar they are to the users' own.

    PROMPTS is a CSV or TSV file with a column prompt or text, a text file with a prompt a line, or an instance (.json)
    that holds prompts; without it, the users of the preset paper. A model's answers are kept on disk: after an
    interruption or an error the same command goes on where it stopped.
    """
    from hisopt.files import deliver, require_writable

    if options.output is not None:
        require_writable("--output", options.output)
    document = write(options)
    text = json.dumps(document, indent=1, ensure_ascii=False) + "\n"
    if options.output is not None:
        deliver(text, options.output, ".json")
    deliver(text if options.style == "json" else _table(document), None, ".json")


def write(options: PromptsOptions) -> dict[str, Any]:
    """Return clusters, public and negative prompts and their similarities as plain data."""
    import numpy as np

    from hisopt.text import chat, extract, negative
    from hisopt.text.corpus import embed, unit_rows

    model = _model(options)
    prompts, embeddings, clusters = _users(options)
    groups = [np.flatnonzero(clusters == m) for m in range(clusters.max() + 1)]

    def public_of(m: int) -> str:
        members = [prompts[n] for n in groups[m]]
        if not members:
            return ""
        if model is None:
            return extract.public_prompt(members, embeddings[groups[m]], embed)
        return chat.public_prompt(model, members)

    def negative_of(n: int) -> str:
        common = public[clusters[n]]
        if options.negative_style == "antonyms":
            if model is None:
                return negative.negative_prompts([prompts[n]])[0].text
            return chat.negative_prompt(model, prompts[n])
        if model is None:
            return extract.unshared_words(prompts[n], common)
        return chat.unshared_phrases(model, prompts[n], common)

    public = _each("public prompt", public_of, len(groups))
    unwanted = _each("negative prompt", negative_of, len(prompts)) if options.negative else None
    sums = [embeddings[members].sum(axis=0) if len(members) else embeddings[0] for members in groups]
    ideal = unit_rows(np.array(sums))
    central = np.array([
        embeddings[members[np.argmax(embeddings[members] @ total)]] if len(members) else total
        for members, total in zip(groups, sums, strict=True)
    ])  # fmt: skip
    found = {
        name: extract.similarities(embeddings, clusters, vectors)
        for name, vectors in (("public", embed(public)), ("most_central_member", central), ("ideal_centroid", ideal))
    }
    return {
        "method": options.method if model is None else f"{options.method} {model.identity}",
        "prompts": prompts,
        "clusters": clusters.tolist(),
        "public_prompts": public,
        "negative_prompts": unwanted,
        "similarity": {name: values.tolist() for name, values in found.items()},
        "mean_similarity": {name: float(values.mean()) for name, values in found.items()},
    }


def _users(options: PromptsOptions) -> tuple[list[str], FloatArray, IntArray]:
    """Return prompts, their embeddings (N, d) of norm 1 and their clusters (N,)."""
    from hisopt.errors import InputError
    from hisopt.instances import MegInstance
    from hisopt.instances.files import load as load_instance
    from hisopt.instances.scenario import PRESETS
    from hisopt.solvers.clustering.hac import average_linkage
    from hisopt.text.corpus import MODEL, WIDTH, embed, load

    source, wanted, given = options.prompts, options.clusters, None
    if source is None or source.endswith(".json"):
        instance = PRESETS["paper"].sample(seed=0) if source is None else load_instance(source)
        if isinstance(instance, MegInstance) or instance.prompts is None:
            raise InputError(f"{source}: prompts: missing, and public prompts are made from them")
        prompts = list(instance.prompts)
        embeddings = embed(prompts) if instance.embeddings is None else instance.embeddings
        if embeddings.shape[1] != WIDTH:
            raise InputError(
                f"{source}: embeddings: have {embeddings.shape[1]} numbers each, those of {MODEL}, with which public "
                f"prompts are compared, {WIDTH}; without 'embeddings' in the file its prompts are embedded anew"
            )
        given, wanted = (instance.clusters, instance.max_clusters) if wanted is None else (None, wanted)
    else:
        corpus = load(source)
        prompts, embeddings = list(corpus.prompts), corpus.embeddings
    wanted = min(3, len(prompts)) if wanted is None else wanted
    if not 1 <= wanted <= len(prompts):
        raise InputError(f"--clusters: is {wanted}, must be 1 to {len(prompts)}, the number of prompts")
    return prompts, embeddings, average_linkage(embeddings, wanted) if given is None else given


def _model(options: PromptsOptions) -> Model | None:
    from hisopt.errors import InputError
    from hisopt.text.chat import Cached, Endpoint, LocalModel, cache_folder

    method = options.method
    if method not in METHODS:
        raise InputError(f"--method: unknown {method!r}; known are {', '.join(METHODS)}")
    if not options.timeout > 0:
        raise InputError(f"--timeout: is {options.timeout:g}, must be > 0")
    require_at_least(0, options, "retries")
    url, name = options.url or "", options.model or ""
    needed = {"extract": (), "endpoint": ("url", "model"), "gguf": ("model",)}[method]
    for option, value in (("url", url), ("model", name)):
        if option in needed and not value:
            raise InputError(f"--{option}: the method {method} needs it")
        if option not in needed and value:
            raise InputError(f"--{option}: the method {method} does not take it")
    if method == "extract":
        return None
    model: Model
    if method == "endpoint":
        if not url.startswith(("http://", "https://")):
            raise InputError(f"--url: is {url!r}, must begin with http:// or https://")
        key = os.environ.get(options.key_variable, "")
        model = Endpoint(url, name, key, options.timeout, options.retries)
    else:
        if not Path(name).is_file():
            raise InputError(f"--model: {name}: no such file")
        model = LocalModel(Path(name))
    return Cached(model, Path(options.cache) if options.cache else cache_folder())


def _each(what: str, make: Callable[[int], str], count: int) -> list[str]:
    """Make each text, with progress on a terminal; an error says which one it was."""
    from hisopt.errors import InputError

    found = []
    with click.progressbar(range(count), label=f"{what}s", file=sys.stderr, hidden=not sys.stderr.isatty()) as numbers:
        for number in numbers:
            try:
                found.append(make(number))
            except InputError as error:
                raise InputError(f"{what} {number + 1} of {count}: {error}") from None
    return found


def _table(document: dict[str, Any]) -> str:
    import numpy as np

    clusters = np.array(document["clusters"])
    similarity = {name: np.array(values) for name, values in document["similarity"].items()}
    rows = []
    for m, text in enumerate(document["public_prompts"]):
        members = clusters == m
        means = (f"{values[members].mean():.3f}" if members.any() else "-" for values in similarity.values())
        rows.append((str(m), str(members.sum()), *means, text))
    rows.append(("all", str(len(clusters)), *(f"{mean:.3f}" for mean in document["mean_similarity"].values()), ""))
    columns = ("cluster", "users", "public", "member", "ideal", "public prompt")
    return (
        f"public prompts: {document['method']}\n"
        + grid(columns, rows, right=columns[:-1], wraps=columns[-1:])
        + "\nMean similarity of users' prompts to the public prompt, the most central member, and the ideal\n"
        "centroid, which no text need attain. The papers report 0.65 for public prompts of their own data.\n"
    )


def main() -> None:
    """Run the command line."""
    try:
        run_command(_command, "hisopt.prompts", hint="; the same command goes on from the answers kept")
    except ImportError as error:
        missing_package("hisopt.prompts", error)
