"""One user's move after the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from typing_extensions import override

from hisopt.equations import (
    cluster_sizes,
    device_step_cost,
    edge_step_energy_cost,
    edge_work_cost,
    public_similarity,
    quality_table,
)
from hisopt.problems import Joint
from hisopt.result import Guarantee, Limits, SolverResult, Termination
from hisopt.solvers.base import Deadline, Solver
from hisopt.solvers.joint.exact import with_optimal_sms
from hisopt.solvers.run.progress import Pace, report

if TYPE_CHECKING:
    from hisopt.arrays import FloatArray, IntArray
    from hisopt.instances import Instance

_LEAST = 1e-14  # relative; a move that gains less may be rounding


@dataclass(frozen=True)
class LocalSearch(Solver[Joint]):
    """Change one user's (x, y) to its best with everyone else fixed, until no user can improve; from all zero.

    The utility counted is everyone's (20), so the end is a local optimum of the joint problem.
    """

    name = "local-search"
    problems = (Joint,)
    guarantee = Guarantee.HEURISTIC
    numpy_only = True
    max_sweeps: int = 100

    @override
    def solve(self, problem: Joint, limits: Limits) -> SolverResult:
        instance, deadline = problem.instance, Deadline(limits)
        clusters = instance.labels
        pair_common, pair_edge = instance.steps.pairs().T
        value = _pair_values(instance, clusters, pair_common, pair_edge)
        rng = np.random.default_rng(limits.seed)
        pick = np.zeros(instance.users, dtype=np.int64)
        cost = edge_work_cost(instance, cluster_sizes(clusters, instance.max_clusters))
        budget, step_cost = instance.sm_budget, edge_step_energy_cost(instance)
        counts = np.zeros((instance.max_clusters, instance.steps.common_max + 1), dtype=np.int64)
        np.add.at(counts, (clusters, pair_common[pick]), 1)
        edge_sum = np.bincount(clusters, weights=pair_edge[pick], minlength=len(counts))
        top = np.array([np.flatnonzero(row).max(initial=0) for row in counts])
        load = np.sqrt(cost * (top + edge_sum))
        pace = Pace()
        for _ in range(self.max_sweeps):
            moved = False
            for user in rng.permutation(instance.users):
                m, old = clusters[user], pick[user]
                counts[m, pair_common[old]] -= 1
                rest = int(np.flatnonzero(counts[m]).max(initial=0))
                work = np.maximum(rest, pair_common) + edge_sum[m] - pair_edge[old] + pair_edge
                total = load.sum() - load[m] + np.sqrt(cost[m] * work)
                score = value[user] - step_cost * work - total**2 / budget
                new = int(np.argmax(score))
                if score[new] <= score[old] + _LEAST * abs(score[old]):
                    new = int(old)
                counts[m, pair_common[new]] += 1
                if new != old:
                    moved = True
                    pick[user] = new
                    edge_sum[m] += pair_edge[new] - pair_edge[old]
                    load[m] = np.sqrt(cost[m] * work[new])
            if not moved or deadline.passed:
                break
            if pace.due:
                report(with_optimal_sms(instance, pair_common[pick], pair_edge[pick]))
        return SolverResult(Termination.COMPLETED, with_optimal_sms(instance, pair_common[pick], pair_edge[pick]))


def _pair_values(instance: Instance, clusters: IntArray, common: IntArray, steps_edge: IntArray) -> FloatArray:
    """w1 Q_n(x) + d_n (x + y) for every user and feasible pair, shape (N, pairs)."""
    table = quality_table(instance.quality, public_similarity(instance, clusters), instance.steps.common_max)
    return instance.weights.quality * table[:, common] + device_step_cost(instance)[:, None] * (common + steps_edge)
