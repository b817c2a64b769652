"""Steps in the ICC model: groups separate and, given X_m, so do users."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from typing_extensions import override

from hisopt.decision import Decision
from hisopt.equations import cluster_sizes, given_quality, icc_step_costs, transmission_cost
from hisopt.problems import Steps
from hisopt.result import Guarantee, Limits, SolverResult, Termination
from hisopt.solvers.base import Solver

if TYPE_CHECKING:
    from hisopt.arrays import FloatArray, IntArray
    from hisopt.instances import IccInstance


def step_values(instance: IccInstance) -> tuple[FloatArray, FloatArray, float]:
    """Return each user's value of (x, y), shape (N, X, Y) and -inf where infeasible; each group's cost of X; a constant.

    The utility is the sum of the users' values, minus the groups' costs of X_m (shape (M, X)), plus the constant.
    """
    limits = instance.steps
    common = np.arange(limits.common_max + 1)
    steps_edge = np.arange(limits.edge_min, limits.edge_max + 1)
    on_edge, on_device, delay, energy = icc_step_costs(instance)
    served = common[:, None] + steps_edge[None, :]
    value = given_quality(instance)[:, :, None] - on_edge[:, None, None] * steps_edge
    value = value - on_device[:, None, None] * (limits.total - served)
    value[:, (served < limits.served_min) | (served > limits.served_max)] = -np.inf
    sizes = cluster_sizes(instance.labels, instance.max_clusters)
    group = np.asarray((delay * sizes + energy)[:, None] * common, dtype=np.float64)
    return value, group, -transmission_cost(instance)


@dataclass(frozen=True)
class Enumeration(Solver[Steps]):
    """For each group every X; for each X every user's best (x, y) with x <= X. Exact, O(N X Y)."""

    name = "enumeration"
    problems = (Steps,)
    guarantee = Guarantee.EXACT
    numpy_only = True

    @override
    def solve(self, problem: Steps, limits: Limits) -> SolverResult:
        instance = problem.instance
        value, group_cost, constant = step_values(instance)
        best_edge = value.argmax(axis=2)
        per_common = value.max(axis=2)
        within = np.maximum.accumulate(per_common, axis=1)
        total = -group_cost
        np.add.at(total, instance.labels, within)
        top = total.argmax(axis=1)
        common = _argmax_within(per_common, top[instance.labels])
        steps_edge = best_edge[np.arange(instance.users), common] + instance.steps.edge_min
        bound = constant + float(total.max(axis=1).sum())
        return SolverResult(Termination.OPTIMAL, Decision.of_steps(instance.steps.total, common, steps_edge), bound)


def _argmax_within(value: FloatArray, top: IntArray) -> IntArray:
    """First index of each row's largest entry among 0 .. top."""
    masked = np.where(np.arange(value.shape[1])[None, :] <= top[:, None], value, -np.inf)
    return np.asarray(masked.argmax(axis=1))
