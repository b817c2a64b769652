"""SMs given the steps: Theorem 1 and the baselines of Fig. 16."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hisopt.arrays import FloatArray
from hisopt.decision import Decision
from hisopt.equations import cluster_sizes, cluster_work, edge_work_cost, optimal_sms
from hisopt.problem import Problem
from hisopt.result import Guarantee, Limits, SolverResult, Termination
from hisopt.solvers.interface import Solver


def allocation_costs(problem: Problem) -> FloatArray:
    """A_m = c_m W_m of an allocation problem's given clusters and steps, shape (M,)."""
    instance = problem.his
    assert instance.clusters is not None and instance.given_common is not None and instance.given_edge is not None
    count = instance.max_clusters
    common_max, edge_sum = cluster_work(instance.clusters, count, instance.given_common, instance.given_edge)
    return edge_work_cost(instance, cluster_sizes(instance.clusters, count)) * (common_max + edge_sum)


@dataclass(frozen=True)
class ClosedForm(Solver):
    """Theorem 1, (39), with its value (sum sqrt A)^2 / V as bound and the multiplier (45) as the price of an SM."""

    name = "closed-form"
    kinds = ("allocation",)
    guarantee = Guarantee.EXACT

    def solve(self, problem: Problem, limits: Limits) -> SolverResult:
        """See the class."""
        cost, budget = allocation_costs(problem), float(problem.his.edge.sms)
        price = float((np.sqrt(cost).sum() / budget) ** 2)
        return SolverResult(
            Termination.OPTIMAL,
            Decision(sms=optimal_sms(cost, budget)),
            price * budget,
            details={"price_of_an_sm": price},
        )


@dataclass(frozen=True)
class EqualUsers(Solver):
    """SMs in proportion to the clusters' sizes (Fig. 16)."""

    name = "equal-users"
    kinds = ("allocation",)
    guarantee = Guarantee.HEURISTIC

    def solve(self, problem: Problem, limits: Limits) -> SolverResult:
        """See the class."""
        instance = problem.his
        assert instance.clusters is not None
        share = cluster_sizes(instance.clusters, instance.max_clusters) / instance.users
        return SolverResult(Termination.COMPLETED, Decision(sms=float(instance.edge.sms) * share))


@dataclass(frozen=True)
class EqualClusters(Solver):
    """The same SMs for every cluster (Fig. 16)."""

    name = "equal-clusters"
    kinds = ("allocation",)
    guarantee = Guarantee.HEURISTIC

    def solve(self, problem: Problem, limits: Limits) -> SolverResult:
        """See the class."""
        instance = problem.his
        share = np.full(instance.max_clusters, float(instance.edge.sms) / instance.max_clusters)
        return SolverResult(Termination.COMPLETED, Decision(sms=share))
