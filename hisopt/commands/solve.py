"""``python -m hisopt.solve``: solve an instance with every solver that can, and check what each claims."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hisopt import __version__
from hisopt.commands.common import flag, run_command, taking
from hisopt.commands.solve_options import SolveOptions
from hisopt.errors import missing_package

if TYPE_CHECKING:
    from collections.abc import Callable

    from hisopt.commands.render import Results
    from hisopt.commands.request import Setting
    from hisopt.problems import Problem

_SUFFIXES = {".json": "json", ".csv": "csv", ".tex": "latex"}

_KINDS = ("clustering", "allocation", "joint", "full", "steps", "meg")
_CRITERIA = ("mean", "centroid", "sum", "sse")
_PRESETS = ("small", "paper", "icc", "calibrated", "large", "meg", "meg-markov", "meg-centralised")


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.argument("instance", required=False, metavar="[INSTANCE]")
@click.option("--preset", metavar="NAME", help=f"Sample a scenario: {', '.join(_PRESETS)}. [default: small]")
@click.option("--users", type=int, metavar="N", help="Users, instead of the preset's; its SMs scale along.")
@click.option("--clusters", type=int, metavar="M", help="Largest number of clusters, instead of the preset's.")
@click.option(
    "--seed",
    "seeds",
    type=int,
    multiple=True,
    metavar="S",
    help="Seed of the sample and of the solvers; repeatable, each is run. [default: 0]",
)
@click.option(
    "--prompts",
    metavar="FILE",
    help="Users with your own prompts, all of them or --users: CSV or TSV with a column 'prompt' or 'text', or one a line.",
)
@click.option(
    "--embeddings",
    metavar="FILE",
    help="Embeddings of any model (.npy, CSV), a row a user: of a sample, of --prompts or of INSTANCE.",
)
@click.option("--normalise", is_flag=True, help="Scale the embeddings given, or points, to norm 1.")
@click.option("--standardise", is_flag=True, help="Shift and scale each feature of points to mean 0 and variance 1.")
@click.option("--columns", metavar="NAMES", help="Features of points, by name, with commas. [default: all columns]")
@click.option(
    "--constraints",
    metavar="FILE",
    help="Of points: pairs that must or cannot share a cluster (CSV: two row numbers from 0, must-link or cannot-link; "
    "or JSON), and sizes (JSON: size_min, size_max).",
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
    help=f"Of clustering: {', '.join(_CRITERIA)} (the sum of squares); repeatable. [default: sse of points, else the others]",
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
    "--policy",
    metavar="FILE",
    help="The trained policy of ippo, hid or for meg (see hisopt.train). [default: the shipped one]",
)
@click.option(
    "--profile",
    metavar="FILE|NAME",
    help="Parameters that hisopt.profile found, or a100-mlenergy or h100-mlenergy, in place of Table II's.",
)
@click.option("--quality", metavar="FILE", help="Quality table fitted by hisopt.fit, in place of the instance's.")
@click.option("--weights", metavar="Q,D,E", help="Weights of quality, delay (s) and energy (J), as in 1,0.01,3e-6.")
@click.option("--modules", metavar="NAMES", help="Quality with the modules ('sim,npi') or without ('none').")
@click.option(
    "--public-prompt",
    metavar="NAME",
    help="How public prompts come about: ideal, affine, medoid, extracted (from the members' words) or random (a member).",
)
@click.option(
    "--scheme",
    "schemes",
    multiple=True,
    metavar="NAME",
    help="Compare schemes end to end: his, hid, ppgfis, cfis, iis, iis-alone, uniform, cached or all; repeatable.",
)
@click.option(
    "--members",
    type=int,
    default=5,
    show_default=True,
    metavar="K",
    help="--scheme: draws of random members, averaged.",
)
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
    help="Format of the results. [default: by the suffix of --output (.json, .csv, .tex), else table]",
)
@click.option(
    "--output", metavar="FILE", help="Write the results to a file, device or pipe instead of standard output."
)
@click.option(
    "--save-instance",
    metavar="FILE",
    help="Also write the instance, with what was filled in, as JSON; its embeddings go beside it, as .npy.",
)
@click.option(
    "--export", metavar="MODEL.{lp,mps,nl}", help="Write the declarative model of one problem, and do not solve."
)
@click.option("--verbose", is_flag=True, help="Show what solvers print, and the traceback of one that fails.")
@click.option("--list", "listing", is_flag=True, help="List problems and solvers, and do not solve.")
@click.option("--schema", is_flag=True, help="Print the JSON Schema of INSTANCE, and do not solve.")
@click.option("--example", is_flag=True, help="Print an INSTANCE of ten lines to start from, and do not solve.")
@click.option(
    "--explain", type=click.Choice(["parameters"]), help="Say of every parameter whose number it is, and do not solve."
)
@click.version_option(__version__, prog_name="hisopt")
@taking(SolveOptions)
def _command(options: SolveOptions) -> None:
    """Solve an instance with every solver that can, and check what each claims.

    INSTANCE is a JSON file (see --example, --schema), JSON results of this program, or points to be clustered (.csv, .tsv,
    .npy, .parquet; with --clusters); without one, a preset is sampled. Every objective shown was computed from the solver's
    decision by one function, and every bound held against every objective. Exit codes: 0; 1, a claim was refuted; 2, bad input.
    """
    from hisopt.commands import listing

    if options.explain:
        listing.print_parameters()
    elif options.listing:
        listing.print_solvers(options.style)
    elif options.schema:
        listing.print_schema()
    elif options.example:
        listing.print_example()
    else:
        raise SystemExit(_solve(options))


def main() -> None:
    """Run the command line."""
    try:
        run_command(_command, "hisopt.solve")
    except ImportError as error:
        missing_package("hisopt.solve", error)


def _solve(options: SolveOptions) -> int:
    from hisopt.commands.request import settings, tasks
    from hisopt.commands.solving import solve_all
    from hisopt.files import deliver, require_writable
    from hisopt.solvers.registry import check_names
    from hisopt.solvers.run.runner import contradictions

    options.check()
    for name, path in (
        ("output", options.output),
        ("save_instance", options.save_instance),
        ("export", options.export),
    ):
        if path is not None:
            require_writable(flag(name), path)
    check_names(options.solvers)
    if options.schemes:
        return _compare_schemes(options)
    found = settings(options)
    work = [] if options.export else [tasks(s.problems, options.solvers, options.policy) for s in found]
    notes = _begun(found, options)
    if options.export:
        return _export(found[0].problems, options.export)
    write = _writer(options)
    results, interrupted = solve_all(found, work, options)
    from hisopt.commands.render import grouped

    refuted = [line for _, runs in results for group in grouped(runs).values() for line in contradictions(group)]
    suffix, text = write(results, refuted, notes)
    deliver(text, options.output, suffix)
    for line in refuted:
        print(f"REFUTED: {line}", file=sys.stderr)
    if interrupted:
        done, total = sum(len(runs) for _, runs in results), sum(map(len, work))
        print(f"hisopt.solve: interrupted, {done} of {total} solves done", file=sys.stderr)
        return 130
    return 1 if refuted else 0


def _begun(found: list[Setting], options: SolveOptions) -> list[str]:
    """Print and return the notes on what was filled in; save the instance where that is asked for."""
    from hisopt.instances.files import save
    from hisopt.points import PointSet

    notes = list(dict.fromkeys(line for setting in found for line in setting.notes))
    for line in notes:
        print(f"note: {line}", file=sys.stderr)
    if options.save_instance:
        instance = found[0].instance
        assert not isinstance(instance, PointSet), "refused with the options"
        save(instance, options.save_instance)
    return notes


def _style(options: SolveOptions) -> str:
    return options.style or _SUFFIXES.get(Path(options.output or "").suffix.lower(), "table")


def _compare_schemes(options: SolveOptions) -> int:
    from hisopt.commands import schemes
    from hisopt.commands.request import settings
    from hisopt.commands.tables import width_and_charset
    from hisopt.files import deliver

    chosen = schemes.asked(options)
    found = schemes.without_problems(settings(options))
    notes = _begun(found, options)
    results, interrupted = schemes.compare(found, chosen, options)
    style = _style(options)
    suffix = {"table": ".txt", "latex": ".tex"}.get(style, f".{style}")
    width, colour, plain = width_and_charset(to_file=options.output is not None)
    text = schemes.text_of(found, results, style, notes, width, colour=colour, ascii_only=plain)
    deliver(text, options.output, suffix)
    if interrupted:
        print("hisopt.solve: interrupted, the schemes above are done", file=sys.stderr)
        return 130
    return 0 if all(row.checked for rows in results for row in rows) else 1


def _writer(options: SolveOptions) -> Callable[[Results, list[str], list[str]], tuple[str, str]]:
    """Return what turns results into a suffix and a text; its imports are made before long work begins."""
    from hisopt.commands.render import to_csv, to_json, to_latex
    from hisopt.commands.tables import to_table, width_and_charset

    style = _style(options)

    def write(results: Results, refuted: list[str], notes: list[str]) -> tuple[str, str]:
        if style == "json":
            return ".json", to_json(results, refuted, notes)
        if style == "csv":
            return ".csv", to_csv(results)
        if style == "latex":
            return ".tex", to_latex(results)
        width, colour, plain = width_and_charset(to_file=options.output is not None)
        return ".txt", to_table(results, width, colour=colour, ascii_only=plain)

    return write


def _export(problems: tuple[Problem, ...], target: str) -> int:
    from hisopt.errors import InputError
    from hisopt.models.export import write

    if len(problems) != 1:
        raise InputError(
            f"--export: writes one model; choose among {'; '.join(p.label for p in problems)} "
            "with --problem, --criterion and --sms"
        )
    write(problems[0], target)
    return 0
