"""Decisions that others made: JSON of a decision, of a record, or a solution file of an exported model."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from hisopt.decision import REAL, Decision
from hisopt.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from hisopt.problems import Problem

_FIELDS = tuple(f.name for f in fields(Decision))
_NEEDED = {
    "clustering": {"clusters"}, "allocation": {"sms"}, "joint": {"steps_common", "steps_edge", "sms"},
    "full": {"clusters", "steps_common", "steps_edge", "sms"}, "steps": {"steps_common", "steps_edge"}, "meg": {"policy"},
}  # fmt: skip


@dataclass(frozen=True)
class Given:
    """A decision from elsewhere, what its file claims of it, and what is wrong with the file's own numbers.

    ``problem`` is what the file says of the problem (see `hisopt.Problem.record`), or {}.
    """

    decision: Decision
    program: str = ""
    claimed: float | None = None
    bound: float | None = None
    faults: tuple[str, ...] = ()


def is_json(path: Path) -> bool:
    """Whether a file begins as a JSON object does."""
    try:
        with open(path, encoding="utf-8-sig") as file:
            return file.read(200).lstrip().startswith("{")
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: not a UTF-8 text file") from None


def document_of(path: Path) -> dict[str, Any]:
    """Return a file's JSON object, one of a decision's fields or with the key 'decision'; else raise `InputError`."""
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON: {error}") from None
    if "runs" in found:
        raise InputError(f"{path}: holds the runs of a whole comparison; give one of them, or its decision")
    inner = found.get("decision", found)
    if not isinstance(inner, dict):
        raise InputError(f"{path}: decision: is {json.dumps(inner)[:40]}, must be an object with {', '.join(_FIELDS)}")
    unknown = [name for name in inner if name not in _FIELDS]
    if unknown:
        raise InputError(f"{path}: {unknown[0]}: unknown field; a decision has {', '.join(_FIELDS)}")
    if not inner:
        raise InputError(f"{path}: is empty; a decision has {', '.join(_FIELDS)}")
    return found if "decision" in found else {"decision": inner}


def decision_in(document: dict[str, Any], path: Path, total: int | None) -> Decision:
    """Return the decision in a document; device steps that are left out are what is left of ``total``, (28f)."""
    values: dict[str, Any] = {}
    for name, value in document["decision"].items():
        if value is None:
            continue
        try:
            array = np.asarray(value)
        except ValueError:  # rows of several lengths
            array = np.asarray(None)
        if not isinstance(value, list) or array.dtype.kind not in ("iuf" if name in REAL else "iu"):
            kind = "numbers" if name in REAL else "whole numbers"
            raise InputError(f"{path}: {name}: must be a list of {kind}")
        values[name] = array
    if total is not None and "steps_device" not in values and {"steps_common", "steps_edge"} <= values.keys():
        common, steps_edge = values["steps_common"], values["steps_edge"]
        if common.shape == steps_edge.shape:
            values["steps_device"] = total - common - steps_edge
    return Decision(**values)


def problem_for(problems: Sequence[Problem], document: dict[str, Any], path: Path, *, chosen: bool) -> Problem:
    """Return the one problem that a decision is for; raise `InputError` where that is not clear.

    A file may name its problem, as records do. Else it is the one that decides most of the fields that are there.
    """
    named = {name: document[name] for name in ("problem", "criterion", "integer_sms") if name in document}
    if named and not chosen:
        fits = [
            p for p in problems
            if p.label == named.get("problem") or all(p.record()[name] == value for name, value in named.items())
        ]  # fmt: skip
        if not fits:
            raise InputError(f"{path}: is for {named}, which is no problem on this instance")
    else:
        there = {name for name, value in document["decision"].items() if value is not None}
        fits = [p for p in problems if _NEEDED[p.kind] <= there] or (list(problems) if chosen else [])
        if not fits:
            raise InputError(
                f"{path}: has {', '.join(sorted(there))}, which no problem on this instance decides; see --problem"
            )
        most = max(len(_NEEDED[p.kind]) for p in fits)
        fits = [p for p in fits if len(_NEEDED[p.kind]) == most]
    if len(fits) > 1:
        raise InputError(
            f"{path}: may be for {'; '.join(p.label for p in fits)}; choose with --problem, --criterion, --sms"
        )
    return fits[0]


def number_in(document: dict[str, Any], name: str, path: Path) -> float | None:
    """Return a number that a document claims, or None; raise `InputError` where it is none."""
    value = document.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not np.isfinite(value):
        raise InputError(f"{path}: {name}: is {value!r}, must be a finite number")
    return float(value)
