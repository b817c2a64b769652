"""Verdicts on what the papers publish: how a number is judged, and what a row of the table holds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hisopt.arrays import FloatArray

CLOSE = 0.02  # relative; a mean this near to the published number reproduces it


class Verdict(StrEnum):
    """What is found of a published number or claim."""

    REPRODUCED = "reproduced"
    DIRECTION = "direction only"
    REFUTED = "refuted"
    NOT_IDENTIFIABLE = "not identifiable"
    NOT_RUN = "cannot be run here"
    MISPRINT = "misprint"  # the text contradicts itself, or what it must mean
    PROVIDED = "provided"  # something to have, not a number: the project has it
    OPEN = "open"  # ... or does not have it yet


@dataclass(frozen=True)
class Item:
    """One number or claim of the papers, in our words.

    ``by`` names the experiment that judges it; an item without one has its verdict and reason here.
    """

    key: str
    document: str
    claim: str
    published: float | None = None
    unit: str = ""
    by: str = ""
    verdict: Verdict | None = None
    reason: str = ""

    @property
    def number(self) -> float:
        """The published number; ValueError for a claim that is none."""
        if self.published is None:
            raise ValueError(f"{self.key}: no number is published")
        return self.published


@dataclass(frozen=True)
class Finding:
    """A verdict on an item, with the words for a row of the table."""

    item: str
    ours: str
    difference: str
    verdict: Verdict
    reason: str


def interval(values: FloatArray | Sequence[float]) -> tuple[float, float]:
    """Return the mean of independent values and the half-width of its 95 % interval (Student's t); one value: 0."""
    from scipy.stats import t

    found = np.asarray(values, dtype=np.float64)
    if len(found) < 2:
        return float(found.mean()), 0.0
    return float(found.mean()), float(t.ppf(0.975, len(found) - 1) * found.std(ddof=1) / np.sqrt(len(found)))


def judged(mean: float, half: float, published: float, reference: float = 0.0) -> Verdict:
    """Return ``reproduced`` inside the interval or within 2 %; else whether both lie on one side of a reference.

    ``reference`` is what the number would be without any effect: 0 for a gain, all 1,400 steps for executed steps.
    """
    if abs(mean - published) <= max(half, CLOSE * abs(published)):
        return Verdict.REPRODUCED
    return Verdict.DIRECTION if (mean - reference) * (published - reference) > 0 else Verdict.REFUTED


def numeric(
    item: Item, values: FloatArray | Sequence[float], reason: str, reference: float = 0.0, digits: int = 1
) -> Finding:
    """Return the finding on a published number from one value a draw."""
    mean, half = interval(values)
    ours = f"{mean:.{digits}f}" + (f" ± {half:.{digits}f}" if len(values) > 1 else "") + item.unit
    verdict = judged(mean, half, item.number, reference)
    return Finding(item.key, ours, f"{mean - item.number:+.{digits}f}", verdict, reason)


def stated(item: Item, ours: str, holds: bool | Verdict, reason: str) -> Finding:
    """Return the finding on a claim that is no single number: it holds (reproduced), it does not, or as given."""
    if isinstance(holds, Verdict):
        return Finding(item.key, ours, "", holds, reason)
    return Finding(item.key, ours, "", Verdict.REPRODUCED if holds else Verdict.REFUTED, reason)
