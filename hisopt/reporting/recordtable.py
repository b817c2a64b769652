"""All records as columns for the page's table: words once, numbers as they are."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pandas as pd

from hisopt.reporting.reruns import campaign_of
from hisopt.reporting.summary import percent, seconds

if TYPE_CHECKING:
    from hisopt.reporting.records import Records

_FIRST = 25  # rows that are there without a script, and on paper


def columns_of(records: Records) -> list[dict[str, Any]]:
    """Return the table's columns: name, head, kind (word, whole, number, gap, seconds), shown, and values.

    A column of words has ``words``, each once, and ``index`` into them.
    """
    table = records.table
    checked = table["solution_status"].where(table["solution_status"] != "", table["feasible"].map(_CHECKED))
    checked = checked.map(lambda status: {"feasible": "yes", "infeasible": "infeasible"}.get(status, "–"))
    checked = checked.where(table["refuted"].map(len) == 0, "refuted")
    varied = bool((table["swept_text"] != "").any())
    columns = [
        _words("problem", "Problem", table["problem"], table["problem"].nunique() > 1),
        _words("solver", "Solver", table["solver"]),
        _numbers("users", "N", "whole", table["users"]), _numbers("clusters", "M", "whole", table["clusters"]),
        _words("swept", "Fields", table["swept_text"], varied),
        _numbers("seed", "Seed", "whole", table["seed"]),
        _words("termination", "Ended", table["termination"].str.replace("_", " ")),
        _numbers("objective", "Objective", "number", table["objective"]),
        _numbers("bound", "Own bound", "number", table["bound"]),
        _numbers("gap_to_best_known", "Gap to best known", "gap", table["to_best"]),
        _numbers("seconds", "Seconds", "seconds", table["seconds"]),
        _words("checked", "Checked", checked),
        _numbers("instance_seed", "Seed of the instance", "whole", table["instance_seed"], False),
        _words("source", "Source", table["source"], False), _words("instance", "Instance", table["instance"], False),
        _numbers("best_known", "Best known objective", "number", table["best_known"], False),
        _numbers("best_bound", "Best bound", "number", table["best_bound"], False),
        _numbers("time_limit", "Time limit", "number", table["time_limit"], False),
        _words("shared", "Machine shared", table["shared"].astype(bool).map({True: "yes", False: "no"}), False),
        _words("machine", "Machine", table["machine"], False),
        _words("versions", "Versions", table["versions"].map(_pairs), False),
        _words("message", "Message", table["message"].astype(str), False),
        _words("violations", "Violations", table["violations"].map(_joined), False),
        _words("refuted", "Refuted", table["refuted"].map(_joined), False),
        _words("key", "Record", table["key"], False), _words("campaign", "Campaign", _campaigns(table), False),
    ]  # fmt: skip
    return columns


_CHECKED = {True: "feasible", False: "none"}


def _pairs(found: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in found.items())


def _joined(lines: list[str]) -> str:
    return "; ".join(str(line) for line in lines)


def _campaigns(table: pd.DataFrame) -> pd.Series[str]:
    names = ["source", "preset", "problem", "swept", "time_limit", "memory_limit", "threads", "repetition"]
    found: list[Any] = table[names].to_dict("records")
    return pd.Series([campaign_of(record) for record in found], index=table.index, dtype=str)


def _words(name: str, head: str, values: pd.Series[Any], shown: bool = True) -> dict[str, Any]:
    codes, words = values.astype(str).factorize()
    return {
        "name": name,
        "head": head,
        "kind": "word",
        "shown": bool(shown),
        "words": list(words),
        "index": codes.tolist(),
    }


def _numbers(name: str, head: str, kind: str, values: pd.Series[Any], shown: bool = True) -> dict[str, Any]:
    plain = values.astype(float).to_numpy()
    kept = [None if not math.isfinite(v) else int(v) if kind == "whole" else float(f"{v:.10g}") for v in plain]
    return {"name": name, "head": head, "kind": kind, "shown": shown, "values": kept}


def first_rows(columns: list[dict[str, Any]]) -> list[list[str]]:
    """Return the text of the first rows, as the page's script writes them."""
    shown = [column for column in columns if column["shown"]]
    count = len(columns[0]["index"])
    return [[_cell(column, i) for column in shown] for i in range(min(count, _FIRST))]


def _cell(column: dict[str, Any], row: int) -> str:
    if column["kind"] == "word":
        return str(column["words"][column["index"][row]])
    value = column["values"][row]
    if value is None:
        return "–"
    if column["kind"] in ("gap", "seconds"):
        return percent(value) if column["kind"] == "gap" else seconds(value)
    return f"{value:d}" if column["kind"] == "whole" else f"{value:.8g}"
