"""Residuals of Theorem 1's optimality conditions for recorded allocations, from the decision and the instance drawn anew."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from hisopt.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hisopt.arrays import FloatArray

_KIND = "allocation"


def residuals(records: Iterable[dict[str, Any]]) -> tuple[pd.DataFrame, str]:
    """Return problem, solver, condition and residual of each feasible record of the problem 'allocation', and a remark.

    At an optimum the marginal costs A_m / v_m^2 of the clusters with work are equal, and their SMs use up the budget:
    the first residual is (max - min) / (max + min) of the marginal costs, the second |sum v_m / V - 1|. An instance counts
    only where its hash is the record's; the remark names how many records have none.
    """
    drawn: dict[str, tuple[FloatArray, float] | None] = {}
    rows, left = [], 0
    for record in records:
        if record.get("problem") != _KIND or not record.get("feasible"):
            continue
        instance = str(record["instance"])
        if instance not in drawn:
            drawn[instance] = _drawn(record)
        known, sms = drawn[instance], _sms(record)
        if known is None or sms is None or sms.shape != known[0].shape:
            left += 1
            continue
        cost, budget = known
        used = cost > 0
        marginal = cost[used] / np.maximum(sms[used], 1e-300) ** 2
        uneven = float((marginal.max() - marginal.min()) / (marginal.max() + marginal.min())) if used.any() else 0.0
        solver = str(record["solver"])
        rows.append((_KIND, solver, "marginal costs", uneven))
        rows.append((_KIND, solver, "budget", abs(float(sms[used].sum()) / budget - 1)))
    remark = f"{left:,} allocations have no residuals: their instance cannot be drawn anew here." if left else ""
    return pd.DataFrame(rows, columns=["problem", "solver", "condition", "residual"]), remark


def _sms(record: dict[str, Any]) -> FloatArray | None:
    decision = record.get("decision")
    try:
        return np.asarray(decision["sms"], dtype=np.float64)  # type: ignore[index]
    except (TypeError, KeyError, ValueError):
        return None


def _drawn(record: dict[str, Any]) -> tuple[FloatArray, float] | None:
    """Costs A_m and the budget V of a record's instance; None where it cannot be had or is another."""
    from hisopt.commands.campaign import _instance
    from hisopt.commands.request import problems_on
    from hisopt.equations import given_work_costs
    from hisopt.instances.scenario import PRESETS

    source, preset = record.get("source"), bool(record.get("preset"))
    if not isinstance(source, str) or (preset and source not in PRESETS):
        return None
    try:
        found = _instance(source, preset, int(record.get("instance_seed", 0)), dict(record.get("swept") or {}))
        instance: Any = problems_on(found, (_KIND,), (), "real")[0]
    except (InputError, ValueError, TypeError):  # a file that is not there, a sweep of a later version
        return None
    if instance.content_hash != record["instance"]:
        return None
    return np.asarray(given_work_costs(instance), dtype=float), instance.sm_budget
