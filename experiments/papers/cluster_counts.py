"""Utility over the number of clusters: the journal's Fig. 13, the magazine's Fig. 4."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from typing_extensions import override

from hisopt.experiments.papers.draws import best_utility, paper
from hisopt.experiments.papers.experiment import Cell, Experiment, Record
from hisopt.experiments.papers.items import item
from hisopt.experiments.papers.verdicts import Finding, interval, stated
from hisopt.solvers.clustering.hac import average_linkage

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pandas as pd
    from matplotlib.figure import Figure

    from hisopt.arrays import FloatArray

COUNTS = (1, 2, 3, 4, 5, 6, 8, 10, 15, 25, 50)
_PUBLISHED = 3


@dataclass(frozen=True)
class ClusterCounts(Experiment):
    """``draws`` instances, HAC's clusters from one to one a user, ideal public prompts, proven optima."""

    name: ClassVar[str] = "cluster-counts"
    quick_fields: ClassVar[dict[str, Any]] = {"draws": 3}

    draws: int = 40

    @override
    def cells(self) -> Sequence[Cell]:
        return [{"seed": seed} for seed in range(self.draws)]

    @override
    def measure(self, cell: Cell) -> Record:
        instance = paper(cell["seed"])
        found = [
            best_utility(
                instance.replace(max_clusters=m, clusters=average_linkage(instance.vectors, m), similarity=None)
            )
            for m in COUNTS
        ]
        return {"utility": [value / instance.users for value in found]}

    @override
    def findings(self, rows: pd.DataFrame) -> Iterator[Finding]:
        utility = np.array(rows["utility"].tolist())
        mean = utility.mean(axis=0)
        best = int(mean.argmax())
        said = f"best at {COUNTS[best]}: " + ", ".join(f"{m}: {u:.4f}" for m, u in zip(COUNTS, mean, strict=True))
        inner = all(surely_better(utility[:, best], utility[:, end]) for end in (0, -1))
        reason = "utility a user on HAC's clusters; better than one cluster and one a user beyond the paired interval"
        for key in ("journal-13-interior", "magazine-4"):
            yield stated(item(key), said, inner, reason)
        third = COUNTS.index(_PUBLISHED)
        yield stated(
            item("journal-13-best"), f"best at {COUNTS[best]}, {100 * (1 - mean[third] / mean[best]):.2f} % above {_PUBLISHED}",
            best == third or not surely_better(utility[:, best], utility[:, third]),
            "reproduced where no other number is better beyond the paired interval; prompts of four subjects are drawn",
        )  # fmt: skip

    @override
    def figure(self, rows: pd.DataFrame) -> Figure:
        from matplotlib.figure import Figure

        figure = Figure(figsize=(6, 4), layout="constrained")
        axes = figure.subplots()
        utility = np.array(rows["utility"].tolist())
        found = [interval(column) for column in utility.T]
        axes.errorbar(COUNTS, [mean for mean, _ in found], yerr=[half for _, half in found], marker="o", capsize=3)
        axes.set(xlabel="clusters", ylabel="optimal utility a user", xscale="log")
        return figure


def surely_better(one: FloatArray, other: FloatArray) -> bool:
    """Whether one column of paired values is above the other beyond the 95 % interval of their difference."""
    mean, half = interval(one - other)
    return mean - half > 0
