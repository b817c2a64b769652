"""``python -m hisopt.experiments.campaigns.price_gaps``: how far the policy for every size is from the optimum, everywhere."""

from __future__ import annotations

from pathlib import Path

import click

from hisopt.commands.common import run_command
from hisopt.solvers.policy.learned_prices import LearnedPrices

_COUNT = click.IntRange(min=1)


@click.command()
@click.option(
    "--users", default=(10, 50, 100, 1000), show_default=True, multiple=True, type=_COUNT, help="N; repeat it."
)
@click.option(
    "--clusters", default=(2, 3, 5, 10, 20), show_default=True, multiple=True, type=_COUNT, help="M; repeat it."
)
@click.option("--draws", default=1000, show_default=True, type=_COUNT, help="Of each cell.")
@click.option("--doubts", default=LearnedPrices().doubts, show_default=True, help="As of `learned-prices`.")
@click.option(
    "--policy", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Instead of the shipped one."
)
@click.option("--records", type=click.Path(file_okay=False, path_type=Path), default=Path("records/price_gaps"),
              show_default=True, help="CSV files; a run goes on from them.")  # fmt: skip
def command(
    users: tuple[int, ...], clusters: tuple[int, ...], draws: int, doubts: int, policy: Path | None, records: Path
) -> None:
    """Measure gaps, or go on where a killed run stopped; print a summary in Markdown."""
    from hisopt.errors import InputError
    from hisopt.experiments.campaigns import price_gap_report

    try:
        records.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--records: {records}: {error.strerror}") from None
    print(price_gap_report.run(policy, list(price_gap_report.blocks(users, clusters, draws)), doubts, records))


def main() -> None:
    """Run the command line."""
    run_command(command, "hisopt.experiments.campaigns.price_gaps", extra="learn", hint="; the same command goes on")


if __name__ == "__main__":
    main()
