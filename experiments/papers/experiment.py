"""An experiment: cells that are measured one by one and kept, findings and a figure made of their records."""

from __future__ import annotations

import hashlib
import json
import sys
import time
from abc import ABC, abstractmethod
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any, ClassVar, Self

import pandas as pd

from hisopt.campaign.records import Segment, read
from hisopt.solvers.run.identity import modules_hash

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from matplotlib.figure import Figure

    from hisopt.experiments.papers.verdicts import Finding

_FRAME = tuple(f"hisopt.experiments.papers.{name}" for name in ("experiment", "items", "verdicts"))

Cell = dict[str, Any]
Record = dict[str, Any]


@dataclass(frozen=True)
class Experiment(ABC):
    """What one module of this folder measures; its fields are its configuration.

    A cell is a small piece of work, named by JSON values, of which ``measure`` makes a record of JSON values; the same
    cell gives the same record. ``findings`` and ``figure`` see one row a cell, the cell's values among its columns.
    ``sources`` are the modules that records come from, the experiment's own where it names none.
    """

    name: ClassVar[str]
    quick_fields: ClassVar[dict[str, Any]] = {}
    sources: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def quick(cls) -> Self:
        """Return the configuration that takes seconds."""
        return cls(**cls.quick_fields)

    @abstractmethod
    def cells(self) -> Sequence[Cell]:
        """Return the cells."""

    @abstractmethod
    def measure(self, cell: Cell) -> Record:
        """Measure a cell."""

    @abstractmethod
    def findings(self, rows: pd.DataFrame) -> Iterator[Finding]:
        """Yield the verdict on each item that this experiment judges."""

    def figure(self, rows: pd.DataFrame) -> Figure | None:  # noqa: ARG002
        """Return the figure, where there is one."""
        return None

    def report(self, rows: pd.DataFrame) -> str | None:  # noqa: ARG002
        """Return as Markdown what does not fit a row of the table, where there is more; ``NAME.md`` holds it."""
        return None

    def settings(self) -> dict[str, Any]:
        """Return what a record depends on besides its cell and the source; fields that only list cells need not be here."""
        return {}

    def key(self, cell: Cell) -> str:
        """Return the name of a cell's record: a hash of the cell, the settings and the source that makes the record."""
        source = modules_hash(self.sources or (type(self).__module__,), without=_FRAME)
        parts = [self.name, cell, self.settings(), source]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:24]


def measured(experiment: Experiment, folder: Path, jobs: int = 1) -> pd.DataFrame:
    """Return one row a cell, measuring those whose record is not in the folder yet."""
    cells = {experiment.key(cell): cell for cell in experiment.cells()}
    with Segment(folder) as segment:
        records = {record["key"]: record for record in read([folder]) if record["key"] in cells}
        todo = {key: cell for key, cell in cells.items() if key not in records}
        start, told = time.monotonic(), 0.0
        for done, (key, record) in enumerate(_measure(experiment, todo, jobs), start=1):
            records[key] = record | {"key": key}
            segment.append(records[key])
            spent = time.monotonic() - start
            if spent - told > 10 or done == len(todo):
                told = spent
                print(f"{experiment.name}: {done} of {len(todo)} cells, {spent:.0f} s", file=sys.stderr, flush=True)
    return pd.DataFrame([cell | records[key] for key, cell in cells.items()])


def _measure(experiment: Experiment, todo: dict[str, Cell], jobs: int) -> Iterator[tuple[str, Record]]:
    if jobs == 1 or len(todo) < 2:
        for key, cell in todo.items():
            yield key, experiment.measure(cell)
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        futures = {pool.submit(experiment.measure, cell): key for key, cell in todo.items()}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
