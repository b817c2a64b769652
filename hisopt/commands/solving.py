"""Solves one after another, with a progress bar on a terminal; an interruption keeps what was solved."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from hisopt.commands.common import finishing
from hisopt.result import Limits

if TYPE_CHECKING:
    from hisopt.commands.request import Setting
    from hisopt.commands.solve_options import SolveOptions
    from hisopt.problems import Problem
    from hisopt.solvers.base import Solver
    from hisopt.solvers.run.runner import Run

Tasks = Sequence[tuple["Problem", "Solver[Any]"]]


def solve_all(
    found: Sequence[Setting], work: Sequence[Tasks], options: SolveOptions
) -> tuple[list[tuple[Setting, list[Run]]], bool]:
    """Solve every task of every setting; return the runs of each, and whether an interrupt cut them short."""
    from hisopt.solvers.run.runner import Runner

    if options.verbose:
        os.environ["HISOPT_VERBOSE"] = "1"  # read by the processes that solve
    limits = [Limits(options.time_limit, options.memory_limit, options.threads, setting.seed) for setting in found]
    results: list[tuple[Setting, list[Run]]] = []
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}", markup=False))
    console = Console(stderr=True)
    runner = Runner(limits[0], options.jobs)
    try:
        with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress, runner:
            bar = progress.add_task("", total=sum(map(len, work)))
            for setting, tasks, limit in zip(found, work, limits, strict=True):
                runs: list[Run] = []
                results.append((setting, runs))
                runner.limits = limit
                _describe_next(progress, bar, tasks, runs)
                for run in runner.run_all(tasks):
                    runs.append(run)
                    progress.advance(bar)
                    _describe_next(progress, bar, tasks, runs)
        finishing()
    except KeyboardInterrupt:
        if results:  # with several jobs, some ended before those they come after
            results[-1] = (results[-1][0], runner.finished())
        return results, sum(len(runs) for _, runs in results) < sum(map(len, work))
    return results, False


def _describe_next(progress: Progress, bar: TaskID, tasks: Tasks, runs: list[Run]) -> None:
    if len(runs) < len(tasks):
        problem, solver = tasks[len(runs)]
        progress.update(bar, description=f"{problem.label}: {solver.label}")
