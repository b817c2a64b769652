"""Utility over the server's and the devices' SMs: the journal's Fig. 11."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from typing_extensions import override

from hisopt.experiments.papers.draws import LABELS, SCHEMES, best_utility, paper, scheme_instances
from hisopt.experiments.papers.experiment import Cell, Experiment, Record
from hisopt.experiments.papers.items import item
from hisopt.experiments.papers.verdicts import Finding, numeric, stated
from hisopt.instances.scenario import PRESETS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pandas as pd
    from matplotlib.figure import Figure

    from hisopt.arrays import FloatArray
    from hisopt.instances import Instance

_RANGES = {"edge": PRESETS["paper"].edge_sms, "devices": PRESETS["paper"].device_sms}
_PLACES = {"edge": "journal-11a", "devices": "journal-11b"}


@dataclass(frozen=True)
class SmRanges(Experiment):
    """``points`` on each range; the other SMs as drawn."""

    name: ClassVar[str] = "sm-ranges"
    quick_fields: ClassVar[dict[str, Any]] = {"draws": 2, "members": 1, "points": 2}

    draws: int = 20
    members: int = 3
    points: int = 5

    @override
    def cells(self) -> Sequence[Cell]:
        return [{"seed": seed} for seed in range(self.draws)]

    @override
    def settings(self) -> dict[str, Any]:
        return {"members": self.members, "points": self.points}

    @override
    def measure(self, cell: Cell) -> Record:
        instance, record = paper(cell["seed"]), {}
        for scheme in SCHEMES:
            found = scheme_instances(instance, scheme, cell["seed"], self.members)
            for part in _RANGES:
                record[f"{part}_{scheme}"] = [
                    float(np.mean([best_utility(with_sms(one, part, sms)) for one in found]))
                    for sms in self.sms(part).tolist()
                ]
        return record

    def sms(self, part: str) -> FloatArray:
        """Return the SMs at which a part of the system is tried."""
        return np.linspace(*_RANGES[part], self.points)

    @override
    def findings(self, rows: pd.DataFrame) -> Iterator[Finding]:
        means: dict[str, dict[str, float]] = {part: {} for part in _RANGES}
        for part, place in _PLACES.items():
            for scheme in SCHEMES:
                curve = np.array(rows[f"{part}_{scheme}"].tolist())
                drop = 100 * (1 - curve[:, 0] / curve[:, -1])
                means[part][scheme] = float(drop.mean())
                yield numeric(
                    item(f"{place}-{scheme}"), drop, "at the documented defaults; weights and rho are unpublished"
                )
        least = {part: min(values, key=lambda name: values[name]) for part, values in means.items()}
        yield stated(
            item("journal-11-order"),
            f"least: {LABELS[least['edge']]} (server), {LABELS[least['devices']]} (devices)",
            set(least.values()) == {"his"},
            "with optimal decisions of every scheme at the documented defaults, compared by their means",
        )

    @override
    def figure(self, rows: pd.DataFrame) -> Figure:
        from matplotlib.figure import Figure

        figure = Figure(figsize=(8, 3.5), layout="constrained")
        for axes, part in zip(figure.subplots(1, 2), _RANGES, strict=True):
            for scheme in SCHEMES:
                curve = np.array(rows[f"{part}_{scheme}"].tolist())
                axes.plot(self.sms(part), curve.mean(axis=0), marker="o", label=LABELS[scheme])
            axes.set(xlabel=f"SMs of the {'server' if part == 'edge' else 'devices'}", ylabel="utility")
        axes.legend(fontsize="small")
        return figure


def with_sms(instance: Instance, part: str, sms: float) -> Instance:
    """Return the instance with that many SMs of the server (``edge``) or of each device (``devices``)."""
    return instance.replace(**{part: getattr(instance, part).replace(sms=np.float64(sms))})
