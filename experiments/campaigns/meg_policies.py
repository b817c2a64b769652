"""``python -m hisopt.experiments.campaigns.meg_policies``: learned policies for MEG against the proven optimum.

Settings are chosen on one instance and its seeds (``--choose``), policies are trained and judged on another: exactly on the
binned channel, by simulation with 95 % intervals over episodes, and on channels that they were not trained on. A killed run goes
on from its records.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hisopt.commands.common import run_command
from hisopt.experiments.campaigns.meg_judging import exact, judging, optimum_of
from hisopt.experiments.campaigns.meg_report import drawn, text
from hisopt.experiments.campaigns.meg_training import METHODS, Choice, Policies
from hisopt.experiments.papers.experiment import measured
from hisopt.files import save_figure, write_atomically
from hisopt.result import Limits
from hisopt.solvers.meg.baselines import Fixed, RandomPolicy

if TYPE_CHECKING:
    from hisopt.problems import Meg


def fixed_policies(problem: Meg) -> dict[str, dict[str, float]]:
    """Return what the policies that learn nothing come to: the best fixed action and a random policy within the limits."""
    found = {}
    for name, solver in (("best fixed action", Fixed()), ("random, moved within the limits", RandomPolicy())):
        decision = solver.solve(problem, Limits()).decision
        assert decision is not None
        found[name] = exact(problem, decision.probabilities, optimum_of(problem))
    return found


@click.command()
@click.option("--seeds", default=5, show_default=True, help="Seeds of every method.")
@click.option("--method", "chosen", multiple=True, type=click.Choice(list(METHODS)), help="[default: all]")
@click.option("--choose", is_flag=True, help="Compare settings on the instance that they are chosen on.")
@click.option("--quick", is_flag=True, help="Two seeds of ten iterations, in seconds; the numbers say little.")
@click.option("--jobs", default=1, show_default=True, help="Processes.")
@click.option("--records", type=click.Path(path_type=Path), default=Path("records/meg"), show_default=True)
@click.option("--output", type=click.Path(path_type=Path), metavar="FILE", help="Write the report as well.")
def command(
    seeds: int, chosen: tuple[str, ...], choose: bool, quick: bool, jobs: int, records: Path, output: Path | None
) -> None:
    """Train every method with every seed and hold it to the optimum; the figure of violations goes to the records."""
    options: dict[str, Any] = {"methods": chosen} if chosen else {}
    experiment = replace(Policies.quick(), **options) if quick else Policies(seeds, **options)
    rows = measured(experiment, records / experiment.name, jobs)
    choice = measured(Choice(), records / Choice.name, jobs) if choose else None
    report = text(rows, fixed_policies(judging()), choice)
    save_figure(drawn(rows), records / "violations")
    if output is not None:
        write_atomically(output, report)
    print(report, end="")


if __name__ == "__main__":
    run_command(command, "hisopt.experiments.campaigns.meg_policies", extra="learn")
