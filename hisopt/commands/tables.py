"""Runs as tables for a terminal, as wide as it is."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from typing import TYPE_CHECKING

from hisopt.commands.render import COLUMNS, Results, best_bound, cells, grouped
from hisopt.result import SolutionStatus, Termination

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from hisopt.problems import Problem
    from hisopt.solvers.run.runner import Run

_WIDE = 110  # characters that all columns take
_NARROW = ("solver", "termination", "objective", "to best bound", "seconds", "checked")
_OWN_GAP = "gap: objective to the solver's own bound; "
_LEGEND = (
    "to best bound: objective to the tightest bound that any solver here proved; "
    "checked: yes, where objective and constraints were computed anew from the decision and hold, INFEASIBLE where a "
    "constraint is violated, REFUTED where a claim is wrong."
)


def to_table(results: Results, width: int, *, colour: bool, ascii_only: bool) -> str:
    """Return one table a problem under a heading that says which instance; below 110 characters with fewer columns.

    Below each table stand the messages of solvers without a solution.
    """
    parts = []
    for setting, runs in results:
        parts += [textwrap.fill(setting.heading, width, break_on_hyphens=False), ""]
        for problem, group in grouped(runs).items():
            parts.append(_table(problem, group, width, colour, ascii_only))
    legend = _OWN_GAP + _LEGEND if width >= _WIDE else _LEGEND
    return "\n".join([*parts, textwrap.fill(legend, width)]) + "\n"


def width_and_charset(*, to_file: bool) -> tuple[int, bool, bool]:
    """Return how wide the output is, whether it takes colours, and whether it shows ASCII alone.

    A file or a pipe counts as 120 characters wide unless COLUMNS says otherwise. The C locale means ASCII, although
    Python itself then writes UTF-8.
    """
    stream = None if to_file else sys.stdout
    if stream is None:
        return 120, False, False
    locale = os.environ.get("LC_ALL") or os.environ.get("LANG") or ""
    encoding = (stream.encoding or "ascii").lower().replace("_", "-")
    plain = locale in ("C", "POSIX") or not encoding.startswith("utf")
    return max(shutil.get_terminal_size((120, 24)).columns, 40), stream.isatty(), plain


def framed(
    title: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    right: Collection[str],
    width: int,
    *,
    colour: bool = False,
    ascii_only: bool = False,
    below: Iterable[str] = (),
    wraps: Collection[str] = (),
) -> str:
    """Return a table with its title, the columns of ``right`` aligned so, those of ``wraps`` wrapped, and lines below it."""
    from io import StringIO

    from rich.box import SIMPLE_HEAD, Box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    plain = Box("    \n    \n -- \n    \n    \n    \n    \n    \n", ascii=True)
    console = Console(file=StringIO(), width=width, force_terminal=colour, highlight=False, soft_wrap=False)
    table = Table(title=title or None, title_justify="left", box=plain if ascii_only else SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        table.add_column(name, justify="right" if name in right else "left", no_wrap=name not in wraps)
    for row in rows:
        table.add_row(*map(Text, row))
    console.print(table)
    for line in below:
        console.print(line, markup=False)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    return "\n".join(line.rstrip() for line in text.rstrip().splitlines()) + "\n"


def grid(
    columns: Sequence[str], rows: Iterable[Sequence[str]], *, right: Collection[str] = (), wraps: Collection[str] = ()
) -> str:
    """Return a table without a title, for standard output."""
    width, _, ascii_only = width_and_charset(to_file=False)
    return framed("", columns, rows, right, width, ascii_only=ascii_only, wraps=wraps)


def _table(problem: Problem, group: Sequence[Run], width: int, colour: bool, ascii_only: bool) -> str:
    bound = best_bound(group)
    shown = COLUMNS if width >= _WIDE else _NARROW
    title = f"{problem.label} ({'larger' if problem.maximise else 'smaller'} is better)"
    if shown is _NARROW and bound is not None:
        title += f", best bound {bound:.8g}"
    rows = [dict(zip(COLUMNS, cells(run, bound), strict=True)) for run in group]
    without = [run for run in group if run.solution_status is SolutionStatus.NONE or run.violations]
    below = [f"{run.solver.label}: {'; '.join(run.violations) or run.message}" for run in without]
    return framed(
        title, shown, [[row[name] for name in shown] for row in rows],
        ("objective", "bound", "gap", "to best bound", "seconds"), width,
        colour=colour, ascii_only=ascii_only, below=[*_remarks(group), *below],
    )  # fmt: skip


def _remarks(group: Sequence[Run]) -> list[str]:
    """What a reader must know about one problem's results."""
    problem = group[0].problem
    for run in group:
        decision = run.decision
        proven = run.termination is Termination.OPTIMAL and problem.detail == "sum"
        if proven and decision is not None and decision.clusters is not None:
            if len(set(decision.clusters.tolist())) > 1 or problem.max_clusters == 1:
                continue
            return [
                "The proven optimum of 'sum' puts all users into one cluster: the program as printed is degenerate "
                "here, and a gap to it says nothing about a heuristic. Judge by 'mean' and 'centroid'."
            ]
    return []
