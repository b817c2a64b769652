"""``python -m hisopt.solve``: solve an instance with every solver that can, and check what each claims."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hisopt.command_line import run_command

if TYPE_CHECKING:
    from hisopt.instance import IccInstance, Instance
    from hisopt.problem import Problem
    from hisopt.solvers.interface import Solver
    from hisopt.solvers.runner import Run

_KINDS = ("clustering", "allocation", "joint", "full", "steps")
_CRITERIA = ("mean", "centroid", "sum")
_PRESETS = ("small", "paper", "icc", "large")


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.argument("instance", required=False, metavar="[INSTANCE]")
@click.option("--preset", metavar="NAME", help=f"Sample a scenario: {', '.join(_PRESETS)}. [default: small]")
@click.option("--users", type=int, metavar="N", help="Users of the sampled instance, instead of the preset's.")
@click.option("--clusters", type=int, metavar="M", help="Largest number of clusters, instead of the preset's.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the sample and of the solvers.")
@click.option(
    "--prompts", metavar="FILE", help="Sample users from your own prompts: a CSV with a column 'prompt', or one a line."
)
@click.option(
    "--problem",
    "kinds",
    multiple=True,
    metavar="KIND",
    help=f"{', '.join(_KINDS)}; repeatable. [default: all that apply]",
)
@click.option(
    "--criterion",
    "criteria",
    multiple=True,
    metavar="NAME",
    help=f"Of clustering: {', '.join(_CRITERIA)}; repeatable. [default: all]",
)
@click.option(
    "--sms",
    type=click.Choice(["real", "integer", "both"]),
    default="both",
    show_default=True,
    help="SMs as real or whole numbers.",
)
@click.option(
    "--solver",
    "solvers",
    multiple=True,
    metavar="NAME",
    help="A solver of --list, or path/to/file.py:MySolver; repeatable. [default: all that apply]",
)
@click.option(
    "--policy", metavar="FILE", help="The trained policy of ippo or hid (see hisopt.train). [default: the shipped one]"
)
@click.option("--profile", metavar="FILE", help="Parameters that hisopt.profile found, in place of Table II's.")
@click.option("--time-limit", type=float, default=3.0, show_default=True, metavar="S", help="Seconds a solve.")
@click.option("--memory-limit", type=float, default=8.0, show_default=True, metavar="GB", help="Memory a solve.")
@click.option("--threads", type=int, default=1, show_default=True, metavar="K", help="Threads a solve.")
@click.option(
    "--jobs",
    type=int,
    default=1,
    show_default=True,
    metavar="J",
    help="Solves at a time; more than one shares the machine between the times shown.",
)
@click.option(
    "--format",
    "style",
    type=click.Choice(["table", "json", "csv", "latex"]),
    default="table",
    show_default=True,
    help="Format of the results.",
)
@click.option("--output", metavar="FILE", help="Write the results to a file instead of standard output.")
@click.option("--save-instance", metavar="FILE", help="Also write the instance, with what was filled in, as JSON.")
@click.option(
    "--export", metavar="MODEL.{lp,mps,nl}", help="Write the declarative model of one problem, and do not solve."
)
@click.option("--list", "listing", is_flag=True, help="List problems and solvers, and do not solve.")
def _command(**options: Any) -> None:
    """Solve an instance with every solver that can, and check what each claims.

    INSTANCE is a JSON file; without one, a preset is sampled. Every objective shown was computed from the solver's
    decision by one function, and every bound held against every objective. Exit codes: 0; 1, a claim was refuted; 2, bad input.
    """
    raise SystemExit(_list(options["style"]) if options["listing"] else _solve(options))


def main() -> None:
    """Run the command line."""
    run_command(_command, "hisopt.solve")


def _solve(options: dict[str, Any]) -> int:
    from hisopt.errors import InputError
    from hisopt.files import require_writable, write_atomically
    from hisopt.render import to_csv, to_json, to_latex
    from hisopt.solvers.runner import contradictions
    from hisopt.solvers.table import check_names

    _check_numbers(options)
    for name in ("output", "save_instance", "export"):
        if options[name]:
            require_writable(f"--{name.replace('_', '-')}", options[name])
    check_names(options["solvers"])
    instance = _profiled(_instance(options), options["profile"])
    try:
        problems, notes = _problems(instance, options)
    except InputError as error:
        raise InputError(f"{options['instance']}: {error}" if options["instance"] else str(error)) from None
    tasks = [] if options["export"] else _tasks(problems, options["solvers"], options["policy"])
    for line in notes:
        print(f"note: {line}", file=sys.stderr)
    if options["save_instance"]:
        problems[-1].instance.save(options["save_instance"])
    if options["export"]:
        return _export(problems, options["export"])
    runs, interrupted = _run(tasks, options)
    refuted = [line for group in _grouped(runs) for line in contradictions(group)]
    style = options["style"]
    if style == "json":
        text = to_json(_described(problems[-1].instance), runs, refuted, notes)
    elif style == "table":
        text = _table(runs, options["output"])
    else:
        text = to_csv(runs) if style == "csv" else to_latex(runs)
    if options["output"]:
        write_atomically(Path(options["output"]), text)
    else:
        sys.stdout.write(text)
        sys.stdout.flush()
    for line in refuted:
        print(f"REFUTED: {line}", file=sys.stderr)
    if interrupted:
        print(f"hisopt.solve: interrupted, {len(runs)} of {len(tasks)} solves done", file=sys.stderr)
        return 130
    return 1 if refuted else 0


def _check_numbers(options: dict[str, Any]) -> None:
    from hisopt.errors import InputError

    for name in ("time_limit", "memory_limit", "threads", "jobs"):
        value = options[name]
        if not math.isfinite(value) or value <= 0:
            raise InputError(f"--{name.replace('_', '-')}: is {value:g}, must be a positive number")


def _instance(options: dict[str, Any]) -> Instance | IccInstance:
    from hisopt.corpus import load as load_prompts
    from hisopt.errors import InputError
    from hisopt.instance import load
    from hisopt.scenario import PRESETS

    if options["instance"] is not None:
        given = [name for name in ("preset", "users", "clusters", "prompts") if options[name] is not None]
        if given:
            raise InputError(f"--{given[0]}: samples an instance, but {options['instance']} is given")
        if options["seed"] < 0:
            raise InputError(f"--seed: is {options['seed']}, must be >= 0")
        return load(options["instance"])
    preset = options["preset"] or "small"
    if preset not in PRESETS:
        raise InputError(f"--preset: unknown {preset!r}; known are {', '.join(PRESETS)}")
    scenario = PRESETS[preset]
    corpus = load_prompts(options["prompts"]) if options["prompts"] is not None else None
    if corpus is not None and scenario.subjects is None:
        raise InputError(f"--prompts: the preset {preset!r} draws no prompts")
    if options["users"] is not None:
        scenario = scenario.replace(users=options["users"])
    if options["clusters"] is not None:
        scenario = scenario.replace(max_clusters=options["clusters"])
    elif scenario.max_clusters > scenario.users > 0:
        scenario = scenario.replace(max_clusters=scenario.users)
    return scenario.sample(options["seed"], corpus)


def _profiled(instance: Instance | IccInstance, profile: str | None) -> Instance | IccInstance:
    from hisopt.calibration import calibrated, load_profile
    from hisopt.errors import InputError
    from hisopt.instance import Instance

    if profile is None:
        return instance
    if not isinstance(instance, Instance):
        raise InputError("--profile: the ICC model counts CPU cycles, not FLOPs")
    instance, notes = calibrated(instance, load_profile(profile))
    for line in notes:
        print(f"note: {line}", file=sys.stderr)
    return instance


def _problems(instance: Instance | IccInstance, options: dict[str, Any]) -> tuple[list[Problem], list[str]]:
    """Return the problems asked for, on an instance whose missing clusters and steps are filled in, and notes on that."""
    from hisopt.errors import InputError
    from hisopt.instance import Instance
    from hisopt.problem import WITH_SMS, Problem, missing_fields

    for name, value, known in (
        *(("--problem", kind, _KINDS) for kind in options["kinds"]),
        *(("--criterion", criterion, _CRITERIA) for criterion in options["criteria"]),
    ):
        if value not in known:
            raise InputError(f"{name}: unknown {value!r}; known are {', '.join(known)}")
    his = isinstance(instance, Instance)
    kinds = options["kinds"] or (_KINDS[:4] if his else ("clustering", "steps"))
    if options["criteria"] and "clustering" not in kinds:
        raise InputError("--criterion: only clustering has criteria")
    instance, notes = _filled(instance, kinds)
    problems = []
    for kind in dict.fromkeys(kinds):
        missing = missing_fields(kind, instance)
        if missing and not options["kinds"]:
            notes.append(f"{kind} left out: the instance has no {', '.join(missing)}")
            continue
        if kind == "clustering":
            criteria = options["criteria"] or _CRITERIA
            problems += [Problem(kind, instance, criterion) for criterion in dict.fromkeys(criteria)]
            continue
        if options["sms"] != "integer" or kind not in WITH_SMS:
            problems.append(Problem(kind, instance))
        if options["sms"] != "real" and kind in WITH_SMS:
            problems.append(Problem(kind, instance, integer_sms=True))
    if not problems:
        raise InputError("the instance has too little data for any problem: " + "; ".join(notes))
    return problems, notes


def _filled(instance: Instance | IccInstance, kinds: Any) -> tuple[Instance | IccInstance, list[str]]:
    from hisopt.instance import Instance
    from hisopt.solvers.hac import clustered

    notes = []
    if any(kind in ("allocation", "joint", "steps") for kind in kinds):
        if instance.clusters is None and instance.embeddings is not None:
            instance = clustered(instance)
            notes.append("no clusters given: those of HAC are used where a problem takes them as given")
        if (
            "allocation" in kinds
            and isinstance(instance, Instance)
            and instance.given_common is None
            and instance.given_edge is None
        ):
            common, edge = instance.steps.middle()
            instance = instance.replace(given_common=[common] * instance.users, given_edge=[edge] * instance.users)
            notes.append(f"no steps given: allocation takes x = {common} and y = {edge} for every user")
    return instance, notes


def _tasks(problems: list[Problem], names: tuple[str, ...], policy: str | None) -> list[tuple[Problem, type[Solver]]]:
    from hisopt.errors import InputError
    from hisopt.solvers.learned import trained
    from hisopt.solvers.table import select

    tasks = [(p, solver) for p in problems for solver in select(p.kind, names) if solver.serves(p)]
    if policy is not None:
        own = trained(policy)
        if all(solver.name != own.name for _, solver in tasks):
            raise InputError(f"--policy: {policy} is a policy of {own.name}, which is not among the solvers asked for")
        tasks = [(p, own if solver.name == own.name else solver) for p, solver in tasks]
    used = {solver.name for _, solver in tasks} | {getattr(solver, "_source", "") for _, solver in tasks}
    for name in names:
        if name not in used:
            raise InputError(f"--solver: {name} does not serve {'; '.join(p.label for p in problems)} on this instance")
    if not tasks:
        raise InputError(f"no solver serves {'; '.join(p.label for p in problems)} on this instance")
    return tasks


def _run(tasks: list[tuple[Problem, type[Solver]]], options: dict[str, Any]) -> tuple[list[Run], bool]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from hisopt.result import Limits
    from hisopt.solvers.runner import Runner

    limits = Limits(options["time_limit"], options["memory_limit"], options["threads"], options["seed"])
    runs: list[Run] = []
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with (
        Progress(*columns, console=Console(stderr=True), transient=True) as progress,
        Runner(limits, options["jobs"]) as runner,
    ):
        bar = progress.add_task("", total=len(tasks))

        def show() -> None:
            if len(runs) < len(tasks):
                problem, solver = tasks[len(runs)]
                progress.update(bar, completed=len(runs), description=f"{problem.label}: {solver.name}")

        show()
        try:
            for run in runner.run_all(tasks):
                runs.append(run)
                show()
        except KeyboardInterrupt:
            return runs, True
    return runs, False


def _table(runs: list[Run], output: str | None) -> str:
    import shutil

    from hisopt.render import to_table

    terminal = sys.stdout.isatty() and not output
    width = shutil.get_terminal_size().columns if terminal else 120
    notes = {group[0].problem: _remarks(group) for group in _grouped(runs)}
    return to_table(runs, notes, max(width, 100), terminal)


def _remarks(group: list[Run]) -> list[str]:
    """What a reader must know about one problem's results."""
    from hisopt.result import Termination

    problem = group[0].problem
    for run in group:
        decision = run.decision
        if run.termination is Termination.OPTIMAL and decision is not None and problem.criterion == "sum":
            assert decision.clusters is not None
            if len(set(decision.clusters.tolist())) == 1 < problem.instance.max_clusters:
                return [
                    "The proven optimum of 'sum' puts all users into one cluster: the program as printed is degenerate "
                    "here, and a gap to it says nothing about a heuristic. Judge by 'mean' and 'centroid'."
                ]
    return []


