"""Curves: profiles, gaps over time, and objectives on the way to a proven optimum."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from hisopt import analysis
from hisopt.reporting.figure import Figure, csv, legend
from hisopt.reporting.svg import WIDTH, Scale, bottom_axis, document, left_axis, line, number, shortened, steps, text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hisopt.reporting.records import Records

LEFT, RIGHT, TOP, BOTTOM, _HEIGHT = 42.0, WIDTH - 10.0, 22.0, 190.0, 226
_POINTS = 400  # of a curve; more than a screen shows
_LEAST = 1e-3  # seconds: where the axes of time begin


def thinned(profile: pd.DataFrame, log: bool = True) -> pd.DataFrame:
    """Return at most 400 rows of a step function, the last before each equal part of the axis: each is exact."""
    if len(profile) <= _POINTS:
        return profile
    grid = profile.index.to_numpy(dtype=float)
    ends = (np.geomspace(max(grid[0], grid[grid > 0][0]), grid[-1], _POINTS) if log
            else np.linspace(grid[0], grid[-1], _POINTS))  # fmt: skip
    kept = np.unique(np.clip(np.searchsorted(grid, ends, side="right") - 1, 0, len(grid) - 1))
    return profile.iloc[kept]


def shares(
    profile: pd.DataFrame, low: float, high: float, label: str, known: Mapping[str, str]
) -> tuple[list[str], str]:
    """Return the drawing of shares of tasks over a logarithmic axis, and its words."""
    x, y = Scale(low, max(high, low * 2), LEFT, RIGHT, log=True), Scale(0, 1, BOTTOM, TOP)
    body = [left_axis(y, LEFT, "share of tasks", RIGHT, percent=True), bottom_axis(x, BOTTOM, label, TOP)]
    body.append('<g class="curves">')
    for name in reversed([name for name in known if name in profile.columns]):
        points = list(zip(profile.index.astype(float), profile[name].astype(float), strict=True))
        body.append(steps(points, x, y, f"line {known[name]}"))
    body.append("</g>")
    first, last = profile.iloc[0], profile.iloc[-1]
    words = "; ".join(f"{n}: {100 * first[n]:.0f} % at the left end, {100 * last[n]:.0f} % at the right"
                      for n in known if n in profile.columns)  # fmt: skip
    return body, words


def performance(values: pd.DataFrame, known: Mapping[str, str], key: str) -> Figure:
    """Performance profile of seconds to an objective as good as the best known."""
    profile = thinned(analysis.performance_profile(values))
    body, words = shares(profile, 1.0, highest(values), "time over the fastest solver's (τ)", known)
    return Figure(
        key, "Performance profile",
        "A curve's height at τ is the share of tasks that the solver brings to the best known objective within τ times the "
        "fastest shown solver's seconds; higher and further left is better, and a curve that ends low fails often.",
        document(key, "Performance profile", f"Share of tasks. {words}.", _HEIGHT, body),
        "analysis.performance_profile(analysis.costs(records))", csv(profile), legend(_shown(profile, known), known),
        redrawn=True,
    )  # fmt: skip


def highest(values: pd.DataFrame) -> float:
    """Return the right end of a performance profile's axis: the largest ratio, at least 2; fewer solvers shown need less."""
    positive = values.clip(lower=1e-9)
    return float(np.clip(positive.div(positive.min(axis=1), axis=0).max().max(), 2.0, 1e9))


def data_profile(values: pd.DataFrame, known: Mapping[str, str], key: str, limit: float) -> Figure:
    """Share of tasks solved by each number of seconds."""
    profile = thinned(analysis.data_profile(values))
    positive = profile.index[profile.index > 0]
    low = min(max(float(positive[0]), _LEAST), limit / 10) if len(positive) else _LEAST
    body, words = shares(profile, low, limit, "seconds", known)
    return Figure(
        key, "Data profile",
        "A curve's height is the share of tasks that the solver has brought to the best known objective by that many "
        "seconds; it does not depend on which other solvers are shown, except through the best known objective.",
        document(key, "Data profile", f"Share of tasks solved by seconds. {words}.", _HEIGHT, body),
        "analysis.data_profile(analysis.costs(records))", csv(profile), legend(_shown(profile, known), known),
    )  # fmt: skip


def by_gap(values: pd.DataFrame, known: Mapping[str, str], key: str) -> Figure:
    """Share of tasks within each relative gap to the best known objective."""
    profile = thinned(analysis.data_profile(values.clip(lower=1e-7)))
    profile = profile[profile.index > 0] if (profile.index > 0).any() else profile.rename(index={0.0: 1e-7})
    body, words = shares(profile, 1e-7, max(float(profile.index[-1]), 1e-3), "relative gap to the best known", known)
    return Figure(
        key, "Quality profile",
        "A curve's height is the share of tasks on which the solver ends within that gap of the best known objective, "
        "whatever time it took; smaller gaps are drawn at 10⁻⁷.",
        document(key, "Quality profile", f"Share of tasks by gap. {words}.", _HEIGHT, body),
        'analysis.data_profile(analysis.costs(records, "gap"))', csv(profile), legend(_shown(profile, known), known),
    )  # fmt: skip


