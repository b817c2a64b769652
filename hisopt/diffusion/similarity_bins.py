"""Bins of the similarity of public and personal prompts, each with a quality curve of its own."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hisopt.arrays import FloatArray, IntArray

BINS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7)  # published


def nearest_bin(similarity: FloatArray, bins: tuple[float, ...]) -> IntArray:
    """Return the number of the nearest bin, or -1 where even that is more than half a bin's width away."""
    import numpy as np

    half = float(np.diff(bins).min()) / 2 + 1e-9 if len(bins) > 1 else np.inf
    distance = np.abs(np.asarray(similarity)[:, None] - np.asarray(bins))
    return np.where(distance.min(axis=1) <= half, distance.argmin(axis=1), -1)


def parse_bins(text: str) -> tuple[float, ...]:
    """Return the similarities of an option --bins; raise `InputError` for what are not increasing numbers."""
    from hisopt.errors import InputError

    try:
        bins = tuple(float(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"--bins: {text!r} are not numbers with commas between them") from None
    if not all(earlier < later for earlier, later in pairwise(bins)) or not all(-1 <= centre <= 1 for centre in bins):
        raise InputError(f"--bins: {text} do not increase within -1 and 1")
    return bins
