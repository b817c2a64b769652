"""Which solve a record is of: a hash of everything that its outcome depends on."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hisopt.solvers.base import Solver
from hisopt.solvers.run.checks import versions

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hisopt.problems import Problem
    from hisopt.result import Limits


def record_name(problem: Problem, solver: Solver[Any], limits: Limits) -> str:
    """Return the name of a run: a hash of instance, problem, solver and its source, options, limits, seed and versions."""
    parts = [
        problem.content_hash, problem.record(), solver.name, source_hash(solver), solver.options, vars(limits),
        versions(solver),
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:24]


def source_hash(solver: Solver[Any]) -> str:
    """Return a hash of a solver's source and of every module of hisopt that it imports, directly or not.

    A policy given as a file counts, too. Modules that a user's own solver imports from elsewhere do not.
    """
    digest = hashlib.sha256()
    if policy := getattr(solver, "policy", ""):
        digest.update(Path(policy).read_bytes())
    digest.update(modules_hash(base.__module__ for base in type(solver).__mro__ if issubclass(base, Solver)).encode())
    return digest.hexdigest()


def modules_hash(names: Iterable[str], without: Iterable[str] = ()) -> str:
    """Return a hash of some modules' source and of every module of hisopt that they import, directly or not.

    ``without`` names modules that are passed over, and with them what they alone import. The hash of our own modules is
    taken once: what a process has imported stays what it was.
    """
    found, passed = tuple(names), frozenset(without)
    ours = all(name.startswith("hisopt.") for name in found)
    return _hash_of_ours(found, passed) if ours else _hash(found, passed)


def _hash(names: tuple[str, ...], passed: frozenset[str]) -> str:
    digest = hashlib.sha256()
    ahead: list[str] = list(names)
    seen: set[str] = set()
    while ahead:
        name = ahead.pop()
        if name in seen or name in passed:
            continue
        seen.add(name)
        if (found := _source(name)) is not None:
            ahead += found[1]
    for name in sorted(seen):
        if (found := _source(name)) is not None:
            digest.update(f"{name} {found[0]}\n".encode())
    return digest.hexdigest()


_hash_of_ours = cache(_hash)


def _source(name: str) -> tuple[str, tuple[str, ...]] | None:
    """Return the hash of a module's file and the modules of hisopt it imports; None if it is no module of Python source."""
    file = _file_of_ours(name) if name.startswith("hisopt.") else _file_of(name)
    return _read_source(file, os.stat(file).st_mtime_ns) if file is not None else None


def _file_of(name: str) -> str | None:
    try:
        loaded = sys.modules.get(name)
        file = getattr(loaded, "__file__", None) if loaded else getattr(find_spec(name), "origin", None)
    except (ImportError, ValueError):  # a name imported from a module, not a module
        return None
    return str(file) if str(file).endswith(".py") else None


# our modules stay where they are; a user's of one name may stand beside several solvers
_file_of_ours = cache(_file_of)


@cache
def _read_source(file: str, _changed: int) -> tuple[str, tuple[str, ...]]:
    text = Path(file).read_bytes()
    names: list[str] = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return hashlib.sha256(text).hexdigest(), tuple(name for name in names if name.startswith("hisopt."))
