"""Exact sum-of-squares clustering against enumeration: ``python -m hisopt.experiments.campaigns.sum_of_squares``.

Small random instances with ties, duplicates, points on a line and antipodal ones, one cluster to as many as points,
weights, limits on sizes, and pairs together and apart, some of which exclude each other. The enumeration shares no code
with the solvers. Each instance is solved twice: as usual, where few items end in a dynamic program over subsets, and by
branching to the end. Exit code 1 where anything differs.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click
import numpy as np

from hisopt.commands.common import run_command
from hisopt.experiments.processor_time import ProcessorDeadline
from hisopt.solvers.clustering.sum_of_squares.items import Impossible, items_of
from hisopt.solvers.clustering.sum_of_squares.search import LEAF, solve

if TYPE_CHECKING:
    from hisopt.arrays import FloatArray

LEAVES = (LEAF, 2)  # items that are enumerated: as usual, and as few as can be
_SECONDS = 120.0  # of the processor, for one solve
_EXACT = 1e-9  # gap asked for, relative to the sum of squares


@dataclass(frozen=True)
class Case:
    """An instance: points (N, d), clusters, weights (N,), limits on sizes, pairs, and whether all clusters must be used."""

    points: FloatArray
    clusters: int
    weights: FloatArray
    least: int
    most: int
    together: list[tuple[int, int]]
    apart: list[tuple[int, int]]
    exactly: bool


def draw(seed: int) -> Case:
    """Return the instance of a seed."""
    rng = np.random.default_rng(seed)
    size = int(rng.integers(1, 8))
    clusters, features = int(rng.integers(1, size + 1)), int(rng.integers(1, 4))
    if rng.random() < 0.15:
        clusters = int(rng.choice([1, size]))
    points = [
        rng.normal(size=(size, features)) * 10 ** rng.uniform(-3, 3) + 100 * rng.normal(),
        rng.integers(-2, 3, (size, features)).astype(np.float64),  # ties and duplicates
        np.outer(rng.integers(-3, 4, size), np.ones(features)),  # on a line
        np.where(rng.random((size, 1)) < 0.5, 1.0, -1.0) * np.ones((size, features)),  # antipodal
    ][seed % 4]
    weights = 0.5 * rng.integers(1, 5, size) if rng.random() < 0.4 else np.ones(size)
    least, most = 1, size
    if rng.random() < 0.4:
        least = int(rng.integers(1, min(size, 2) + 1))
        most = int(rng.integers(least, size + 1))

    def pairs() -> list[tuple[int, int]]:
        if size < 2 or rng.random() > 0.4:
            return []
        drawn = (rng.choice(size, 2, replace=False) for _ in range(rng.integers(0, 3)))
        return [(int(i), int(j)) for i, j in drawn]

    return Case(
        np.asarray(points),
        clusters,
        np.asarray(weights, dtype=np.float64),
        least,
        most,
        pairs(),
        pairs(),
        bool(least > 1 and rng.random() < 0.5),
    )


def enumerated(case: Case) -> float:
    """Return the least sum of squares over all partitions that the case allows; infinite where there is none."""
    partitions: list[list[int]] = [[]]
    for _ in case.points:
        partitions = [[*p, c] for p in partitions for c in range(min(max(p, default=-1) + 2, case.clusters))]
    best = np.inf
    for found in partitions:
        labels = np.array(found)
        sizes = np.bincount(labels)
        if (case.exactly and len(sizes) < case.clusters) or sizes.min() < case.least or sizes.max() > case.most:
            continue
        if any(labels[i] != labels[j] for i, j in case.together) or any(labels[i] == labels[j] for i, j in case.apart):
            continue
        total = 0.0
        for c in range(len(sizes)):
            part, w = case.points[labels == c], case.weights[labels == c]
            centre = (w[:, None] * part).sum(axis=0) / w.sum()
            total += float((w * ((part - centre) ** 2).sum(axis=1)).sum())
        best = min(best, total)
    return float(best)


def fault(case: Case, leaf: int) -> str:
    """Solve a case and say what is wrong with the answer; empty where nothing is."""
    want = enumerated(case)
    try:
        items = items_of(
            case.points, case.clusters, weights=case.weights, least=case.least, most=case.most, must_link=case.together,
            cannot_link=case.apart, exactly=case.exactly,
        )  # fmt: skip
    except Impossible as error:
        return "" if want == np.inf else f"impossible ({error}), and {want:.9g} is possible"
    answer = solve(items, ProcessorDeadline(_SECONDS), _EXACT, leaf=leaf)
    if not answer.proven:
        return "not proven in time"
    if (answer.labels is None) != (want == np.inf):
        return f"found {answer.squares:.9g}, and {want:.9g} is the optimum"
    if answer.labels is None:
        return ""
    noise = 1e-8 * want + 1e-9 * items.unit
    if abs(answer.squares - want) > noise or answer.lower > want + noise:
        return f"sum of squares {answer.squares:.12g}, bound {answer.lower:.12g}, and {want:.12g} is the optimum"
    return ""


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--instances", default=2000, show_default=True, help="Number of instances.")
@click.option("--first", default=0, show_default=True, help="Seed of the first.")
def _command(instances: int, first: int) -> None:
    """Hold exact sum-of-squares clustering to enumeration on small random instances."""
    wrong, began = 0, time.process_time()
    for seed in range(first, first + instances):
        case = draw(seed)
        for leaf in LEAVES:
            if reason := fault(case, leaf):
                wrong += 1
                print(f"seed {seed}, leaves of {leaf}: {reason}", flush=True)
    seconds = time.process_time() - began
    print(f"{instances} instances, solved {len(LEAVES)} ways, {wrong} wrong, {seconds:.0f} s of CPU time")
    if wrong:
        sys.exit(1)


if __name__ == "__main__":
    run_command(_command, "sum_of_squares")
