"""``python -m hisopt.experiments.campaigns.meg_policies``: learned policies for MEG against the linear program.

Every method is trained with every seed; the last policy is evaluated exactly on the binned channel, by simulation with 95 %
intervals over episodes, and on the other channel (the same bins as a Gauss-Markov chain, and distances of 100 to 200 m). Folder
RECORDS gets ``policies.csv``, ``training.csv`` (violations over training), ``violations.pdf`` and the policies as safetensors.
"""

from __future__ import annotations

import csv
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from hisopt.commands.common import run_command
from hisopt.decision import Decision
from hisopt.instances import MegChannel, MegInstance
from hisopt.problems import Meg
from hisopt.result import Limits
from hisopt.solvers.meg import cvpo, ppo_lagrangian
from hisopt.solvers.meg.exact import OccupancyLp
from hisopt.solvers.meg.learning import Slots, policy_of, write_policy

if TYPE_CHECKING:
    from hisopt.arrays import FloatArray

METHODS: dict[str, Any] = {
    "cvpo": cvpo.CvpoSettings(),
    "cvpo, as published, gamma 0.97": cvpo.CvpoSettings(discount=0.97, constraint="published"),
    "cvpo, corrected, gamma 0.97": cvpo.CvpoSettings(discount=0.97, constraint="corrected"),
    "cvpo, published limit, gamma 0": cvpo.CvpoSettings(discount=0.0, constraint="published"),
    "ppo-lagrangian": ppo_lagrangian.PpoSettings(),
}


def simulated(problem: Meg, policy: FloatArray, seed: int, episodes: int = 512) -> dict[str, float]:
    """Return mean reward and costs over episodes of the instance's horizon, and half widths of 95 % intervals."""
    horizon = problem.instance.horizon
    batch = Slots(problem, seed, episodes).live(policy, episodes * horizon)
    found: dict[str, float] = {}
    for name, values in (("reward", batch.rewards), *zip(problem.limit_names, batch.costs.T, strict=True)):
        per_episode = values.reshape(horizon, episodes).mean(axis=0)
        found[f"simulated_{name}"] = float(per_episode.mean())
        found[f"interval_{name}"] = float(1.96 * per_episode.std(ddof=1) / np.sqrt(episodes))
    return found


def exact(problem: Meg, policy: FloatArray, optimum: float) -> dict[str, float]:
    """Return a policy's exact means, its gap to the optimum and its largest violation, both relative."""
    parts = problem.evaluate(Decision(policy=policy)).parts
    costs = np.array([parts[name] for name in problem.limit_names])
    violation = float(((costs - problem.process.limits) / problem.process.scale).max())
    return {**parts, "gap": (optimum - parts["reward"]) / abs(optimum), "violation": violation}


def optimum_of(problem: Meg) -> float:
    """Return the optimum by the linear program."""
    bound = OccupancyLp().solve(problem, Limits()).bound
    assert bound is not None
    return bound


def trained(problem: Meg, settings: Any, optimum: float, training: list[dict[str, Any]]) -> tuple[Any, float]:
    """Train an actor and note its exact gap and violation as it goes; return it and the CPU seconds."""
    start = time.process_time()

    def tell(iteration: int, policy: FloatArray) -> None:
        if iteration % 5 == 0:
            found = exact(problem, policy, optimum)
            kept = {name: found[name] for name in ("gap", "violation")}
            training.append({"iteration": iteration, "slots": iteration * settings.slots, **kept})

    module = cvpo if isinstance(settings, cvpo.CvpoSettings) else ppo_lagrangian
    actor = module.train(problem, settings, tell)
    return actor, time.process_time() - start


@click.command()
@click.option("--seeds", default=5, show_default=True, help="Seeds of every method.")
@click.option("--method", "chosen", multiple=True, type=click.Choice(list(METHODS)), help="[default: all]")
@click.option("--records", default="meg-records", show_default=True, help="Folder of the results.")
def _command(seeds: int, chosen: tuple[str, ...], records: str) -> None:
    """Train every method with every seed on the preset and hold it to the optimum."""
    folder = Path(records)
    folder.mkdir(parents=True, exist_ok=True)
    problem = Meg(MegInstance())
    elsewhere = {
        "markov": Meg(MegInstance(channel=MegChannel.gauss_markov(64))),
        "near": Meg(MegInstance(channel=MegChannel.uniform_distance(64, 100.0, 200.0))),
    }
    optimum, others = optimum_of(problem), {name: optimum_of(other) for name, other in elsewhere.items()}
    rows: list[dict[str, Any]] = []
    curves: list[dict[str, Any]] = []
    for method in chosen or METHODS:
        for seed in range(seeds):
            training: list[dict[str, Any]] = []
            actor, seconds = trained(problem, replace(METHODS[method], seed=seed), optimum, training)
            policy = policy_of(actor, problem)
            row = {"method": method, "seed": seed, "cpu_seconds": seconds, **exact(problem, policy, optimum)}
            row |= simulated(problem, policy, 1000 + seed)
            for name, other in elsewhere.items():  # the network sees the gain as deviations of its own channel
                found = exact(other, policy_of(actor, other), others[name])
                row |= {f"{name}_gap": found["gap"], f"{name}_violation": found["violation"]}
            rows.append(row)
            curves += [{"method": method, "seed": seed, **point} for point in training]
            file = f"{method.replace(',', '').replace(' ', '-')}-{seed}.safetensors"
            write_policy(folder / file, actor, problem, {"method": method, "seed": seed})
            shown = ("gap", "violation", "latency", "energy", "markov_gap", "near_gap", "near_violation", "cpu_seconds")
            print(method, seed, *(f"{name} {row[name]:.5g}" for name in shown), flush=True)
    _write(folder / "policies.csv", rows)
    _write(folder / "training.csv", curves)
    _figure(folder / "violations.pdf", curves)


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _figure(path: Path, curves: list[dict[str, Any]]) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 4))
    for method in dict.fromkeys(point["method"] for point in curves):
        own = [point for point in curves if point["method"] == method]
        slots = sorted({point["slots"] for point in own})
        mean = [np.mean([100 * p["violation"] for p in own if p["slots"] == at]) for at in slots]
        axes.plot(slots, mean, label=method)
    axes.axhline(0.0, color="black", linewidth=0.5)
    axes.set(xlabel="slots lived through", ylabel="largest violation of a limit, %", yscale="symlog")
    axes.legend(fontsize=7)
    figure.savefig(path)
    plt.close(figure)


if __name__ == "__main__":
    run_command(_command, "hisopt.experiments.campaigns.meg_policies", extra="learn")
