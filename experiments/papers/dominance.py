"""``python -m hisopt.experiments.papers.dominance``: HIS against every other scheme on the same instances and similarities."""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np

from hisopt.commands.common import run_command
from hisopt.equations import public_similarity
from hisopt.errors import InputError
from hisopt.files import write_atomically
from hisopt.instances.scenario import PRESETS
from hisopt.solvers.schemes.schemes import SCHEMES, Scheme, scheme_instance, solve_scheme

VIEWS = {
    "as the scheme is": "the scheme's own clusters, public prompts and table",
    "same similarities": "its own clusters, with the phi_n and the table of HIS",
    "same clusters": "the clusters, phi_n and table of HIS: what is left of the scheme is its phase",
}


def margins(seed: int, preset: str = "paper") -> dict[tuple[str, str], float]:
    """Return by how many per cent the proven optimum of HIS exceeds each other scheme's, for each view; negative if below.

    Every decision passes its problem's evaluation, else this raises AssertionError.
    """
    instance = PRESETS[preset].sample(seed)
    his = solve_scheme(instance, "his")
    phi = public_similarity(his.problem.instance, his.problem.instance.labels)
    same = scheme_instance(instance, "his")
    found = {}
    for name, scheme in SCHEMES.items():
        if name == "his":
            continue
        views: dict[str, tuple[Scheme, bool]] = {
            "as the scheme is": (scheme, False),
            "same similarities": (scheme.replace(modules=True), True),
            "same clusters": (scheme.replace(modules=True, groups="given"), True),
        }
        for view, (changed, given) in views.items():
            base = same if view == "same clusters" else instance
            other = solve_scheme(base, changed, seed, similarity=phi if given else None)
            assert other.proven and other.evaluation.feasible, (name, view)
            found[view, name] = 100 * (his.utility / other.utility - 1)
    return found


def report(draws: int) -> str:
    """Return the margins over ``draws`` instances of the preset ``paper`` as Markdown; in brackets how often HIS is ahead."""
    if draws < 1:
        raise InputError(f"--draws: is {draws}, must be >= 1")
    found = [margins(seed) for seed in range(draws)]
    names = [name for name in SCHEMES if name != "his"]
    lines = [
        "# HIS against every other scheme", "",
        f"The preset `paper`, {draws} instances. Utility of HIS over the scheme in per cent, least and mean; in brackets on "
        "how many instances HIS is at least as good. Every decision is a proven optimum and passes evaluation.", "",
        *(f"- {view}: {what}." for view, what in VIEWS.items()), "",
        "| | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|",
    ]  # fmt: skip
    for view in VIEWS:
        cells = []
        for name in names:
            values = np.array([one[view, name] for one in found])
            cells.append(f"{values.min():+.2f}, {values.mean():+.2f} ({int((values >= -1e-7).sum())})")
        lines.append(f"| {view} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


@click.command()
@click.option("--draws", default=20, show_default=True, help="Instances.")
@click.option("--output", metavar="FILE", help="Write the report as well.")
def command(draws: int, output: str | None) -> None:
    """Compare the proven optimum of HIS with every other scheme's."""
    text = report(draws)
    if output is not None:
        write_atomically(Path(output), text)
    print(text, end="")


def main() -> None:
    """Run the command line."""
    run_command(command, "hisopt.experiments.papers.dominance")


if __name__ == "__main__":
    main()
