"""What HIS gains over the baselines: the journal's Fig. 10 and 12, the magazine's Fig. 5 and Table 1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from typing_extensions import override

from hisopt.errors import InputError
from hisopt.experiments.papers.draws import (
    BASELINES,
    LABELS,
    SCHEMES,
    best_utility,
    optimum,
    paper,
    scheme_instances,
    utility,
)
from hisopt.experiments.papers.experiment import Cell, Experiment, Record
from hisopt.experiments.papers.items import item
from hisopt.experiments.papers.verdicts import Finding, interval, numeric
from hisopt.instances import QualityTable
from hisopt.solvers.schemes.schemes import executed, scheme_instance

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pandas as pd
    from matplotlib.figure import Figure

_ALL = 1400.0  # steps of 50 users who share none
_MAGAZINE = {"his": "semct", "ppgfis": "sfif", "cfis": "cfif", "iis": "clif"}
_DEFAULTS = "at the documented defaults; weights, radio and the baselines' similarities are unpublished"


@dataclass(frozen=True)
class Gains(Experiment):
    """``draws`` instances of the preset ``paper``, each with ``members`` draws of the random members."""

    name: ClassVar[str] = "gains"
    quick_fields: ClassVar[dict[str, Any]] = {"draws": 2, "members": 1}

    draws: int = 40
    members: int = 5

    def __post_init__(self) -> None:
        if self.draws < 2 or self.members < 1:
            raise InputError("draws: must be >= 2, and members >= 1")

    @override
    def cells(self) -> Sequence[Cell]:
        return [{"seed": seed} for seed in range(self.draws)]

    @override
    def settings(self) -> dict[str, Any]:
        return {"members": self.members}

    @override
    def measure(self, cell: Cell) -> Record:
        instance, record = paper(cell["seed"]), {}
        for scheme in SCHEMES:
            found, steps = [], []
            for one in scheme_instances(instance, scheme, cell["seed"], self.members):
                decision, evaluation = optimum(one)
                found.append(utility(evaluation))
                steps.append(executed(one, decision)[0])
            record[f"utility_{scheme}"] = float(np.mean(found))
            record[f"steps_{scheme}"] = float(np.mean(steps))
        plain = scheme_instance(instance, "his").replace(quality=QualityTable.published(modules=False))
        return record | {"utility_plain": best_utility(plain)}

    @override
    def findings(self, rows: pd.DataFrame) -> Iterator[Finding]:
        for scheme in BASELINES:
            gain = 100 * (rows["utility_his"] / rows[f"utility_{scheme}"] - 1)
            for key in (f"journal-10-{scheme}", f"magazine-5-{_MAGAZINE[scheme]}"):
                yield numeric(item(key), gain.to_numpy(), _DEFAULTS)
        for scheme, name in _MAGAZINE.items():
            reason = "by construction" if scheme == "iis" else _DEFAULTS
            steps = rows[f"steps_{scheme}"].to_numpy()
            yield numeric(item(f"magazine-table-1-{name}"), steps, reason, reference=_ALL)
        modules = 100 * (rows["utility_his"] / rows["utility_plain"] - 1)
        yield numeric(item("journal-12"), modules.to_numpy(), _DEFAULTS)

    @override
    def figure(self, rows: pd.DataFrame) -> Figure:
        from matplotlib.figure import Figure

        figure = Figure(figsize=(7, 3.5), layout="constrained")
        left, right = figure.subplots(1, 2)
        for axes, column, label in ((left, "utility", "utility"), (right, "steps", "executed steps")):
            found = [interval(rows[f"{column}_{scheme}"].to_numpy()) for scheme in SCHEMES]
            axes.bar(
                [LABELS[s] for s in SCHEMES], [mean for mean, _ in found], yerr=[half for _, half in found], capsize=3
            )
            axes.set_ylabel(label)
        return figure
