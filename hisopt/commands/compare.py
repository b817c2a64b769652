"""``python -m hisopt.compare``: run solvers over sizes, seeds and settings; resumes where it was stopped."""

from __future__ import annotations

import os
import sys
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hisopt import __version__
from hisopt.commands.common import run_command, taking
from hisopt.errors import InputError, missing_package

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hisopt.campaign.plan import Plan
    from hisopt.commands.campaign import Task
    from hisopt.solvers.run.runner import Run


@dataclass(frozen=True)
class CompareOptions:
    """What the command line says, a field an option; None and () stand for what was not given."""

    config: str | None = None
    presets: tuple[str, ...] = ()
    seeds: int | None = None
    users: str | None = None
    clusters: str | None = None
    problems: tuple[str, ...] = ()
    solvers: tuple[str, ...] = ()
    time_limits: tuple[float, ...] = ()
    repetitions: int | None = None
    records: str = "records"
    jobs: int | None = None
    dry_run: bool = False


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.argument("config", required=False, metavar="[CONFIG.toml]")
@click.option("--preset", "presets", multiple=True, metavar="NAME", help="Sample a scenario; repeatable.")
@click.option("--seeds", type=int, metavar="K", help="Seeds 0 .. K-1 of samples and solvers. [default: 1]")
@click.option("--users", metavar="N,N,...", help="Numbers of users, instead of the preset's.")
@click.option("--clusters", metavar="M,M,...", help="Largest numbers of clusters, instead of the preset's.")
@click.option("--problem", "problems", multiple=True, metavar="KIND", help="Repeatable. [default: joint]")
@click.option(
    "--solver", "solvers", multiple=True, metavar="NAME[:OPTION=VALUE,...]", help="Repeatable. [default: all]"
)
@click.option("--time-limit", "time_limits", type=float, multiple=True, metavar="S", help="Repeatable. [default: 3]")
@click.option("--repetitions", type=int, metavar="R", help="Solves of the same, with other seeds of the solver.")
@click.option("--records", default="records", show_default=True, metavar="FOLDER", help="Where records are kept.")
@click.option(
    "--jobs", type=int, metavar="J", help="Solves at a time; more than 1 share the machine. [default: all cores]"
)
@click.option("--dry-run", is_flag=True, help="Say how many solves and how long at most, and do not solve.")
@click.version_option(__version__, prog_name="hisopt")
@taking(CompareOptions)
def _command(options: CompareOptions) -> None:
    """Run solvers over instances, and keep one record a solve.

    CONFIG.toml has the fields presets, files, seeds, sweep (a table of lists), zipped, problems, criteria, sms, solvers,
    time_limits, memory_limit, threads, repetitions; the options do for the common case. Called again with the same records,
    it goes on where it was stopped, and takes up records of other machines that were copied there. Exit codes: 0; 1, a
    claim was refuted; 2, bad input; 130, interrupted.
    """
    raise SystemExit(_compare(options))


def main() -> None:
    """Run the command line."""
    try:
        run_command(_command, "hisopt.compare", hint="; what was solved is kept, the same call goes on from there")
    except ImportError as error:
        missing_package("hisopt.compare", error)


def _compare(options: CompareOptions) -> int:
    from hisopt.campaign.records import Segment, read
    from hisopt.commands.campaign import check, tasks

    plan, folder = _plan(options), Path(options.records)
    jobs = len(os.sched_getaffinity(0)) if options.jobs is None else options.jobs
    if jobs < 1:
        raise InputError(f"--jobs: is {jobs}, must be >= 1")
    check(plan)
    if options.dry_run:
        done = {record["key"] for record in read([folder])} if folder.exists() else set()
        left = [task.limits.time_s for task in tasks(plan) if task.key not in done]
        print(
            f"{len(left)} solves to do, {len(done)} records there; at most {sum(left) / jobs:.0f} s with {jobs} at a time"
        )
        return 0
    with Segment(folder) as segment:
        done, refuted = {record["key"] for record in read([folder])}, 0
        print(f"{jobs} solves at a time on this machine; {len(done)} records there", file=sys.stderr)
        solved = 0
        for record in _solved(tasks(plan), done, jobs, plan.memory_limit, plan.threads):
            segment.append(record)
            solved += 1
            for line in record["refuted"]:
                refuted += 1
                print(f"REFUTED: {record['problem']}: {record['solver']}: {line}", file=sys.stderr)
    print(f"{solved} solved, {len(done)} known; records in {folder}", file=sys.stderr)
    return 1 if refuted else 0


def _solved(
    tasks: Iterable[Task], done: set[str], jobs: int, memory_gb: float, threads: int
) -> Iterable[dict[str, Any]]:
    """Yield the records of the tasks that are not done, as they end; few are held at a time."""
    from hisopt.commands.campaign import flat
    from hisopt.result import Limits
    from hisopt.solvers.run.runner import Runner

    seen = set(done)
    pending: deque[tuple[Task, str, Future[Run]]] = deque()

    def ended() -> Iterable[dict[str, Any]]:
        task, key, future = pending.popleft()
        run = future.result()
        if run.lost:
            print(f"{task.problem.label}: {task.solver.label}: not kept, {run.message}", file=sys.stderr)
        else:
            yield flat(task, key, run, jobs)

    with Runner(Limits(memory_gb=memory_gb, threads=threads), jobs) as runner, ThreadPoolExecutor(jobs) as pool:
        try:
            for task in tasks:
                key = task.key
                if key in seen:
                    continue
                seen.add(key)
                pending.append((task, key, pool.submit(runner.run, task.problem, task.solver, task.limits)))
                while pending and (pending[0][2].done() or len(pending) > 2 * jobs):
                    yield from ended()
            while pending:
                yield from ended()
        finally:
            for _, _, future in pending:
                future.cancel()
            runner.__exit__()


def _plan(options: CompareOptions) -> Plan:
    from hisopt.campaign.plan import Plan, read_plan

    short = ("presets", "seeds", "users", "clusters", "problems", "solvers", "time_limits", "repetitions")
    given = [name for name in short if getattr(options, name) not in (None, ())]
    if options.config is not None:
        if given:
            raise InputError(f"{options.config}: says what to compare; leave out --{given[0].rstrip('s')}")
        return read_plan(Path(options.config))
    lists = ("presets", "problems", "solvers", "time_limits")
    values: dict[str, Any] = {name: getattr(options, name) for name in lists if getattr(options, name)}
    values.setdefault("presets", ("small",))
    if options.seeds is not None:
        if options.seeds < 1:
            raise InputError(f"--seeds: is {options.seeds}, must be >= 1")
        values["seeds"] = tuple(range(options.seeds))
    if options.repetitions is not None:
        values["repetitions"] = options.repetitions
    sizes = (("users", options.users), ("clusters", options.clusters))
    values["sweep"] = tuple((name, _numbers(name, text)) for name, text in sizes if text)
    return Plan(**values)


def _numbers(name: str, text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"--{name}: is {text!r}, must be whole numbers with commas between") from None
