"""Records for other programs: PAVER's trace files (GAMS), and .solu files of optima and bounds (SCIP, IPET, MIPLIB)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from hisopt.analysis import contradictions

if TYPE_CHECKING:
    import pandas as pd

    from hisopt.reporting.records import Records

TRACE_COLUMNS = ("InputFileName", "SolverName", "Direction", "ModelStatus", "SolverStatus", "ObjectiveValue",
                 "ObjectiveValueEstimate", "SolverTime")  # fmt: skip
# GAMS: 1 normal, 2 iterations, 3 resources, 10 error of the solver, 13 error of the system
_SOLVER_STATUS = {"optimal": 1, "completed": 1, "infeasible": 1, "iteration_limit": 2, "time_limit": 3, "memory_limit": 3,
                  "numerical_error": 10, "crashed": 10, "unavailable": 13}  # fmt: skip


def to_paver(records: Records) -> str:
    """Return a trace file of all records: one line a solve, with the columns that its head names.

    What tells solves of one solver on one instance apart (seeds, limits, repetitions) follows the instance's name; a bound
    is the ``ObjectiveValueEstimate``. ModelStatus: 1 optimal, 8 feasible, 19 infeasible, 14 no solution, 6 a decision that
    breaks constraints. A claim of optimality that was refuted counts as 8.
    """
    table = records.table
    lines = ["* Trace Record Definition", f"* {','.join(TRACE_COLUMNS)}"]
    parts = [name for name in ("seed", "time_limit", "threads", "repetition") if _varies(table, name)]
    for record in table.to_dict("records"):
        name = "-".join([_instance(record), *(f"{part[0]}{record[part]:g}" for part in parts)])
        cells = (
            name, _plain(record["solver"]), "1" if record["maximise"] else "0", str(_model_status(record)),
            str(_SOLVER_STATUS.get(record["termination"], 13)), _number(record["objective"]) if record["feasible"] else "NA",
            _number(record["bound"]), _number(record["seconds"]),
        )  # fmt: skip
        lines.append(",".join(cells))
    return "\n".join(lines) + "\n"


def to_solu(records: Records) -> str:
    """Return what is known of each instance of each problem: ``=opt=``, or ``=best=`` and ``=bestdual=``, ``=inf=``, ``=unkn=``.

    An optimum is written only where a solver proved it and nothing contradicts it.
    """
    found = contradictions(records.table)
    doubted = set(zip(found["problem"], found["instance"], strict=True))
    lines = []
    for (problem, instance), group in records.table.groupby(["problem", "instance"], sort=False):
        first: Any = group.iloc[0]
        name = _instance(first)
        sure = (problem, instance) not in doubted
        if np.isfinite(first["optimum"]) and sure:
            lines.append(f"=opt= {name} {_number(first['optimum'])}")
        elif np.isfinite(first["best_known"]):
            lines.append(f"=best= {name} {_number(first['best_known'])}")
            if np.isfinite(first["best_bound"]) and sure:
                lines.append(f"=bestdual= {name} {_number(first['best_bound'])}")
        elif sure and (group["termination"] == "infeasible").any():
            lines.append(f"=inf= {name}")
        else:
            lines.append(f"=unkn= {name}")
    return "\n".join(lines) + "\n"


def _model_status(record: dict[Any, Any]) -> int:
    if record["feasible"]:
        return 1 if record["termination"] == "optimal" and not record["refuted"] else 8
    if record["solution_status"] == "infeasible":
        return 6
    return 19 if record["termination"] == "infeasible" and not record["refuted"] else 14


def _varies(table: pd.DataFrame, name: str) -> bool:
    """Whether a solver has records of one instance that differ in this."""
    return bool((table.groupby(["problem", "instance", "solver"])[name].nunique() > 1).any())


def _instance(record: Any) -> str:
    return f"{_plain(record['problem'])}-{_plain(record['instance'])}"


def _plain(text: str) -> str:
    """Text without what separates fields."""
    return re.sub(r"[\s,]+", "_", str(text).strip())


def _number(value: float) -> str:
    return f"{value:.15g}" if np.isfinite(value) else "NA"
