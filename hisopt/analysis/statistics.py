"""How sure a comparison is: intervals by bootstrap, signed-rank tests, variation over seeds."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import stats

from hisopt.errors import InputError

if TYPE_CHECKING:
    from hisopt.arrays import FloatArray


def iqm(values: FloatArray) -> float:
    """Interquartile mean: the mean of the middle half, a quarter of the values trimmed from each end (scipy's trim_mean)."""
    return float(stats.trim_mean(np.asarray(values, dtype=float), 0.25, axis=None))


def _iqm_rows(values: FloatArray) -> FloatArray:
    return np.asarray(stats.trim_mean(values, 0.25, axis=1))


def _mean_rows(values: FloatArray) -> FloatArray:
    return np.asarray(values.mean(axis=1))


def _median_rows(values: FloatArray) -> FloatArray:
    return np.asarray(np.median(values, axis=1))


_STATISTICS = {"iqm": _iqm_rows, "mean": _mean_rows, "median": _median_rows}


def intervals(
    values: pd.DataFrame,
    strata: pd.Series[str] | None = None,
    statistic: str = "iqm",
    confidence: float = 0.95,
    samples: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """Return the iqm, mean or median of each column and its percentile interval by (stratified) bootstrap.

    Rows are drawn anew within each stratum (an instance family or size, of which the rows are the seeds), so that every
    sample has the strata's sizes; without strata, among all rows. NaN is left out before. Index: solver; columns: the
    statistic's name, low, high, runs. Source: Agarwal et al., Deep reinforcement learning at the edge of the statistical
    precipice (2021), whose strata are the tasks; Efron and Tibshirani, An introduction to the bootstrap (1993).
    Raises `InputError` for another statistic.
    """
    if statistic not in _STATISTICS:
        raise InputError(f"statistic {statistic!r}: must be one of {', '.join(_STATISTICS)}")
    rng, measure, rows = np.random.default_rng(seed), _STATISTICS[statistic], []
    for name in values.columns:
        kept = values[name].dropna().astype(float)
        labels = np.zeros(len(kept), dtype=int) if strata is None else strata.loc[kept.index].to_numpy()
        groups = [group.to_numpy() for _, group in kept.groupby(labels)]
        if not groups:
            rows.append((np.nan, np.nan, np.nan, 0))
            continue
        drawn = np.concatenate([g[rng.integers(len(g), size=(samples, len(g)))] for g in groups], axis=1)
        low, high = np.quantile(measure(drawn), [(1 - confidence) / 2, (1 + confidence) / 2])
        found = float(measure(np.asarray(kept, dtype=np.float64)[None])[0])
        rows.append((found, float(low), float(high), len(kept)))
    return pd.DataFrame(rows, columns=[statistic, "low", "high", "runs"], index=values.columns)


def iqm_intervals(
    values: pd.DataFrame, strata: pd.Series[str], confidence: float = 0.95, samples: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """Return `intervals` of the interquartile mean: iqm, low, high, runs."""
    return intervals(values, strata, "iqm", confidence, samples, seed)


def holm(p_values: FloatArray) -> FloatArray:
    """Return p-values adjusted for the number of tests. Source: Holm, A simple sequentially rejective procedure (1979)."""
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * (len(p) - np.arange(len(p)))))
    return adjusted


def wilcoxon(values: pd.DataFrame) -> pd.DataFrame:
    """Return the Wilcoxon signed-rank test of every pair of solvers on the tasks both solved, two-sided, Holm's correction.

    Columns: solver, against, tasks, p, p_holm. Zero differences count half to either side; with no difference at
    all, or no common task, p is 1.
    """
    rows = []
    for one, other in combinations(values.columns, 2):
        pair = values[[one, other]].dropna().to_numpy(dtype=float)
        difference = pair[:, 0] - pair[:, 1]
        p = 1.0
        if np.any(difference != 0):
            p = float(stats.wilcoxon(difference, zero_method="zsplit").pvalue)
        rows.append((one, other, len(pair), p))
    table = pd.DataFrame(rows, columns=["solver", "against", "tasks", "p"])
    table["p_holm"] = holm(table["p"].to_numpy(dtype=float))
    return table


def over_seeds(records: pd.DataFrame, value: str = "objective") -> pd.DataFrame:
    """Return how a number varies over seeds: mean, std (of a sample), minimum, median, maximum, one row a solver and size.

    Grouped by problem, solver, preset, users and clusters; records without the number are counted as ``failed``.
    """
    by = ["problem", "solver", "source", "users", "clusters"]
    numbers = records[by].assign(value=records[value].where(records["feasible"]).astype(float))
    grouped = numbers.groupby(by, dropna=False, observed=True)["value"]
    table = grouped.agg(["count", "mean", "std", "min", "median", "max"])
    table.insert(1, "failed", grouped.size() - table["count"])
    return table.reset_index()
