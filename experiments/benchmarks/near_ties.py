"""``python -m hisopt.experiments.benchmarks.near_ties``: the exact joint solver where all halves of the clusters nearly tie.

Each cluster has one common step to gain or not, and any half of them is worth nearly the same, as in the hardest
instances known for `exact`. Its rival is the tangent program in HiGHS. Processor time, so that a busy machine matters less.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click
import numpy as np

from hisopt import Limits
from hisopt.instances import Gpu, Instance, Latent, Radio, StepLimits, Weights
from hisopt.problems import Joint
from hisopt.solvers.joint.exact import JointExact
from hisopt.solvers.joint.milp import JointMilp

if TYPE_CHECKING:
    from hisopt.solvers.base import Solver

_STATIC, _BUDGET = 1e4, 1000.0


def near_ties(clusters: int) -> Instance:
    """Return the instance with that many clusters of 2, 3, ... users; a server step on one SM takes one second."""
    sizes = np.arange(2, 2 + clusters)
    load = np.sqrt(sizes + _STATIC)
    apart = 0.5 * load.mean()
    total = clusters // 2 * load.mean() + apart
    gain = 2 * total * load / _BUDGET - 2 * apart * (load - load.mean()) / _BUDGET
    users, one = int(sizes.sum()), np.asarray(1.0)

    def gpu(sms: np.ndarray, static: float) -> Gpu:
        return Gpu(sms=sms, frequency_hz=one, flop_per_cycle=one, utilisation=one, energy_coefficient=one,
                   power_per_sm=np.asarray(0.0), power_static=np.asarray(static))  # fmt: skip

    return Instance(
        users=users,
        max_clusters=clusters,
        edge=gpu(np.asarray(_BUDGET), _STATIC),
        devices=gpu(np.repeat(sizes / gain, sizes), 0.0),
        radio=Radio(bandwidth_hz=np.asarray(1e9), power_w=one, gain=np.asarray(1e9)),
        latent=Latent(height=1, width=1, channels=1, bits=1),
        steps=StepLimits(total=2, common_max=1, edge_max=0, device_min=0, device_max=2),
        weights=Weights(quality=0.0, delay=1.0, energy=1.0),
        flop_edge=1.0,
        flop_device=1.0,
        clusters=np.repeat(np.arange(clusters), sizes),
        similarity=np.full(users, 0.5),
    )


@click.command()
@click.option("--time-limit", default=300.0, show_default=True, help="Seconds a solve.")
@click.option("--repeats", default=3, show_default=True, help="Solves each, in turn; the quickest counts.")
@click.argument("sizes", nargs=-1, type=int)
def main(time_limit: float, repeats: int, sizes: tuple[int, ...]) -> None:
    """Print processor seconds and gaps of both solvers for these numbers of clusters (24, 36, 48, 60)."""
    solvers: tuple[Solver[Joint], ...] = (JointExact(), JointMilp())
    for solver in solvers:  # imports are no part of it
        solver.prepare()
        solver.solve(Joint(near_ties(3)), Limits())
    for clusters in sizes or (24, 36, 48, 60):
        problem, seconds, told = Joint(near_ties(clusters)), {s.name: np.inf for s in solvers}, {}
        for _ in range(repeats):
            for solver in solvers:
                start = time.process_time()
                result = solver.solve(problem, Limits(time_limit))
                seconds[solver.name] = min(seconds[solver.name], time.process_time() - start)
                decision, bound = result.decision, result.bound
                gap = np.inf if decision is None or bound is None else problem.gap(decision, bound)
                told[solver.name] = f"{result.termination}, gap {gap:.1e}"
        line = "; ".join(f"{name} {seconds[name]:.2f} s ({told[name]})" for name in told)
        print(f"{clusters} clusters, {problem.users} users: {line}", flush=True)


if __name__ == "__main__":
    main()
