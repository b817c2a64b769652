"""What flat clusters lose against sharing in trees: exactly for few users, by a heuristic for many."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from typing_extensions import override

from hisopt.experiments.papers.draws import UnprovenError, journal, paper
from hisopt.experiments.papers.experiment import Cell, Experiment, Record
from hisopt.experiments.papers.items import item
from hisopt.experiments.papers.verdicts import Finding, Verdict, interval, stated
from hisopt.instances.scenario import PRESETS
from hisopt.result import PROVEN, relative_gap
from hisopt.solvers.clustering.hac import clustered
from hisopt.solvers.trees import nested
from hisopt.solvers.trees.dendrogram import improved

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pandas as pd
    from matplotlib.figure import Figure

SMALL = ((5, 2), (6, 1))  # users and most clusters


@dataclass(frozen=True)
class Trees(Experiment):
    """``draws`` instances of N users drawn like the preset ``small``, solved exactly, and of the preset ``paper``."""

    name: ClassVar[str] = "trees"
    quick_fields: ClassVar[dict[str, Any]] = {"draws": 2, "small": ((4, 2),)}

    draws: int = 10
    small: tuple[tuple[int, int], ...] = SMALL

    @override
    def cells(self) -> Sequence[Cell]:
        sizes = [
            *({"users": users, "clusters": clusters} for users, clusters in self.small),
            {"users": 50, "clusters": 3},
        ]
        return [size | {"seed": seed} for size in sizes for seed in range(self.draws)]

    @override
    def measure(self, cell: Cell) -> Record:
        if cell["users"] == 50:
            flat, trees = improved(journal(clustered(paper(cell["seed"]))))
            return {"flat": flat, "trees": trees}
        scenario = PRESETS["small"].with_users(cell["users"]).replace(max_clusters=cell["clusters"])
        instance = journal(scenario.sample(cell["seed"]))
        found = {}
        for name, splits in (("flat", False), ("trees", True)):
            best = nested.solve(instance, nested=splits)
            if relative_gap(best.utility, best.bound) > PROVEN:
                raise UnprovenError(f"{name}: {best.utility}, bound {best.bound}")
            found[name] = best.utility
        return found

    @override
    def findings(self, rows: pd.DataFrame) -> Iterator[Finding]:
        lost = (100 * (1 - rows["flat"] / rows["trees"])).groupby([rows["users"], rows["clusters"]])
        exact = [
            f"N = {n}, M = {m}: {found.mean():.3f} %, most {found.max():.3f} %" for (n, m), found in lost if n != 50
        ]
        yield stated(
            item("trees-exact"), "; ".join(exact), Verdict.PROVIDED,
            "utility that flat clusters lose, both proven optimal; quality along a change of prompts is a model of ours",
        )  # fmt: skip
        mean, half = interval(lost.get_group((50, 3)).to_numpy())
        yield stated(
            item("trees-large"), f"at least {mean:.2f} ± {half:.2f} %", Verdict.PROVIDED,
            "lost by the optimum of HAC's flat clusters against trees along their dendrograms, found by moving depths",
        )  # fmt: skip

    @override
    def figure(self, rows: pd.DataFrame) -> Figure:
        from matplotlib.figure import Figure

        figure = Figure(figsize=(6, 3.5), layout="constrained")
        axes = figure.subplots()
        sizes = [*self.small, (50, 3)]
        lost = [rows[(rows["users"] == n) & (rows["clusters"] == m)] for n, m in sizes]
        axes.boxplot([np.asarray(100 * (1 - part["flat"] / part["trees"])) for part in lost])
        axes.set_xticks(range(1, len(sizes) + 1), [f"N = {n}, M = {m}" for n, m in sizes], fontsize="small")
        axes.set_ylabel("utility lost by flat clusters, %")
        return figure
