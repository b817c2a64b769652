"""What optimal decisions and the schemes become under measured energies, and what an image costs under each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from typing_extensions import override

from hisopt.diffusion.calibration import calibrated, load_profile
from hisopt.errors import InputError
from hisopt.experiments.papers.draws import BASELINES, LABELS, paper, proven_scheme, utility
from hisopt.experiments.papers.energy_profiles import CARDS, KAPPA, table_ii_watts
from hisopt.experiments.papers.experiment import Cell, Experiment, Record
from hisopt.experiments.papers.items import item
from hisopt.experiments.papers.verdicts import Finding, Verdict, interval, stated
from hisopt.instances.scenario import PRESETS
from hisopt.problems import Joint
from hisopt.solvers.schemes.schemes import SCHEMES, scheme_instance

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import pandas as pd
    from matplotlib.figure import Figure

    from hisopt.instances import Instance

SEMCT_J = 1.38e-3 * 3.6e6
"""What the magazine article gives for an image of Stable Diffusion 1.5: 1.38e-3 kWh."""
_DEVICE_WATTS = 300.0
"""Board power of the card that Table II's device resembles (84 SMs at 1,860 MHz: an RTX A6000), by its data sheet."""
_NUMBERS = ("utility", "quality", "delay_s", "energy_j", "steps")
_SD21_J = 432.0
"""Measured by ML.ENERGY for Stable Diffusion 2.1 on an A100: 25 steps, batch 1, text encoder and decoder included."""


@dataclass(frozen=True)
class Energy(Experiment):
    """``draws`` instances of the preset ``paper``, each with ``members`` draws of the random members."""

    name: ClassVar[str] = "energy"
    quick_fields: ClassVar[dict[str, Any]] = {"draws": 2, "members": 1}

    draws: int = 20
    members: int = 3

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
        return {"schemes": measure(cell["seed"], self.members)}

    @override
    def findings(self, rows: pd.DataFrame) -> Iterator[Finding]:
        records = [record for found in rows["schemes"] for record in found]
        yield stated(
            item("magazine-energy"), f"{_SD21_J:.0f} J measured for its successor 2.1", Verdict.NOT_IDENTIFIABLE,
            f"neither card nor steps are said; {SEMCT_J / _SD21_J:.0f} times what ML.ENERGY measured on an A100, 25 steps",
        )  # fmt: skip
        gains = {name: interval(gain_over(records, "a100", name)) for name in BASELINES}
        yield stated(
            item("energy-order"),
            ", ".join(f"{LABELS[name]} {mean:+.1f} ± {half:.1f} %" for name, (mean, half) in gains.items()),
            all(mean - half > 0 for mean, half in gains.values()),
            "utility of HIS over each, profile a100-mlenergy, weights as before; other ways to count: ENERGY.md",
        )

    @override
    def report(self, rows: pd.DataFrame) -> str:
        return report([record for found in rows["schemes"] for record in found], len(rows), self.members)

    @override
    def figure(self, rows: pd.DataFrame) -> Figure:
        from matplotlib.figure import Figure

        records = [record for found in rows["schemes"] for record in found]
        figure = Figure(figsize=(8, 4), layout="constrained")
        axes = figure.subplots()
        place, shown = np.arange(len(SCHEMES)), ("papers", "a100", "h100")
        for shift, variant in enumerate(shown):
            joules = [
                np.mean([r["energy_j"] for r in records if (r["variant"], r["scheme"]) == (variant, name)])
                for name in SCHEMES
            ]
            axes.bar(place + 0.27 * (shift - 1), np.array(joules) / PRESETS["paper"].users, 0.27, label=variant)
        axes.set_xticks(place, list(SCHEMES), fontsize="small")
        axes.set_ylabel("J an image")
        axes.legend(title="energies", fontsize="small")
        return figure


def gain_over(records: list[dict[str, Any]], variant: str, scheme: str) -> list[float]:
    """Return by how many per cent HIS exceeds a scheme's utility, one value an instance."""
    of: dict[str, list[float]] = {name: [] for name in SCHEMES}
    for r in records:
        if r["variant"] == variant:
            of[r["scheme"]].append(r["utility"])
    return [100 * (one / other - 1) for one, other in zip(of["his"], of[scheme], strict=True)]


def variants() -> dict[str, Callable[[Instance], Instance]]:
    """Return the ways to count energy: each takes an instance of the papers' parameters to its own."""
    return {
        "papers": lambda instance: instance,
        "a100": lambda instance: _profiled(instance, "a100-mlenergy"),
        "a100, Table II's static part": lambda instance: _split(_profiled(instance, "a100-mlenergy")),
        "a100, devices of 300 W": lambda instance: _devices(_profiled(instance, "a100-mlenergy"), _DEVICE_WATTS),
        "a100, energy weighs four times": lambda instance: _weighted(_profiled(instance, "a100-mlenergy"), 4.0),
        "h100": lambda instance: _profiled(instance, "h100-mlenergy"),
    }


def _profiled(instance: Instance, name: str) -> Instance:
    return calibrated(instance, load_profile(name))[0]


def _split(instance: Instance) -> Instance:
    """The same watts for all SMs of one A100, with mu1 and mu2 in Table II's ratio."""
    card, edge = CARDS[0], instance.edge
    scale = float(edge.power_per_sm) * card.sms / (4.0 * card.sms + 135.0)
    return instance.replace(edge=edge.replace(power_per_sm=4.0 * scale, power_static=135.0 * scale))


