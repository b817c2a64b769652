"""``python -m hisopt.experiments.contradictions``: random instances of every problem, on which no two solvers may disagree."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any

import click
import numpy as np

from hisopt.instance import Gpu, IccInstance, Instance, PublicPrompt, QualityTable, Radio, StepLimits, Weights
from hisopt.problem import CRITERIA, Problem
from hisopt.prompts import shipped, unit_rows
from hisopt.result import Limits
from hisopt.scenario import path_gain
from hisopt.solvers.interface import Solver
from hisopt.solvers.runner import Run, Runner, contradictions
from hisopt.solvers.table import registered


def draw_steps(rng: np.random.Generator) -> StepLimits:
    """Return random bounds on the steps; those on z bind in about half of the draws."""
    total = int(rng.integers(4, 20))
    common, edge = int(rng.integers(0, 10)), int(rng.integers(0, 8))
    edge_min = int(rng.integers(0, edge + 1)) if rng.random() < 0.3 else 0
    low = max(total - common - edge, 0)
    device_max = int(rng.integers(low, total + 1)) if rng.random() < 0.5 else total
    device_min = int(rng.integers(0, min(device_max, total - edge_min) + 1)) if total >= edge_min else 0
    try:
        return StepLimits(
            total=total, common_max=common, edge_min=edge_min, edge_max=edge,
            device_min=device_min, device_max=device_max,
        )  # fmt: skip
    except ValueError:
        return draw_steps(rng)


def draw_instance(rng: np.random.Generator, users: int, clusters: int, *, icc: bool = False) -> Instance | IccInstance:
    """Return an instance with every parameter drawn from a wide range, clusters and feasible steps given."""
    if rng.random() < 0.7:
        corpus = shipped().embeddings
        embeddings = corpus[rng.choice(len(corpus), users, replace=False)]
    else:
        embeddings = unit_rows(rng.normal(size=(users, 5)) + rng.uniform(0, 2))
    rule = rng.choice(["ideal", "affine", "medoid"], p=[0.6, 0.3, 0.1])
    limits = draw_steps(rng)
    least = int(rng.integers(1, max(users // clusters, 1) + 1)) if rng.random() < 0.3 else 1
    most = int(rng.integers(max(-(-users // clusters), least), users + 1)) if rng.random() < 0.3 else None
    shared: dict[str, Any] = {
        "users": users,
        "max_clusters": clusters,
        "radio": Radio(
            bandwidth_hz=np.asarray(5e6), power_w=np.asarray(1.0), gain=path_gain(rng.uniform(50, 300, users))
        ),
        "steps": limits,
        "quality": QualityTable.published(modules=bool(rng.random() < 0.5)),
        "public_prompt": PublicPrompt(rule=rule, slope=0.8, intercept=0.15) if rule == "affine" else PublicPrompt(rule=rule),
        "embeddings": embeddings,
        "clusters": rng.integers(0, clusters, users),
        "cluster_size_min": least,
        "cluster_size_max": most,
    }
    if icc:
        return IccInstance(
            device_frequency_hz=rng.uniform(1.4e9, 1.6e9, users),
            weights=Weights(delay=float(10 ** rng.uniform(-2, 0)), energy=float(10 ** rng.uniform(-3, 0))),
            **shared,
        )
    feasible = [
        (x, y)
        for x in range(limits.common_max + 1)
        for y in range(limits.edge_min, limits.edge_max + 1)
        if limits.served_min <= x + y <= limits.served_max
    ]
    given = np.array(feasible)[rng.integers(0, len(feasible), users)]
    whole = rng.random() < 0.5
    device = rng.integers(64, 85, users).astype(float) if whole else rng.uniform(20, 160, users)
    return Instance(
        edge=Gpu(
            sms=np.asarray(float(rng.integers(clusters + 1, 60 * users))),
            frequency_hz=np.asarray(1410e6),
            flop_per_cycle=np.asarray(2048.0),
        ),
        devices=Gpu(sms=device, frequency_hz=np.asarray(1860e6), flop_per_cycle=np.asarray(1024.0)),
        weights=Weights(delay=float(0.01 * 10 ** rng.uniform(-1, 0.5)), energy=float(3e-6 * 10 ** rng.uniform(-1, 1))),
        given_common=given[:, 0],
        given_edge=given[:, 1],
        **shared,
    )


def draw_problems(seed: int) -> Iterator[Problem]:
    """Yield one random problem of every kind, criterion and kind of SMs, small enough for every solver."""
    rng = np.random.default_rng(seed)
    instance = draw_instance(rng, int(rng.integers(2, 8)), int(rng.integers(1, 3)))
    for criterion in CRITERIA:
        yield Problem("clustering", instance, criterion)
    users = int(rng.integers(1, 9))
    instance = draw_instance(rng, users, int(rng.integers(1, min(users, 4) + 1)))
    for integer in (False, True):
        yield Problem("allocation", instance, integer_sms=integer)
    users = int(rng.integers(1, 6))
    instance = draw_instance(rng, users, int(rng.integers(1, min(users, 3) + 1)))
    for integer in (False, True):
        yield Problem("joint", instance, integer_sms=integer)
    users = int(rng.integers(1, 5))
    instance = draw_instance(rng, users, int(rng.integers(1, min(users, 2) + 1)))
    for integer in (False, True):
        yield Problem("full", instance, integer_sms=integer)
    users = int(rng.integers(1, 9))
    yield Problem("steps", draw_instance(rng, users, int(rng.integers(1, min(users, 3) + 1)), icc=True))


def tasks_of(problem: Problem) -> list[tuple[Problem, type[Solver]]]:
    """Return the problem with every registered solver that serves it."""
    return [(problem, solver) for solver in registered(problem.kind) if solver.serves(problem)]


@click.command()
@click.option("--instances", default=300, show_default=True, help="Random instances of every problem.")
@click.option("--seed", default=0, show_default=True, help="First seed; instance i uses seed + i.")
@click.option("--time-limit", default=5.0, show_default=True, help="Seconds a solve.")
@click.option("--jobs", default=2, show_default=True, help="Solves at a time.")
def main(instances: int, seed: int, time_limit: float, jobs: int) -> None:
    """Run every solver on random instances of every problem; exit code 1 if any claim is refuted."""
    ended: Counter[tuple[str, str, str]] = Counter()
    refuted = 0
    with Runner(Limits(time_s=time_limit), jobs) as runner:
        tasks = ((s, task) for s in range(seed, seed + instances) for p in draw_problems(s) for task in tasks_of(p))
        seeds, pairs = [], []
        for s, task in tasks:
            seeds.append(s)
            pairs.append(task)
        group: list[Run] = []
        for i, run in enumerate(runner.run_all(pairs)):
            if group and group[-1].problem is not run.problem:
                refuted += _report(group, seeds[i - 1])
                group = []
            group.append(run)
            ended[run.problem.label, run.solver.name, run.termination.value] += 1
            if sys.stderr.isatty() and i % 20 == 0:
                print(f"\r{i} of {len(pairs)} solves, {refuted} contradictions", end="", file=sys.stderr)
        refuted += _report(group, seeds[-1])
    for (label, solver, termination), count in sorted(ended.items()):
        print(f"{label:26} {solver:16} {termination:16} {count}")
    print(f"{instances} instances of every problem, {len(pairs)} solves, {refuted} contradictions")
    raise SystemExit(1 if refuted else 0)


def _report(group: list[Run], seed: int) -> int:
    lines = contradictions(group)
    for line in lines:
        print(f"seed {seed}: {line}", flush=True)
    for run in group:
        if run.termination.value in ("crashed", "numerical_error") or run.violations:
            print(f"seed {seed}: {run.problem.label}: {run.solver.name}: {run.termination}: {run.message} {run.violations}", flush=True)
    return len(lines)


if __name__ == "__main__":
    main()
