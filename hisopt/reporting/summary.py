"""Tables of a report: what each solver reached and took, who beats whom, gaps over sizes and weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from hisopt import analysis
from hisopt.reporting.svg import number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hisopt.reporting.records import Records

SHIFT = 1.0  # seconds, of shifted geometric means


@dataclass(frozen=True)
class Table:
    """Text cells under a caption; the first column names the row.

    ``words`` is the number of columns that are words, which begin on the left; ``prose`` says that all are, and wrap;
    ``level`` shades a cell, 0 to 5, -1 for none.
    """

    key: str
    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    level: tuple[tuple[int, ...], ...] = ()
    words: int = 1
    prose: bool = False


def percent(value: float) -> str:
    """Return a gap as a table has it; a dash for none."""
    if not np.isfinite(value):
        return "–"
    if value == 0:
        return "0"
    return f"{100 * value:.1e} %" if value < 1e-5 else f"{100 * value:.3f} %" if value < 0.1 else f"{100 * value:.1f} %"


def interval(low: float, high: float) -> str:
    """Return an interval of gaps in percent; a dash for none."""
    return "–" if not np.isfinite(low) else "0" if high == 0 else f"{100 * low:.3g} to {100 * high:.3g} %"


def seconds(value: float) -> str:
    """Return seconds with three digits; a dash for none."""
    if not np.isfinite(value):
        return "–"
    return f"{value:.2e}" if 0 < value < 1e-4 else f"{value:,.0f}" if value >= 1000 else f"{value:#.3g}".rstrip(".")


def summary(records: Records) -> pd.DataFrame:
    """Return one row a solver of one problem, as numbers.

    Columns: solver, guarantee, solves, solved (feasible), proven (optimal, or without a solution), best (within 1e-6 of
    the best known), sgm_seconds (shifted geometric mean to the best known, failures at the limit), mean_gap with gap_low
    and gap_high (95 % bootstrap), worst_gap, mean_seconds (of all solves), primal_integral and dual_integral (seconds).
    """
    table = records.table
    means = analysis.shifted_geometric_mean(analysis.at_limit(analysis.costs(table)), SHIFT)
    integrals = analysis.integrals(table)
    rows = []
    for name in records.solvers:
        here = table["solver"] == name
        own = table[here]
        proven = (own["feasible"] & (own["termination"] == "optimal")) | analysis.without_solution(table)[here]
        gap = analysis.intervals(own[["to_best"]], None, "mean", samples=1000).loc["to_best"]
        rows.append({
            "solver": name, "guarantee": str(own["guarantee"].iloc[0]) or "–", "solves": len(own),
            "solved": int(own["feasible"].sum()),
            "proven": int(proven.sum()), "best": int(own["best"].sum()),
            "sgm_seconds": float(means[name]), "mean_gap": gap["mean"], "gap_low": gap["low"], "gap_high": gap["high"],
            "worst_gap": float(own["to_best"].max()), "mean_seconds": float(own["seconds"].mean()),
            "primal_integral": float(integrals.loc[here, "primal"].mean()),
            "dual_integral": float(integrals.loc[here, "dual"].mean()),
        })  # fmt: skip
    return pd.DataFrame(rows)


def summary_cells(found: pd.DataFrame) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """Return the summary as columns and text cells."""
    columns = ("solver", "guarantee", "solves", "feasible", "proven", "best", "mean gap", "95 % interval", "worst gap",
               "time to best (s)", "mean time (s)")  # fmt: skip
    rows = tuple(
        (
            str(r["solver"]), str(r["guarantee"]), f"{r['solves']:,}", f"{r['solved']:,}", f"{r['proven']:,}",
            f"{r['best']:,}", percent(r["mean_gap"]),
            interval(r["gap_low"], r["gap_high"]),
            percent(r["worst_gap"]), seconds(r["sgm_seconds"]), seconds(r["mean_seconds"]),
        )
        for r in found.to_dict("records")
    )  # fmt: skip
    return columns, rows


def against(records: Records, key: str) -> Table:
    """Wins, ties and losses of each solver (row) against each other (column), by gap."""
    values = analysis.costs(records.table, "gap")
    pairs = analysis.win_tie_loss(values).set_index(["solver", "against"])
    names = records.solvers
    cells = []
    for one in names:
        row = [one]
        for other in names:
            found: Any = pairs.loc[(one, other)] if one != other else None
            row.append("·" if found is None else f"{found['wins']}–{found['ties']}–{found['losses']}")
        cells.append(tuple(row))
    return Table(key, "Wins, ties and losses by final gap, row against column; gaps within 10⁻⁶ tie.",
                 ("solver", *names), tuple(cells))  # fmt: skip


def signed_ranks(records: Records, key: str) -> Table:
    """Wilcoxon's test of every pair, by gap."""
    found = analysis.wilcoxon(analysis.costs(records.table, "gap"))
    rows = tuple(
        (str(r["solver"]), str(r["against"]), f"{r['tasks']:,}", _p(r["p"]), _p(r["p_holm"]))
        for r in found.to_dict("records")
    )
    return Table(
        key, "Wilcoxon's signed-rank test on final gaps, two-sided; p adjusted by Holm's method over all pairs.",
        ("solver", "against", "tasks", "p", "p, Holm"), rows, words=2,
    )  # fmt: skip


