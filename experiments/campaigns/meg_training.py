"""Learned policies for MEG, trained and judged: cells of an experiment that goes on from its records."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from typing_extensions import override

from hisopt.experiments.campaigns.meg_judging import choosing, elsewhere, exact, judging, optimum_of, simulated
from hisopt.experiments.papers.experiment import Cell, Experiment, Record
from hisopt.solvers.meg import cvpo, ppo_lagrangian
from hisopt.solvers.meg.learning import policy_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pandas as pd

    from hisopt.arrays import FloatArray
    from hisopt.experiments.papers.verdicts import Finding
    from hisopt.problems import Meg

_CVPO, _PPO = cvpo.CvpoSettings(), ppo_lagrangian.PpoSettings()

METHODS: dict[str, Any] = {
    "PPO-Lagrangian": _PPO,
    "MEG-CVPO, corrected, gamma 0": _CVPO,
    "MEG-CVPO, as published, gamma .97": replace(_CVPO, discount=0.97, constraint="published"),
    "MEG-CVPO, corrected, gamma .97": replace(_CVPO, discount=0.97),
    "PPO-Lagrangian, plain": ppo_lagrangian.PLAIN,
}
GRID: dict[str, Any] = {
    "MEG-CVPO": _CVPO,
    "MEG-CVPO, KL .2 and .2": replace(_CVPO, divergence=0.2, trust=0.2),
    "PPO-Lagrangian": _PPO,
    "PPO-Lagrangian, rate .003": replace(_PPO, rate=3e-3),
    "PPO-Lagrangian, price rate .5": replace(_PPO, price_rate=0.5),
    "PPO-Lagrangian, price rate 5": replace(_PPO, price_rate=5.0),
    "PPO-Lagrangian, no proportional term": replace(_PPO, proportional=0.0),
    "PPO-Lagrangian, normalised": replace(_PPO, normalise=True),
    "PPO-Lagrangian, plain": ppo_lagrangian.PLAIN,
}
_TOLD = 5  # iterations between two points of a curve
CHOOSING_SEED = 100


def trained(problem: Meg, settings: Any, optimum: float) -> tuple[Any, list[list[float]]]:
    """Train an actor on one thread; return it and its curve: slots lived through, exact gap and exact violation."""
    torch.set_num_threads(1)
    curve: list[list[float]] = []

    def tell(iteration: int, policy: FloatArray) -> None:
        if iteration % _TOLD == 0:
            found = exact(problem, policy, optimum)
            curve.append([iteration * settings.slots, found["gap"], found["violation"]])

    module = cvpo if isinstance(settings, cvpo.CvpoSettings) else ppo_lagrangian
    return module.train(problem, settings, tell), curve


@dataclass(frozen=True)
class Policies(Experiment):
    """``seeds`` trainings of every method, ``iterations`` each (0: the method's own number)."""

    name: ClassVar[str] = "meg-policies"
    quick_fields: ClassVar[dict[str, Any]] = {"seeds": 2, "iterations": 10}

    seeds: int = 5
    iterations: int = 0
    methods: tuple[str, ...] = tuple(METHODS)

    @override
    def cells(self) -> Sequence[Cell]:
        return [{"method": method, "seed": seed} for method in self.methods for seed in range(self.seeds)]

    @override
    def settings(self) -> dict[str, Any]:
        return {"iterations": self.iterations}

    @override
    def measure(self, cell: Cell) -> Record:
        problem, settings = judging(), replace(METHODS[cell["method"]], seed=cell["seed"])
        if self.iterations:
            settings = replace(settings, iterations=self.iterations)
        optimum, start = optimum_of(problem), time.process_time()
        actor, curve = trained(problem, settings, optimum)
        record: Record = {"cpu_seconds": time.process_time() - start, "curve": curve}
        policy = policy_of(actor, problem)
        record |= exact(problem, policy, optimum) | simulated(problem, policy, 1000 + cell["seed"])
        record["elsewhere"] = {}
        for name, other in elsewhere().items():
            best = optimum_of(other)
            for view, reference in (("relative", None), ("absolute", problem.instance.channel)):
                found = exact(other, policy_of(actor, other, reference), best)
                record["elsewhere"][f"{name}, {view}"] = [found[key] for key in ("gap", "violation", "repaired")]
        return record

    @override
    def findings(self, rows: pd.DataFrame) -> Iterator[Finding]:
        yield from ()


@dataclass(frozen=True)
class Choice(Experiment):
    """What the settings that were considered come to, on another instance and another seed than those of `Policies`."""

    name: ClassVar[str] = "meg-choice"

    @override
    def cells(self) -> Sequence[Cell]:
        return [{"settings": name} for name in GRID]

    @override
    def measure(self, cell: Cell) -> Record:
        problem = choosing()
        optimum = optimum_of(problem)
        actor, _ = trained(problem, replace(GRID[cell["settings"]], seed=CHOOSING_SEED), optimum)
        return dict(exact(problem, policy_of(actor, problem), optimum))

    @override
    def findings(self, rows: pd.DataFrame) -> Iterator[Finding]:
        yield from ()
