"""Performance and data profiles: which share of the tasks a solver has solved, by its cost."""

from __future__ import annotations

import numpy as np
import pandas as pd


def performance_profile(values: pd.DataFrame) -> pd.DataFrame:
    """Return rho_s(tau), the share of tasks that solver s solves within tau times the best cost among those shown.

    Index: every ratio at which a profile jumps, from 1 on; one column a solver. The best is taken over the columns given:
    a profile is computed anew for every choice of solvers, since leaving one out changes the others' ranks. Failures
    (NaN) never count as solved; tasks that nobody solved stay in the denominator. Costs of zero are compared as 1e-9.
    Source: Dolan and More, Benchmarking optimization software with performance profiles (2002).
    """
    ratios = values.clip(lower=1e-9)
    ratios = ratios.div(ratios.min(axis=1), axis=0)
    return _shares(ratios, 1.0)


def data_profile(values: pd.DataFrame) -> pd.DataFrame:
    """Return d_s(alpha), the share of tasks that solver s solves at a cost of at most alpha, in the unit of the costs.

    Unlike a performance profile it does not depend on which other solvers are shown. Source: More and Wild, Benchmarking
    derivative-free optimization algorithms (2009), without their scaling by dimension.
    """
    return _shares(values, 0.0)


def _shares(values: pd.DataFrame, start: float) -> pd.DataFrame:
    data = values.to_numpy(dtype=float)
    grid = np.unique(np.append(data[np.isfinite(data)], start))
    shares = {
        name: np.searchsorted(np.sort(column[np.isfinite(column)]), grid, side="right") / max(len(column), 1)
        for name, column in zip(values.columns, data.T, strict=True)
    }
    return pd.DataFrame(shares, index=pd.Index(grid, name="at most"), columns=values.columns)
