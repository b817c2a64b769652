"""Runs kept as JSON files, one each, so that a campaign killed at any moment resumes without loss or repetition."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hisopt.errors import InputError
from hisopt.files import write_atomically
from hisopt.solvers.run.identity import record_name, source_hash
from hisopt.solvers.run.runner import Run, Runner

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from hisopt.problems import Problem
    from hisopt.solvers.base import Solver

__all__ = ["Store", "record_name", "source_hash"]

_FIELDS = frozenset(field for field in Run.__dataclass_fields__ if field != "lost")


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
