"""``python -m hisopt.experiments.benchmarks.meg_scaling``: seconds to a proven optimum of MEG by pairs of bin and action.

``sifting`` is `occupancy-lp`, ``dual`` the cutting planes on the multipliers, ``whole`` the whole linear program in HiGHS by its
interior point method with crossover. CPU seconds of this process, one thread; the tables of rewards and costs are made before.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click
import numpy as np
from scipy.optimize import linprog
from scipy.sparse import csr_array

from hisopt.commands.common import run_command
from hisopt.instances import MegChannel, MegInstance
from hisopt.problems import Meg
from hisopt.solvers.meg import dual, occupancy

if TYPE_CHECKING:
    from hisopt.cmdp import Cmdp

WHOLE = 1_000_000  # pairs up to which the whole program is stated
SIFTED = 10_000_000


def process_of(pairs: int) -> Cmdp:
    """Return the preset's process with at least so many pairs."""
    bins = -(-pairs // MegInstance().actions)
    return Meg(MegInstance(channel=MegChannel.uniform_distance(bins))).process


def whole(process: Cmdp) -> tuple[float, int]:
    """Return the optimum of the whole program and how many of its bins are random."""
    bins, actions = process.reward.shape
    weight = process.probability[:, None]
    rows = csr_array((process.costs * weight / process.scale[:, None, None]).reshape(len(process.limits), -1))
    pair = np.arange(bins * actions)
    sums = csr_array((np.ones(len(pair)), (pair // actions, pair)), shape=(bins, len(pair)))
    found = linprog(  # type: ignore[call-overload]  # which knows no sparse matrices
        -(process.reward * weight).ravel(), A_ub=rows, b_ub=process.limits / process.scale, A_eq=sums, b_eq=np.ones(bins),
        bounds=(0, None), method="highs-ipm",
    )  # fmt: skip
    if found.status != 0:
        raise ArithmeticError(f"HiGHS: {found.message}")
    taken = found.x.reshape(bins, actions) > 1e-9
    return -float(found.fun), int((taken.sum(axis=1) > 1).sum())


def rows(pairs: int) -> list[tuple[str, float, int, float]]:
    """Return method, bound, random bins and CPU seconds at so many pairs."""
    process, found = process_of(pairs), []
    for name, solve in (("sifting", occupancy.solve), ("dual", dual.solve)):
        if name == "sifting" and pairs > SIFTED:
            continue
        start = time.process_time()
        solution = solve(process)
        if solution is None or solution.policy is None:
            raise RuntimeError(f"{name}: no policy at {pairs} pairs")
        found.append((name, solution.bound, solution.randomised, time.process_time() - start))
    if pairs <= WHOLE:
        start = time.process_time()
        value, random = whole(process)
        found.append(("whole", value, random, time.process_time() - start))
    return found


@click.command()
@click.option("--pairs", "sizes", multiple=True, type=int, default=(10**4, 10**5, 10**6), show_default=True)
def command(sizes: tuple[int, ...]) -> None:
    """Print a table in Markdown."""
    print("| pairs | method | bound | random bins | CPU seconds |")
    print("|---|---|---|---|---|")
    for pairs in sizes:
        for name, bound, random, seconds in rows(pairs):
            print(f"| {pairs:,} | {name} | {bound:.9f} | {random} | {seconds:.2f} |", flush=True)


if __name__ == "__main__":
    run_command(command, "hisopt.experiments.benchmarks.meg_scaling")
