"""How sure a comparison is: intervals by bootstrap, signed-rank tests, variation over seeds."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import stats

if TYPE_CHECKING:
    from hisopt.arrays import FloatArray


def iqm(values: FloatArray) -> float:
    """Interquartile mean: the mean of the middle half, a quarter of the values trimmed from each end (scipy's trim_mean)."""
    return float(stats.trim_mean(np.asarray(values, dtype=float), 0.25, axis=None))


def iqm_intervals(
    values: pd.DataFrame, strata: pd.Series[str], confidence: float = 0.95, samples: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """Return the interquartile mean of each column and its percentile interval by stratified bootstrap.

    Rows are drawn anew within each stratum (an instance family or size, of which the rows are the seeds), so that every
    sample has the strata's sizes. NaN is left out before. Index: solver; columns: iqm, low, high, runs. Source: Agarwal
    et al., Deep reinforcement learning at the edge of the statistical precipice (2021).
    """
    rng = np.random.default_rng(seed)
    rows = []
    for name in values.columns:
        kept = values[name].dropna().astype(float)
        groups = [group.to_numpy() for _, group in kept.groupby(strata.loc[kept.index].to_numpy())]
        if not groups:
            rows.append((np.nan, np.nan, np.nan, 0))
            continue
        drawn = np.concatenate([g[rng.integers(len(g), size=(samples, len(g)))] for g in groups], axis=1)
        found = stats.trim_mean(drawn, 0.25, axis=1)
        low, high = np.quantile(found, [(1 - confidence) / 2, (1 + confidence) / 2])
        rows.append((iqm(np.asarray(kept, dtype=np.float64)), float(low), float(high), len(kept)))
    return pd.DataFrame(rows, columns=["iqm", "low", "high", "runs"], index=values.columns)


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
