"""``python -m hisopt.experiments.benchmarks.sum_of_squares``: proofs of optimal sums of squares on standard data sets.

Ruspini's points ship with hisopt; iris and wine come from scikit-learn; the others (``ecoli.csv``, ``glass.csv``,
``seeds.csv``, ``wdbc.csv``, and the literature's own ``iris.csv``, which differs from scikit-learn's in two rows) are read
from a folder: numbers only, a point a line, as the repository antoniosudoso/sos-sdp has them. An entry whose file is not
there is left out and named. Limits and times are of the processor, on one thread, so that they mean something on a machine
that others use, too; the clock's are beside. With several ``--processes``, that work on nodes side by side, limits are the
clock's. With ``--records``, an entry that the file has is not solved again.
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np

from hisopt.commands.common import run_command
from hisopt.errors import InputError
from hisopt.experiments.processor_time import ProcessorDeadline
from hisopt.points import read_points
from hisopt.result import Limits
from hisopt.solvers.base import Deadline
from hisopt.solvers.clustering.sum_of_squares.hybrid import hybrid
from hisopt.solvers.clustering.sum_of_squares.items import items_of
from hisopt.solvers.clustering.sum_of_squares.search import Search

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hisopt.arrays import FloatArray

ENTRIES = (
    ("ruspini", range(2, 11)), ("iris", range(2, 11)), ("wine", range(2, 9)), ("seeds", range(2, 9)),
    ("glass", range(2, 9)), ("ecoli", range(2, 9)), ("wdbc", (2,)),
)  # fmt: skip
TARGETS = {("iris", 3), ("wine", 3), ("seeds", 3), ("ecoli", 8), ("glass", 6), ("wdbc", 2)}
KNOWN = {  # optimal sums of squares as published, to the digits printed
    ("ruspini", 4): "12881.05", ("iris", 3): "78.8514", ("iris", 4): "57.2285", ("iris", 5): "46.4462",
    ("glass", 6): "72.9647",
}  # fmt: skip
SOS_SDP = {  # seconds, threads: Piccialli, Sudoso and Wiegele (2022), gap 1e-4, MATLAB and SDPNAL+
    ("glass", 6): "199 s, 16 threads"
}


def points_of(name: str, folder: Path | None) -> FloatArray | None:
    """Return a data set's points, None where neither the folder nor a package has them."""
    if name == "ruspini":
        return read_points(str(files("hisopt").joinpath("data/ruspini.csv")))[0]
    if folder is not None and (folder / f"{name}.csv").is_file():
        return read_points(folder / f"{name}.csv")[0]
    if name in ("iris", "wine"):
        from sklearn import datasets

        loaded = datasets.load_iris() if name == "iris" else datasets.load_wine()
        return np.asarray(loaded.data, dtype=np.float64)
    return None


@dataclass(frozen=True)
class Row:
    """One proof, or what is left of it when time is up; ``value_gap`` is relative to what the clusters explain."""

    name: str
    clusters: int
    squares: float
    heuristic: float
    gap: float
    value_gap: float
    nodes: int
    cpu_s: float
    wall_s: float
    closed: bool

    @property
    def agrees(self) -> bool:
        """Whether the sum of squares is the published one, to all digits printed."""
        known = KNOWN.get((self.name, self.clusters))
        return known is None or f"{self.squares:.{len(known.partition('.')[2])}f}" == known


def measured(name: str, points: FloatArray, clusters: int, tolerance: float, time_s: float, processes: int = 1) -> Row:
    """Prove one entry; times are of the whole, the heuristic and all processes included."""
    cpu, wall = _processor_time(), time.perf_counter()
    items = items_of(points, clusters)
    deadline = ProcessorDeadline(time_s) if processes == 1 else Deadline(Limits(time_s=time_s))
    search = Search(items, deadline, tolerance)
    search.run(processes)
    cpu, wall = _processor_time() - cpu, time.perf_counter() - wall
    labels = hybrid(items, 1)
    alone = np.inf if labels is None else items.squares(labels) * items.unit
    rest = max(search.squares - search.lower, 0.0)
    explained = search.value * items.unit
    return Row(
        name, clusters, search.squares, alone, rest / search.squares, rest / explained, search.explored, cpu, wall,
        search.proven,
    )  # fmt: skip


