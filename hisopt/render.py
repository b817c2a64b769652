"""Runs as tables and files."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from hisopt.result import SolutionStatus, relative_gap

if TYPE_CHECKING:
    from hisopt.problem import Problem
    from hisopt.solvers.runner import Run

COLUMNS = ("solver", "guarantee", "termination", "objective", "bound", "gap", "to best bound", "seconds", "checked")


def best_bound(runs: Iterable[Run]) -> float | None:
    """Return the tightest bound that any of one problem's runs proved, but none that a feasible objective passes.

    Solvers with tolerances may state a bound a little beyond the optimum, within the tolerance on claims.
    """
    runs = list(runs)
    bounds = [run.bound for run in runs if run.bound is not None]
    if not bounds:
        return None
    found = [
        run.objective for run in runs if run.objective is not None and run.solution_status is SolutionStatus.FEASIBLE
    ]
    return max(min(bounds), *found, -math.inf) if runs[0].problem.maximise else min(max(bounds), *found, math.inf)


def gap_to(run: Run, bound: float | None) -> float | None:
    """Return the gap of a run's feasible objective to a bound."""
    if bound is None or run.objective is None or run.solution_status is not SolutionStatus.FEASIBLE:
        return None
    return relative_gap(run.objective, bound)


def cells(run: Run, bound: float | None) -> list[str]:
    """Return one row, as text."""
    checked = {"feasible": "yes", "infeasible": "INFEASIBLE", "none": "-"}[run.solution_status.value]
    return [
        run.solver.name,
        run.solver.guarantee.value,
        run.termination.value,
        _number(run.objective),
        _number(run.bound),
        _percent(run.gap),
        _percent(gap_to(run, bound)),
        "-" if run.seconds is None else f"{run.seconds:.3f}",
        "REFUTED" if run.refuted else checked,
    ]


def rows(run: Run, bound: float | None) -> dict[str, Any]:
    """Return one row as values."""
    record = run.to_dict() | {"gap_to_best_bound": gap_to(run, bound)}
    flat = ("decision", "parts", "violations", "details", "limits", "versions", "refuted")
    return {key: value for key, value in record.items() if key not in flat} | {"refuted": "; ".join(run.refuted)}


def grouped(runs: Iterable[Run]) -> dict[Problem, list[Run]]:
    """Return the runs of each problem, in order."""
    groups: dict[Problem, list[Run]] = {}
    for run in runs:
        groups.setdefault(run.problem, []).append(run)
    return groups


def to_json(instance: dict[str, Any], runs: Sequence[Run], contradictions: list[str], notes: list[str]) -> str:
    """Return everything as one JSON document."""
    records = []
    for group in grouped(runs).values():
        bound = best_bound(group)
        records += [run.to_dict() | {"gap_to_best_bound": gap_to(run, bound)} for run in group]
    document = {"instance": instance, "runs": records, "contradictions": contradictions, "notes": notes}
    return json.dumps(document, allow_nan=False) + "\n"


def to_csv(runs: Sequence[Run]) -> str:
    """Return one line a run."""
    import pandas as pd

    lines = []
    for group in grouped(runs).values():
        bound = best_bound(group)
        lines += [rows(run, bound) for run in group]
    return str(pd.DataFrame(lines).to_csv(index=False))


def to_latex(runs: Sequence[Run]) -> str:
    """Return one booktabs table a problem."""
    special = {c: "\\" + c for c in "%_&#$"}
    text = []
    for problem, group in grouped(runs).items():
        bound = best_bound(group)
        body = [" & ".join("".join(special.get(c, c) for c in cell) for cell in cells(run, bound)) for run in group]
        text.append(
            "\n".join(
                [f"% {problem.label}", "\\begin{tabular}{lllrrrrrl}", "\\toprule"]
                + [" & ".join(COLUMNS) + " \\\\", "\\midrule"]
                + [f"{line} \\\\" for line in body]
                + ["\\bottomrule", "\\end{tabular}"]
            )
        )
    return "\n\n".join(text) + "\n"


def to_table(runs: Sequence[Run], notes: dict[Problem, list[str]], width: int | None, colour: bool) -> str:
    """Return one table a problem for a terminal, with the messages of solvers that have no solution below it."""
    from io import StringIO

    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    console = Console(file=StringIO(), width=width, force_terminal=colour, highlight=False)
    for problem, group in grouped(runs).items():
        bound = best_bound(group)
        sense = "larger" if problem.maximise else "smaller"
        table = Table(
            title=f"{problem.label} ({sense} is better)", title_justify="left", box=SIMPLE_HEAD, pad_edge=False
        )
        for name in COLUMNS:
            numeric = name in ("objective", "bound", "gap", "to best bound", "seconds")
            table.add_column(name, justify="right" if numeric else "left", no_wrap=True)
        for run in group:
            table.add_row(*cells(run, bound))
        console.print(table)
        for line in notes.get(problem, []):
            console.print(line, markup=False)
        for run in group:
            if run.solution_status is SolutionStatus.NONE or run.violations:
                why = "; ".join(run.violations) or run.message
                console.print(f"{run.solver.name}: {why}", markup=False)
        console.print()
    text = console.file.getvalue()  # type: ignore[attr-defined]
    return "\n".join(line.rstrip() for line in text.rstrip().splitlines()) + "\n"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.8g}"


def _percent(value: float | None) -> str:
    if value is None:
        return "-"
    return "0" if value < 1e-12 else f"{100 * value:.2g} %" if value < 1e-4 else f"{100 * value:.3f} %"
