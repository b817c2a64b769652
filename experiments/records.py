"""Runs kept as JSON files, one each, so that a campaign killed at any moment resumes without loss or repetition."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hisopt.errors import InputError
from hisopt.files import write_atomically
from hisopt.problem import Problem
from hisopt.result import Limits
from hisopt.solvers.interface import Solver
from hisopt.solvers.runner import Runner, versions


def record_name(problem: Problem, solver: type[Solver], limits: Limits) -> str:
    """Return the name of a run: a hash of instance, problem, solver, options, limits, seed and versions."""
    parts = [
        problem.instance.content_hash, problem.kind, problem.criterion, problem.integer_sms,
        solver.name, repr(solver()), vars(limits), versions(solver),
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:24]


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
        """Return a record, or None if there is none; a file that is no record counts as none."""
        if self.folder is None:
            return None
        try:
            record = json.loads((self.folder / f"{name}.json").read_text())
        except (OSError, json.JSONDecodeError):
            return None
        return record if isinstance(record, dict) else None

    def write(self, name: str, record: dict[str, Any]) -> None:
        """Keep a record."""
        if self.folder is not None:
            write_atomically(self.folder / f"{name}.json", json.dumps(record, allow_nan=False) + "\n")

    def run_all(self, runner: Runner, tasks: Iterable[tuple[Problem, type[Solver]]]) -> Iterator[dict[str, Any]]:
        """Yield the record of every task in order, solving those that are not kept yet."""
        tasks = list(tasks)
        names = [record_name(problem, solver, runner.limits) for problem, solver in tasks]
        known = {name: record for name in names if (record := self.read(name)) is not None}
        open_tasks = [task for name, task in zip(names, tasks, strict=True) if name not in known]
        fresh = runner.run_all(open_tasks)
        for name, (problem, _) in zip(names, tasks, strict=True):
            if name in known:
                yield known[name]
                continue
            record = next(fresh).to_dict() | {"instance": problem.instance.content_hash}
            self.write(name, record)
            yield record
