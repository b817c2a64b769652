"""Claims on the quality curve, HIQM: the journal's Fig. 5, the conference paper's Fig. 3, the magazine's Fig. 3."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from typing_extensions import override

from hisopt.equations import quality_at_bins
from hisopt.experiments.papers.experiment import Cell, Experiment, Record
from hisopt.experiments.papers.items import item
from hisopt.experiments.papers.verdicts import CLOSE, Finding, stated
from hisopt.instances import QualityTable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pandas as pd
    from matplotlib.figure import Figure

    from hisopt.arrays import FloatArray, IntArray

_FITTED = "read from the curves fitted to the published mean scores"
_DECISIONS = 16  # x_max: steps up to which the curve is used


@dataclass(frozen=True)
class QualityCurves(Experiment):
    """The fitted curves with and without SIM and NPI, at 0 to 27 of 28 common steps."""

    name: ClassVar[str] = "quality-curves"

    steps: int = 28

    @override
    def cells(self) -> Sequence[Cell]:
        return [{"modules": modules} for modules in (True, False)]

    @override
    def settings(self) -> dict[str, Any]:
        return {"steps": self.steps}

    @override
    def measure(self, cell: Cell) -> Record:
        table = QualityTable.published(modules=cell["modules"])
        curves = quality_at_bins(table, np.arange(self.steps))
        return {
            "similarity": table.similarity.tolist(),
            "curves": curves.tolist(),
            "floor": table.coefficients[:, 3].tolist(),
        }

    @override
    def findings(self, rows: pd.DataFrame) -> Iterator[Finding]:
        curves = {bool(row.modules): np.array(row.curves) for row in rows.itertuples()}
        similarity = np.array(rows["similarity"].iloc[0])
        fall = -np.diff(curves[True], axis=1)
        fastest = fall.argmax(axis=1)
        inside = bool(((fastest > 0) & (fastest < fall.shape[1] - 1)).all() and (fall >= 0).all())
        yield stated(
            item("journal-5-shape"), f"steepest after {_span(fastest)} steps", inside,
            f"{_FITTED}: every curve is decreasing with its steepest step inside the range",
        )  # fmt: skip
        raised = curves[True] - curves[False]
        yield stated(
            item("journal-5-up"), f"higher {_where(raised > 0, similarity)}", bool((raised > 0).all()),
            f"{_FITTED}; up to {_DECISIONS} steps, the most that decisions use, higher at "
            f"{100 * (raised[:, : _DECISIONS + 1] > 0).mean():.0f} % of the points",
        )  # fmt: skip
        lost = {modules: found[:, 0] - found[:, _DECISIONS] for modules, found in curves.items()}
        yield stated(
            item("journal-5-flat"),
            f"lost over {_DECISIONS} steps: {lost[True].mean():.3f} with, {lost[False].mean():.3f} without",
            bool((lost[True] < lost[False]).all()),
            f"{_FITTED}, fall of the score from 0 to {_DECISIONS} common steps in every bin of similarity",
        )
        plain = curves[False]
        spread = float(np.ptp(plain[:, 0]) / plain[:, 0].mean())
        yield stated(
            item("conference-3-start"), f"spread of Q(0): {100 * spread:.1f} %", spread <= CLOSE,
            f"{_FITTED}, without modules; a spread of at most {100 * CLOSE:.0f} % counts as none",
        )  # fmt: skip
        floor = np.array(rows.loc[~rows["modules"], "floor"].iloc[0])
        yield stated(
            item("conference-3-floor"), f"{floor[0]:.3f} at {similarity[0]:g} to {floor[-1]:.3f} at {similarity[-1]:g}",
            bool((np.diff(floor) > 0).all()), f"the term G of (7), {_FITTED}",
        )  # fmt: skip
        lost_by = plain[:, 0] - plain[:, -1]
        yield stated(
            item("magazine-3"),
            f"all but one step shared: -{lost_by[0]:.3f} at {similarity[0]:g}, -{lost_by[-1]:.3f} at {similarity[-1]:g}",
            bool((np.diff(plain, axis=1) < 0).all() and (np.diff(lost_by) < 0).all()),
            f"{_FITTED}, without modules",
        )

    @override
    def figure(self, rows: pd.DataFrame) -> Figure:
        from matplotlib.figure import Figure

        figure = Figure(figsize=(7, 4), layout="constrained")
        axes = figure.subplots()
        for row in rows.to_dict("records"):
            for colour, (similarity, curve) in enumerate(zip(row["similarity"], row["curves"], strict=True)):
                axes.plot(
                    curve,
                    f"C{colour}{'-' if row['modules'] else '--'}",
                    label=f"{similarity:g}" if row["modules"] else None,
                )
        axes.set(xlabel="common steps of 28", ylabel="CLIP score (dashed: without modules)")
        axes.legend(title="similarity", fontsize="small")
        return figure


def _span(steps: IntArray) -> str:
    low, high = int(steps.min()), int(steps.max())
    return f"{low}" if low == high else f"{low} to {high}"


def _where(higher: Any, similarity: FloatArray) -> str:
    """Say where a curve is higher at every similarity, and which common steps are exceptions somewhere."""
    steps: IntArray = np.flatnonzero(~higher.all(axis=0))
    if not len(steps):
        return "everywhere"
    bins = similarity[~higher.all(axis=1)]
    return f"but for {', '.join(map(str, steps))} steps (in {len(bins)} of {len(similarity)} bins)"
