"""Instances that the experiments share, and their proven optima, solved in this process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hisopt.instances import Instance
from hisopt.instances.scenario import PRESETS
from hisopt.problems import Joint
from hisopt.result import Limits, Termination
from hisopt.solvers.joint.exact import JointExact
from hisopt.solvers.schemes.schemes import SCHEMES as BY_NAME
from hisopt.solvers.schemes.schemes import scheme_instance, solve_scheme

if TYPE_CHECKING:
    from hisopt.decision import Decision
    from hisopt.instances import IccInstance
    from hisopt.problems import Evaluation
    from hisopt.solvers.schemes.schemes import Scheme, SchemeResult

BASELINES = ("ppgfis", "cfis", "iis")
SCHEMES = ("his", *BASELINES)
LABELS = {"his": "HIS", "ppgfis": "PPGFIS", "cfis": "CFIS", "iis": "IIS"}


class UnprovenError(RuntimeError):
    """A number would not rest on a proven optimum that its problem's evaluation confirms."""


def paper(seed: int) -> Instance:
    """Return a draw of the preset ``paper``."""
    return journal(PRESETS["paper"].sample(seed))


def journal(instance: Instance | IccInstance) -> Instance:
    """Return an instance of the journal's model as one; raise TypeError for the conference paper's."""
    if not isinstance(instance, Instance):
        raise TypeError(f"an instance of the model {instance.model}, not of the journal's")
    return instance


def optimum(instance: Instance) -> tuple[Decision, Evaluation]:
    """Return the optimal steps and SMs on an instance's clusters, and their evaluation; raise `UnprovenError`."""
    problem = Joint(instance)
    result = JointExact().solve(problem, Limits(60.0))
    if result.decision is None or result.termination is not Termination.OPTIMAL:
        raise UnprovenError(f"{problem.label}: {result.termination.value}: {result.message}")
    evaluation = problem.evaluate(result.decision)
    utility(evaluation)
    return result.decision, evaluation


def utility(evaluation: Evaluation) -> float:
    """Return the utility of a feasible decision; raise `UnprovenError` for another."""
    if evaluation.objective is None or not evaluation.feasible:
        raise UnprovenError(f"infeasible: {'; '.join(evaluation.violations)}")
    return evaluation.objective


def best_utility(instance: Instance) -> float:
    """Return the optimal utility."""
    return utility(optimum(instance)[1])


def proven_scheme(
    instance: Instance | IccInstance, scheme: str | Scheme, seed: int = 0, **options: Any
) -> SchemeResult:
    """Return a scheme's proven optimum, see `solve_scheme`; raise `UnprovenError` where there is no proof."""
    found = solve_scheme(instance, scheme, seed, **options)
    utility(found.evaluation)
    if not found.proven:
        raise UnprovenError(f"scheme {found.scheme.name}: not proven optimal")
    return found


def scheme_instances(instance: Instance, scheme: str, seed: int, members: int) -> list[Instance]:
    """Return a scheme's instance; of schemes with random members one for each of their draws."""
    draws = range(members if BY_NAME[scheme].random else 1)
    return [scheme_instance(instance, scheme, seed=members * seed + draw) for draw in draws]


def scheme_utility(instance: Instance, scheme: str, seed: int, members: int) -> float:
    """Return a scheme's optimal utility, averaged over random members."""
    return float(np.mean([best_utility(one) for one in scheme_instances(instance, scheme, seed, members)]))
