"""``python -m hisopt.benchopt``: a benchmark folder for benchopt, whose solvers and judge are hisopt's."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hisopt import __version__
from hisopt.commands.common import require_at_least, run_command, taking
from hisopt.errors import InputError, missing_package

if TYPE_CHECKING:
    from hisopt.problems import Problem

_OBJECTIVE = '''"""{label} on instances of hisopt: decisions are evaluated, bounds held against them."""

from benchopt import BaseObjective

from hisopt.commands.benchopt import judged


class Objective(BaseObjective):
    name = "hisopt: {label}"
    min_benchopt_version = "1.6"
    requirements = ["pip::hisopt"]
    sampling_strategy = "run_once"

    def set_data(self, problem):
        self.problem = problem

    def get_objective(self):
        return dict(problem=self.problem)

    def evaluate_result(self, decision, bound, seconds):
        return judged(self.problem, decision, bound, seconds)

    def get_one_result(self):
        return dict(decision=None, bound=None, seconds=None)
'''
_DATASET = '''"""Samples of the preset {preset!r}."""

from benchopt import BaseDataset

from hisopt.commands.benchopt import problem


class Dataset(BaseDataset):
    name = "{preset}"
    parameters = {{"draw": {seeds}}}
    requirements = ["pip::hisopt"]

    def get_data(self):
        return dict(problem=problem({preset!r}, self.draw, {kind!r}, {criterion!r}, {whole!r}))
'''
_SOLVER = '''"""{doc}"""

from benchopt import BaseSolver

from hisopt.commands.benchopt import solved


class Solver(BaseSolver):
    name = "{name}"
    parameters = {{"time_limit": [{time_limit!r}]}}
    requirements = ["pip::hisopt"]
    sampling_strategy = "run_once"

    def set_objective(self, problem):
        self.problem = problem

    def run(self, _):
        # in a process of its own, with limits that hold from outside; benchopt's clock counts its start, ``seconds`` do not
        self.done = solved(self.problem, {asked!r}, self.time_limit)

    def get_result(self):
        return dict(decision=self.done.decision, bound=self.done.bound, seconds=self.done.seconds)
'''


@dataclass(frozen=True)
class BenchoptOptions:
    """What the command line says, a field an option; None and () stand for what was not given."""

    folder: str
    preset: str = "small"
    seeds: int = 3
    kind: str = "joint"
    criterion: str | None = None
    sms: str = "real"
    solvers: tuple[str, ...] = ()
    time_limit: float = 3.0


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.argument("folder", metavar="DIR")
@click.option("--preset", default="small", show_default=True, metavar="NAME", help="Where instances are drawn from.")
@click.option("--seeds", type=int, default=3, show_default=True, metavar="K", help="Instances: seeds 0 .. K-1.")
@click.option("--problem", "kind", default="joint", show_default=True, metavar="KIND", help="One a benchmark.")
@click.option("--criterion", metavar="NAME", help="Of clustering. [default: mean]")
@click.option("--sms", type=click.Choice(["real", "integer"]), default="real", show_default=True)
@click.option(
    "--solver", "solvers", multiple=True, metavar="NAME[:OPTION=VALUE,...]", help="Repeatable. [default: all]"
)
@click.option("--time-limit", type=float, default=3.0, show_default=True, metavar="S", help="Seconds a solve.")
@click.version_option(__version__, prog_name="hisopt")
@taking(BenchoptOptions)
def _command(options: BenchoptOptions) -> None:
    """Write a benchmark folder for benchopt: objective.py, datasets/ and solvers/.

    DIR must be new or empty. Run it with `benchopt run DIR`; add your own solvers and datasets as benchopt has it. A solver's
    ``run`` is a solve of hisopt in a process of its own; what it decides is evaluated by the objective.
    """
    _write(options)


def main() -> None:
    """Run the command line."""
    try:
        run_command(_command, "hisopt.benchopt")
    except ImportError as error:
        missing_package("hisopt.benchopt", error)


def _write(options: BenchoptOptions) -> None:
    from hisopt.commands.request import check_words, tasks
    from hisopt.files import write_atomically
    from hisopt.instances.scenario import MEG_PRESETS, PRESETS
    from hisopt.solvers.registry import check_names

    require_at_least(1, options, "seeds")
    if not 0 < options.time_limit < float("inf"):
        raise InputError(f"--time-limit: is {options.time_limit:g}, must be a positive number")
    if options.preset not in PRESETS and options.preset not in MEG_PRESETS:
        raise InputError(f"--preset: unknown {options.preset!r}; known are {', '.join((*PRESETS, *MEG_PRESETS))}")
    criterion = options.criterion or ("mean" if options.kind == "clustering" else None)
    check_words((options.kind,), () if criterion is None else (criterion,))
    check_names(options.solvers)
    whole = options.sms == "integer"
    posed = problem(options.preset, 0, options.kind, criterion, whole)
    chosen = list(tasks([posed], options.solvers, None))
    folder = Path(options.folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise InputError(f"{folder}: is not empty")
        for name in ("datasets", "solvers"):
            (folder / name).mkdir()
    except OSError as error:
        raise InputError(f"{folder}: {error.strerror}") from None
    write_atomically(folder / "objective.py", _OBJECTIVE.format(label=posed.label))
    seeds = list(range(options.seeds))
    write_atomically(
        folder / "datasets" / f"{_file(options.preset)}.py",
        _DATASET.format(preset=options.preset, seeds=seeds, kind=options.kind, criterion=criterion, whole=whole),
    )
    for _, solver in chosen:
        # benchopt reads = , [ ] in names as parameters
        name = re.sub(r"[^\w.+-]+", "-", solver.label)
        doc = (solver.__doc__ or solver.name).splitlines()[0].replace('"', "'").replace("\\", "/")
        text = _SOLVER.format(doc=doc, name=name, time_limit=options.time_limit, asked=solver.label)
        write_atomically(folder / "solvers" / f"{_file(name)}.py", text)
    print(f"{folder}: {len(chosen)} solvers, {options.seeds} instances; benchopt run {folder}", file=sys.stderr)


def _file(name: str) -> str:
    return re.sub(r"\W+", "_", name)


def problem(preset: str, seed: int, kind: str, criterion: str | None, whole: bool) -> Problem:
    """Return a problem on a sample of a preset; for generated benchmarks."""
    from hisopt.commands.request import problems_on
    from hisopt.instances.scenario import MEG_PRESETS, PRESETS
    from hisopt.problems import problem_of

    if preset in MEG_PRESETS:
        return problem_of(kind, MEG_PRESETS[preset].sample(seed))
    criteria = () if criterion is None else (criterion,)
    _, problems, _ = problems_on(PRESETS[preset].sample(seed), (kind,), criteria, "integer" if whole else "real")
    return problems[0]


def solved(posed: Problem, solver: str, time_limit: float) -> object:
    """Return the checked run of a solver in a process of its own; for generated benchmarks."""
    from hisopt.solvers.run.api import run

    return run(posed, solver, time_limit=time_limit)


def judged(posed: Problem, decision: object, bound: float | None, seconds: float | None) -> dict[str, float]:
    """Return what benchopt records of a decision: ``value`` is minimised, infinite where there is none that is feasible.

    ``gap`` is that to the solver's own bound, and ``refuted`` whether the objective lies beyond it.
    """
    from hisopt.decision import Decision
    from hisopt.result import relative_gap
    from hisopt.solvers.run.runner import beats

    nothing = float("inf")
    found = posed.evaluate(decision) if isinstance(decision, Decision) else None
    told = {
        "value": nothing,
        "feasible": 0.0,
        "gap": nothing,
        "refuted": 0.0,
        "seconds": nothing if seconds is None else seconds,
    }
    if found is None or not found.feasible or found.objective is None:
        return told
    told |= {"value": -found.objective if posed.maximise else found.objective, "feasible": 1.0}
    if bound is not None:
        told["gap"] = relative_gap(found.objective, bound, found.scale)
        told["refuted"] = float(beats(posed, found.objective, bound, found.scale))
    return told
