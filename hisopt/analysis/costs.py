"""What each solver took or reached on each task, and plain summaries of that."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from hisopt.errors import InputError
from hisopt.result import relative_gap

TASK = ["instance", "problem", "seed", "time_limit"]
_REFERENCE = ["instance", "problem"]


def reference(records: pd.DataFrame) -> pd.Series[float]:
    """Return, for each record, the best feasible objective that any record has on its instance and problem (NaN: none)."""
    signed: Any = records["objective"].where(records["feasible"]).astype(float) * np.where(
        records["maximise"], 1.0, -1.0
    )
    best: Any = signed.groupby([records[name] for name in _REFERENCE]).transform("max")
    return pd.Series(best * np.where(records["maximise"], 1.0, -1.0), index=records.index)


def without_solution(records: pd.DataFrame) -> pd.Series[bool]:
    """Return which records say of their problem that it has no solution, where no record has one."""
    said: Any = records.get("termination", pd.Series("", records.index)) == "infeasible"
    return pd.Series(said & reference(records).isna(), index=records.index)


def relative_gaps(records: pd.DataFrame, to: pd.Series[float] | None = None) -> pd.Series[float]:
    """Return the `hisopt.result.relative_gap` of each feasible objective to its reference; NaN where there is none.

    ``to`` is the reference of each record, the best known objective (`reference`) if None.
    """
    found = reference(records) if to is None else to
    objective: Any = records["objective"].where(records["feasible"]).astype(float)
    scales: Any = records["scale"].fillna(0.0) if "scale" in records else np.zeros(len(records))
    gaps = [relative_gap(p, r, s) for p, r, s in zip(objective, found, scales, strict=True)]
    return pd.Series(gaps, index=records.index, dtype=float)


def costs(records: pd.DataFrame, measure: str = "seconds", gap: float = 1e-6) -> pd.DataFrame:
    """Return the cost of each solver (columns) on each task (rows: instance, problem, seed of the solver, time limit).

    ``measure`` is ``seconds``, where a solver succeeded that has a feasible objective within the relative ``gap`` of the
    best known one, or says that there is no solution where none is known; or ``gap``, the relative gap to the best known
    objective. NaN: it failed. Records of one solver on one task, such as on two machines, are averaged, and one failure
    among them is a failure; a solver that was never asked counts as failed. Raises `InputError` for another measure.
    """
    gaps = relative_gaps(records)
    if measure == "seconds":
        cost = records["seconds"].astype(float).where((gaps <= gap) | without_solution(records))
    elif measure == "gap":
        cost = gaps
    else:
        raise InputError(f"measure {measure!r}: must be seconds or gap")
    table = records[[*TASK, "solver"]].assign(cost=cost)
    grouped = table.groupby([*TASK, "solver"], dropna=False)["cost"]
    return grouped.mean().where(grouped.count() == grouped.size()).unstack("solver")


def at_limit(values: pd.DataFrame, factor: float = 1.0) -> pd.DataFrame:
    """Return costs in seconds with failures (NaN) at ``factor`` times the task's time limit, and none beyond that.

    ``values`` are those of `costs`, whose rows name the time limit. With a factor of 10 the mean is the PAR10 score.
    """
    limits = values.index.get_level_values("time_limit").to_numpy(dtype=float) * factor
    filled = np.fmin(values.to_numpy(dtype=float), limits[:, None])  # the number, where one of the two is NaN
    return pd.DataFrame(filled, index=values.index, columns=values.columns)


def shifted_geometric_mean(values: pd.DataFrame, shift: float, penalty: float = np.inf) -> pd.Series[float]:
    """Return exp(mean(log(x + shift))) - shift of each column, with ``penalty`` in the place of failures (NaN).

    Costs above the penalty are cut to it, so that a failure never looks better than a slow success. Where tasks have
    limits of their own, give what `at_limit` returns, and no penalty. Source: Achterberg, Constraint Integer Programming
    (2007), A.3. Raises `InputError` unless the shift is positive and no cost negative.
    """
    if shift <= 0 or penalty < 0:
        raise InputError(f"shift {shift}, penalty {penalty}: must be positive, and not negative")
    filled = values.fillna(penalty).clip(upper=penalty)
    if (filled < 0).any(axis=None):
        raise InputError("a shifted geometric mean needs costs that are not negative")
    return pd.Series(np.exp(np.log(filled + shift).mean()) - shift, index=values.columns)


def win_tie_loss(values: pd.DataFrame, tolerance: float = 1e-6) -> pd.DataFrame:
    """Return wins, ties and losses of each solver against each other, one row a pair; smaller costs win.

    Costs that differ by at most ``tolerance``, relative to the larger or absolute, tie; so do two failures; a success
    beats a failure.
    """
    rows = []
    for one in values.columns:
        for other in values.columns:
            if one == other:
                continue
            a = values[one].fillna(np.inf).to_numpy(dtype=float)
            b = values[other].fillna(np.inf).to_numpy(dtype=float)
            close = (a == b) | np.isclose(a, b, rtol=tolerance, atol=tolerance)
            rows.append((one, other, int((~close & (a < b)).sum()), int(close.sum()), int((~close & (a > b)).sum())))
    return pd.DataFrame(rows, columns=["solver", "against", "wins", "ties", "losses"])
