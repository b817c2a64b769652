"""``python -m hisopt.experiments.papers.energy``: what optimal decisions and the schemes become under measured energies."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from hisopt.commands.common import run_command
from hisopt.diffusion.calibration import calibrated, load_profile
from hisopt.errors import InputError
from hisopt.experiments.papers.energy_profiles import CARDS, KAPPA, table_ii_watts
from hisopt.experiments.papers.verdicts import interval
from hisopt.files import write_atomically
from hisopt.instances import Instance
from hisopt.instances.scenario import PRESETS
from hisopt.problems import Joint
from hisopt.solvers.schemes.schemes import SCHEMES, scheme_instance, solve_scheme

if TYPE_CHECKING:
    from collections.abc import Callable

SEMCT_J = 1.38e-3 * 3.6e6
"""What the magazine article gives for an image of Stable Diffusion 1.5: 1.38e-3 kWh."""
_DEVICE_WATTS = 300.0
"""Board power of the card that Table II's device resembles (84 SMs at 1,860 MHz: an RTX A6000), by its data sheet."""
_NUMBERS = ("utility", "quality", "delay_s", "energy_j", "steps")


@dataclass(frozen=True)
class Config:
    """``draws`` instances of the preset ``paper``, each with ``members`` draws of the random members."""

    draws: int = 20
    members: int = 3

    def __post_init__(self) -> None:
        if self.draws < 2 or self.members < 1:
            raise InputError("--draws: must be >= 2, and --members >= 1")


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


def measure(config: Config, seed: int) -> list[dict[str, Any]]:
    """Return a record of every variant and scheme on one instance; every decision is a proven optimum of its problem.

    ``loss`` of HIS is what the decision that is optimal for the papers' energies loses, in per cent of the optimum under
    the variant's.
    """
    base = PRESETS["paper"].sample(seed)
    assert isinstance(base, Instance)
    by_papers = solve_scheme(base, "his").decision
    records = []
    for variant, change in variants().items():
        instance = change(base)
        for name, scheme in SCHEMES.items():
            found = [solve_scheme(instance, name, config.members * seed + k)
                     for k in range(config.members if scheme.random else 1)]  # fmt: skip
            assert all(one.proven and one.evaluation.feasible for one in found)
            record = {key: float(np.mean([getattr(one, key) for one in found])) for key in _NUMBERS}
            steps = [np.mean([*one.decision.server_steps, one.decision.device_steps], axis=1) for one in found]
            record |= dict(zip(("x", "y", "z"), map(float, np.mean(steps, axis=0)), strict=True))
            if name == "his":
                kept = Joint(scheme_instance(instance, "his")).evaluate(by_papers)
                assert kept.feasible and kept.objective is not None
                record["loss"] = 100 * (1 - kept.objective / record["utility"])
            records.append({"seed": seed, "variant": variant, "scheme": name, **record})
    return records


def report(records: list[dict[str, Any]], config: Config) -> str:
    """Return the report as Markdown."""
    a100 = CARDS[0]
    measured = load_profile(a100.name)["edge"]
    watts = measured["power_per_sm"] * a100.sms * KAPPA * a100.frequency_hz**3
    lines = [
        "# Energy against the world", "",
        f"The preset `paper`, {config.draws} instances, random members drawn {config.members} times; every decision a proven "
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
        utility = {name: np.array([r["utility"] for r in rows if r["scheme"] == name]) for name in SCHEMES}
        cells = []
        for name in SCHEMES:
            if name != "his":
                mean, half = interval(100 * (utility["his"] / utility[name] - 1))
                cells.append(f"{mean:+.1f} ± {half:.1f}")
        order = sorted(SCHEMES, key=lambda name: -float(utility[name].mean()))
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


@click.command()
@click.option("--draws", default=20, show_default=True, help="Instances.")
@click.option("--members", default=3, show_default=True, help="Draws of the random members on each.")
@click.option("--quick", is_flag=True, help="Two instances, one draw.")
@click.option("--records", metavar="FILE", help="Write the records, JSON lines.")
@click.option("--output", metavar="FILE", help="Write the report as well.")
def command(draws: int, members: int, quick: bool, records: str | None, output: str | None) -> None:
    """Compare the papers' energies with measured ones: joules an image, the schemes' order, and optimal decisions."""
    config = Config(2, 1) if quick else Config(draws, members)
    found = [record for seed in range(config.draws) for record in measure(config, seed)]
    if records is not None:
        write_atomically(Path(records), "".join(json.dumps(record) + "\n" for record in found))
    text = report(found, config)
    if output is not None:
        write_atomically(Path(output), text)
    print(text, end="")


def main() -> None:
    """Run the command line."""
    run_command(command, "hisopt.experiments.papers.energy")


if __name__ == "__main__":
    main()
