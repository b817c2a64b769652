"""What solvers had found and proven as time went by."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from hisopt.analysis.costs import reference

Trajectory = Sequence[Sequence[float | None]]  # (seconds, objective or None, bound or None), in order


def _distance(value: float | None, to: float) -> float:
    """Gap of Berthold's integrals: 1 without a value or where signs differ, else |v - r| / max(|v|, |r|)."""
    if value is None or not np.isfinite(value):
        return 1.0
    if value == to:
        return 0.0
    if value * to < 0:
        return 1.0
    return min(1.0, abs(value - to) / max(abs(value), abs(to)))


def _integral(steps: Iterable[tuple[float, float | None]], to: float, until: float) -> float:
    total, before, gap = 0.0, 0.0, 1.0
    for seconds, value in steps:
        now = min(max(seconds, before), until)
        total += gap * (now - before)
        before, gap = now, _distance(value, to)
    return total + gap * (until - before)


def _points(record: pd.Series) -> list[tuple[float, float | None, float | None]]:
    """The trajectory, ended by what the record says itself."""
    points: list[tuple[float, float | None, float | None]] = [(p[0], p[1], p[2]) for p in record["trajectory"]]
    if record["seconds"] is not None and np.isfinite(record["seconds"]):
        objective = float(record["objective"]) if record["feasible"] and pd.notna(record["objective"]) else None
        bound = float(record["bound"]) if pd.notna(record["bound"]) else None
        points.append((max(float(record["seconds"]), points[-1][0] if points else 0.0), objective, bound))
    return points


def integrals(records: pd.DataFrame) -> pd.DataFrame:
    """Return the primal and the dual integral of each record, in seconds, over its time limit.

    The gap of objective and bound to the best known objective, 1 before there is one, integrated from 0 to the time limit;
    0 is best, the time limit worst. NaN where no solver has a feasible objective. Source: Berthold, Measuring the impact
    of primal heuristics (2013); the dual integral likewise, of the bound.
    """
    rows = []
    for (_, record), best in zip(records.iterrows(), reference(records), strict=True):
        if not np.isfinite(best):
            rows.append((np.nan, np.nan))
            continue
        points, until = _points(record), float(record["time_limit"])
        primal = _integral([(seconds, objective) for seconds, objective, _ in points], float(best), until)
        rows.append((primal, _integral([(seconds, bound) for seconds, _, bound in points], float(best), until)))
    return pd.DataFrame(rows, columns=["primal", "dual"], index=records.index)


def gap_over_time(records: pd.DataFrame, times: Sequence[float]) -> pd.DataFrame:
    """Return the mean primal gap to the best known objective at each of the times (index), one column a solver.

    Before a solver has a feasible objective its gap counts as 1. Records without a known objective are left out.
    """
    kept: dict[str, list[list[float]]] = {}
    for (_, record), best in zip(records.iterrows(), reference(records), strict=True):
        if not np.isfinite(best):
            continue
        points, gaps, place, gap = _points(record), [], 0, 1.0
        for time in times:
            while place < len(points) and points[place][0] <= time:
                gap, place = _distance(points[place][1], float(best)), place + 1
            gaps.append(gap)
        kept.setdefault(str(record["solver"]), []).append(gaps)
    means = {name: np.mean(rows, axis=0) for name, rows in sorted(kept.items())}
    return pd.DataFrame(means, index=pd.Index(list(times), name="seconds"))
