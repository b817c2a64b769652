"""Figures with a labelled row a solver: box plots over seeds, means with intervals, residuals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from hisopt import analysis
from hisopt.reporting.figure import Figure, csv
from hisopt.reporting.svg import CHARACTER, WIDTH, Scale, bottom_axis, document, line, number, shortened, text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hisopt.reporting.records import Records

_ROW, _HEAD, _TOP, _RIGHT = 17.0, 20.0, 6.0, WIDTH - 12.0
FLOOR = 1e-7  # gaps below it are drawn there
_SIZES = 6  # groups of a figure


def sizes(table: pd.DataFrame) -> pd.Series[str]:
    """Return the words for each record's size: preset or file, users and clusters."""
    words = "N = " + table["users"].astype(str)
    if table["clusters"].nunique() > 1:
        words = words + ", M = " + table["clusters"].astype(str)
    return table["source"].astype(str) + " " + words if table["source"].nunique() > 1 else words


def _frame(
    groups: Mapping[str, Sequence[str]], x_of: tuple[float, float, bool], label: str
) -> tuple[list[str], dict[tuple[str, str], float], Scale, float]:
    """Axis and labels of rows in groups: body, the middle of each row, the scale, the height."""
    longest = max((len(shortened(name)) for names in groups.values() for name in names), default=0)
    left = min(max(longest * CHARACTER + 12, 60.0), 160.0)
    x = Scale(x_of[0], x_of[1], left, _RIGHT, x_of[2])
    y, middle, labels = _TOP, {}, []
    for group, names in groups.items():
        if group:
            labels.append(text(2, y + 14, group, "group"))
            y += _HEAD
        for name in names:
            middle[group, name] = y + _ROW / 2
            labels.append(text(left - 6, y + _ROW / 2 + 4, shortened(name), "tick", "end"))
            y += _ROW
        y += 4
    return [bottom_axis(x, y, label, _TOP), *labels], middle, x, y + 36


def _grouped(records: Records, names: Sequence[str]) -> tuple[pd.Series[str], dict[str, list[str]]]:
    """The size of each record, and the solvers of each size; one group where there are too many sizes."""
    table = records.table
    size = sizes(table)
    order = list(dict.fromkeys(size.loc[table.sort_values(["source", "users", "clusters"]).index]))
    if len(order) > _SIZES:
        size, order = pd.Series("all sizes", index=table.index), ["all sizes"]
    present = set(zip(size, table["solver"], strict=True))
    return size, {group: [name for name in names if (group, name) in present] for group in order}


def boxes(
    records: Records, values: pd.Series[float], names: Sequence[str], known: Mapping[str, str], words: Mapping[str, str]
) -> Figure | None:
    """Box plots of gaps over seeds, one box a solver and size. ``words``: key, title, read, made."""
    size, groups = _grouped(records, names)
    floored = values.clip(lower=FLOOR)
    if not np.isfinite(floored).any():
        return None
    body, middle, x, height = _frame(groups, (FLOOR, max(float(floored.max()), 1e-2), True), "relative gap")
    rows: list[tuple[Any, ...]] = []
    for (group, name), y in middle.items():
        here = (size == group) & (records.table["solver"] == name)
        own = floored[here].dropna().to_numpy(dtype=float)
        failed = int(here.sum()) - len(own)
        if len(own):
            low, first, half, third, high = np.percentile(own, [0, 25, 50, 75, 100])
            reach = 1.5 * (third - first)
            ends = own[(own >= first - reach) & (own <= third + reach)]
            kind = known[name]
            body += [
                line(x(ends.min()), y, x(first), y, f"whisker {kind}"),
                line(x(third), y, x(ends.max()), y, f"whisker {kind}"),
                f'<rect x="{x(first):.1f}" y="{y - 5:.1f}" width="{max(x(third) - x(first), 1.5):.1f}" height="10" '
                f'class="box {kind}"/>',
                line(x(half), y - 6, x(half), y + 6, f"median {kind}"),
            ]
            outside = sorted({round(x(float(v)), 1) for v in own if v < ends.min() or v > ends.max()})
            body += [f'<circle cx="{at}" cy="{y:.1f}" r="1.6" class="dot {kind}"/>' for at in outside]
            rows.append((group, name, len(own), failed, low, first, half, third, high))
        else:
            body.append(text(x.start + 3, y + 4, "no solution", "tick"))
            rows.append((group, name, 0, failed, *[np.nan] * 5))
    table = pd.DataFrame(rows, columns=["size", "solver", "count", "failed", "min", "q1", "median", "q3", "max"])
    said = "; ".join(f"{r[0]}, {r[1]}: median {number(r[6]) if r[2] else 'none'}" for r in rows)
    key = words["key"]
    return Figure(key, words["title"], words["read"], document(key, words["title"], f"{said}.", height, body),
                  words["made"], csv(table.set_index("size")))  # fmt: skip


