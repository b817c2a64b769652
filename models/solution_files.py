"""Solution files of HiGHS, SCIP, Gurobi and CBC, by the names of variables."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from hisopt.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Lines = list[tuple[int, str]]

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_CBC = re.compile(r"^[A-Z].* - objective value\s+(\S+)$")


@dataclass(frozen=True)
class Solution:
    """What a file says: whose it is, the values it lists (those left out are zero), the objective, and the status.

    ``objective`` and ``status`` are None and "" where the file has none; ``lines`` has the line of each value.
    """

    program: str
    values: dict[str, float]
    objective: float | None = None
    status: str = ""
    lines: dict[str, int] = field(default_factory=dict, repr=False)


def read(path: str | Path) -> Solution:
    """Read a solution file, whose form is told by its first lines; raise `InputError` for what is none of the four."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: not a UTF-8 text file") from None
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    if not lines:
        raise InputError(f"{path}: is empty")
    first = lines[0][1]
    reader: Callable[[Path, Lines], Solution]
    if first in ("Model status", "Primal solution values"):
        reader = _highs
    elif first.startswith(("solution status:", "objective value:")):
        reader = _scip
    elif first.startswith("#"):
        reader = _gurobi
    elif _CBC.match(first) or first in ("Infeasible", "Unbounded"):
        reader = _cbc
    else:
        raise InputError(
            f"{path}: line 1: is {first[:40]!r}, which no solution file of HiGHS, SCIP, Gurobi or CBC begins with"
        )
    found = reader(path, lines)
    if not found.values:
        raise InputError(f"{path}: holds no solution" + (f": {found.status}" if found.status else ""))
    return found


def _highs(path: Path, lines: Lines) -> Solution:
    """The raw style: a section of columns whose length its heading says, before those of rows and dual values."""
    words = [line for _, line in lines]
    status = words[1] if words[0] == "Model status" and len(words) > 1 else ""
    try:
        start = words.index("# Primal solution values")
    except ValueError:
        start = -1 if words[0] != "Primal solution values" else 0
    if start < 0 or words[start + 1 : start + 2] == ["None"]:
        return Solution("HiGHS", {}, None, status)
    objective = None
    for place in range(start + 1, len(lines)):
        number, line = lines[place]
        if line.startswith("Objective "):
            objective = _number(path, number, line.split()[1])
        elif line.startswith("# Columns "):
            count = int(_number(path, number, line.split()[2]))
            listed = lines[place + 1 : place + 1 + count]
            if len(listed) < count or any(line.startswith("#") for _, line in listed):
                raise InputError(f"{path}: line {number}: fewer columns follow than the {count} it says")
            return _filled("HiGHS", path, _pairs(path, listed, 0, 1), objective, status)
    return Solution("HiGHS", {}, objective, status)


def _scip(path: Path, lines: Lines) -> Solution:
    objective, status, listed = None, "", []
    for number, line in lines:
        if line.startswith("solution status:"):
            status = line.partition(":")[2].strip()
        elif line.startswith("objective value:"):
            objective = _number(path, number, line.partition(":")[2].strip())
        elif line != "no solution available":
            listed.append((number, line))
    return _filled("SCIP", path, _pairs(path, listed, 0, 1), objective, status)


def _gurobi(path: Path, lines: Lines) -> Solution:
    objective, listed = None, []
    for number, line in lines:
        if not line.startswith("#"):
            listed.append((number, line))
        elif found := re.match(r"#\s*Objective value\s*=\s*(\S+)$", line):
            objective = _number(path, number, found[1])
    return _filled("Gurobi", path, _pairs(path, listed, 0, 1), objective, "")


def _cbc(path: Path, lines: Lines) -> Solution:
    number, first = lines[0]
    found = _CBC.match(first)
    objective = _number(path, number, found[1]) if found else None
    listed = [(at, line.removeprefix("**").strip()) for at, line in lines[1:]]  # ** marks what breaks a bound
    return _filled("CBC", path, _pairs(path, listed, 1, 2), objective, first.split(" - ")[0])


def _pairs(path: Path, lines: Lines, name: int, value: int) -> Iterator[tuple[int, str, float]]:
    for number, line in lines:
        words = line.split()
        if len(words) <= value:
            raise InputError(f"{path}: line {number}: is {line[:40]!r}, must be a name and a value")
        yield number, words[name], _number(path, number, words[value])


def _filled(
    program: str, path: Path, pairs: Iterator[tuple[int, str, float]], objective: float | None, status: str
) -> Solution:
    values: dict[str, float] = {}
    places: dict[str, int] = {}
    for number, name, value in pairs:
        if name in values:
            raise InputError(f"{path}: line {number}: {name}: stands in line {places[name]}, too")
        values[name], places[name] = value, number
    return Solution(program, values, objective, status, places)


def _number(path: Path, line: int, text: str) -> float:
    value = float(text) if re.fullmatch(_NUMBER, text) else math.nan
    if not math.isfinite(value):
        raise InputError(f"{path}: line {line}: is {text[:40]!r}, must be a finite number")
    return value
