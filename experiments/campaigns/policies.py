"""``python -m hisopt.experiments.campaigns.policies``: learned policies, judged by optimum and equilibria."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hisopt.commands.common import run_command


@click.command()
@click.option("--preset", default="paper", show_default=True)
@click.option("--users", type=int, help="Users, instead of the preset's; its SMs scale along.")
@click.option("--seeds", default=5, show_default=True, help="Runs of each variant.")
@click.option("--updates", type=int, help="Of each run. [default: as hisopt.train --tuned]")
@click.option("--batch", type=int, help="Decision points an update. [default: as hisopt.train --tuned]")
@click.option("--held-out", "judges", default=100, show_default=True, help="Instances that judge.")
@click.option(
    "--choosing", is_flag=True, help="Judge on the instances meant for choosing settings, not on the held-out ones."
)
@click.option("--split-subjects", is_flag=True, help="Train on half of the subjects, judge on others.")
@click.option("--starts", default=10, show_default=True, help="Random starts of best replies on each of 20 instances.")
@click.option("--threads", default=1, show_default=True)
@click.option("--records", type=click.Path(path_type=Path), default=Path("records/policies"), show_default=True)
def command(records: Path, **options: Any) -> None:
    """Train every variant, or take up where a killed run stopped; write records, a Markdown summary and figures."""
    from hisopt.errors import InputError
    from hisopt.experiments.campaigns import policy_report

    plan = policy_report.Plan(**{name: value for name, value in options.items() if value is not None})
    try:
        records.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--records: {records}: {error.strerror}") from None
    print(policy_report.run(plan, records))


def main() -> None:
    """Run the command line."""
    run_command(
        command,
        "hisopt.experiments.campaigns.policies",
        extra="learn",
        hint="; the same command goes on from its records",
    )


if __name__ == "__main__":
    main()
