"""One's own table of errors: a CSV with the columns n, beta and mse, a line each (n, beta)."""

from __future__ import annotations

import csv
import io
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from hisopt.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

_COLUMNS = ("n", "beta", "mse")


def read_errors(path: Path) -> dict[str, Any]:
    """Return ``steps``, ``ratios`` and ``distortion`` of `hisopt.MegInstance` from a CSV.

    Raises `InputError` with the file and the line, or the (n, beta) that is missing or there twice.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: not a UTF-8 text file") from None
    lines = csv.DictReader(io.StringIO(text, newline=""))
    header = [name.strip() for name in lines.fieldnames or ()]
    lines.fieldnames = header
    if missing := [name for name in _COLUMNS if name not in header]:
        raise InputError(f"{path}: column {missing[0]!r} is missing; there are {', '.join(header) or 'none'}")
    found: dict[tuple[float, float], float] = {}
    for line in lines:
        n, beta, value = (_number(path, lines.line_num, name, line[name]) for name in _COLUMNS)
        if (n, beta) in found:
            raise InputError(f"{path}: line {lines.line_num}: n = {n:g}, beta = {beta:g} is there twice")
        found[n, beta] = value
    steps, ratios = sorted({n for n, _ in found}), sorted({beta for _, beta in found})
    for n in steps:
        for beta in ratios:
            if (n, beta) not in found:
                raise InputError(f"{path}: n = {n:g}, beta = {beta:g} is missing")
    if not found:
        raise InputError(f"{path}: holds no line")
    table = np.array([[found[n, beta] for beta in ratios] for n in steps])
    return {"steps": steps, "ratios": ratios, "distortion": table}


def _number(path: Path, line: int, name: str, text: str | None) -> float:
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"{path}: line {line}: {name} is {text!r}, must be a number")
    return value
