"""``python -m hisopt.check``: evaluate a decision that someone else made, and hold its claims against it."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hisopt import __version__
from hisopt.commands.common import run_command, taking
from hisopt.errors import InputError, missing_package

if TYPE_CHECKING:
    from hisopt.commands.decisions import Given
    from hisopt.problems import Evaluation, Problem
    from hisopt.solvers.run.runner import Run

CLAIM = 1e-5  # how far a claimed objective may lie off, relative: a solution file's integers and rows have tolerances


@dataclass(frozen=True)
class CheckOptions:
    """What the command line says, a field an option; None and () stand for what was not given."""

    instance: str
    decision: str
    map: str | None = None
    kinds: tuple[str, ...] = ()
    criteria: tuple[str, ...] = ()
    sms: str | None = None
    solvers: tuple[str, ...] = ()
    time_limit: float = 3.0
    style: str = "text"
    output: str | None = None


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.argument("instance", metavar="INSTANCE")
@click.argument("decision", metavar="DECISION")
@click.option("--map", metavar="FILE", help="Of a solution file: the map that --export put beside the model. "
              "[default: the one *.map.json beside DECISION, or beside it under its name]")  # fmt: skip
@click.option(
    "--problem", "kinds", multiple=True, metavar="KIND", help="What the decision is for, where that is not plain."
)
@click.option("--criterion", "criteria", multiple=True, metavar="NAME", help="Of clustering.")
@click.option("--sms", type=click.Choice(["real", "integer"]), help="SMs as real or whole numbers. [default: real]")
@click.option(
    "--solver",
    "solvers",
    multiple=True,
    metavar="NAME",
    help="Also solve, to say how far the decision is from the bounds; repeatable.",
)
@click.option("--time-limit", type=float, default=3.0, show_default=True, metavar="S", help="Seconds a solve.")
@click.option("--format", "style", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option("--output", metavar="FILE", help="Write the result to a file instead of standard output.")
@click.version_option(__version__, prog_name="hisopt")
@taking(CheckOptions)
def _command(options: CheckOptions) -> None:
    """Evaluate a decision for an instance, whoever made it.

    INSTANCE is a JSON file as for `hisopt solve`. DECISION is JSON with the fields clusters, steps_common, steps_edge,
    steps_device, sms, policy (those that the problem decides), or a record with these under 'decision'; or a solution file
    that HiGHS, SCIP, Gurobi or CBC wrote for a model of --export. An objective that the file claims is held against the
    evaluation. Exit codes: 0, feasible; 1, infeasible, or a claim is refuted; 2, bad input.
    """
    raise SystemExit(_check(options))


def main() -> None:
    """Run the command line."""
    try:
        run_command(_command, "hisopt.check")
    except ImportError as error:
        missing_package("hisopt.check", error)


def _check(options: CheckOptions) -> int:
    from hisopt.files import deliver, require_writable
    from hisopt.solvers.registry import check_names

    if options.output is not None:
        require_writable("--output", options.output)
    if not 0 < options.time_limit < float("inf"):
        raise InputError(f"--time-limit: is {options.time_limit:g}, must be a positive number")
    check_names(options.solvers)
    problem, given = _given(options)
    found = problem.evaluate(given.decision)
    runs = _solved(problem, options)
    wrong = [*found.violations, *given.faults, *_refuted(problem, given, found, runs)]
    told = _told(problem, given, found, runs, wrong)
    if options.style == "json":
        import json

        text = json.dumps(told, indent=1, allow_nan=False) + "\n"
    else:
        text = _text(told, options)
    deliver(text, options.output, ".json" if options.style == "json" else ".txt")
    return 1 if wrong else 0


def _given(options: CheckOptions) -> tuple[Problem, Given]:
    from hisopt.commands import decisions
    from hisopt.commands.request import check_words
    from hisopt.instances.files import load

    check_words(options.kinds, options.criteria)
    instance, path = load(options.instance), Path(options.decision)
    if not decisions.is_json(path):
        return _solution(options, instance, path)
    if options.map is not None:
        raise InputError(f"--map: is for solution files; {path} is JSON")
    document = decisions.document_of(path)
    whole = document.get("integer_sms") is True or str(document.get("problem", "")).endswith("integer SMs")
    sms = options.sms or ("integer" if whole else "real")
    kinds = options.kinds
    if not kinds and isinstance(document.get("problem"), str):
        kinds = (document["problem"].partition(",")[0],)
        check_words(kinds, ())
    problems = _problems(instance, kinds, options.criteria, sms)
    problem = decisions.problem_for(problems, document, path, chosen=bool(options.kinds))
    steps = getattr(getattr(problem, "instance", None), "steps", None)
    decision = decisions.decision_in(document, path, getattr(steps, "total", None))
    claimed, bound = (decisions.number_in(document, name, path) for name in ("objective", "bound"))
    return problem, decisions.Given(decision, "", claimed, bound)


def _problems(instance: Any, kinds: tuple[str, ...], criteria: tuple[str, ...], sms: str) -> list[Problem]:
    from hisopt.commands.request import problems_on
    from hisopt.instances import MegInstance
    from hisopt.problems import Meg, problem_of

    if isinstance(instance, MegInstance):
        return [problem_of(kind, instance) for kind in kinds] if kinds else [Meg(instance)]
    _, problems, notes = problems_on(instance, kinds, criteria, sms)
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    return problems


def _solution(options: CheckOptions, instance: Any, path: Path) -> tuple[Problem, Given]:
    """Return the problem that a solution file's map names, and the decision in it."""
    from hisopt.commands.decisions import Given
    from hisopt.models.readback import decision_of, load_map
    from hisopt.models.solution_files import read

    for name in ("kinds", "criteria", "sms"):
        if getattr(options, name):
            raise InputError(f"{path}: its map says which problem it is for; leave out the options that say it, too")
    solution = read(path)
    known = load_map(_map_of(options, path))
    said = known.problem
    kind, criterion = str(said.get("problem")), said.get("criterion")
    sms = "integer" if said.get("integer_sms") is True else "real"
    problem = _problems(instance, (kind,), (criterion,) if isinstance(criterion, str) else (), sms)[0]
    found = decision_of(problem, known, solution, str(path))
    return problem, Given(found.decision, solution.program, solution.objective, None, found.faults)


