"""SMs given the steps: Theorem 1 and the baselines of Fig. 16."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from typing_extensions import override

from hisopt.decision import Decision
from hisopt.equations import cluster_sizes, given_busy, given_work_costs, optimal_sms
from hisopt.problems import Allocation
from hisopt.result import Guarantee, Limits, SolverResult, Termination
from hisopt.solvers.base import Solver


@dataclass(frozen=True)
class ClosedForm(Solver[Allocation]):
    """Theorem 1, (39), with its value (sum sqrt A)^2 / V as bound and the multiplier (45) as the price of an SM."""

    name = "closed-form"
    problems = (Allocation,)
    guarantee = Guarantee.EXACT
    numpy_only = True

    @override
    def solve(self, problem: Allocation, limits: Limits) -> SolverResult:
        cost, budget = given_work_costs(problem.instance), problem.instance.sm_budget
        price = float((np.sqrt(cost).sum() / budget) ** 2)
        return SolverResult(
            Termination.OPTIMAL,
            Decision(sms=optimal_sms(cost, budget, given_busy(problem.instance))),
            price * budget,
            details={"price_of_an_sm": price},
        )


@dataclass(frozen=True)
class EqualUsers(Solver[Allocation]):
    """SMs in proportion to the clusters' sizes (Fig. 16)."""

    name = "equal-users"
    problems = (Allocation,)
    guarantee = Guarantee.HEURISTIC
    numpy_only = True

    @override
    def solve(self, problem: Allocation, limits: Limits) -> SolverResult:
        instance = problem.instance
        share = cluster_sizes(instance.labels, instance.max_clusters) / instance.users
        return SolverResult(Termination.COMPLETED, Decision(sms=instance.sm_budget * share))


@dataclass(frozen=True)
class EqualClusters(Solver[Allocation]):
    """The same SMs for every cluster (Fig. 16)."""

    name = "equal-clusters"
    problems = (Allocation,)
    guarantee = Guarantee.HEURISTIC
    numpy_only = True

    @override
    def solve(self, problem: Allocation, limits: Limits) -> SolverResult:
        instance = problem.instance
        share = np.full(instance.max_clusters, instance.sm_budget / instance.max_clusters)
        return SolverResult(Termination.COMPLETED, Decision(sms=share))
