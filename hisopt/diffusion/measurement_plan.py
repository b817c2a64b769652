"""Which measurements fit into a time budget, and in which order they are made."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from hisopt.diffusion.green_contexts import WAYS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

START_S = 25.0
"""Loading libraries, counting FLOPs and reading idle power."""
BUILD_S = 15.0
"""Drawing the random weights of one precision on the card."""
COMPILE_S = 45.0
"""Compiling the blocks of one precision."""
SM_STEP = 8
"""SMs between two green contexts: what drivers grant on recent cards."""


@dataclass(frozen=True)
class Point:
    """One measurement: a precision, a mode (eager or compiled), and how many SMs in which way; None is the whole card."""

    dtype: str
    mode: str
    way: str | None = None
    sms: int | None = None

    @property
    def key(self) -> str:
        """Name, unique in a run."""
        place = "all SMs" if self.sms is None else f"{self.sms} SMs, {self.way}"
        return f"{self.dtype}, {self.mode}, {place}"


@dataclass(frozen=True)
class Plan:
    """Points in the order in which they are made, those left out for lack of time, and the seconds that it should take."""

    points: tuple[Point, ...]
    left_out: tuple[Point, ...]
    seconds: float


def ranked(counts: Iterable[int]) -> list[int]:
    """Return numbers of SMs so that every beginning of the list spreads well: largest, smallest, then the middle of gaps.

    Gaps are measured by ratio, as a law of powers is.

    Examples
    --------
    >>> ranked(range(8, 132, 8))[:4]
    [128, 8, 32, 64]
    """
    left = sorted(set(counts), reverse=True)
    chosen = left[:1] + left[-1:] if len(left) > 1 else left[:]
    left = [count for count in left if count not in chosen]
    while left:
        best = max(left, key=lambda count: min(max(count / other, other / count) for other in chosen))
        chosen.append(best)
        left.remove(best)
    return chosen


def planned(
    dtypes: Sequence[str], modes: Sequence[str], whole: int | None, sm_counts: Sequence[int] | None,
    seconds_each: float, budget_s: float | None, seed: int, ways: Sequence[str] = WAYS,
) -> Plan:  # fmt: skip
    """Plan a sweep: every precision and mode on the whole card, and the law of SMs of the first precision in every mode.

    The budget is START_S, and for every precision BUILD_S, COMPILE_S if it is compiled, and the seconds of each point
    (warm-up, window and rest). What is left goes to points of the law, the same numbers of SMs in each series (mode and
    way), in the order of `ranked`. Order within a precision and mode is random, by the seed; the law's precision is last.

    On an H200 with the defaults: 25 + 2 x (15 + 45) + 4 x 12 = 193 s, and of the 287 s left in 480 the law takes
    23 points of 12 s: 469 s.
    """
    heads = [Point(dtype, mode) for dtype in dtypes for mode in modes]
    cost = START_S + len(dtypes) * (BUILD_S + COMPILE_S * ("compiled" in modes)) + len(heads) * seconds_each
    law: list[Point] = []
    if whole is not None:
        counts = [count for count in sm_counts or range(SM_STEP, whole, SM_STEP) if count != whole]
        order = ranked(counts) if sm_counts is None else list(dict.fromkeys(counts))
        law = [Point(dtypes[0], mode, way, count) for count in order for mode in modes for way in ways]
    room = len(law)
    if budget_s is not None and seconds_each > 0:
        room = max(0, min(room, int((budget_s - cost) // seconds_each)))
    taken, left = law[:room], law[room:]
    random, points = Random(seed), list[Point]()
    for dtype in reversed(list(dict.fromkeys(dtypes))):
        for mode in modes:
            group = [point for point in [*heads, *taken] if (point.dtype, point.mode) == (dtype, mode)]
            random.shuffle(group)
            points += group
    return Plan(tuple(points), tuple(left), cost + len(taken) * seconds_each)
