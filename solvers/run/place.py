"""Where a solver's class lives, so that the process that solves can find it; and where in it an error happened."""

from __future__ import annotations

import importlib.util
import inspect
import os
import pickle
import sys
import traceback
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import Any

from hisopt.errors import InputError
from hisopt.problems import PROBLEMS, Problem
from hisopt.result import Guarantee
from hisopt.solvers.base import Solver

VERBOSE = "HISOPT_VERBOSE"  # the environment variable that lets solvers print
_OWN = "_hisopt_user_"  # begins the names of modules loaded from a user's files

# a class's file or module and name, or the class itself with the search path that found it
Place = str | tuple[tuple[str, ...], bytes]


def place_of(solver: type[Solver[Any]]) -> Place:
    """Return the place of a solver's class: its file or module and name, or the class itself where none leads to it.

    Classes of a script or a notebook, or made in a function, go by value; classes of other modules with the search
    path that found them. Raises `InputError` where a class cannot be sent.
    """
    if solver.__module__.startswith("hisopt."):
        return f"{solver.__module__}:{solver.__qualname__}"
    if solver.__module__.startswith(_OWN):
        return f"{sys.modules[solver.__module__].__file__}:{solver.__qualname__}"
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
    return load_class(place) if module.endswith(".py") else getattr(importlib.import_module(module), name)


def load_class(target: str) -> type[Solver[Any]]:
    """Load a solver class from ``path/to/file.py:ClassName``; raise `InputError` if that is not one.

    Modules beside the file can be imported from it, as from a script.
    """
    file, _, name = target.rpartition(":")
    path = Path(file).resolve()
    if not path.is_file():
        raise InputError(f"solver {target!r}: no such file {file!r}")
    module_name = f"{_OWN}{path.stem}_{sha256(str(path).encode()).hexdigest()[:12]}"
    if module_name not in sys.modules:
        spec = importlib.util.spec_from_file_location(module_name, path)
        if spec is None or spec.loader is None:
            raise InputError(f"solver {target!r}: {file!r} is not a Python file")
        _see_beside(path.parent)
        module = importlib.util.module_from_spec(spec)
        sys.modules[module_name] = module
        try:
            spec.loader.exec_module(module)
        except (Exception, SystemExit) as error:
            del sys.modules[module_name]
            if os.environ.get(VERBOSE):
                traceback.print_exc()
            reason = " ".join(f"{type(error).__name__}: {error}{line_of(error)}".split())
            raise InputError(f"solver {target!r}: {file} fails to import: {reason}") from None
    solver = getattr(sys.modules[module_name], name, None)
    if not (inspect.isclass(solver) and issubclass(solver, Solver)):
        raise InputError(f"solver {target!r}: {file} has no class {name!r} derived from hisopt's Solver")
    check_class(target, solver)
    return solver


def check_class(target: str, solver: type[Solver[Any]]) -> None:
    """Raise `InputError` for a solver class that lacks what every solver says of itself."""
    missing = [attribute for attribute in ("name", "problems", "guarantee") if not hasattr(solver, attribute)]
    if missing:
        raise InputError(f"solver {target!r}: the class does not set {', '.join(missing)}")
    if not isinstance(solver.name, str) or not solver.name or ":" in solver.name:
        raise InputError(f"solver {target!r}: name is {solver.name!r}, must be a string without a colon")
    problems = solver.problems
    if not isinstance(problems, Iterable) or not all(inspect.isclass(p) and issubclass(p, Problem) for p in problems):
        known = ", ".join(problem.__name__ for problem in PROBLEMS.values())
        raise InputError(f"solver {target!r}: problems is {problems!r}, must be a tuple of {known}")
    if not isinstance(solver.guarantee, Guarantee):
        raise InputError(f"solver {target!r}: guarantee is {solver.guarantee!r}, must be a Guarantee")


_folders: set[Path] = set()  # of solvers' files loaded so far


def _see_beside(folder: Path) -> None:
    """Let the modules of a folder be imported, and forget those of the same names that stand beside other solvers."""
    for name, module in list(sys.modules.items()):
        place = getattr(module, "__file__", None)
        if place and "." not in name and not name.startswith(_OWN):
            others = {Path(place).parent, Path(place).parent.parent} & (_folders - {folder})
            if others and ((folder / f"{name}.py").is_file() or (folder / name).is_dir()):
                for part in [n for n in sys.modules if n == name or n.startswith(f"{name}.")]:
                    del sys.modules[part]
    _folders.add(folder)
    if str(folder) in sys.path:
        sys.path.remove(str(folder))
    sys.path.insert(0, str(folder))


def line_of(error: BaseException) -> str:
    """Return ' (file, line n)' of the innermost line that is neither Python's nor an installed package's, or ''."""
    if isinstance(error, SyntaxError):
        return ""  # its message says so
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith("<frozen")]
    own = [f for f in frames if "site-packages" not in f.filename and not f.filename.startswith(sys.base_prefix)]
    inner = (own or frames)[-1:]
    return f" ({inner[0].filename}, line {inner[0].lineno})" if inner else ""
