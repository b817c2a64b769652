"""Which published numbers hold together: the best fit of what the journal leaves open, and what of it is identified."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from typing_extensions import override

from hisopt.experiments.papers.calibration_model import (
    BOUNDS,
    NAMES,
    PARAMETERS,
    PUBLISHED,
    TOLERANCE,
    Model,
    residual,
)
from hisopt.experiments.papers.calibration_search import IIS_PAIR, TARGETS, WITHIN, read
from hisopt.experiments.papers.draws import BASELINES, paper, proven_scheme
from hisopt.experiments.papers.experiment import Cell, Experiment, Record
from hisopt.experiments.papers.iis_bound import least_device_loss
from hisopt.experiments.papers.items import item
from hisopt.experiments.papers.verdicts import CLOSE, Finding, Verdict, numeric, stated
from hisopt.instances.scenario import PRESETS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pandas as pd
    from matplotlib.figure import Figure

    from hisopt.arrays import FloatArray

_ALL, _REST = "all", "all but the IIS pair"
_PLACES = {
    "calibration-all": _ALL, "calibration-rest": _REST, "calibration-gains": "gains", "calibration-ranges": "ranges",
    "calibration-iis-pair": "the IIS pair", "calibration-iis-gain": "the IIS pair and its gain",
}  # fmt: skip
_FEW = 50  # points, below which their span says nothing
_IDENTIFIED = 0.25  # share of a parameter's range that the points within tolerance may span


@dataclass(frozen=True)
class Calibration(Experiment):
    """The best point that `calibration_search` found for each set of numbers, its numbers computed anew.

    Of the points near the best fit of all numbers but the IIS pair, up to ``near`` are evaluated anew.
    """

    name: ClassVar[str] = "calibration"
    quick_fields: ClassVar[dict[str, Any]] = {"near": 5, "draws": 2}

    near: int = 300
    draws: int = 20

    @override
    def cells(self) -> Sequence[Cell]:
        best: dict[str, dict[str, Any]] = {}
        for one in sorted(read(), key=lambda one: one["loss"]):
            best.setdefault(one["target"], one)
        cells = [{"target": target, "points": [best[target]["point"]]} for target in TARGETS]
        near = best[_REST]["near"]
        cells += [{"target": "near", "points": near[k : k + 25]} for k in range(0, min(len(near), self.near), 25)]
        return cells + [{"target": "preset", "points": [], "seed": seed} for seed in range(self.draws)]

    @override
    def measure(self, cell: Cell) -> Record:
        if cell["target"] == "preset":
            return {"numbers": [preset_gains(cell["seed"])]}
        model = Model()
        return {"numbers": [model.numbers(np.array(point)) for point in cell["points"]]}

    @override
    def findings(self, rows: pd.DataFrame) -> Iterator[Finding]:
        fits = best_fits(rows)
        for key, target in _PLACES.items():
            if target == "the IIS pair":
                yield _pair(fits[target][1])
            else:
                yield _joint(key, target, fits[target][1])
        preset = rows.loc[rows["target"] == "preset", "numbers"]
        for scheme in BASELINES:
            gain = [numbers[0][scheme] for numbers in preset]
            reason = "preset `calibrated`, shipped prompts: their similarities are not those of the fit"
            yield numeric(item(f"calibrated-10-{scheme}"), gain, reason)
        span, count = spans(rows), len(near_points(rows)[0])
        known = [name for name in NAMES if span[name][2] <= _IDENTIFIED]
        verdict = Verdict.REPRODUCED if len(known) == len(NAMES) else Verdict.NOT_IDENTIFIABLE
        yield stated(
            item("calibration-parameters"),
            f"{len(known)} of {len(NAMES)} identified{': ' if known else ''}{', '.join(known)}"
            if count >= _FEW
            else "-",
            verdict if count >= _FEW else Verdict.OPEN,
            f"a parameter is identified where points within {WITHIN:g} of the best loss span at most a quarter of its range; "
            f"{count} points, without the IIS pair; ranges: CALIBRATION.md",
        )

    @override
    def report(self, rows: pd.DataFrame) -> str:
        fits, span = best_fits(rows), spans(rows)
        searches = read()
        lines = [
            "# Calibration: which published numbers hold together", "",
            "The journal's and the magazine's numbers as functions of what they leave open: weights of delay and energy "
            "(quality's is 1), bandwidth, utilisation of server and devices, the mean similarity of public and personal prompts "
            "under each scheme (spread evenly by 0.1 either way), and how many clusters PPGFIS and IIS have. One draw of the "
            "preset `paper`; every evaluation solves up to 21 problems to proven optima. "
            f"{sum(one['evaluations'] for one in searches):,} evaluations in {len(searches)} searches "
            f"(`python -m hisopt.experiments.papers.calibration_search`, {sum(one['cpu_s'] for one in searches):.0f} s of CPU). "
            f"The loss is the sum of squared relative deviations in units of {100 * TOLERANCE:.0f} %. Each column is the best "
            "point for one set of numbers, those in the set in bold; every number is computed anew at its point.", "",
            "| number | published | " + " | ".join(fits) + " |", "|---" * (len(fits) + 2) + "|",
        ]  # fmt: skip
        for name, published in PUBLISHED.items():
            cells = [f"{'**' if name in TARGETS[target] else ''}{numbers[name]:.4g}{'**' if name in TARGETS[target] else ''}"
                     for target, (_, numbers) in fits.items()]  # fmt: skip
            lines.append(f"| {name} | {published:g} | " + " | ".join(cells) + " |")
        losses = [
            sum(residual(name, numbers[name]) ** 2 for name in TARGETS[target]) for target, (_, numbers) in fits.items()
        ]
        lines += [
            "| loss | | " + " | ".join(f"{loss:.3g}" for loss in losses) + " |",
            "",
            "Parameters at these points:",
            "",
        ]
        lines += ["| parameter | " + " | ".join(fits) + " |", "|---" * (len(fits) + 1) + "|"]
        for place, one in enumerate(PARAMETERS):
            lines.append(f"| {one.name} | " + " | ".join(one.shown(point[place]) for point, _ in fits.values()) + " |")
        count = len(near_points(rows)[0])
        lines += [
            "",
            f"{count} points of a Markov chain about that fit, with a loss without the IIS pair within {WITHIN:g} of the best "
            "(the 95 % region of ten parameters, were 10 % a deviation); a short chain, so the spans are at least these. "
            "A parameter counts as identified where they span at most a quarter of the range searched.", "",
            "| parameter | searched | within tolerance | share of the range | |", "|---|---|---|---|---|",
        ]  # fmt: skip
        for one in PARAMETERS:
            low, high, share = span[one.name]
            cells = [f"{one.shown(one.low)} to {one.shown(one.high)}", f"{one.shown(low)} to {one.shown(high)}"]
            word = "identified" if share <= _IDENTIFIED else "-"
            lines.append(f"| {one.name} | {' | '.join(cells)} | {100 * share:.0f} % | {word} |")
        server, devices = (PUBLISHED[name] for name in IIS_PAIR)
        least, three = 100 * pair_bound(), 100 * pair_bound(clusters=3)
        lines += [
            "",
            f"The IIS pair: an optimal IIS that loses {server:g} % of its utility from 1,674 server SMs to 1,026 loses at "
            f"least {least:.1f} % from 84 device SMs to 64 ({three:.1f} % with three clusters), where "
            f"{devices:g} % are published; `iis_bound.py` has the argument. At least one of the two is not of optimal decisions, "
            "or not of this model.", "",
            f"The preset `calibrated` has the weights, bandwidth and utilisations of the column `{_REST}`; its similarities are "
            "those of the shipped prompts, not the fit's.",
        ]  # fmt: skip
        return "\n".join(lines) + "\n"

    @override
    def figure(self, rows: pd.DataFrame) -> Figure:
        from matplotlib.figure import Figure

        figure = Figure(figsize=(10, 4.5), layout="constrained")
        left, right = figure.subplots(1, 2)
        fits = best_fits(rows)
        place = np.arange(len(PUBLISHED))
        for shift, target in ((-0.2, _ALL), (0.2, _REST)):
            found = [100 * (fits[target][1][name] / published - 1) for name, published in PUBLISHED.items()]
            left.barh(place + shift, found, height=0.4, label=f"fit of {target}")
        left.axvline(0, color="black", linewidth=0.5)
        left.set_yticks(place, list(PUBLISHED), fontsize="small")
        left.set_xlabel("off the published number, %")
        left.legend(fontsize="small")
        span = spans(rows)
        for k, one in enumerate(PARAMETERS):
            low, high = ((end - one.low) / (one.high - one.low) for end in span[one.name][:2])
            right.barh(k, high - low, left=low, height=0.5, color="C0")
        right.set_yticks(range(len(NAMES)), list(NAMES), fontsize="small")
        right.set(xlim=(0, 1), xlabel="points within tolerance, share of the range searched")
        return figure


def _joint(key: str, target: str, numbers: dict[str, float]) -> Finding:
    """Judge that the numbers of a target hold together, from those at its best fit."""
    off = {name: abs(numbers[name] / PUBLISHED[name] - 1) for name in TARGETS[target]}
    worst = max(off, key=lambda name: off[name])
    met = sum(value <= TOLERANCE for value in off.values())
    verdict = Verdict.DIRECTION if met == len(off) else Verdict.REFUTED
    return stated(
        item(key),
        f"{met} of {len(off)} within {100 * TOLERANCE:.0f} %, {worst} {numbers[worst]:.3g} (published {PUBLISHED[worst]:g})",
        Verdict.REPRODUCED if off[worst] <= CLOSE else verdict,
        "best fit of ten open parameters; by differential evolution, and a search is no proof; residuals: CALIBRATION.md",
    )


def _pair(numbers: dict[str, float]) -> Finding:
    server, devices = (PUBLISHED[name] for name in IIS_PAIR)
    least, near = 100 * pair_bound(), [numbers[name] for name in IIS_PAIR]
    return stated(
        item("calibration-iis-pair"),
        f"at least {least:.1f} % on the devices' (proven); nearest found {near[0]:.3g} and {near[1]:.3g} %",
        Verdict.REFUTED if least > devices else Verdict.NOT_IDENTIFIABLE,
        f"for optimal decisions that lose {server:g} % on the server's: at any weights, rho, radio and clusters, by iis_bound.py",
    )


def preset_gains(seed: int) -> dict[str, float]:
    """Return by how many per cent HIS exceeds each baseline on a draw of the preset ``calibrated``, one draw of members."""
    instance = PRESETS["calibrated"].sample(seed)
    his = proven_scheme(instance, "his").utility
    return {name: 100 * (his / proven_scheme(instance, name, seed).utility - 1) for name in BASELINES}


def pair_bound(clusters: int | None = None) -> float:
    """Return the least share that an optimal IIS loses on the devices' range if it loses the published one on the server's."""
    instance, scenario = paper(0), PRESETS["paper"]
    loss = PUBLISHED[IIS_PAIR[0]] / 100
    return least_device_loss(instance, loss, scenario.edge_sms, scenario.device_sms, clusters or instance.users)


def best_fits(rows: pd.DataFrame) -> dict[str, tuple[list[float], dict[str, float]]]:
    """Return point and numbers of the best fit of each target."""
    found = {
        row["target"]: (row["points"][0], row["numbers"][0])
        for row in rows.to_dict("records")
        if row["target"] in TARGETS
    }
    return {target: found[target] for target in TARGETS}


def near_points(rows: pd.DataFrame) -> tuple[FloatArray, FloatArray]:
    """Return the points within tolerance of the best fit without the IIS pair, shape (P, parameters), and their losses."""
    points, losses = [], []
    for row in rows.to_dict("records"):
        if row["target"] in ("near", _REST):
            points += row["points"]
            losses += [sum(residual(name, numbers[name]) ** 2 for name in TARGETS[_REST]) for numbers in row["numbers"]]
    loss = np.array(losses)
    kept = loss <= loss.min() + WITHIN
    return np.array(points)[kept], loss[kept]


def spans(rows: pd.DataFrame) -> dict[str, tuple[float, float, float]]:
    """Return least and greatest value of each parameter within tolerance, and their distance over the range searched."""
    points, _ = near_points(rows)
    found = {}
    for place, (name, (low, high)) in enumerate(zip(NAMES, BOUNDS, strict=True)):
        least, most = float(points[:, place].min()), float(points[:, place].max())
        found[name] = (least, most, (most - least) / (high - low))
    return found
