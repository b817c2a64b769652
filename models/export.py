"""Models as files for other solvers."""

from __future__ import annotations

import os
from pathlib import Path
from types import ModuleType

from hisopt.errors import InputError
from hisopt.problem import Problem

SUFFIXES = (".lp", ".mps", ".nl")


def form_of(problem: Problem) -> ModuleType:
    """Return the module of the Pyomo model that states a problem exactly."""
    from hisopt.models import allocation, assignment, full, icc, joint, pairs

    if problem.kind == "clustering":
        return assignment if problem.criterion == "centroid" else pairs
    return {"allocation": allocation, "joint": joint, "full": full, "steps": icc}[problem.kind]


def write(problem: Problem, path: str | Path) -> None:
    """Write a problem's model as LP, MPS or NL by the path's suffix; raise `InputError` where that cannot be.

    LP and MPS files minimise or maximise as the problem does; bilinear and quadratic constraints use the formats'
    quadratic sections.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise InputError(f"{path}: the suffix must be one of {', '.join(SUFFIXES)}")
    try:
        model = form_of(problem).build(problem)
    except ValueError as error:
        raise InputError(str(error)) from None
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        model.write(str(temporary), io_options={"symbolic_solver_labels": path.suffix != ".nl"})
        os.replace(temporary, path)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    finally:
        temporary.unlink(missing_ok=True)
