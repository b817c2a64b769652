"""Solving from Python in one call: one problem by one solver, or many by many as a data frame."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hisopt.errors import InputError
from hisopt.problems import Problem
from hisopt.result import Limits
from hisopt.solvers.base import Solver
from hisopt.solvers.registry import parse, registered
from hisopt.solvers.run.runner import Runner

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pandas as pd

    from hisopt.solvers.run.checks import Run

Asked = str | Solver[Any] | type[Solver[Any]]


def run(
    problem: Problem,
    solver: Asked,
    *,
    time_limit: float = 60.0,
    memory_gb: float = 8.0,
    threads: int = 1,
    seed: int = 0,
) -> Run:
    """Solve a problem in a process of its own and check what the solver claims.

    Parameters
    ----------
    problem
        Such as ``Joint(instance)``.
    solver
        A solver, its class, or text as for ``--solver``: ``"exact"``, ``"kmeans:restarts=50"``.
    time_limit, memory_gb, threads, seed
        Seconds of solving (imports do not count), resident memory in 1e9 bytes, threads, seed.

    Raises
    ------
    InputError
        For a solver that is unknown, or does not serve the problem.
    """
    chosen = _solver(problem, solver)
    with Runner(Limits(time_limit, memory_gb, threads, seed)) as runner:
        return runner.run(problem, chosen)


def compare(
    problems: Problem | Iterable[Problem],
    solvers: Iterable[Asked] = (),
    *,
    seeds: Sequence[int] = (0,),
    time_limit: float = 60.0,
    memory_gb: float = 8.0,
    threads: int = 1,
    jobs: int = 1,
) -> pd.DataFrame:
    """Solve every problem with every solver that serves it and every seed; return one row a solve.

    ``solvers`` are as in `run`; none stands for all. Each row has the columns of ``--format csv``: problem, solver,
    termination, objective, bound, gap, seconds and what was refuted, and the seed. Raises `InputError` where a solver asked
    for serves none of the problems.
    """
    import pandas as pd

    posed = [problems] if isinstance(problems, Problem) else list(problems)
    asked = list(solvers)
    tasks = [(p, s) for p in posed for s in _solvers(p, asked)]
    for one in asked:
        if not any(s == _named(p, one) for p, s in tasks):
            raise InputError(f"solver {one!r}: serves none of the problems")
    rows = []
    with Runner(Limits(time_limit, memory_gb, threads), jobs) as runner:
        for seed in seeds:
            runner.limits = Limits(time_limit, memory_gb, threads, seed)
            for (problem, _), done in zip(tasks, runner.run_all(tasks), strict=True):
                record = done.to_dict()
                kept = ("problem", "criterion", "integer_sms", "solver", "guarantee", "termination", "solution_status",
                        "objective", "bound", "gap", "seconds", "peak_memory", "message")  # fmt: skip
                row = {"instance": problem.content_hash, "seed": seed} | {name: record[name] for name in kept}
                rows.append(row | {"refuted": "; ".join(done.refuted)})
    return pd.DataFrame(rows)


def _named(problem: Problem, solver: Asked) -> Solver[Any] | None:
    if isinstance(solver, str):
        return parse(solver, problem.kind)
    return solver() if isinstance(solver, type) else solver


def _solvers(problem: Problem, asked: Sequence[Asked]) -> list[Solver[Any]]:
    found = [_named(problem, one) for one in asked] if asked else registered(problem.kind)
    return [solver for solver in found if solver is not None and solver.serves(problem)]


def _solver(problem: Problem, asked: Asked) -> Solver[Any]:
    solver = _named(problem, asked)
    if solver is None:
        known = ", ".join(s.name for s in registered(problem.kind))
        raise InputError(f"solver {asked!r}: unknown for {problem.label}; known are {known}")
    if not solver.serves(problem):
        raise InputError(f"solver {solver.label}: does not serve {problem.label} here")
    return solver
