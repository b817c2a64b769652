"""What cutting the channel into bins costs: optima that settle as bins halve, and bounds on the optimum without bins.

Rewards do not depend on the distance d and both costs rise with it. With every bin at its far edge, a policy that meets the
limits meets them on the channel without bins, too; with every bin at its near edge, the bin's average of any policy without
bins meets them. So the two optima enclose the optimum without bins, for every channel with these distances in the long run:
independent slots and Gauss-Markov ones, as the average depends on the long run alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hisopt.instances import MegChannel, MegInstance
from hisopt.instances.meg import path_gain
from hisopt.problems import Meg
from hisopt.solvers.meg import dual

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NEAREST_M, FARTHEST_M = 200.0, 300.0
DISCOUNT = 0.97


@dataclass(frozen=True)
class Level:
    """One number of bins: the optimum, its move since half as many (relative), and bounds on the optimum without bins."""

    bins: int
    optimum: float
    move: float
    low: float | None = None
    high: float | None = None


def optimum(instance: MegInstance) -> float:
    """Return the optimum by the dual."""
    found = dual.solve(Meg(instance).process)
    if found is None or found.policy is None:
        raise ValueError("no policy keeps the limits")
    return found.bound


def at_edge(bins: int, place: float) -> MegChannel:
    """Return independent slots with every bin at one place in it: 0 its near edge, 0.5 its middle, 1 its far edge."""
    distance = NEAREST_M + (np.arange(bins) + place) * (FARTHEST_M - NEAREST_M) / bins
    return MegChannel(gain=path_gain(distance), probability=np.full(bins, 1 / bins))


def independent(bins: int) -> MegInstance:
    """Return the preset with so many bins."""
    return MegInstance(channel=MegChannel.uniform_distance(bins, NEAREST_M, FARTHEST_M))


def discounted(bins: int, correlation: float = 0.9) -> MegInstance:
    """Return the discounted criterion of a Gauss-Markov channel that starts in its farthest quarter, where the matrix counts."""
    channel = MegChannel.gauss_markov(bins, correlation, NEAREST_M, FARTHEST_M)
    far = np.where(np.arange(bins) >= 3 * bins // 4, 1.0, 0.0)
    return MegInstance(channel=channel.replace(start=far / far.sum()), discount=DISCOUNT)


def refined(
    make: Callable[[int], MegInstance], tolerance: float, most: int, *, enclosed: bool = False, bins: int = 8
) -> Iterator[Level]:
    """Yield optima as the bins double, until one moves less than the tolerance or the next had more than ``most`` bins."""
    last = None
    while bins <= most:
        value = optimum(make(bins))
        move = np.inf if last is None else abs(value - last) / abs(value)
        low, high = (
            (optimum(MegInstance(channel=at_edge(bins, place))) for place in (1.0, 0.0)) if enclosed else (None, None)
        )
        yield Level(bins, value, move, low, high)
        if move < tolerance:
            return
        last, bins = value, 2 * bins


def report(*, quick: bool) -> str:
    """Return the tables in Markdown."""
    fine, coarse = (1e-4, 1e-3) if quick else (1e-8, 1e-5)
    lines = [
        f"Independent slots or a Gauss-Markov channel on average, until the optimum moves by less than {fine:g} of it:",
        "",
        "| bins | optimum | moved by | without bins at least | at most |",
        "|---|---|---|---|---|",
    ]
    for level in refined(independent, fine, 64 if quick else 65_536, enclosed=True):
        lines.append(f"| {level.bins:,} | {level.optimum:.9f} | {_move(level)} | {level.low:.7f} | {level.high:.7f} |")
    lines += [
        "",
        f"Gauss-Markov, correlation 0.9, discounted by {DISCOUNT} from the farthest quarter, until it moves by less than "
        f"{coarse:g}:",
        "",
        "| bins | optimum | moved by |",
        "|---|---|---|",
    ]
    for level in refined(discounted, coarse, 32 if quick else 512):
        lines.append(f"| {level.bins:,} | {level.optimum:.9f} | {_move(level)} |")
    return "\n".join(lines)


def _move(level: Level) -> str:
    return "-" if np.isinf(level.move) else f"{level.move:.1e}"