def _grouped(runs: list[Run]) -> list[list[Run]]:
    from hisopt.render import grouped

    return list(grouped(runs).values())


def _described(instance: Instance | IccInstance) -> dict[str, Any]:
    about = {"model": type(instance).model, "hash": instance.content_hash}
    if instance.users >= 20_000:
        return about | {"users": instance.users, "max_clusters": instance.max_clusters}
    return about | instance.model_dump(mode="json", exclude_none=True)


def _export(problems: list[Problem], target: str) -> int:
    from hisopt.errors import InputError
    from hisopt.models.export import write

    if len(problems) != 1:
        raise InputError(
            f"--export: writes one model; choose among {'; '.join(p.label for p in problems)} "
            "with --problem, --criterion and --sms"
        )
    write(problems[0], target)
    return 0


def _list(style: str) -> int:
    import json

    from hisopt.solvers.table import TABLE, registered

    rows = [
        (
            kind,
            solver.name,
            solver.guarantee.value,
            solver.unavailable() or "yes",
            (solver.__doc__ or "").splitlines()[0],
        )
        for kind in TABLE
        for solver in registered(kind)
    ]
    columns = ("problem", "solver", "guarantee", "available", "what it does")
    if style == "json":
        print(json.dumps([dict(zip(columns, row, strict=True)) for row in rows]))
        return 0
    if style == "csv":
        import csv

        csv.writer(sys.stdout).writerows([columns, *rows])
        return 0
    widths = [max(len(row[i]) for row in (columns, *rows)) for i in range(4)]
    for row in (columns, *rows):
        print("  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[4]]))
    return 0


if __name__ == "__main__":
    main()