def over_seeds(records: Records, key: str) -> Table:
    """Variation of the objective over seeds, one row a solver and size."""
    found = analysis.over_seeds(records.table)
    order = {name: i for i, name in enumerate(records.solvers)}
    found = found.sort_values(["source", "users", "clusters", "solver"],
                              key=lambda c: c.map(order) if c.name == "solver" else c)  # fmt: skip
    rows = tuple(
        (
            str(r["solver"]), str(r["source"]), f"{r['users']}", f"{r['clusters']}", f"{r['count']}", f"{r['failed']}",
            *(f"{r[c]:.6g}" if np.isfinite(r[c]) else "–" for c in ("mean", "std", "min", "median", "max")),
        )
        for r in found.to_dict("records")
    )  # fmt: skip
    columns = ("solver", "source", "N", "M", "seeds", "failed", "mean", "s.d.", "min", "median", "max")
    return Table(key, "The objective over seeds; s.d. is that of a sample.", columns, rows, words=2)


_LEVELS = (1e-6, 1e-3, 1e-2, 5e-2, 2e-1)  # upper ends of the shades


def gap_matrix(records: Records, key: str) -> Table:
    """Mean gap to the best known objective for each N, M and swept fields (rows) and solver (columns)."""
    table = records.table
    by = ["source", "users", "clusters", "swept_text"]
    means = table.groupby([*by, "solver"], dropna=False)["to_best"].mean().unstack("solver")
    varied = [name for name in by if name != "source" or table["source"].nunique() > 1]
    varied = [name for name in varied if name != "swept_text" or (table["swept_text"] != "").any()]
    heads = {"source": "source", "users": "N", "clusters": "M", "swept_text": "weights and other fields"}
    rows, levels = [], []
    for place, row in means.sort_index().iterrows():
        said = dict(zip(by, place if isinstance(place, tuple) else (place,), strict=True))
        values = [float(row.get(name, np.nan)) for name in records.solvers]
        rows.append((*(str(said[name]) or "preset's" for name in varied), *(percent(v) for v in values)))
        levels.append((*(-1 for _ in varied), *(_level(v) for v in values)))
    return Table(
        key, "Mean gap to the best known objective by users N, clusters M and swept fields; darker is farther from it.",
        (*(heads[name] for name in varied), *records.solvers), tuple(rows), level=tuple(levels),
    )  # fmt: skip


def _level(value: float) -> int:
    return -1 if not np.isfinite(value) else int(np.searchsorted(_LEVELS, value, side="left"))


def _p(value: float) -> str:
    return "1" if value >= 0.9995 else number(value) if value < 1e-3 else f"{value:.3f}"


def hac_gaps(records: Records, key: str) -> Table | None:
    """Hierarchical clustering against proven optima, by size."""
    table = records.table
    own = table[(table["solver"].str.startswith("hac")) & table["feasible"] & table["optimum"].notna()]
    if own.empty:
        return None
    scale: Any = np.maximum(np.maximum(own["optimum"].abs(), own["objective"].abs()), 1e-10)
    gap = (own["objective"] - own["optimum"]).abs() / scale
    rows = []
    for (name, users, clusters), values in gap.groupby([own["solver"], own["users"], own["clusters"]]):
        exact = int((values <= 1e-6).sum())
        rows.append((str(name), f"{users}", f"{clusters}", f"{len(values)}", f"{exact}", percent(float(values.mean())),
                     percent(float(values.max()))))  # fmt: skip
    return Table(
        key, "HAC's gap to proven optima, on the tasks where a solver proved one.",
        ("solver", "N", "M", "tasks", "optimal", "mean gap", "worst gap"), tuple(rows),
    )  # fmt: skip


def totals(names: Sequence[str]) -> str:
    """Return a list of words as a sentence has it."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else "none"
