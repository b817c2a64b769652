"""Mobile edge generation: the latency saved against sending the image, and what MEG-CVPO learns, both against proven optima."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from typing_extensions import override

from hisopt.experiments.campaigns.meg_centralised import RAW_BITS, SAVING, STEPS, needed_bits, saved
from hisopt.experiments.papers.experiment import Cell, Experiment, Record
from hisopt.experiments.papers.items import item
from hisopt.experiments.papers.verdicts import Finding, stated
from hisopt.instances import MegInstance

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pandas as pd
    from matplotlib.figure import Figure

PUBLISHED, CORRECTED = "MEG-CVPO, as published, gamma .97", "MEG-CVPO, corrected, gamma 0"
_PLACES = {PUBLISHED: "abstract-cvpo", CORRECTED: "abstract-cvpo-corrected"}
_REASONS = {
    PUBLISHED: "gamma and the discounted limit as published, the other settings are unpublished and ours",
    CORRECTED: "the limit on the change of one slot's cost, gamma 0, which independent slots allow",
}
_NEAR = 0.01  # relative: what a learned policy may lose against the optimum
_PIXELS = 1024 * 1024


@dataclass(frozen=True)
class Edge(Experiment):
    """``seeds`` trainings of MEG-CVPO as published and corrected, of so many ``iterations`` (0: as many as by default)."""

    name: ClassVar[str] = "edge"
    quick_fields: ClassVar[dict[str, Any]] = {"seeds": 2, "iterations": 6}
    sources: ClassVar[tuple[str, ...]] = (
        "hisopt.experiments.campaigns.meg_centralised", "hisopt.experiments.campaigns.meg_training",
    )  # fmt: skip

    seeds: int = 5
    iterations: int = 0

    @override
    def cells(self) -> Sequence[Cell]:
        learned = [{"method": method, "seed": seed} for method in _PLACES for seed in range(self.seeds)]
        return [*learned, *({"steps": steps} for steps in STEPS)]

    @override
    def settings(self) -> dict[str, Any]:
        return {"iterations": self.iterations}

    @override
    def measure(self, cell: Cell) -> Record:
        return _saving(cell["steps"]) if "steps" in cell else _learned(cell["method"], cell["seed"], self.iterations)

    @override
    def findings(self, rows: pd.DataFrame) -> Iterator[Finding]:
        share, bits, merged = (rows[name].dropna() for name in ("saved", "bits", "bits_merged"))
        yield stated(
            item("abstract-saving"),
            f"{share.min():.1f} to {share.max():.1f} % without merging (n = 12 to 4)",
            bool(share.min() > 100 * SAVING),
            f"against the raw image, {RAW_BITS:g} bit a pixel, at the preset's constants, which are ours; 40 % hold from "
            f"{bits.min():.2f} to {bits.max():.2f} bit a pixel on (merging .75: {merged.min():.2f} to {merged.max():.2f}), "
            "not against JPEG or WebP of 1 bit a pixel",
        )
        for method, place in _PLACES.items():
            own = rows[rows["method"] == method]
            late = [[point[1] for point in curve[len(curve) // 2 :]] for curve in own["curve"]]
            beyond = _beyond(own)
            said = (
                f"gap {100 * own['gap'].mean():.2f} % (worst of {len(own)} seeds {100 * own['gap'].max():.2f}), limits "
                + (f"broken by {100 * own['violation'].max():.2f} % at most" if own["violation"].max() > 0 else "kept")
            )
            yield stated(
                item(place),
                said,
                bool(own["gap"].max() <= _NEAR) and not beyond,
                f"{_REASONS[method]}; in the second half of the training the gap goes from {100 * np.min(late):.2f} to "
                f"{100 * np.max(late):.2f} %; a limit counts as kept within the 95 % interval of 512 simulated episodes",
            )

    @override
    def figure(self, rows: pd.DataFrame) -> Figure:
        from matplotlib.figure import Figure

        figure = Figure(figsize=(6, 4), layout="constrained")
        axes = figure.subplots()
        for method in _PLACES:
            curves = np.array(rows.loc[rows["method"] == method, "curve"].tolist())
            (line,) = axes.plot(curves[0, :, 0], 100 * curves[:, :, 1].mean(axis=0), label=method)
            low, high = (100 * extreme(curves[:, :, 1], axis=0) for extreme in (np.min, np.max))
            axes.fill_between(curves[0, :, 0], low, high, color=line.get_color(), alpha=0.2, linewidth=0)
        axes.set(xlabel="slots lived through", ylabel="gap to the optimum, % (mean and range over seeds)")
        axes.set_yscale("symlog")
        axes.legend(fontsize="small")
        return figure


def _beyond(own: pd.DataFrame) -> bool:
    """Whether a policy's exact mean lies beyond a limit by more than the simulation's 95 % interval of that mean."""
    limits = {"latency": MegInstance().latency_limit_s, "energy": MegInstance().energy_limit_j}
    return any(bool((own[name] > limit + own[f"interval_{name}"]).any()) for name, limit in limits.items())


def _learned(method: str, seed: int, iterations: int) -> Record:
    from hisopt.experiments.campaigns.meg_judging import exact, judging, optimum_of, simulated
    from hisopt.experiments.campaigns.meg_training import METHODS, trained
    from hisopt.solvers.meg.learning import policy_of

    problem, settings = judging(), replace(METHODS[method], seed=seed)
    if iterations:
        settings = replace(settings, iterations=iterations)
    optimum, start = optimum_of(problem), time.process_time()
    actor, curve = trained(problem, settings, optimum)
    spent, policy = time.process_time() - start, policy_of(actor, problem)
    return {
        "cpu_s": spent,
        "curve": curve,
        **exact(problem, policy, optimum),
        **simulated(problem, policy, 1000 + seed),
    }


def _saving(steps: float) -> Record:
    instance = MegInstance()
    return {
        "saved": 100 * saved(instance, steps, 0.0, RAW_BITS * _PIXELS),
        "bits": needed_bits(instance, steps, 0.0) / _PIXELS, "bits_merged": needed_bits(instance, steps, 0.75) / _PIXELS,
    }  # fmt: skip