def _map_of(options: CheckOptions, path: Path) -> Path:
    from hisopt.models.export import MAP

    if options.map is not None:
        return Path(options.map)
    beside = sorted(path.parent.glob(f"*{MAP}"))
    own = [file for file in beside if file.name.partition(".")[0] == path.name.partition(".")[0]]
    for files in (own, beside):
        if len(files) == 1:
            return files[0]
    found = "several lie" if beside else "none lies"
    raise InputError(f"{path}: a solution file needs its model's map, and {found} beside it; give --map")


def _solved(problem: Problem, options: CheckOptions) -> list[Run]:
    from hisopt.commands.request import tasks
    from hisopt.result import Limits
    from hisopt.solvers.run.runner import Runner

    if not options.solvers:
        return []
    work = tasks([problem], options.solvers, None)
    with Runner(Limits(options.time_limit)) as runner:
        return list(runner.run_all(work))


def _refuted(problem: Problem, given: Given, found: Evaluation, runs: list[Run]) -> list[str]:
    """Return what is wrong in the claims of the decision's file, and in those of the solvers asked for."""
    from hisopt.result import relative_gap
    from hisopt.solvers.run.runner import beats, contradictions

    lines = contradictions(runs)
    value = found.objective
    if given.claimed is not None and value is None:
        lines.append(f"the objective {given.claimed:.9g} is claimed of what has none")
    if value is None:
        return lines
    if given.claimed is not None and relative_gap(given.claimed, value, found.scale) > CLAIM:
        lines.append(f"the objective {given.claimed:.9g} is claimed, its decision has {value:.9g}")
    if not found.feasible:
        return lines
    for who, bound in (("its own", given.bound), *((f"{run.solver.label}'s", run.bound) for run in runs)):
        if bound is not None and beats(problem, value, bound, found.scale):
            lines.append(f"the objective {value:.9g} lies beyond {who} bound {bound:.9g}")
    return lines


def _told(problem: Problem, given: Given, found: Evaluation, runs: list[Run], wrong: list[str]) -> dict[str, Any]:
    from hisopt.commands.render import best_bound
    from hisopt.result import relative_gap

    bound = best_bound(runs) if runs else given.bound
    value = found.objective
    gap = None
    if value is not None and bound is not None and found.feasible:
        gap = relative_gap(value, bound, found.scale)
    return {
        **problem.record(), "maximise": problem.maximise, "hash": problem.content_hash, "program": given.program,
        "feasible": found.feasible, "objective": value, "parts": found.parts, "claimed": given.claimed, "bound": bound,
        "gap": gap, "wrong": wrong, "decision": given.decision.to_dict(),
        "solvers": [{"solver": r.solver.label, "termination": r.termination.value, "objective": r.objective, "bound": r.bound}
                    for r in runs],
        "label": problem.label,
    }  # fmt: skip


def _text(told: dict[str, Any], options: CheckOptions) -> str:
    sense = "larger is better" if told["maximise"] else "smaller is better"
    by = f" of {told['program']}" if told["program"] else ""
    lines = [f"{told['label']} on {options.instance} ({sense})", f"{options.decision}{by}:"]
    feasible = "feasible" if told["feasible"] else "INFEASIBLE"
    value = "no objective" if told["objective"] is None else f"objective {told['objective']:.9g}"
    lines.append(f"  {feasible}, {value}")
    if told["claimed"] is not None:
        lines.append(f"  claimed objective {told['claimed']:.9g}")
    if told["gap"] is not None:
        lines.append(f"  bound {told['bound']:.9g}, gap {100 * told['gap']:.3g} %")
    lines += [f"  {name}: {number:.6g}" for name, number in told["parts"].items()]
    lines += [
        f"  {run['solver']}: {run['termination']}" + "".join(
            f", {name} {run[name]:.9g}" for name in ("objective", "bound") if run[name] is not None)
        for run in told["solvers"]
    ]  # fmt: skip
    return "\n".join(lines + [f"  WRONG: {line}" for line in told["wrong"]]) + "\n"
