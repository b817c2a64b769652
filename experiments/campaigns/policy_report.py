"""Learned policies, judged by the exact optimum and by the game's equilibria: what the campaign of policies runs."""

from __future__ import annotations

import json
import re
import sys
import time
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from hisopt import Limits
from hisopt.equations import optimal_sms, work_costs
from hisopt.errors import InputError
from hisopt.files import save_svg, write_atomically
from hisopt.instances import Instance
from hisopt.problems import Joint
from hisopt.solvers.clustering.hac import clustered
from hisopt.solvers.joint.exact import JointExact
from hisopt.solvers.policy import ippo, training
from hisopt.solvers.policy.best_response import play, regret
from hisopt.solvers.policy.ippo import TUNED, VANILLA, Contexts, Settings, Trainer
from hisopt.solvers.policy.policy_gap import CHOOSING, HELD_OUT, VALIDATION, PolicyGap, held_out
from hisopt.solvers.policy.step_game import StepGame

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hisopt.instances.scenario import Scenario

VARIANTS: dict[str, dict[str, Any]] = {
    "coalition reward": {},
    "no common exploration": {"together": 0.0},
    "marginal reward": {"reward": "marginal"},
    "team reward": {"reward": "team"},
    "individual reward (33)": {"reward": "individual"},
    "observation (31)": {"observation": "published"},
    "raw advantages": {"normalise_advantages": False},
    "raw rewards": {"normalise_rewards": False},
    "vanilla": VANILLA,
    "as published": {
        "reward": "individual",
        "reward_scale": "agent",
        "observation": "published",
        "shared": False,
        "hidden": (256, 256, 256),
        "learning_rate": 0.005,
        "batch": 128,
        "epochs": 4,
        "anneal": False,
        "together": 0.0,
    },
}
_POINTS = 20  # of a learning curve


@dataclass(frozen=True)
class Plan:
    """What is run: ``seeds`` runs of each variant, judged on ``judges`` instances, ``starts`` random best replies."""

    preset: str = "paper"
    users: int | None = None
    seeds: int = 5
    updates: int = TUNED["updates"]
    batch: int = TUNED["batch"]
    judges: int = 100
    starts: int = 10
    threads: int = 1
    choosing: bool = False
    split_subjects: bool = False

    def __post_init__(self) -> None:
        for name in ("seeds", "judges", "threads"):
            if getattr(self, name) < 1:
                raise InputError(f"--{name}: is {getattr(self, name)}, must be >= 1")
        if self.starts < 0:
            raise InputError(f"--starts: is {self.starts}, must be >= 0")
        if self.settings.scenario.subjects is None:
            raise InputError(
                f"--preset: {self.preset} draws no prompts, and policies are judged on clusters of prompts"
            )

    @property
    def settings(self) -> Settings:
        """The settings that the variants change."""
        own = {"preset": self.preset, "users": self.users, "updates": self.updates, "batch": self.batch,
               "split_subjects": self.split_subjects}  # fmt: skip
        return Settings(**(TUNED | own))

    def instances(self) -> list[Instance]:
        """Return the instances that judge: the held-out ones, or those by which settings are chosen."""
        first = CHOOSING if self.choosing else HELD_OUT
        return drawn(self.settings.scenario, self.judges, first, split_subjects=self.split_subjects)


