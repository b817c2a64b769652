"""Instances that the experiments share, and their proven optima, solved in this process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hisopt.instances import Instance
from hisopt.instances.scenario import PRESETS
from hisopt.problems import Joint
from hisopt.result import Limits, Termination
from hisopt.solvers.joint.exact import JointExact
from hisopt.solvers.schemes.schemes import scheme_instance

if TYPE_CHECKING:
    from hisopt.decision import Decision
    from hisopt.problems import Evaluation

SHARING = ("his", "ppgfis", "cfis")
BASELINES = ("ppgfis", "cfis", "iis")
SCHEMES = ("his", *BASELINES)
RANDOM = ("ppgfis", "cfis")  # whose public prompts are random members
LABELS = {"his": "HIS", "ppgfis": "PPGFIS", "cfis": "CFIS", "iis": "IIS"}


def paper(seed: int) -> Instance:
    """Return a draw of the preset ``paper``."""
    instance = PRESETS["paper"].sample(seed)
    assert isinstance(instance, Instance)
    return instance


def optimum(instance: Instance) -> tuple[Decision, Evaluation]:
    """Return the optimal steps and SMs on an instance's clusters, proven, and their evaluation."""
    problem = Joint(instance)
    result = JointExact().solve(problem, Limits(60.0))
    assert result.decision is not None
    evaluation = problem.evaluate(result.decision)
    assert result.termination is Termination.OPTIMAL
    assert evaluation.feasible
    return result.decision, evaluation


def best_utility(instance: Instance) -> float:
    """Return the optimal utility."""
    value = optimum(instance)[1].objective
    assert value is not None
    return value


def scheme_instances(instance: Instance, scheme: str, seed: int, members: int) -> list[Instance]:
    """Return a scheme's instance; of schemes with random members one for each of their draws."""
    draws = range(members if scheme in RANDOM else 1)
    return [scheme_instance(instance, scheme, seed=members * seed + draw) for draw in draws]


def scheme_utility(instance: Instance, scheme: str, seed: int, members: int) -> float:
    """Return a scheme's optimal utility, averaged over random members."""
    return float(np.mean([best_utility(one) for one in scheme_instances(instance, scheme, seed, members)]))
