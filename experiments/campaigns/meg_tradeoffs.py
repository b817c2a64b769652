"""``python -m hisopt.experiments.campaigns.meg_tradeoffs``: the optimum of MEG by bins, limits and resolution.

Prints tables in Markdown; ``--figure`` draws the latency-energy-quality front.
"""

from __future__ import annotations

from pathlib import Path

import click

from hisopt.commands.common import run_command
from hisopt.experiments.campaigns import meg_binning, meg_centralised, meg_front
from hisopt.files import save_figure, write_atomically


def report(*, quick: bool) -> str:
    """Return the whole report."""
    return "\n".join([
        "# Mobile edge generation: bins, limits, resolutions",
        "",
        "Made by `python -m hisopt.experiments.campaigns.meg_tradeoffs --output FILE`; the preset `meg` unless said otherwise, "
        "every number a proven optimum or exact mean.",
        "",
        "## Bins",
        "",
        meg_binning.report(quick=quick),
        "",
        "## Limits",
        "",
        meg_front.report(2 if quick else 4),
        "",
        "## Against centralised generation",
        "",
        meg_centralised.report((1024,) if quick else meg_centralised.SIDES),
        "",
    ])  # fmt: skip


@click.command()
@click.option("--quick", is_flag=True, help="Few bins, limits and resolutions, in seconds.")
@click.option("--output", type=click.Path(path_type=Path), metavar="FILE", help="Write the report as well.")
@click.option(
    "--figure", type=click.Path(path_type=Path), metavar="FILE",
    help="Draw the front as SVG and PDF, under this path without suffix.",
)  # fmt: skip
def command(quick: bool, output: Path | None, figure: Path | None) -> None:
    """Print every table."""
    text = report(quick=quick)
    if output is not None:
        write_atomically(output, text)
    if figure is not None:
        save_figure(meg_front.drawn(5 if quick else 25), figure)
    print(text, end="")


if __name__ == "__main__":
    run_command(command, "hisopt.experiments.campaigns.meg_tradeoffs", extra="diffusion")
