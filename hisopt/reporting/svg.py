"""Axes and marks as SVG whose colours come from the page, so that they follow its light, dark and printed forms."""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

WIDTH = 360
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
CHARACTER = 6.8  # width of one, at the size of labels on a phone


def number(value: float, digits: int = 3) -> str:
    """Return a number as short as a tick's label, powers of ten as such."""
    if value == 0:
        return "0"
    if 1e-3 <= abs(value) < 1e5:
        return f"{value:.{digits}g}" if abs(value) < 1000 else f"{value:,.0f}"
    exponent = math.floor(math.log10(abs(value)) + 1e-12)
    mantissa = f"{value / 10**exponent:.{digits}g}"
    power = f"10{str(exponent).translate(_SUPERSCRIPT)}"
    return power if mantissa == "1" else f"{mantissa}·{power}"


@dataclass(frozen=True)
class Scale:
    """From a range of values to pixels, linear or logarithmic; values beyond are cut to the range."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """Return the pixel of a value."""
        low, high, at = self.low, self.high, min(max(value, self.low), self.high)
        if self.log:
            low, high, at = math.log10(low), math.log10(high), math.log10(at)
        return self.start + (self.end - self.start) * ((at - low) / (high - low) if high > low else 0.5)

    def ticks(self, most: int = 5) -> list[float]:
        """Return at most so many round values within the range."""
        if not self.log:
            step = _step((self.high - self.low) / max(most - 1, 1))
            first = math.ceil(self.low / step - 1e-9)
            return [i * step for i in range(first, math.floor(self.high / step + 1e-9) + 1)]
        decades = range(math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9) + 1)
        if len(decades) >= 2:
            return [10.0**d for d in decades[:: max(1, math.ceil(len(decades) / most))]]
        start = math.floor(math.log10(self.low))
        return [m * 10.0**d for d in (start, start + 1) for m in (1, 2, 5) if self.low <= m * 10.0**d <= self.high]


def _step(least: float) -> float:
    if least <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(least))
    return next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= least * (1 - 1e-9))


def text(x: float, y: float, words: str, kind: str = "", anchor: str = "start") -> str:
    """Return a label."""
    names = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{names}>{escape(words)}</text>'


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    """Return a straight line."""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>'


def steps(points: Sequence[tuple[float, float]], x: Scale, y: Scale, kind: str) -> str:
    """Return a curve that keeps each value until the next point, to the right end of the axis."""
    if not points:
        return ""
    path = f"M{x(points[0][0]):.1f} {y(points[0][1]):.1f}"
    for at, value in points[1:]:
        path += f"H{x(at):.1f}V{y(value):.1f}"
    return f'<path d="{path}H{x.end:.1f}" class="{kind}"/>'


def bottom_axis(x: Scale, y: float, label: str, top: float) -> str:
    """Return ticks with thin lines up to ``top``, and the label below."""
    parts = [line(x.start, y, x.end, y, "axis")]
    for tick in x.ticks():
        parts += [line(x(tick), top, x(tick), y, "grid"), text(x(tick), y + 14, number(tick), "tick", "middle")]
    return "".join([*parts, text((x.start + x.end) / 2, y + 29, label, "label", "middle")])


def left_axis(y: Scale, x: float, label: str, right: float, percent: bool = False) -> str:
    """Return ticks with thin lines to ``right``, and the label above the axis."""
    parts = []
    for tick in y.ticks():
        words = f"{100 * tick:.3g} %" if percent else number(tick, 5)
        parts += [line(x, y(tick), right, y(tick), "grid"), text(x - 5, y(tick) + 4, words, "tick", "end")]
    return "".join([*parts, text(2, 11, label, "label")])


def shortened(words: str, most: int = 20) -> str:
    """Return words cut to so many characters."""
    return words if len(words) <= most else words[: most - 1] + "…"


def document(key: str, title: str, description: str, height: float, body: Iterable[str]) -> str:
    """Return an SVG with a title and a description that a screen reader says."""
    return (
        f'<svg id="{key}-svg" role="img" viewBox="0 0 {WIDTH} {height:.0f}" aria-labelledby="{key}-t {key}-d">'
        f'<title id="{key}-t">{escape(title)}</title><desc id="{key}-d">{escape(description)}</desc>'
        f"{''.join(body)}</svg>"
    )
