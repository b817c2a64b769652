"""Exact steps and SMs for common phases that no other solver has: a fixed split, and phases that were kept.

With x fixed to k for everyone, W_m = k + Y_m, and bounds on z are bounds on y. With kept phases W_m = Y_m, and every user
takes the x that serves him best beside his y. Both leave for each cluster a concave envelope in Y_m (the reasons stand in
`hisopt.solvers.joint.bound_steps`), and the clusters meet in one scalar as before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from typing_extensions import override

from hisopt.decision import Decision
from hisopt.equations import (
    cluster_sizes,
    device_step_cost,
    edge_step_energy_cost,
    edge_work_cost,
    optimal_sms,
    public_similarity,
    quality,
    transmission_cost,
)
from hisopt.problems.kept import KeptJoint
from hisopt.problems.split import SplitJoint
from hisopt.result import Guarantee, SolverResult, Termination, relative_gap
from hisopt.solvers.base import Deadline, Solver
from hisopt.solvers.joint import bound_steps, scalar_coupling
from hisopt.solvers.joint.exact import rounding_margin
from hisopt.solvers.joint.step_tables import Members

if TYPE_CHECKING:
    from hisopt.instances import Instance
    from hisopt.result import Limits

_PROVEN = 1e-6


@dataclass(frozen=True)
class SplitExact(Solver[SplitJoint]):
    """`solve_split`."""

    name = "exact"
    problems = (SplitJoint,)
    guarantee = Guarantee.EXACT

    @override
    def solve(self, problem: SplitJoint, limits: Limits) -> SolverResult:
        return solve_split(problem.instance, problem.split, limits)


@dataclass(frozen=True)
class KeptExact(Solver[KeptJoint]):
    """`solve_kept`."""

    name = "exact"
    problems = (KeptJoint,)
    guarantee = Guarantee.EXACT

    @override
    def solve(self, problem: KeptJoint, limits: Limits) -> SolverResult:
        return solve_kept(problem.instance, limits)


def solve_split(instance: Instance, split: int, limits: Limits) -> SolverResult:
    """Return the optimum of `hisopt.problems.split.SplitJoint` for real SMs."""
    steps = instance.steps
    rest = instance.replace(
        steps=steps.replace(total=steps.total - split, common_max=0), given_common=None, given_edge=None
    )
    similarity = public_similarity(instance, instance.labels)
    shared = instance.weights.quality * quality(instance.quality, similarity, np.full(instance.users, split))
    blank = instance.weights.quality * quality(instance.quality, similarity, np.zeros(instance.users, dtype=np.int64))
    return _solve(instance, rest, 0, split, float((shared - blank).sum()), limits)


def solve_kept(instance: Instance, limits: Limits) -> SolverResult:
    """Return the optimum of `hisopt.problems.kept.KeptJoint` for real SMs."""
    return _solve(instance, instance, instance.steps.common_max, 0, 0.0, limits)


def _solve(instance: Instance, rest: Instance, common: int, run: int, constant: float, limits: Limits) -> SolverResult:
    """Solve ``rest``, whose users choose x <= ``common`` freely, while the server runs ``run`` common steps a cluster."""
    count, device = instance.max_clusters, device_step_cost(rest)
    similarity = public_similarity(instance, instance.labels)
    members = Members(rest, instance.labels, count, similarity, device)
    sizes = cluster_sizes(instance.labels, count)
    cluster, steps_edge, value = bound_steps.vertices(members, common, sizes, None)
    order = np.argsort(cluster, kind="stable")
    cluster, steps_edge, value = cluster[order], steps_edge[order], value[order]
    work = np.where(sizes[cluster] > 0, steps_edge + run, 0)
    work_cost = edge_work_cost(instance, sizes)
    gain = value - edge_step_energy_cost(instance) * work
    constant -= transmission_cost(instance) + (rest.steps.total - rest.steps.served_max) * float(device.sum())
    offsets = np.concatenate([[0], np.cumsum(np.bincount(cluster, minlength=count))])
    found = scalar_coupling.maximise(
        gain, np.sqrt(work_cost[cluster] * work), offsets, instance.sm_budget, Deadline(limits), constant=constant
    )
    top = np.full(count, common, dtype=np.int64)
    own, edge_steps = bound_steps.rebuild(members, top, steps_edge[found.choice] + common)
    server = work[found.choice]
    sms = optimal_sms(work_cost * server, instance.sm_budget, server > 0)
    bound = constant + found.bound
    bound += rounding_margin(instance, bound)
    proven = relative_gap(constant + found.value, bound) <= _PROVEN
    decision = Decision.of_steps(instance.steps.total, own + run, edge_steps, sms, instance.labels)
    return SolverResult(Termination.OPTIMAL if proven else Termination.TIME_LIMIT, decision, bound)
