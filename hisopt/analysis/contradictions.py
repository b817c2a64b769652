"""Claims in records that other records refute."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

_PLACE = ["problem", "instance"]


def contradictions(records: pd.DataFrame, relative: float = 1e-6, absolute: float = 1e-8) -> pd.DataFrame:
    """Return each refuted claim: problem, instance, solver (whose claim), against (who refutes it, "" itself), claim.

    A claim is refuted where the solve's own check refuted it (``refuted``), where a feasible objective of any solver lies
    beyond the bound by more than both tolerances, and where a solver says infeasible of a problem with a solution. Of
    several objectives beyond one bound the farthest is named.
    """
    rows: list[tuple[Any, ...]] = []
    refuted = records["refuted"].map(len) > 0
    record: Any
    for record in records[refuted].itertuples():
        rows += [(record.problem, record.instance, record.solver, "", reason) for reason in record.refuted]
    signed: Any = np.where(records["maximise"], 1.0, -1.0)
    value: Any = records["objective"].where(records["feasible"]).astype(float) * signed
    table = records[[*_PLACE, "solver", "termination", "objective", "bound"]].assign(
        value=value, limit=records["bound"].astype(float) * signed, refuted=refuted
    )
    known = table.dropna(subset=["value"])
    best = known.loc[known.groupby(_PLACE)["value"].idxmax(), [*_PLACE, "solver", "objective", "value"]]
    joined = table.merge(best, on=_PLACE, suffixes=("", "_best"))
    itself = joined["refuted"] & (joined["solver"] == joined["solver_best"])  # told above
    excess = joined["value_best"] - joined["limit"]
    scale = np.maximum(joined["value_best"].abs(), joined["limit"].abs())
    beyond = (excess > absolute) & (excess > relative * scale) & ~itself
    for _, row in joined[beyond].iterrows():
        claim = f"its bound {row['bound']:.9g} is passed by the objective {row['objective_best']:.9g}"
        rows.append((row["problem"], row["instance"], row["solver"], row["solver_best"], claim))
    wrong = (joined["termination"] == "infeasible") & ~itself
    for _, row in joined[wrong].iterrows():
        rows.append((row["problem"], row["instance"], row["solver"], row["solver_best"],
                     f"says infeasible; there is a solution with {row['objective_best']:.9g}"))  # fmt: skip
    return pd.DataFrame(rows, columns=[*_PLACE, "solver", "against", "claim"])