def train(settings: Settings, path: Path, measure: PolicyGap, judge: Callable[[], PolicyGap]) -> list[dict[str, float]]:
    """Return the learning curve of a run, trained unless ``path`` holds it already; a checkpoint is taken up.

    ``judge`` gives what chooses the policy that is kept, and is asked only where there is something to train.
    """
    curve, checkpoint = path.with_suffix(".json"), path.with_name(path.name + ".checkpoint")
    if curve.exists() and path.exists():
        found: list[dict[str, float]] = json.loads(curve.read_text())
        return found
    trainer = Trainer(settings, Contexts(settings, clustered))
    if checkpoint.exists():
        trainer.resume(checkpoint)
    if not trainer.history:
        trainer.history.append({"update": 0, "seconds": 0.0} | measure(trainer))
    training.train(trainer, measure, judge(), max(settings.updates // _POINTS, 1), checkpoint)
    ippo.export(trainer, path)
    write_atomically(curve, json.dumps(trainer.history) + "\n")
    checkpoint.unlink(missing_ok=True)
    return trainer.history


def gaps(policy: ippo.Policy, instances: list[Instance], optimum: np.ndarray) -> np.ndarray:
    """Relative gaps of a policy's most likely actions to the optima, shape (instances,)."""
    game = StepGame.of(instances)
    common, steps_edge, _ = policy.act(policy.scaled(game))
    return np.asarray((optimum - game.utility(common, steps_edge).numpy()) / np.abs(optimum))


def drawn(scenario: Scenario, count: int, first: int = HELD_OUT, *, split_subjects: bool = False) -> list[Instance]:
    """Held-out instances with HAC's clusters."""
    instances = held_out(scenario, count, first, split_subjects=split_subjects)
    assert all(isinstance(i, Instance) for i in instances)
    return instances  # type: ignore[return-value]


def elsewhere(policy: ippo.Policy, scenario: Scenario, count: int) -> list[dict[str, Any]]:
    """Gaps on scenarios that the policy was not trained on."""
    w = scenario.weights
    others = {
        "as trained": scenario,
        **{f"N = {n}": scenario.with_users(n) for n in (10, 20, 100) if n != scenario.users},
        "M = 5": scenario.replace(max_clusters=5),
        "delay weight x 2": scenario.replace(weights=w.model_copy(update={"delay": 2 * w.delay})),
        "energy weight x 2": scenario.replace(weights=w.model_copy(update={"energy": 2 * w.energy})),
        "V halved": scenario.replace(edge_sms=tuple(v // 2 for v in scenario.edge_sms)),
        "V doubled": scenario.replace(edge_sms=tuple(v * 2 for v in scenario.edge_sms)),
    }
    rows = []
    for name, other in others.items():
        instances = drawn(other, count)
        found = gaps(policy, instances, PolicyGap(instances).optimum)
        rows.append({"scenario": name, "mean": float(found.mean()), "worst": float(found.max())})
    return rows


def equilibria(instances: list[Instance], optimum: np.ndarray, starts: int) -> list[dict[str, Any]]:
    """Where best replies end from random steps, from none and from all, for both rewards."""
    rows = []
    for index, (instance, best) in enumerate(zip(instances, optimum, strict=True)):
        game, limits = StepGame.of([instance]), instance.steps
        rng = torch.Generator().manual_seed(index)
        n = instance.users
        common = [torch.zeros(n, dtype=torch.int64), torch.full((n,), limits.common_max)]
        steps_edge = [torch.full((n,), limits.edge_min), torch.full((n,), limits.edge_max)]
        for _ in range(starts):
            common.append(torch.randint(0, limits.common_max + 1, (n,), generator=rng))
            steps_edge.append(torch.randint(limits.edge_min, limits.edge_max + 1, (n,), generator=rng))
        for reward in ("individual", "marginal"):
            ends = [play(game, reward, x, y) for x, y in zip(common, steps_edge, strict=True)]
            values = [game.utility(end.common[None], end.steps_edge[None]).item() for end in ends if end.equilibrium]
            rows.append({
                "reward": reward, "instance": index, "starts": len(ends), "cycles": sum(end.cycled for end in ends),
                "distinct": len({round(value, 9) for value in values}),
                "worst": (best - min(values)) / abs(best) if values else None,
                "best": (best - max(values)) / abs(best) if values else None,
            })  # fmt: skip
    return rows


def regrets(policy: ippo.Policy, instances: list[Instance], reward: str) -> np.ndarray:
    """The most a user gains by leaving the policy's actions, relative to the mean absolute reward, shape (instances,)."""
    found = []
    for instance in instances:
        game = StepGame.of([instance])
        common, steps_edge, _ = policy.act(policy.scaled(game))
        scale = game.reward(reward, common, steps_edge).abs().mean().item()
        found.append(regret(game, reward, common[0], steps_edge[0]) / scale)
    return np.array(found)


def times(path: Path, instances: list[Instance]) -> dict[str, float]:
    """Median seconds of a decision by the policy, loaded before, and of the exact solver."""
    policy = ippo.load(path)

    def median(decide: Any) -> float:
        decide(instances[0])
        found = []
        for instance in instances:
            start = time.perf_counter()
            decide(instance)
            found.append(time.perf_counter() - start)
        return float(np.median(found))

    def by_policy(instance: Instance) -> None:
        steps = ippo.decide(policy, instance)
        optimal_sms(work_costs(instance, *steps), instance.sm_budget)

    return {"policy": median(by_policy), "exact": median(lambda i: JointExact().solve(Joint(i), Limits()))}


def percent(value: float) -> str:
    """Return a share as text."""
    return f"{100 * value:.2f} %"


def summary(report: dict[str, Any]) -> str:
    """Return the report in Markdown."""
    lines = ["# Learned policies against the exact optimum", "", report["about"], "",
             "| variant | seeds | mean gap (range over seeds) | worst gap (range over seeds) |",
             "|---|---|---|---|"]  # fmt: skip
    for name, runs in report["curves"].items():
        found = np.array(report["gaps"][name]).reshape(len(runs), -1)
        mean, worst = found.mean(axis=1), found.max(axis=1)
        lines.append(
            f"| {name} | {len(runs)} | {percent(np.mean(mean))} ({percent(min(mean))} to {percent(max(mean))}) "
            f"| {percent(np.mean(worst))} ({percent(min(worst))} to {percent(max(worst))}) |"
        )
    lines += ["", "## Equilibria of best replies", "",
              "| reward | cycles | distinct ends | worst gap: mean, most | best gap: mean, most |",
              "|---|---|---|---|---|"]  # fmt: skip
    for reward in ("individual", "marginal"):
        rows = [r for r in report["equilibria"] if r["reward"] == reward]
        worst, best = ([r[k] for r in rows if r[k] is not None] for k in ("worst", "best"))
        lines.append(
            f"| {reward} | {sum(r['cycles'] for r in rows)} of {sum(r['starts'] for r in rows)} "
            f"| {np.mean([r['distinct'] for r in rows]):.1f} | {percent(np.mean(worst))}, {percent(max(worst))} "
            f"| {percent(np.mean(best))}, {percent(max(best))} |"
        )
    lines += [
        "",
        "Regret of the trained policies (what the user who gains most by leaving gains, over the mean absolute reward):",
        "",
    ]
    lines += [f"- {name}: {percent(value)} on average" for name, value in report["regret"].items()]
    lines += ["", "## Elsewhere", "", "| scenario | mean gap | worst |", "|---|---|---|"]
    lines += [f"| {r['scenario']} | {percent(r['mean'])} | {percent(r['worst'])} |" for r in report["elsewhere"]]
    t = report["times"]
    lines += [
        "",
        f"Medians of a decision: policy {1000 * t['policy']:.2f} ms, exact solver {1000 * t['exact']:.2f} ms.",
    ]
    return "\n".join(lines) + "\n"


def draw_figures(report: dict[str, Any], folder: Path) -> None:
    """Draw learning curves and the distribution of gaps as SVG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for name, runs in report["curves"].items():
        update = [row["update"] for row in runs[0]]
        gap = 100 * np.array([[row["gap_mean"] for row in run] for run in runs])
        (line,) = axes.plot(update, gap.mean(axis=0), label=name)
        axes.fill_between(update, gap.min(axis=0), gap.max(axis=0), color=line.get_color(), alpha=0.2, linewidth=0)
    axes.axhline(0, color="black", linewidth=1, label="exact optimum")
    axes.set(xlabel="updates", ylabel="gap to the optimum, % (mean and range over seeds)", yscale="symlog")
    axes.legend(fontsize="small")
    save_svg(figure, folder / "curves.svg")
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for name, values in report["gaps"].items():
        axes.step(np.sort(100 * np.array(values)), np.arange(1, len(values) + 1) / len(values), label=name)
    axes.set(xlabel="gap to the optimum, %", ylabel="share of instances and seeds", xscale="symlog")
    axes.legend(fontsize="small")
    save_svg(figure, folder / "gaps.svg")


def run(plan: Plan, records: Path) -> str:
    """Train every variant, or take up where a killed run stopped; write records and figures, return the summary."""
    torch.set_num_threads(plan.threads)
    usual, instances = plan.settings, plan.instances()
    measure = PolicyGap(list(instances))

    @cache
    def judge() -> PolicyGap:
        return PolicyGap(held_out(usual.scenario, 400, first=VALIDATION, split_subjects=plan.split_subjects))

    curves: dict[str, list[Any]] = {}
    spread: dict[str, list[float]] = {}
    for name, change in VARIANTS.items():
        for seed in range(plan.seeds):
            path = records / f"{re.sub('[^a-z0-9]+', '-', name).strip('-')}-{seed}.safetensors"
            curves.setdefault(name, []).append(train(replace(usual, **change, seed=seed), path, measure, judge))
            found = gaps(ippo.load(path), instances, measure.optimum)
            spread.setdefault(name, []).extend(found.tolist())
            print(f"{name}, seed {seed}: {100 * found.mean():.2f} %, worst {100 * found.max():.2f} %", file=sys.stderr)
    few = instances[:20]
    best, marginal = (records / f"{name}-reward-0.safetensors" for name in ("coalition", "marginal"))
    selfish = ippo.load(records / "individual-reward-33-0.safetensors")
    source = "subjects that training did not see" if plan.split_subjects else "other draws from the same prompts"
    report = {
        "about": f"Preset {plan.preset}, N = {usual.scenario.users}, M = {usual.scenario.max_clusters}; "
        f"{plan.updates} updates of {plan.batch} decision points, {plan.judges} held-out instances ({source}), clusters by HAC.",
        "curves": curves,
        "gaps": spread,
        "equilibria": equilibria(few, measure.optimum[: len(few)], plan.starts),
        "regret": {
            "individual reward, policy trained on it": float(regrets(selfish, few, "individual").mean()),
            "individual reward, policy trained on the marginal one": float(
                regrets(ippo.load(marginal), few, "individual").mean()
            ),
            "marginal reward, policy trained on it": float(regrets(ippo.load(marginal), few, "marginal").mean()),
        },
        "elsewhere": elsewhere(ippo.load(best), usual.scenario, plan.judges),
        "times": times(best, instances),
    }
    write_atomically(records / "report.json", json.dumps(report) + "\n")
    text = summary(report)
    write_atomically(records / "summary.md", text)
    draw_figures(report, records)
    return text
