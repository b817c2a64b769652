"""Runs kept as JSON files, one each, so that a campaign killed at any moment resumes without loss or repetition."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hisopt.errors import InputError
from hisopt.files import write_atomically
from hisopt.problems import Problem
from hisopt.result import Limits
from hisopt.solvers.base import Solver
from hisopt.solvers.run.runner import Run, Runner, versions

_FIELDS = frozenset(field for field in Run.__dataclass_fields__ if field != "lost")


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
    ahead, seen = [base.__module__ for base in type(solver).__mro__ if issubclass(base, Solver)], set()
    while ahead:
        name = ahead.pop()
        if name in seen:
            continue
        seen.add(name)
        if (found := _source(name)) is not None:
            ahead += found[1]
    for name in sorted(seen):
        if (found := _source(name)) is not None:
            digest.update(f"{name} {found[0]}\n".encode())
    return digest.hexdigest()


def _source(name: str) -> tuple[str, tuple[str, ...]] | None:
    """Return the hash of a module's file and the modules of hisopt it imports; None if it is no module of Python source."""
    try:
        loaded = sys.modules.get(name)
        file = getattr(loaded, "__file__", None) if loaded else getattr(find_spec(name), "origin", None)
    except (ImportError, ValueError):  # a name imported from a module, not a module
        return None
    return _read_source(name, str(file), os.stat(file).st_mtime_ns) if file and str(file).endswith(".py") else None


@cache
def _read_source(name: str, file: str, changed: int) -> tuple[str, tuple[str, ...]]:
    text = Path(file).read_bytes()
    names: list[str] = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return hashlib.sha256(text).hexdigest(), tuple(name for name in names if name.startswith("hisopt."))


@dataclass(frozen=True)
class Store:
    """A folder of records; None keeps nothing."""

    folder: Path | None

    def __post_init__(self) -> None:
        if self.folder is not None:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise InputError(f"{self.folder}: {error.strerror}") from None

    def read(self, name: str) -> dict[str, Any] | None:
        """Return a record, or None if there is none; a file that is no record counts as none, and a line says so."""
        if self.folder is None:
            return None
        path = self.folder / f"{name}.json"
        try:
            record = json.loads(path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError) as error:
            reason = getattr(error, "strerror", None) or "is no JSON"
        else:
            if isinstance(record, dict):
                return record
            reason = "is no record"
        print(f"{path}: {reason}; passed over", file=sys.stderr)
        return None

    def read_run(self, name: str) -> dict[str, Any] | None:
        """Return the record of a run like `read`; one that lacks a field of `Run.to_dict` counts as none, too."""
        record = self.read(name)
        if record is None or record.keys() >= _FIELDS:
            return record
        lacking = sorted(_FIELDS - record.keys())[0]
        print(f"{self.folder}/{name}.json: has no {lacking}; passed over", file=sys.stderr)
        return None

    def write(self, name: str, record: dict[str, Any]) -> None:
        """Keep a record."""
        if self.folder is not None:
            write_atomically(self.folder / f"{name}.json", json.dumps(record, allow_nan=False) + "\n")

    def run_all(self, runner: Runner, tasks: Iterable[tuple[Problem, Solver[Any]]]) -> Iterator[dict[str, Any]]:
        """Yield the record of every task in order, solving those that are not kept yet.

        A run that the runner itself lost says nothing of its solver: it is yielded, with a line on standard error, but not
        kept, so that it is tried again.
        """
        tasks = list(tasks)
        names = [record_name(problem, solver, runner.limits) for problem, solver in tasks]
        known = {name: record for name in names if (record := self.read_run(name)) is not None}
        open_tasks = [task for name, task in zip(names, tasks, strict=True) if name not in known]
        fresh = runner.run_all(open_tasks)
        for name, (problem, _) in zip(names, tasks, strict=True):
            if name in known:
                yield known[name]
                continue
            run = next(fresh)
            record = run.to_dict() | {"instance": problem.content_hash}
            if run.lost:
                print(f"{problem.label}: {run.solver.label}: not kept, {run.message}", file=sys.stderr)
            else:
                self.write(name, record)
            yield record
