"""What a figure of the report is: a drawing, one sentence on reading it, words for a screen reader, and its numbers."""

from __future__ import annotations

import base64
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

STYLES = 8  # colours; from the ninth solver on they come again, dashed


@dataclass(frozen=True)
class Figure:
    """A drawing with what belongs to it.

    Attributes
    ----------
    key
        Identifier within the page.
    title, read, note
        Heading, the one sentence on how to read it, and a warning ("" for none).
    svg
        The drawing.
    made
        How its numbers are computed, in Python.
    data
        Its numbers, as CSV.
    legend
        Solvers and their styles; empty where rows are labelled.
    redrawn
        Whether the page draws it anew for the solvers shown.
    """

    key: str
    title: str
    read: str
    svg: str
    made: str
    data: str
    legend: tuple[tuple[str, str], ...] = ()
    note: str = ""
    redrawn: bool = False

    @property
    def link(self) -> str:
        """The numbers as a data link."""
        return "data:text/csv;base64," + base64.b64encode(self.data.encode()).decode()

    def noted(self, note: str) -> Figure:
        """Return the figure with a warning."""
        return replace(self, note=note)


def style(index: int) -> str:
    """Return the classes of a solver's curve: a colour, and dashes once colours come again."""
    return f"c{index % STYLES}" + (f" d{index // STYLES % 3}" if index >= STYLES else "")


def styles(solvers: Sequence[str]) -> dict[str, str]:
    """Return the style of each solver of the report, the same in all figures."""
    return {name: style(index) for index, name in enumerate(solvers)}


def legend(names: Sequence[str], known: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Return (solver, style) of the solvers of one figure."""
    return tuple((name, known[name]) for name in names)


def csv(table: pd.DataFrame) -> str:
    """Return a table as CSV, numbers with seven digits."""
    return str(table.to_csv(float_format="%.7g", lineterminator="\n"))
