"""``python -m hisopt.experiments.papers``: the papers' figures and numbers, with a verdict on each."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from hisopt.commands.common import run_command
from hisopt.errors import InputError
from hisopt.experiments.papers import table
from hisopt.experiments.papers.allocations import Allocations
from hisopt.experiments.papers.calibration import Calibration
from hisopt.experiments.papers.cluster_counts import ClusterCounts
from hisopt.experiments.papers.conference import Conference
from hisopt.experiments.papers.dominance import Dominance
from hisopt.experiments.papers.edge import Edge
from hisopt.experiments.papers.energy import Energy
from hisopt.experiments.papers.experiment import Experiment, measured
from hisopt.experiments.papers.gains import Gains
from hisopt.experiments.papers.hardware import Hardware
from hisopt.experiments.papers.learning import Learning
from hisopt.experiments.papers.provisions import Provisions
from hisopt.experiments.papers.public_similarity import PublicSimilarity
from hisopt.experiments.papers.quality_curves import QualityCurves
from hisopt.experiments.papers.sm_ranges import SmRanges
from hisopt.experiments.papers.trees import Trees
from hisopt.experiments.papers.weights import WeightOfQuality
from hisopt.files import save_figure, write_atomically

EXPERIMENTS: tuple[type[Experiment], ...] = (
    Gains, SmRanges, PublicSimilarity, ClusterCounts, Allocations, WeightOfQuality, Conference,
    Hardware, Energy, Dominance, Provisions, QualityCurves, Calibration, Trees, Learning, Edge,
)  # fmt: skip


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--only", multiple=True, metavar="NAME", help="Run this experiment only; repeatable.")
@click.option("--list", "listed", is_flag=True, help="Name the experiments and stop.")
@click.option("--quick", is_flag=True, help="A few draws of everything, in minutes; the numbers say little.")
@click.option("--jobs", default=2, show_default=True, help="Processes.")
@click.option("--records", type=click.Path(path_type=Path), default=Path("records/papers"), show_default=True)
@click.option(
    "--publish", is_flag=True, help="Write the verdicts into this checkout, and the README's sentence on them."
)
def command(only: tuple[str, ...], listed: bool, quick: bool, jobs: int, records: Path, publish: bool) -> None:
    """Run every experiment, or take up where a killed run stopped; write records, figures and the table of verdicts."""
    known = {one.name: one for one in EXPERIMENTS}
    if listed:
        for name, one in known.items():
            print(f"{name:20} {(sys.modules[one.__module__].__doc__ or '').strip()}")
        return
    for name in only:
        if name not in known:
            raise InputError(f"--only: no experiment {name!r}; there are {', '.join(known)}")
    if jobs < 1:
        raise InputError(f"--jobs: is {jobs}, must be >= 1")
    if quick and publish:
        raise InputError("--publish: takes a full run, not --quick")
    try:
        (records / "figures").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--records: {records}: {error.strerror}") from None
    findings, reports = table.read(records / "verdicts.json"), {}
    for name in only or known:
        experiment = known[name].quick() if quick else known[name]()
        rows = measured(experiment, records / name, jobs)
        findings |= {found.item: found for found in experiment.findings(rows)}
        table.write(records / "verdicts.json", findings)
        if (figure := experiment.figure(rows)) is not None:
            save_figure(figure, records / "figures" / name)
        if (report := experiment.report(rows)) is not None:
            reports[f"{name.upper()}.md"] = report
            write_atomically(records / f"{name.upper()}.md", report)
    text = table.markdown(findings)
    write_atomically(records / "VERDICTS.md", text)
    if publish:
        table.publish(findings, reports)
    print(text, end="")


def main() -> None:
    """Run the command line."""
    run_command(
        command, "hisopt.experiments.papers", extra="report", hint="; the same command goes on from its records"
    )


if __name__ == "__main__":
    main()