def _devices(instance: Instance, watts: float) -> Instance:
    """Devices of so many watts with 84 SMs, in Table II's ratio of mu1 and mu2."""
    gpu = instance.devices
    table = (4.0 * 84 + 135.0) * float(np.max(gpu.frequency_hz)) ** 3
    return instance.replace(devices=gpu.replace(energy_coefficient=watts / table))


def _weighted(instance: Instance, factor: float) -> Instance:
    weights = instance.weights
    return instance.replace(weights=weights.replace(energy=factor * weights.energy))


def measure(seed: int, members: int) -> list[dict[str, Any]]:
    """Return a record of every variant and scheme on one instance; every decision is a proven optimum of its problem.

    ``loss`` of HIS is what the decision that is optimal for the papers' energies loses, in per cent of the optimum under
    the variant's.
    """
    base = paper(seed)
    by_papers = proven_scheme(base, "his").decision
    records = []
    for variant, change in variants().items():
        instance = change(base)
        for name, scheme in SCHEMES.items():
            found = [proven_scheme(instance, name, members * seed + k)
                     for k in range(members if scheme.random else 1)]  # fmt: skip
            record = {key: float(np.mean([getattr(one, key) for one in found])) for key in _NUMBERS}
            steps = [np.mean([*one.decision.server_steps, one.decision.device_steps], axis=1) for one in found]
            record |= dict(zip(("x", "y", "z"), map(float, np.mean(steps, axis=0)), strict=True))
            if name == "his":
                kept = utility(Joint(scheme_instance(instance, "his")).evaluate(by_papers))
                record["loss"] = 100 * (1 - kept / record["utility"])
            records.append({"seed": seed, "variant": variant, "scheme": name, **record})
    return records


def report(records: list[dict[str, Any]], draws: int, members: int) -> str:
    """Return the report as Markdown."""
    a100 = CARDS[0]
    measured = load_profile(a100.name)["edge"]
    watts = measured["power_per_sm"] * a100.sms * KAPPA * a100.frequency_hz**3
    lines = [
        "# Energy against the world", "",
        f"The preset `paper`, {draws} instances, random members drawn {members} times; every decision a proven "
        "optimum. Means, and 95 % intervals over instances.", "",
        f"The power law (10) with Table II gives {table_ii_watts(a100):.0f} W for one A100; ML.ENERGY measured {watts:.0f} W, "
        f"{table_ii_watts(a100) / watts:.1f} times less. The profiles `a100-mlenergy` and `h100-mlenergy` take seconds and "
        "joules of a step from that measurement; it is of whole GPUs and does not tell mu1 from mu2, nor anything of devices, "
        "so two rows vary those: mu1 and mu2 in Table II's ratio at the same watts, and devices of 300 W (the data sheet of "
        "the card that Table II's device resembles) in place of Table II's 3,031 W times the server's correction.", "",
        f"SemCT gives {SEMCT_J:,.0f} J for an image of Stable Diffusion 1.5. ML.ENERGY measured 432 J for Stable Diffusion 2.1 "
        "and 1,458 J for Stable Diffusion 3 Medium on an A100, text encoders and decoder included, 25 steps, batch 1. Per "
        "image, server, device and transmission together:", "",
        "| energies | " + " | ".join(f"{name}, J an image" for name in SCHEMES) + " |",
        "|---" * (len(SCHEMES) + 1) + "|",
    ]  # fmt: skip
    groups = {v: [r for r in records if r["variant"] == v] for v in variants()}
    users = PRESETS["paper"].users
    for variant, rows in groups.items():
        means = [np.mean([r["energy_j"] / users for r in rows if r["scheme"] == name]) for name in SCHEMES]
        lines.append(f"| {variant} | " + " | ".join(f"{mean:,.0f}" for mean in means) + " |")
    lines += ["", "Utility of HIS over each scheme, in per cent:", "",
              "| energies | " + " | ".join(name for name in SCHEMES if name != "his") + " | order of all |",
              "|---" * (len(SCHEMES) + 1) + "|"]  # fmt: skip
    for variant, rows in groups.items():
        cells = []
        for name in SCHEMES:
            if name != "his":
                mean, half = interval(gain_over(records, variant, name))
                cells.append(f"{mean:+.1f} ± {half:.1f}")
        average = {name: np.mean([r["utility"] for r in rows if r["scheme"] == name]) for name in SCHEMES}
        order = sorted(SCHEMES, key=lambda name: -float(average[name]))
        lines.append(f"| {variant} | " + " | ".join(cells) + f" | {', '.join(order)} |")
    lines += ["", "Decisions of HIS: mean steps of a user, executed steps of all, and what the decision that is optimal for the "
              "papers' energies loses.", "",
              "| energies | common | server | device | executed | delay, s | loss of the papers' decision |",
              "|---|---|---|---|---|---|---|"]  # fmt: skip
    for variant, rows in groups.items():
        own = [r for r in rows if r["scheme"] == "his"]
        average = {key: float(np.mean([r[key] for r in own])) for key in ("x", "y", "z", "steps", "delay_s", "loss")}
        lines.append(f"| {variant} | {average['x']:.2f} | {average['y']:.2f} | {average['z']:.2f} | {average['steps']:.0f} | "
                     f"{average['delay_s']:.0f} | {average['loss']:.2f} % |")  # fmt: skip
    return "\n".join(lines) + "\n"
