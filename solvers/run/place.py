"""Where a solver's class lives, so that the process that solves can find it; and where in it an error happened."""

from __future__ import annotations

import importlib.util
import pickle
import sys
import traceback
from typing import Any

from hisopt.errors import InputError
from hisopt.solvers.base import Solver

VERBOSE = "HISOPT_VERBOSE"  # the environment variable that lets solvers print

Place = str | tuple[tuple[str, ...], bytes]


def place_of(solver: type[Solver]) -> Place:
    """Return a solver's place: its file or module and name, or the class itself where none leads to it.

    Classes of a script or a notebook, or made in a function, go by value; classes of other modules with the search
    path that found them. Raises `InputError` where a class cannot be sent.
    """
    source = getattr(solver, "_source", None)
    if isinstance(source, str):
        return source
    if solver.__module__.startswith("hisopt."):
        return f"{solver.__module__}:{solver.__qualname__}"
    if importlib.util.find_spec("cloudpickle") is None:
        raise InputError(f"solver {solver.__qualname__}: a class of a script or notebook needs cloudpickle")
    import cloudpickle

    try:
        data = cloudpickle.dumps(solver)
    except Exception as error:
        raise InputError(f"solver {solver.__qualname__}: cannot be sent: {type(error).__name__}: {error}") from None
    return tuple(sys.path), data


def found_at(place: Place) -> Any:
    """Return the class at a place."""
    if isinstance(place, tuple):
        path, data = place
        sys.path += [folder for folder in path if folder not in sys.path]
        return pickle.loads(data)  # from our own parent
    module, _, name = place.rpartition(":")
    if module.endswith((".py", ".safetensors")):
        from hisopt.solvers.registry import load_file

        return load_file(place)
    return getattr(importlib.import_module(module), name)


def line_of(error: BaseException) -> str:
    """Return ' (file, line n)' of the innermost line that is neither Python's nor an installed package's, or ''."""
    if isinstance(error, SyntaxError):
        return ""  # its message says so
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith("<frozen")]
    own = [f for f in frames if "site-packages" not in f.filename and not f.filename.startswith(sys.base_prefix)]
    inner = (own or frames)[-1:]
    return f" ({inner[0].filename}, line {inner[0].lineno})" if inner else ""
