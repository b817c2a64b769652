"""HIS against every other scheme on the same instances, as they are and at the same similarities and clusters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from typing_extensions import override

from hisopt.equations import public_similarity
from hisopt.errors import InputError
from hisopt.experiments.papers.draws import UnprovenError, journal, proven_scheme, utility
from hisopt.experiments.papers.experiment import Cell, Experiment, Record
from hisopt.experiments.papers.items import item
from hisopt.experiments.papers.verdicts import Finding, Verdict, interval, stated
from hisopt.instances.scenario import PRESETS
from hisopt.problems import Full
from hisopt.result import Limits
from hisopt.solvers.full.local_search import PartitionSearch
from hisopt.solvers.schemes.schemes import SCHEMES, Scheme, scheme_instance

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pandas as pd

    from hisopt.instances import IccInstance, Instance

VIEWS = {
    "as the scheme is": "the scheme's own clusters, public prompts and table",
    "same similarities": "its own clusters, with the phi_n and the table of HIS",
    "same clusters": "the clusters, phi_n and table of HIS: what is left of the scheme is its phase",
    "clusters chosen": "its own clusters, phi_n of them by the rule and table of HIS, against HIS with the best clusters known",
}
_SEARCH_S = 20.0  # at most, for the best clusters; the search of 50 users ends before
_OTHERS = tuple(name for name in SCHEMES if name != "his")
_ROUNDING = -1e-7  # per cent; two proofs of one optimum may differ by so much


@dataclass(frozen=True)
class Dominance(Experiment):
    """``draws`` instances of the preset ``paper``, each with one draw of the random members."""

    name: ClassVar[str] = "dominance"
    quick_fields: ClassVar[dict[str, Any]] = {"draws": 1}

    draws: int = 20

    def __post_init__(self) -> None:
        if self.draws < 1:
            raise InputError(f"draws: is {self.draws}, must be >= 1")

    @override
    def cells(self) -> Sequence[Cell]:
        return [{"seed": seed} for seed in range(self.draws)]

    @override
    def measure(self, cell: Cell) -> Record:
        return {column(*place): margin for place, margin in margins(cell["seed"]).items()}

    @override
    def findings(self, rows: pd.DataFrame) -> Iterator[Finding]:
        ahead = {place: int((rows[column(*place)] >= _ROUNDING).sum()) for place in places()}
        for view, key in (
            ("same similarities", "dominance-similarities"),
            ("same clusters", "dominance-clusters"),
            ("clusters chosen", "dominance-optimum"),
        ):
            behind = {name: len(rows) - ahead[view, name] for name in _OTHERS if ahead[view, name] < len(rows)}
            said = ", ".join(f"{name} ahead on {count} of {len(rows)}" for name, count in behind.items())
            yield stated(
                item(key),
                said or f"HIS ahead of every scheme on {len(rows)} of {len(rows)}",
                not set(behind) - {"cached"},
                f"{VIEWS[view]}; the common steps of cached prefixes cost nothing, so they are not counted",
            )
        for name in ("uniform", "cached"):
            mean, half = interval(rows[column("as the scheme is", name)].to_numpy())
            yield stated(
                item(f"magazine-{name}"), f"HIS {mean:+.1f} ± {half:.1f} % over it", Verdict.PROVIDED,
                f"the scheme `{name}`, solved to proven optima; no number is published",
            )  # fmt: skip

    @override
    def report(self, rows: pd.DataFrame) -> str:
        lines = [
            "# HIS against every other scheme", "",
            f"The preset `paper`, {len(rows)} instances. Utility of HIS over the scheme in per cent, least and mean; in brackets "
            "on how many instances HIS is at least as good. Every decision is a proven optimum of its problem and passes "
            "evaluation; the best clusters known come from a local search, so that the optimum over clusters is no worse.", "",
            *(f"- {view}: {what}." for view, what in VIEWS.items()), "",
            "| | " + " | ".join(_OTHERS) + " |", "|---" * (len(_OTHERS) + 1) + "|",
        ]  # fmt: skip
        for view in VIEWS:
            cells = []
            for name in _OTHERS:
                values = rows[column(view, name)].to_numpy()
                cells.append(f"{values.min():+.2f}, {values.mean():+.2f} ({int((values >= _ROUNDING).sum())})")
            lines.append(f"| {view} | " + " | ".join(cells) + " |")
        return "\n".join(lines) + "\n"


def places() -> list[tuple[str, str]]:
    """Return every view of every scheme but HIS."""
    return [(view, name) for view in VIEWS for name in _OTHERS]


def column(view: str, name: str) -> str:
    """Return the column of a record that holds a margin."""
    return f"{view}: {name}"


def margins(seed: int, preset: str = "paper") -> dict[tuple[str, str], float]:
    """Return by how many per cent the proven optimum of HIS exceeds each other scheme's, for each view; negative if below.

    Raises `UnprovenError` for a decision that is not proven, or does not pass its problem's evaluation.
    """
    instance = PRESETS[preset].sample(seed)
    his = proven_scheme(instance, "his")
    phi = public_similarity(his.problem.instance, his.problem.instance.labels)
    same = scheme_instance(instance, "his")
    best = best_clusters_known(same)
    found = {}
    for name, scheme in SCHEMES.items():
        if name == "his":
            continue
        views: dict[str, tuple[Scheme, bool]] = {
            "as the scheme is": (scheme, False),
            "same similarities": (scheme.replace(modules=True), True),
            "same clusters": (scheme.replace(modules=True, groups="given"), True),
        }
        views["clusters chosen"] = (scheme.replace(modules=True, public="ideal"), False)
        for view, (changed, given) in views.items():
            base = same if view == "same clusters" else instance
            other = proven_scheme(base, changed, seed, similarity=phi if given else None)
            own = best if view == "clusters chosen" else his.utility
            found[view, name] = 100 * (own / other.utility - 1)
    return found


def best_clusters_known(instance: Instance | IccInstance) -> float:
    """Return the utility of HIS with the best clusters that a local search over partitions finds, from HAC's among others."""
    problem = Full(journal(instance))
    result = PartitionSearch(rounds=5).solve(problem, Limits(_SEARCH_S))
    if result.decision is None:
        raise UnprovenError(f"{problem.label}: {result.message}")
    return utility(problem.evaluate(result.decision))
