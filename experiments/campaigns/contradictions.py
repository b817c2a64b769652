"""``python -m hisopt.experiments.campaigns.contradictions``: random instances on which no two solvers may disagree."""

from __future__ import annotations

import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import click

from hisopt.experiments.campaigns.random_instances import draw_problems
from hisopt.result import Limits
from hisopt.solvers.registry import registered
from hisopt.solvers.run.runner import Run, Runner, contradictions

if TYPE_CHECKING:
    from hisopt.problems import Problem
    from hisopt.solvers.base import Solver


def tasks_of(problem: Problem) -> list[tuple[Problem, Solver[Any]]]:
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
        problems = [(s, p) for s in range(seed, seed + instances) for p in draw_problems(s)]
        seeds = [s for s, problem in problems for _ in tasks_of(problem)]
        pairs = [task for _, problem in problems for task in tasks_of(problem)]
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
            why = "; ".join((run.message, *run.violations))
            print(f"seed {seed}: {run.problem.label}: {run.solver.name}: {run.termination}: {why}", flush=True)
    return len(lines)


if __name__ == "__main__":
    main()