def _processor_time() -> float:
    """Seconds of the processor of this process and of those that it has waited for."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def rows(
    chosen: set[tuple[str, int]], folder: Path | None, tolerance: float, time_s: float, processes: int,
    done: dict[tuple[str, int], Row],
) -> Iterator[Row]:  # fmt: skip
    """Measure the entries chosen that are not done, one after the other."""
    for name, every in ENTRIES:
        wanted = [k for k in every if (name, k) in chosen]
        points = points_of(name, folder) if wanted else None
        if wanted and points is None:
            print(f"left out: {name}, whose file is not there (--data)", file=sys.stderr)
        elif points is not None:
            for k in wanted:
                yield done.get((name, k)) or measured(name, points, k, tolerance, time_s, processes)


def recorded(path: Path) -> dict[tuple[str, int], Row]:
    """Return the rows of a file of records, none where it is not there."""
    found = {}
    for number, text in enumerate(path.read_text().splitlines() if path.is_file() else (), start=1):
        try:
            row = Row(**json.loads(text))
        except (TypeError, ValueError):
            raise InputError(f"{path}: line {number}: no row of this benchmark") from None
        found[row.name, row.clusters] = row
    return found


def line(row: Row) -> str:
    """Return a row of the table, in Markdown."""
    key = (row.name, row.clusters)
    known = KNOWN.get(key, "")
    ahead = (
        f"{100 * (row.heuristic - row.squares) / row.squares:.1e} %"
        if row.heuristic > row.squares * (1 + 1e-9)
        else "0"
    )
    told = f"{row.gap:.1e}" + ("" if row.closed else ", time up") + f" | {row.value_gap:.1e}"
    return (
        f"| {row.name} | {row.clusters} | {row.squares:.7g} | {known}{'' if row.agrees else ' (!)'} | {ahead} | {told} "
        f"| {row.nodes} | {row.cpu_s:.1f} | {row.wall_s:.0f} | {SOS_SDP.get(key, '')} |"
    )


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--data", metavar="FOLDER", help="Where the CSV files are that neither hisopt nor scikit-learn has.")
@click.option("--tolerance", default=1e-4, show_default=True, help="Gap to prove, relative to the sum of squares.")
@click.option("--time-limit", default=600.0, show_default=True, metavar="S", help="Seconds an entry.")
@click.option("--processes", default=1, show_default=True, metavar="K", help="Nodes processed at a time.")
@click.option(
    "--records", metavar="FILE", help="Keep the rows here, a line of JSON each, and solve no entry that it has."
)
@click.option("--only", multiple=True, metavar="NAME:K", help="Only these entries, such as iris:3; repeatable.")
@click.option("--targets", is_flag=True, help="Only the entries whose speed is followed.")
def _command(
    data: str | None, tolerance: float, time_limit: float, processes: int, records: str | None, only: tuple[str, ...],
    targets: bool,
) -> None:  # fmt: skip
    """Prove optimal sums of squares on standard data sets, and print a table in Markdown."""
    chosen = {(name, k) for name, every in ENTRIES for k in every}
    if targets:
        chosen &= TARGETS
    if only:
        chosen &= {(name, int(k)) for name, _, k in (text.partition(":") for text in only) if k.isdigit()}
    print(
        "| data | k | sum of squares | published | HG-means above | gap | gap to what is explained | nodes | CPU s | s "
        "| SOS-SDP |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    wrong, done = 0, {} if records is None else recorded(Path(records))
    for row in rows(chosen, None if data is None else Path(data), tolerance, time_limit, processes, done):
        print(line(row), flush=True)
        if records is not None and (row.name, row.clusters) not in done:
            with Path(records).open("a") as file:
                file.write(json.dumps(asdict(row)) + "\n")
        wrong += not row.agrees
    if wrong:
        print(f"{wrong} sums of squares differ from the published ones", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    run_command(_command, "sum_of_squares")