def gap_over_time(records: Records, known: Mapping[str, str], key: str) -> Figure:
    """Mean gap to the best known objective as time goes by."""
    table = records.table
    limit = float(table["time_limit"].max())
    times = [0.0, *np.geomspace(min(_LEAST, limit / 10), limit, 120)]
    curves = analysis.gap_over_time(table, times)
    x, y = Scale(times[1], limit, LEFT, RIGHT, log=True), Scale(0, 1, BOTTOM, TOP)
    low = float(curves.to_numpy()[curves.to_numpy() > 0].min(initial=1.0))
    y = Scale(max(min(low, 0.1), 1e-7), 1, BOTTOM, TOP, log=True)
    body = [left_axis(y, LEFT, "mean gap to the best known", RIGHT), bottom_axis(x, BOTTOM, "seconds", TOP)]
    for name in reversed(_shown(curves, known)):
        body.append(steps(list(zip(times[1:], curves[name].iloc[1:], strict=True)), x, y, f"line {known[name]}"))
    end = curves.iloc[-1]
    words = "; ".join(f"{name}: {number(float(end[name]))} at the end" for name in _shown(curves, known))
    return Figure(
        key, "Gap over time",
        "Each curve is the mean relative gap of what the solver had found by then, 1 before it had anything; lower and "
        "further left is better, and a gap of zero lies on the floor.",
        document(key, "Gap over time", f"Mean gap, logarithmic. {words}.", _HEIGHT, body),
        "analysis.gap_over_time(records, times)", csv(curves), legend(_shown(curves, known), known),
    )  # fmt: skip


def convergence(records: Records, known: Mapping[str, str], key: str) -> Figure | None:
    """Objectives over time on the task of which most was reported, with the proven optimum or the best bound as a line."""
    table = records.table
    counts = table["trajectory"].map(len).groupby([table["instance"], table["time_limit"], table["seed"]]).sum()
    if counts.empty or counts.max() == 0:
        return None
    most: Any = counts.idxmax()
    instance, limit, seed = str(most[0]), float(most[1]), int(most[2])
    task = table[(table["instance"] == instance) & (table["time_limit"] == limit) & (table["seed"] == seed)]
    curves: dict[str, list[tuple[float, float]]] = {}
    for record in task[task["feasible"]].to_dict("records"):
        points = [(float(p[0]), float(p[1])) for p in record["trajectory"] if p[1] is not None]
        if np.isfinite(record["seconds"]):
            points.append((max(float(record["seconds"]), *(p[0] for p in points), _LEAST), float(record["objective"])))
        curves[str(record["solver"])] = points
    curves = {name: curves[name] for name in known if curves.get(name)}
    if not curves:
        return None
    row = task.iloc[0]
    proven = bool(np.isfinite(row["optimum"]))
    goal = float(row["optimum"] if proven else row["best_bound"])
    values = [value for points in curves.values() for _, value in points] + [goal] * bool(np.isfinite(goal))
    margin = 0.06 * (max(values) - min(values) or abs(max(values)) or 1)
    first = min(at for points in curves.values() for at, _ in points)
    x = Scale(max(min(first, limit / 10), _LEAST), limit, LEFT + 8, RIGHT, log=True)
    y = Scale(min(values) - margin, max(values) + margin, BOTTOM, TOP)
    better = "larger" if row["maximise"] else "smaller"
    body = [left_axis(y, LEFT + 8, f"objective ({better} is better)", RIGHT), bottom_axis(x, BOTTOM, "seconds", TOP)]
    said = "proven optimum" if proven else "best bound"
    if np.isfinite(goal):
        body.append(line(x.start, y(goal), RIGHT, y(goal), "goal"))
    for name, points in reversed(curves.items()):
        body.append(steps(points, x, y, f"line {known[name]}"))
        body.append(
            f'<circle cx="{x(points[-1][0]):.1f}" cy="{y(points[-1][1]):.1f}" r="2.6" class="dot {known[name]}"/>'
        )
    if np.isfinite(goal):  # above the curves
        body.append(text(RIGHT, y(goal) - 4 if y(goal) > TOP + 12 else y(goal) + 12, said, "label", "end"))
    place = (
        f"{row['source'] or 'instance ' + shortened(instance)}, N = {row['users']}, M = {row['clusters']}, seed {seed}"
    )
    words = "; ".join(f"{name} ends with {points[-1][1]:.6g}" for name, points in curves.items())
    rows = pd.DataFrame([(n, *p) for n, points in curves.items() for p in points],
                        columns=["solver", "seconds", "objective"])  # fmt: skip
    ends = f"The {said} is {goal:.9g}. " if np.isfinite(goal) else ""
    return Figure(
        key, "Convergence on one task",
        f"Each curve is the best objective that a solver had reported by then on the task of which most was reported "
        f"({place}); the dot is where it ended, the dashed line the {said}.",
        document(key, "Convergence on one task", f"{ends}{words}.", _HEIGHT, body),
        f'records[records.instance == "{instance}"].trajectory', csv(rows.set_index("solver")),
        legend(list(curves), known),
    )  # fmt: skip


def _shown(table: pd.DataFrame, known: Mapping[str, str]) -> Sequence[str]:
    return [name for name in known if name in table.columns]
