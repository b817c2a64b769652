"""Records made ready for a report: absent fields filled, gaps and proven optima added."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from hisopt.analysis import reference, relative_gaps
from hisopt.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

_NEEDED = ("problem", "maximise", "instance", "solver", "seed", "feasible", "termination", "objective", "seconds")
_ABSENT: dict[str, Any] = {  # what a record that does not say it counts as
    "key": "", "source": "", "preset": False, "instance_seed": 0, "users": 0, "clusters": 0, "swept": {},
    "repetition": 0, "solution_status": "", "guarantee": "", "bound": None, "gap": None, "peak_memory": None,
    "message": "", "violations": [], "details": {}, "decision": None, "versions": {}, "refuted": [], "trajectory": [],
    "time_limit": None, "memory_limit": None, "threads": 1, "shared": False, "jobs": None, "engine": "local",
    "machine": "",
}  # fmt: skip
_TIES = 1e-6  # relative: an objective as good as the best known


@dataclass(frozen=True)
class Records:
    """A campaign's records, one row a solve, and the order in which its solvers are shown.

    Attributes
    ----------
    table
        Records with every column, and besides: ``best_known`` objective on the instance, ``to_best`` the relative gap to
        it, ``best_bound`` the tightest bound that was proven, ``optimum`` the objective of a proven optimum (NaN:
        none), ``best`` whether the gap is at most 1e-6, ``swept_text`` the swept fields other than users and clusters.
    solvers
        Exact ones first, then bounds, heuristics and learned ones, by name.
    """

    table: pd.DataFrame
    solvers: tuple[str, ...]

    @property
    def problems(self) -> tuple[str, ...]:
        """Labels of the problems, in the order of their first record."""
        return tuple(dict.fromkeys(self.table["problem"]))

    def of(self, problem: str) -> Records:
        """Return the records of one problem."""
        table = self.table[self.table["problem"] == problem]
        present = set(table["solver"])
        return Records(table, tuple(name for name in self.solvers if name in present))


def prepared(records: Sequence[dict[str, Any]], where: str) -> Records:
    """Return records ready for a report; ``where`` names them in errors.

    Raises `InputError` where there is no record, or one lacks what no report can do without or holds another type.
    """
    if not records:
        raise InputError(f"{where}: no records")
    for number, record in enumerate(records):
        place = f"{where}: record {number + 1}"
        for name in _NEEDED:
            if name not in record:
                raise InputError(f"{place}: {name}: missing")
        for name, kinds in _TYPES.items():
            value = record.get(name, _ABSENT.get(name))
            if value is not None and (not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds)):
                raise InputError(f"{place}: {name}: is {value!r:.40}, of the wrong type")
        if not all(_is_point(point) for point in record.get("trajectory") or ()):
            raise InputError(f"{place}: trajectory: must be a list of [seconds, objective or null, bound or null]")
        limit = record.get("time_limit")
        if limit is not None and not 0 < limit < np.inf:
            raise InputError(f"{place}: time_limit: is {limit!r}, must be a positive number")
    table = pd.DataFrame.from_records([_ABSENT | {k: v for k, v in r.items() if v is not None} for r in records],
                                      columns=[*dict.fromkeys((*_NEEDED, *_ABSENT))])  # fmt: skip
    for name in ("objective", "bound", "gap", "seconds", "peak_memory", "time_limit"):
        table[name] = pd.to_numeric(table[name], errors="coerce").astype(float).replace([np.inf, -np.inf], np.nan)
    table["feasible"] = table["feasible"].astype(bool)
    table["seconds"] = table["seconds"].clip(lower=0)
    table["time_limit"] = table["time_limit"].fillna(table["seconds"].max() if table["seconds"].notna().any() else 1.0)
    table["best_known"] = reference(table)
    table["to_best"] = relative_gaps(table)
    table["best"] = table["to_best"] <= _TIES
    table["best_bound"] = _best_bound(table)
    optimum = table["objective"].where(table["feasible"] & (table["termination"] == "optimal"))
    table["optimum"] = optimum.groupby([table["instance"], table["problem"]]).transform("first")
    table["swept_text"] = table["swept"].map(
        lambda fields: ", ".join(f"{k} = {_said(v)}" for k, v in fields.items() if k not in ("users", "clusters"))
    )
    first = table.drop_duplicates("solver").set_index("solver")["guarantee"]
    rank = {"exact": 0, "bound": 1, "heuristic": 2, "learned": 3}
    return Records(table, tuple(sorted(first.index, key=lambda name: (rank.get(str(first[name]), 4), name))))


def _is_point(point: object) -> bool:
    return isinstance(point, list) and len(point) == 3 and isinstance(point[0], _NUMBER) and all(
        value is None or isinstance(value, _NUMBER) for value in point[1:]
    )  # fmt: skip


_NUMBER = (int, float)
_TYPES: dict[str, tuple[type, ...]] = {
    "problem": (str,), "instance": (str,), "solver": (str,), "termination": (str,), "maximise": (bool,),
    "feasible": (bool,), "objective": _NUMBER, "seconds": _NUMBER, "bound": _NUMBER, "seed": (int,),
    "time_limit": _NUMBER, "users": (int,), "clusters": (int,), "refuted": (list,), "trajectory": (list,),
    "swept": (dict,), "versions": (dict,), "details": (dict,), "violations": (list,),
}  # fmt: skip


def _said(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value) if isinstance(value, int) else json.dumps(value)


def _best_bound(table: pd.DataFrame) -> pd.Series[float]:
    """The tightest bound on each record's instance and problem, but none that a feasible objective passes."""
    sign: Any = np.where(table["maximise"], 1.0, -1.0)
    groups = [table["instance"], table["problem"]]
    tightest: Any = (table["bound"] * sign).groupby(groups).transform("min")
    return pd.Series(np.maximum(tightest, table["best_known"] * sign) * sign, index=table.index).where(tightest.notna())


def timing_note(table: pd.DataFrame) -> str:
    """Return the word that timings need: shared or exclusive, on one machine or several; empty for one quiet machine."""
    shared, count, machines = int(table["shared"].astype(bool).sum()), len(table), table["machine"].nunique()
    note = ""
    if 0 < shared < count:
        note = f"{shared:,} of {count:,} solves shared their machine with others, {count - shared:,} had it alone."
        note += " Seconds of both kinds stand in one statistic here: compare with care."
    elif shared:
        note = "Timed while other solves ran on the machine."
    if machines > 1:
        note = f"{note} Seconds come from {machines} machines.".strip()
    return note
