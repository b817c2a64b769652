"""Models as files for other solvers."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hisopt.errors import InputError
from hisopt.files import write_atomically
from hisopt.problems import Allocation, Clustering, Full, Joint, Meg, Problem, Steps, SumOfSquares

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import ModuleType

SUFFIXES = (".lp", ".mps", ".nl")
MAP = ".map.json"  # what follows a model's file name in that of its map
MAP_VERSION = 1


def form_of(problem: Problem) -> ModuleType:
    """Return the module of the Pyomo model that states a problem exactly."""
    from hisopt.models import full, meg, steps
    from hisopt.models.allocation import natural as allocation
    from hisopt.models.clustering import assignment, pairs, squares
    from hisopt.models.joint import natural as joint

    if isinstance(problem, Clustering):
        return assignment if problem.criterion == "centroid" else pairs
    forms: dict[type[Problem], ModuleType] = {
        SumOfSquares: squares, Allocation: allocation, Joint: joint, Full: full, Steps: steps, Meg: meg,
    }  # fmt: skip
    return forms[type(problem)]


def write(problem: Problem, path: str | Path) -> None:
    """Write a problem's model as LP, MPS or NL by the path's suffix; raise `InputError` where that cannot be.

    LP and MPS files minimise or maximise as the problem does; bilinear and quadratic constraints use the formats'
    quadratic sections. NL knows no names: those of rows and columns go to files with the suffixes ``.row`` and
    ``.col`` beside it, where solvers of the AMPL interface look for them. ``PATH.map.json`` beside it leads from the
    names in the file back to the decision (`hisopt.models.readback`).
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise InputError(f"{path}: the suffix must be one of {', '.join(SUFFIXES)}")
    try:
        model = form_of(problem).build(problem)
    except ValueError as error:
        raise InputError(str(error)) from None
    if not any(True for _ in model.component_data_objects(ctype=_variable())):
        raise InputError(f"{path}: {problem.label} has nothing to decide here: no cluster has work on the server")
    with tempfile.TemporaryDirectory(prefix="hisopt-") as folder:
        draft = Path(folder) / f"model{path.suffix}"
        try:
            _, symbols = model.write(str(draft), io_options={"symbolic_solver_labels": True})
        except (ValueError, RuntimeError) as error:
            reason = str(error).strip().splitlines()[0]
            raise InputError(f"{path}: {problem.label} cannot be written as {path.suffix[1:]}: {reason}") from None
        if path.suffix == ".nl":
            for suffix in (".row", ".col"):
                write_atomically(path.with_suffix(suffix), draft.with_suffix(suffix).read_text())
        named = {} if path.suffix == ".nl" else model.solutions.symbol_map[symbols].bySymbol
        write_atomically(f"{path}{MAP}", _map(problem, model, named))
        write_atomically(path, _REPAIR[path.suffix](draft.read_text()))


def _map(problem: Problem, model: Any, symbols: Mapping[str, Any]) -> str:
    """Return the map from the names in a file to the model's variables, as JSON."""
    known = {id(v): v.name for v in model.component_data_objects(_variable())}
    names = {symbol: known[id(part)] for symbol, part in symbols.items() if id(part) in known}
    if not symbols:  # beside NL files the model's own names stand
        names = {name: name for name in known.values()}
    document = {
        "schema_version": MAP_VERSION,
        "problem": problem.record(),
        "hash": problem.content_hash,
        "decision": form_of(problem).DECISION,
        "variables": names,
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _variable() -> type:
    from pyomo.environ import Var

    return Var  # type: ignore[no-any-return]


def _repaired_lp(text: str) -> str:
    """Write squares as ``x^2``: SCIP takes the blank in Pyomo's ``x ^ 2`` for the end of the term."""
    return re.sub(r" \^ 2$", "^2", text, flags=re.MULTILINE)


def _repaired_mps(text: str) -> str:
    """Declare the columns that stand in quadratic terms alone, which Pyomo leaves out of COLUMNS.

    They get a zero in the objective's row; readers that meet an undeclared name refuse the file.
    """
    lines = text.splitlines()
    start, end = lines.index("COLUMNS"), lines.index("RHS")
    declared = {line.split()[0] for line in lines[start + 1 : end]}
    objective = next(line.split()[1] for line in lines if line.startswith(" N "))
    quadratic, within = [], False
    for line in lines[end:]:
        if not line.startswith(" "):
            within = line.startswith(("QCMATRIX", "QUADOBJ", "QMATRIX"))
        elif within:
            quadratic += line.split()[:2]
    missing = [name for name in dict.fromkeys(quadratic) if name not in declared]
    lines[end:end] = [f"     {name} {objective} 0" for name in missing]
    return "\n".join(lines) + "\n"


def _unchanged(text: str) -> str:
    return text


_REPAIR: dict[str, Callable[[str], str]] = {".lp": _repaired_lp, ".mps": _repaired_mps, ".nl": _unchanged}