def dots(
    table: pd.DataFrame,
    known: Mapping[str, str],
    words: Mapping[str, str],
    label: str,
    log: bool,
    low: float,
    high: float,
) -> Figure:
    """Return a dot with an interval a row. ``table``: group, solver, value, low, high; ``words`` as in `boxes`."""
    groups: dict[str, list[str]] = {}
    for group, name in zip(table["group"], table["solver"], strict=True):
        groups.setdefault(str(group), []).append(str(name))
    body, middle, x, height = _frame(groups, (low, high, log), label)
    for row in table.to_dict("records"):
        y, kind = middle[row["group"], row["solver"]], known[row["solver"]]
        if not np.isfinite(row["value"]):
            body.append(text(x.start + 3, y + 4, "none", "tick"))
            continue
        body.append(line(x(row["low"]), y, x(row["high"]), y, f"whisker {kind}"))
        body.append(f'<circle cx="{x(row["value"]):.1f}" cy="{y:.1f}" r="3.4" class="dot {kind}"/>')
    found: list[Any] = list(table.itertuples())
    said = "; ".join(
        f"{f'{r.group}, ' if r.group else ''}{r.solver}: "
        + (f"{number(r.value)}, interval {number(r.low)} to {number(r.high)}" if np.isfinite(r.value) else "none")
        for r in found
    )
    key = words["key"]
    return Figure(key, words["title"], words["read"], document(key, words["title"], f"{said}.", height, body),
                  words["made"], csv(table.set_index("group")))  # fmt: skip


def policies(records: Records, known: Mapping[str, str], key: str) -> Figure | None:
    """Interquartile mean of the learned solvers' gaps, with stratified bootstrap intervals."""
    table = records.table
    names = [n for n in records.solvers if (table.loc[table["solver"] == n, "guarantee"] == "learned").any()]
    if not names or not table.loc[table["solver"].isin(names), "to_best"].notna().any():
        return None
    size, groups = _grouped(records, names)
    rows = []
    for group, present in groups.items():
        for name in present:
            own = table.loc[(size == group) & (table["solver"] == name), ["to_best", "source", "users", "clusters"]]
            strata = own[["source", "users", "clusters"]].astype(str).agg("/".join, axis=1)
            found = analysis.intervals(own[["to_best"]], strata).loc["to_best"].to_dict()
            rows.append((group, name, found["iqm"], found["low"], found["high"], int(found["runs"])))
    rows_table = pd.DataFrame(rows, columns=["group", "solver", "value", "low", "high", "runs"])
    high = float(np.nanmax(rows_table["high"].to_numpy(dtype=float), initial=1e-3))
    words = {
        "key": key, "title": "Learned policies",
        "read": "The dot is the interquartile mean of the policy's gaps to the best known objective, the line its 95 % interval "
                "by a bootstrap stratified by size; an interval that excludes another's dot is a difference.",
        "made": 'analysis.intervals(gaps, strata, "iqm")',
    }  # fmt: skip
    return dots(rows_table, known, words, "relative gap", False, 0.0, high * 1.05)


def integrals(records: Records, known: Mapping[str, str], key: str) -> Figure:
    """Mean primal and dual integrals, as shares of the time limit."""
    table = records.table
    found = analysis.integrals(table).div(table["time_limit"], axis=0)
    rows = []
    for column in ("primal", "dual"):
        for name in records.solvers:
            own = found.loc[table["solver"] == name, [column]]
            mean = analysis.intervals(own, None, "mean", samples=500).loc[column].to_dict()
            rows.append((f"{column} integral", name, mean["mean"], mean["low"], mean["high"], int(mean["runs"])))
    frame = pd.DataFrame(rows, columns=["group", "solver", "value", "low", "high", "runs"])
    words = {
        "key": key, "title": "Primal and dual integrals",
        "read": "The dot is the mean over tasks of the area under the gap's curve, of the objective or of the bound, as a share "
                "of the time limit, with its 95 % bootstrap interval: 0 is best, 1 means nothing until the end.",
        "made": "analysis.integrals(records)",
    }  # fmt: skip
    return dots(frame, known, words, "share of the time limit", False, 0.0, 1.0)


def residuals(table: pd.DataFrame, known: Mapping[str, str], key: str) -> Figure | None:
    """Residuals of the optimality conditions. ``table``: solver, condition, residual, one row a record and condition."""
    if table.empty:
        return None
    rows: list[tuple[str, str, float, float, float, int]] = []
    key_of: Any
    for key_of, own in table.groupby(["condition", "solver"], sort=False)["residual"]:
        at = own.clip(lower=1e-17)
        rows.append((str(key_of[0]), str(key_of[1]), float(at.median()), float(at.min()), float(at.max()), len(own)))
    order = {name: i for i, name in enumerate(known)}
    rows.sort(key=lambda row: (row[0] != "marginal costs", row[0], order[row[1]]))
    frame = pd.DataFrame(rows, columns=["group", "solver", "value", "low", "high", "runs"])
    words = {
        "key": key, "title": "Residuals of the optimality conditions",
        "read": "The dot is the median, the line the range of the residual over tasks, computed from the solver's decision and "
                "the instance: optimal allocations lie near rounding, heuristics need not.",
        "made": "equal marginal costs A/v² over the clusters with work; SMs in use over the budget",
    }  # fmt: skip
    low, high = float(frame["low"].min()), float(frame["high"].max())
    return dots(frame, known, words, "relative residual", True, low / 2, max(high, 1e-3) * 2)
