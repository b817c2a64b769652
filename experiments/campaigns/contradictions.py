"""``python -m hisopt.experiments.campaigns.contradictions``: random instances on which no two solvers may disagree."""

from __future__ import annotations

import hashlib
import json
import sys
from collections import Counter
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hisopt.experiments.campaigns.random_instances import draw_problems
from hisopt.experiments.campaigns.records import Store
from hisopt.problems import PROBLEMS
from hisopt.result import Limits
from hisopt.solvers.registry import registered
from hisopt.solvers.run.identity import modules_hash
from hisopt.solvers.run.runner import Runner, contradictions

if TYPE_CHECKING:
    from collections.abc import Collection

    from hisopt.problems import Problem
    from hisopt.solvers.base import Solver


def tasks_of(problem: Problem) -> list[tuple[Problem, Solver[Any]]]:
    """Return the problem with every registered solver that serves it."""
    return [(problem, solver) for solver in registered(problem.kind) if solver.serves(problem)]


@dataclass(frozen=True)
class Seed:
    """What the problems of one seed showed: how often each solver ended how, and lines on what is refuted or broken."""

    ended: list[tuple[str, str, str, int]]
    refuted: list[str]
    broken: list[str]


def examine(seed: int, runner: Runner, kinds: Collection[str] = tuple(PROBLEMS)) -> Seed:
    """Solve the problems of a seed that are of these kinds with every solver that serves them."""
    ended: Counter[tuple[str, str, str]] = Counter()
    refuted, broken = [], []
    tasks = [task for problem in draw_problems(seed) if problem.kind in kinds for task in tasks_of(problem)]
    for _, group in groupby(runner.run_all(tasks), key=lambda run: id(run.problem)):
        runs = list(group)
        refuted += contradictions(runs)
        for run in runs:
            ended[run.problem.label, run.solver.name, run.termination.value] += 1
            if run.termination.value in ("crashed", "numerical_error") or run.violations:
                why = "; ".join((run.message, *run.violations))
                broken.append(f"{run.problem.label}: {run.solver.name}: {run.termination}: {why}")
    return Seed([(*key, count) for key, count in ended.items()], refuted, broken)


def _record_name(seed: int, limits: Limits, kinds: Collection[str]) -> str:
    modules = {type(solver).__module__ for kind in kinds for solver in registered(kind)}
    sources = modules_hash([*sorted(modules), "hisopt.experiments.campaigns.contradictions"])
    return hashlib.sha256(
        json.dumps(["contradictions", seed, sorted(kinds), vars(limits), sources]).encode()
    ).hexdigest()[:24]


@click.command()
@click.option("--instances", default=300, show_default=True, help="Random instances of every problem.")
@click.option("--seed", default=0, show_default=True, help="First seed; instance i uses seed + i.")
@click.option("--time-limit", default=5.0, show_default=True, help="Seconds a solve.")
@click.option("--jobs", default=2, show_default=True, help="Solves at a time.")
@click.option("--problem", "problems", multiple=True, type=click.Choice(list(PROBLEMS)), help="[default: all]")
@click.option(
    "--records", type=click.Path(path_type=Path), help="Folder of what each seed showed; a killed run goes on."
)
def main(
    instances: int, seed: int, time_limit: float, jobs: int, problems: tuple[str, ...], records: Path | None
) -> None:
    """Run every solver on random instances of every problem; exit code 1 if any claim is refuted."""
    ended: Counter[tuple[str, str, str]] = Counter()
    refuted, store, limits = 0, Store(records), Limits(time_s=time_limit)
    kinds = problems or tuple(PROBLEMS)
    with Runner(limits, jobs) as runner:
        for at in range(seed, seed + instances):
            name = _record_name(at, limits, kinds)
            record = store.read(name)
            found = examine(at, runner, kinds) if record is None else Seed(**record)
            if record is None:
                store.write(name, asdict(found))
            for line in (*found.refuted, *found.broken):
                print(f"seed {at}: {line}", flush=True)
            refuted += len(found.refuted)
            for *key, count in found.ended:
                ended[tuple(key)] += count  # type: ignore[index]
            if sys.stderr.isatty():
                print(f"\r{at - seed + 1} of {instances} seeds, {refuted} contradictions", end="", file=sys.stderr)
    for (label, solver, termination), count in sorted(ended.items()):
        print(f"{label:26} {solver:16} {termination:16} {count}")
    which = ", ".join(kinds) if problems else "every problem"
    print(f"{instances} instances of {which}, {sum(ended.values())} solves, {refuted} contradictions")
    raise SystemExit(1 if refuted else 0)


if __name__ == "__main__":
    main()
