"""How the SMs are shared: the journal's Fig. 16, and what rounding them costs (its footnote 6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from typing_extensions import override

from hisopt.decision import Decision
from hisopt.equations import cluster_sizes
from hisopt.experiments.papers.draws import UnprovenError, best_utility, journal, optimum, paper, utility
from hisopt.experiments.papers.experiment import Cell, Experiment, Record
from hisopt.experiments.papers.items import item
from hisopt.experiments.papers.verdicts import Finding, Verdict, interval, stated
from hisopt.instances.scenario import PRESETS
from hisopt.problems import Joint
from hisopt.solvers.clustering.hac import clustered
from hisopt.solvers.joint import step_tables

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pandas as pd
    from matplotlib.figure import Figure

    from hisopt.arrays import FloatArray
    from hisopt.instances import Instance

SCENARIOS = ("paper", "imbalanced")
RULES = ("optimal", "users", "clusters")
_SIZES = (40, 7, 3)


@dataclass(frozen=True)
class Allocations(Experiment):
    """``draws`` instances of two scenarios; every rule gets the steps that are best with its SMs.

    ``imbalanced`` has clusters of 40, 7 and 3 users, with similarities as the preset ``large`` draws them.
    """

    name: ClassVar[str] = "allocations"
    quick_fields: ClassVar[dict[str, Any]] = {"draws": 3}

    draws: int = 40

    @override
    def cells(self) -> Sequence[Cell]:
        return [{"scenario": name, "seed": seed} for name in SCENARIOS for seed in range(self.draws)]

    @override
    def measure(self, cell: Cell) -> Record:
        instance = scenario_draw(cell["scenario"], cell["seed"])
        decision, evaluation = optimum(instance)
        budget, sizes = instance.sm_budget, cluster_sizes(instance.labels, instance.max_clusters)
        best, sms = utility(evaluation), decision.sms
        if sms is None:
            raise UnprovenError("a decision without SMs")
        rounded = fixed_sms_utility(instance, np.floor(sms))
        return {
            "optimal": best,
            "users": fixed_sms_utility(instance, budget * sizes / instance.users),
            "clusters": fixed_sms_utility(instance, np.full(instance.max_clusters, budget / instance.max_clusters)),
            "rounding": 100 * (1 - rounded / best),
        }

    @override
    def findings(self, rows: pd.DataFrame) -> Iterator[Finding]:
        for scenario in SCENARIOS:
            part = rows[rows["scenario"] == scenario]
            lost = {rule: interval((100 * (1 - part[rule] / part["optimal"])).to_numpy()) for rule in RULES[1:]}
            yield stated(
                item(f"journal-16-{scenario}"),
                ", ".join(f"equal {rule} -{mean:.1f} ± {half:.1f} %" for rule, (mean, half) in lost.items()),
                all(mean - half > 0 for mean, half in lost.values()),
                "utility below the optimum, each rule with the steps that are best at its SMs",
            )
        part = rows[rows["scenario"] == "paper"]
        mean, half = interval((part["optimal"] / PRESETS["paper"].users).to_numpy())
        yield stated(
            item("journal-16-utility"), f"{mean:.3f} ± {half:.3f} a user", Verdict.NOT_IDENTIFIABLE,
            "the scale of the published utility is not explained, and it moves with the unpublished weights",
        )  # fmt: skip
        mean, half = interval(part["rounding"].to_numpy())
        yield stated(
            item("journal-footnote-6"), f"{mean:.4f} ± {half:.4f} %, worst {part['rounding'].max():.4f} %", bool(mean + half < 1),
            "utility lost by rounding the optimal SMs down, steps chosen again; less than 1 % counts as little",
        )  # fmt: skip

    @override
    def figure(self, rows: pd.DataFrame) -> Figure:
        from matplotlib.figure import Figure

        figure = Figure(figsize=(7, 3.5), layout="constrained")
        for axes, scenario in zip(figure.subplots(1, 2), SCENARIOS, strict=True):
            part = rows[rows["scenario"] == scenario]
            found = [interval(part[rule].to_numpy()) for rule in RULES]
            axes.bar(
                ["optimal", "equal users", "equal clusters"],
                [m for m, _ in found],
                yerr=[h for _, h in found],
                capsize=3,
            )
            axes.set(title=scenario, ylabel="utility")
            axes.tick_params(axis="x", labelsize="small")
        return figure


def scenario_draw(scenario: str, seed: int) -> Instance:
    """Return a draw with clusters: HAC's of the preset ``paper``, or ``imbalanced`` ones."""
    if scenario == "paper":
        return journal(clustered(paper(seed)))
    drawn = journal(PRESETS["paper"].replace(subjects=None).sample(seed))
    return drawn.replace(clusters=np.repeat(np.arange(len(_SIZES)), _SIZES))


def fixed_sms_utility(instance: Instance, sms: FloatArray) -> float:
    """Return the utility of the best steps when each cluster has the given SMs: clusters then separate."""
    tables = step_tables.for_instance(instance, whole=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        cost = np.where(tables.work > 0, tables.load**2 / np.repeat(sms, np.diff(tables.offsets)), 0.0)
    value = tables.gain - cost
    ends = zip(tables.offsets[:-1], tables.offsets[1:], strict=True)
    choice = np.array([first + int(np.argmax(value[first:last])) for first, last in ends])
    decision = Decision.of_steps(instance.steps.total, *tables.steps(choice), sms, instance.labels)
    found = Joint(instance).evaluate(decision)
    if (reached := utility(found)) > (best := best_utility(instance)) + 1e-9 * abs(best):
        raise UnprovenError(f"{reached} with fixed SMs, beyond the proven optimum {best}")
    return reached
