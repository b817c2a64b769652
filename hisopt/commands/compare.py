"""``python -m hisopt.compare``: run solvers over sizes, seeds and settings; resumes where it was stopped."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hisopt import __version__
from hisopt.commands.common import run_command, taking
from hisopt.errors import InputError, missing_package

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hisopt.campaign.plan import Plan
    from hisopt.campaign.records import Segment
    from hisopt.campaign.rules import Rule
    from hisopt.commands.engine import Engine, Named

_RULE = "gap > 1e-6 or unsolved or unproven or refuted"


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
    on: str = "local"
    jobs: int | None = None
    baseline: tuple[str, ...] = ()
    fail_if: str | None = None
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
    "--on",
    default="local",
    show_default=True,
    metavar="WHERE",
    help="local, dask://HOST:PORT (workers that have hisopt), or slurm[:partition=NAME,...] (records in a shared folder).",
)
@click.option(
    "--jobs", type=int, metavar="J", help="Solves at a time; more than 1 share the machine. [default: all cores]"
)
@click.option(
    "--baseline", multiple=True, metavar="RECORDS", help="Records of before to hold these against; repeatable."
)
@click.option(
    "--fail-if",
    metavar="RULE",
    help="What counts as worse than the baseline, as in 'gap > 1e-6 or time > 2x'; see below. "
    "[default: gap > 1e-6 or unsolved or unproven or refuted]",
)
@click.option("--dry-run", is_flag=True, help="Say how many solves and how long at most, and do not solve.")
@click.version_option(__version__, prog_name="hisopt")
@taking(CompareOptions)
def _command(options: CompareOptions) -> None:
    """Run solvers over instances, and keep one record a solve.

    CONFIG.toml has the fields presets, files, seeds, sweep (a table of lists), zipped, problems, criteria, sms, solvers,
    time_limits, memory_limit, threads, repetitions; the options do for the common case. Called again with the same records,
    it goes on where it was stopped, and takes up records of other machines that were copied there.

    RULE joins comparisons with and, or, not and parentheses. gap and bound: what the objective or the bound lost against the
    baseline, relative (or in %); time (s) and memory (GB), or multiples of the baseline's as in 2x; unsolved, unproven,
    refuted: words alone. Exit codes: 0; 1, a claim was refuted, or a solve got worse; 2, bad input; 130, interrupted.
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
    from hisopt.commands.engines import engine_of

    plan, folder, rule = _plan(options), Path(options.records), _rule(options)
    jobs = len(os.sched_getaffinity(0)) if options.jobs is None else options.jobs
    if jobs < 1:
        raise InputError(f"--jobs: is {jobs}, must be >= 1")
    if options.jobs is not None and options.on.startswith("dask://"):
        raise InputError("--jobs: on Dask the workers' threads say how many")
    check(plan)
    if options.dry_run:
        done = {record["key"] for record in read([folder])} if folder.exists() else set()
        left = [task.limits.time_s for task in tasks(plan) if task.key not in done]
        print(
            f"{len(left)} solves to do, {len(done)} records there; at most {sum(left) / jobs:.0f} s with {jobs} at a time"
        )
        return 0
    with Segment(folder) as segment:
        engine = engine_of(options.on, plan, jobs, folder)
        try:
            asked, refuted = _solve(engine, plan, segment, folder)
        finally:
            engine.close()
    return max(1 if refuted else 0, 0 if rule is None else _gate(options, folder, asked, rule))


def _solve(engine: Engine, plan: Plan, segment: Segment, folder: Path) -> tuple[set[str], int]:
    """Solve what has no record yet; return the keys of the whole campaign, and how many claims were refuted."""
    from hisopt.campaign.records import read
    from hisopt.commands.campaign import tasks

    done = {record["key"] for record in read([folder])}
    print(f"{engine.about}; {len(done)} records there", file=sys.stderr)
    asked: set[str] = set()
    solved, refuted = 0, 0

    def left() -> Iterator[Named]:
        for task in tasks(plan):
            key = task.key
            if key not in asked and key not in done:
                asked.add(key)
                yield key, task
            asked.add(key)

    for record in engine.run(left()):
        if not engine.keeps:
            segment.append(record)
        solved += 1
        for line in record["refuted"]:
            refuted += 1
            print(f"REFUTED: {record['problem']}: {record['solver']}: {line}", file=sys.stderr)
    print(f"{solved} solved, {len(done)} known; records in {folder}", file=sys.stderr)
    return asked, refuted


def _rule(options: CompareOptions) -> Rule | None:
    """The rule of the gate, or None where no baseline is given; raise `InputError` before anything is solved."""
    from hisopt.campaign.rules import parse

    if not options.baseline:
        if options.fail_if is not None:
            raise InputError("--fail-if: needs --baseline")
        return None
    for name in options.baseline:
        if not Path(name).exists():
            raise InputError(f"--baseline: {name}: no such file or folder")
    return parse(options.fail_if or _RULE)


def _gate(options: CompareOptions, folder: Path, asked: set[str], rule: Rule) -> int:
    """Hold the campaign's records against the baseline, print those that got worse, and return 1 where there are any."""
    from hisopt.campaign.gate import judge
    from hisopt.campaign.records import read
    from hisopt.commands.gate import table
    from hisopt.files import deliver

    records = (record for record in read([folder]) if record["key"] in asked)
    found = judge(read([Path(name) for name in options.baseline]), records, rule)
    if not found.judged:
        raise InputError(f"--baseline: {', '.join(options.baseline)}: has none of these solves")
    deliver(f"{table(found, options.fail_if or _RULE)}\n", None, ".txt")
    return 1 if found.worse else 0


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
