"""Quality, delay and energy of optimal decisions over the weight of quality: the journal's Fig. 17, the conference paper's 4a."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from typing_extensions import override

from hisopt.experiments.papers.draws import proven_scheme
from hisopt.experiments.papers.experiment import Cell, Experiment, Record
from hisopt.experiments.papers.items import item
from hisopt.experiments.papers.verdicts import Finding, stated
from hisopt.instances.scenario import PRESETS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pandas as pd
    from matplotlib.figure import Figure

    from hisopt.arrays import FloatArray

FACTORS = (0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0)  # times the preset's w1
PLACES = {"paper": ("journal-17", "his"), "icc": ("conference-4a", "hid")}
TOTALS = ("quality", "delay_s", "energy_j")


@dataclass(frozen=True)
class WeightOfQuality(Experiment):
    """``draws`` instances of both models, w1 from a quarter to five times the preset's."""

    name: ClassVar[str] = "weights"
    quick_fields: ClassVar[dict[str, Any]] = {"draws": 2}

    draws: int = 20

    @override
    def cells(self) -> Sequence[Cell]:
        return [{"preset": preset, "seed": seed} for preset in PLACES for seed in range(self.draws)]

    @override
    def measure(self, cell: Cell) -> Record:
        scenario, scheme = PRESETS[cell["preset"]], PLACES[cell["preset"]][1]
        w = scenario.weights
        record: dict[str, list[float]] = {name: [] for name in TOTALS}
        for factor in FACTORS:
            weighted = scenario.replace(weights=w.replace(quality=factor * w.quality))
            found = proven_scheme(weighted.sample(cell["seed"]), scheme)
            for name in TOTALS:
                record[name].append(getattr(found, name))
        return record

    @override
    def findings(self, rows: pd.DataFrame) -> Iterator[Finding]:
        for preset, (place, _) in PLACES.items():
            mean = {name: curve.mean(axis=0) for name, curve in totals(rows, preset).items()}
            said = ", ".join(f"{_TITLES[name]} {c[0]:.4g} to {c[-1]:.4g}" for name, c in mean.items())
            for name, curve in mean.items():
                scale = np.abs(curve).max()
                yield stated(
                    item(f"{place}-{name}"), said,
                    bool((np.diff(curve) >= -1e-9 * scale).all() and curve[-1] > curve[0]),
                    f"means of {self.draws} draws, proven optima, w1 from {FACTORS[0]:g} to {FACTORS[-1]:g} times ours; "
                    "the published range is not known",
                )  # fmt: skip

    @override
    def figure(self, rows: pd.DataFrame) -> Figure:
        from matplotlib.figure import Figure

        figure = Figure(figsize=(9, 5), layout="constrained")
        grid = figure.subplots(2, 3)
        for line, preset in zip(grid, PLACES, strict=True):
            for axes, (name, curve) in zip(line, totals(rows, preset).items(), strict=True):
                axes.plot(FACTORS, curve.mean(axis=0), marker="o")
                axes.fill_between(FACTORS, curve.min(axis=0), curve.max(axis=0), alpha=0.2, linewidth=0)
                axes.set(title=f"{preset}: {_TITLES[name]}", xlabel="weight of quality over ours")
        return figure


_TITLES = {"quality": "Q", "delay_s": "T (s)", "energy_j": "E (J)"}


def totals(rows: pd.DataFrame, preset: str) -> dict[str, FloatArray]:
    """Return the total quality, delay and energy of each draw (rows) at each weight (columns)."""
    part = rows[rows["preset"] == preset]
    return {name: np.array(part[name].tolist(), dtype=np.float64) for name in TOTALS}
