"""``python -m hisopt.experiments.papers.gains``: the schemes' published gains, against exact optima."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np

from hisopt.commands.common import run_command
from hisopt.errors import InputError
from hisopt.files import write_atomically
from hisopt.instances import Instance, QualityTable
from hisopt.instances.scenario import PRESETS
from hisopt.problems import Joint
from hisopt.result import Limits
from hisopt.solvers.joint.exact import JointExact
from hisopt.solvers.schemes.schemes import scheme_instance, solve_scheme

if TYPE_CHECKING:
    from hisopt.arrays import FloatArray

_ALL = 1400.0  # steps of 50 users who share none
BASELINES = ("ppgfis", "cfis", "iis")
_GAINS = (("journal, Fig. 10", (36.8, 51.0, 94.3)), ("magazine, Fig. 5", (14.8, 26.7, 63.1)))
_STEPS = (("his", 816.0), ("ppgfis", 943.0), ("cfis", 1039.0), ("iis", 1400.0))


@dataclass(frozen=True)
class Config:
    """``draws`` instances of the preset ``paper``, each with ``members`` draws of the random members."""

    draws: int = 20
    members: int = 3

    def __post_init__(self) -> None:
        if self.draws < 2 or self.members < 1:
            raise InputError("--draws: must be >= 2, and --members >= 1")


@dataclass(frozen=True)
class Verdict:
    """One published number beside ours: mean and half-width of its 95 % interval over instances.

    ``reference`` is what the number would be without any effect: 0 for a gain, all 1,400 steps for executed steps.
    """

    item: str
    published: float
    mean: float
    half: float
    unit: str
    reference: float = 0.0

    @property
    def word(self) -> str:
        """``reproduced`` inside the interval (or within 2 %), ``direction only`` where both lie on one side of the
        reference, else ``refuted``.

        All are said of the documented defaults: weights and the baselines' similarities are unpublished.
        """
        if abs(self.mean - self.published) <= max(self.half, 0.02 * abs(self.published)):
            return "reproduced"
        return "direction only" if (self.mean - self.reference) * (self.published - self.reference) > 0 else "refuted"

    def row(self) -> str:
        """A row of the Markdown table."""
        ours = f"{self.mean:.1f} ± {self.half:.1f}"
        return (
            f"| {self.item} | {self.published:g}{self.unit} | {ours}{self.unit} | {self.mean - self.published:+.1f} "
            f"| {self.word} |"
        )


def verdicts(config: Config) -> list[Verdict]:
    """Return the verdicts; the same configuration gives the same numbers."""
    utility: dict[str, list[float]] = {}
    steps: dict[str, list[float]] = {}
    modules: list[float] = []
    for seed in range(config.draws):
        instance = PRESETS["paper"].sample(seed)
        assert isinstance(instance, Instance)
        for name in ("his", *BASELINES):
            draws = range(config.members if name in ("ppgfis", "cfis") else 1)
            found = [solve_scheme(instance, name, seed=config.members * seed + draw) for draw in draws]
            values = [one.evaluation.objective for one in found]
            assert all(one.proven and one.evaluation.feasible for one in found)
            utility.setdefault(name, []).append(float(np.mean([v for v in values if v is not None])))
            steps.setdefault(name, []).append(float(np.mean([one.steps for one in found])))
        plain = Joint(scheme_instance(instance, "his").replace(quality=QualityTable.published(modules=False)))
        decision = JointExact().solve(plain, Limits(60.0)).decision
        assert decision is not None
        without = plain.evaluate(decision).objective
        assert without is not None
        modules.append(100 * (utility["his"][-1] / without - 1))
    his = np.array(utility["his"])
    rows = [
        _verdict(f"{where}: utility of HIS over {name}", value, 100 * (his / np.array(utility[name]) - 1), " %")
        for where, values in _GAINS
        for name, value in zip(BASELINES, values, strict=True)
    ]
    rows += [_verdict(f"magazine, Table 1: steps of {n}", v, np.array(steps[n]), "", _ALL) for n, v in _STEPS]
    return [*rows, _verdict("journal, Fig. 12: SIM and NPI", 19.1, np.array(modules), " %")]


def _verdict(item: str, published: float, values: FloatArray, unit: str, reference: float = 0.0) -> Verdict:
    from scipy.stats import t

    half = float(t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
    return Verdict(item, published, float(values.mean()), half, unit, reference)


def table(config: Config) -> str:
    """Return the verdicts as Markdown."""
    head = (
        f"The preset `paper`, {config.draws} instances, random members drawn {config.members} times; every decision a proven\n"
        "optimum at the documented defaults. Intervals: 95 % over instances.\n"
        "ppgfis groups by the head noun of a prompt, a rule of ours that makes many small groups.\n\n"
        "| item | published | ours | difference | verdict |\n|---|---|---|---|---|\n"
    )
    return head + "\n".join(verdict.row() for verdict in verdicts(config)) + "\n"


@click.command()
@click.option("--draws", default=20, show_default=True, help="Instances.")
@click.option("--members", default=3, show_default=True, help="Draws of the random members on each.")
@click.option("--quick", is_flag=True, help="Two instances, one draw.")
@click.option("--output", metavar="FILE", help="Write the table to a file as well.")
def command(draws: int, members: int, quick: bool, output: str | None) -> None:
    """Compare the schemes on exact optima and print a table of verdicts."""
    text = table(Config(2, 1) if quick else Config(draws, members))
    if output is not None:
        write_atomically(Path(output), text)
    print(text, end="")


def main() -> None:
    """Run the command line."""
    run_command(command, "hisopt.experiments.papers.gains")


if __name__ == "__main__":
    main()
