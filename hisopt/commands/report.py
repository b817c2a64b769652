"""``python -m hisopt.report``: the records of a campaign as one page, or as tables for a paper."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hisopt import __version__
from hisopt.commands.common import run_command, taking
from hisopt.errors import InputError, missing_package

if TYPE_CHECKING:
    from hisopt.reporting.records import Records

FORMATS = ("html", "latex", "markdown", "csv", "paver", "solu")
_SUFFIX = {"html": ".html", "latex": ".tex", "markdown": ".md", "csv": ".csv", "paver": ".trc", "solu": ".solu"}


@dataclass(frozen=True)
class ReportOptions:
    """What the command line says, a field an option; None and () stand for what was not given."""

    records: tuple[str, ...] = ()
    output: str | None = None
    style: str | None = None
    verdicts: str | None = None

    @property
    def form(self) -> str:
        """The format: what was asked for, else what the output's name says, else html."""
        if self.style is not None:
            return self.style
        ending = Path(self.output or "").suffix
        return next((form for form, suffix in _SUFFIX.items() if suffix == ending), "html")


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.argument("records", nargs=-1, metavar="[RECORDS]...")
@click.option("--output", "-o", metavar="FILE",
              help="Where it goes; - for standard output. [default: report.html; standard output for tables]")  # fmt: skip
@click.option("--format", "style", type=click.Choice(FORMATS), help="[default: by the output's name, else html]")
@click.option("--verdicts", metavar="FILE.md",
              help="Verdicts on the papers to show below; none for none. [default: this checkout's, if it has them]")  # fmt: skip
@click.version_option(__version__, prog_name="hisopt")
@taking(ReportOptions)
def _command(options: ReportOptions) -> None:
    """Report what records say: one HTML file that needs no network, or tables for a paper.

    RECORDS are folders or files that `hisopt compare` wrote; ./records if none is named. The page has contradictions
    first, then each problem's summary, profiles, integrals, gaps over seeds and sizes, and all records, sorted and
    filtered as you like. latex, markdown and csv give the summary of each solver; paver is a trace
    file of all solves, solu what is known of each instance. Exit codes: 0; 1, records refute a
    claim; 2, bad input.
    """
    raise SystemExit(_report(options))


def main() -> None:
    """Run the command line."""
    try:
        run_command(_command, "hisopt.report", extra="report")
    except ImportError as error:
        missing_package("hisopt.report", error)


def _report(options: ReportOptions) -> int:
    from hisopt.analysis import contradictions
    from hisopt.campaign.records import read
    from hisopt.files import deliver, require_writable
    from hisopt.reporting.records import prepared

    form, names = options.form, options.records or ("records",)
    target = options.output or ("report.html" if form == "html" else "-")
    if target != "-":
        require_writable("--output", target)
    plain = list(read([Path(name) for name in names]))
    records = prepared(plain, ", ".join(names))
    deliver(_text(form, records, plain, options, names), None if target == "-" else target, _SUFFIX[form])
    refuted = len(contradictions(records.table))
    if refuted:
        print(f"{refuted} contradictions: see the report", file=sys.stderr)
    if target != "-":
        print(f"{len(plain):,} records, {len(records.solvers)} solvers: {target}", file=sys.stderr)
    return 1 if refuted else 0


def _text(
    form: str, records: Records, plain: list[dict[str, Any]], options: ReportOptions, names: tuple[str, ...]
) -> str:
    from hisopt.reporting import exchange, tables

    if form != "html":
        return {
            "latex": tables.to_latex, "markdown": tables.to_markdown, "csv": tables.to_csv,
            "paver": exchange.to_paver, "solu": exchange.to_solu,
        }[form](records)  # fmt: skip
    from hisopt.commands.optimality import residuals
    from hisopt.reporting.page import Extra, page

    verdicts = _verdicts(options.verdicts)
    found, remark = residuals(plain)
    return page(records, Extra(shlex.join(["hisopt", "report", *names]), found, remark, verdicts))


def _verdicts(name: str | None) -> str:
    """The page of verdicts that is named, or the checkout's; "" for none."""
    import hisopt

    if name == "none":
        return ""
    path = Path(hisopt.__file__).parent / "experiments" / "papers" / "VERDICTS.md" if name is None else Path(name)
    if name is None and not path.is_file():
        return ""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"--verdicts: {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"--verdicts: {path}: is not UTF-8 text") from None
