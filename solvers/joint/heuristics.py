"""Heuristics for steps and SMs together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hisopt.arrays import FloatArray, IntArray
from hisopt.equations import (
    cluster_sizes,
    device_step_cost,
    edge_step_energy_cost,
    edge_work_cost,
    optimal_sms,
    public_similarity,
    quality_table,
)
from hisopt.instances import Instance
from hisopt.problem import Problem
from hisopt.result import Guarantee, Limits, SolverResult, Termination
from hisopt.solvers.base import Deadline, Solver
from hisopt.solvers.joint import scalar_coupling, step_tables
from hisopt.solvers.joint.exact import with_optimal_sms

_LEAST = 1e-14  # relative; a move that gains less may be rounding


@dataclass(frozen=True)
class Alternating(Solver):
    """Steps given SMs, then SMs given steps (Theorem 1), until nothing changes; starts from equal SMs.

    A cluster whose steps drop to zero loses its SMs for good, one reason why this can stop short of the optimum.
    """

    name = "alternating"
    kinds = ("joint",)
    guarantee = Guarantee.HEURISTIC
    max_rounds: int = 200

    def solve(self, problem: Problem, limits: Limits) -> SolverResult:
        """See the class."""
        instance = problem.his
        tables = step_tables.for_instance(instance)
        budget = float(instance.edge.sms)
        groups = np.repeat(np.arange(instance.max_clusters), np.diff(tables.offsets))
        sms = np.full(instance.max_clusters, budget / instance.max_clusters)
        choice = None
        for _ in range(self.max_rounds):
            with np.errstate(divide="ignore", invalid="ignore"):
                cost = np.where(tables.load > 0, tables.load**2 / sms[groups], 0.0)
            priced = tables.gain - cost
            best = np.maximum.reduceat(priced, tables.offsets[:-1])
            hits = np.flatnonzero(priced == best[groups])
            picked = hits[np.append(True, groups[hits][1:] != groups[hits][:-1])]
            if choice is not None and (picked == choice).all():
                break
            choice = picked
            sms = optimal_sms(tables.load[choice] ** 2, budget)
        assert choice is not None
        return SolverResult(Termination.COMPLETED, with_optimal_sms(instance, *tables.steps(choice)))


@dataclass(frozen=True)
class NoSharing(Solver):
    """No common phase (IIS, CLIF): x = 0, the personalised steps and SMs at their optimum."""

    name = "no-sharing"
    kinds = ("joint",)
    guarantee = Guarantee.HEURISTIC

    def solve(self, problem: Problem, limits: Limits) -> SolverResult:
        """See the class."""
        instance = problem.his
        steps = instance.steps
        if steps.edge_max + steps.device_max < steps.total:
            return SolverResult(Termination.COMPLETED, message="without common steps no user reaches the total")
        tables = step_tables.for_instance(instance, common_phase=False)
        found = scalar_coupling.maximise(
            tables.gain, tables.load, tables.offsets, float(instance.edge.sms), Deadline(limits)
        )
        return SolverResult(Termination.COMPLETED, with_optimal_sms(instance, *tables.steps(found.choice)))


@dataclass(frozen=True)
class RandomSteps(Solver):
    """Each user's (x, y) uniform over what is feasible, SMs by Theorem 1."""

    name = "random"
    kinds = ("joint",)
    guarantee = Guarantee.HEURISTIC

    def solve(self, problem: Problem, limits: Limits) -> SolverResult:
        """See the class."""
        common, edge = problem.his.steps.pairs().T
        pick = np.random.default_rng(limits.seed).integers(len(common), size=problem.his.users)
        return SolverResult(Termination.COMPLETED, with_optimal_sms(problem.his, common[pick], edge[pick]))


@dataclass(frozen=True)
class Greedy(Solver):
    """Start with the fewest steps on the server; take the single cluster move that gains most, while one gains.

    A move changes one cluster's X, or how many of its users get all their personalised steps, by one candidate.
    """

    name = "greedy"
    kinds = ("joint",)
    guarantee = Guarantee.HEURISTIC

    def solve(self, problem: Problem, limits: Limits) -> SolverResult:
        """See the class."""
        instance, deadline = problem.his, Deadline(limits)
        tables = step_tables.for_instance(instance)
        budget = float(instance.edge.sms)
        neighbours = [
            _neighbours(tables, first, last)
            for first, last in zip(tables.offsets[:-1], tables.offsets[1:], strict=True)
        ]
        choice = np.array(
            [first + int(np.argmin(tables.load[first:last]))
             for first, last in zip(tables.offsets[:-1], tables.offsets[1:], strict=True)]
        )  # fmt: skip
        total = float(tables.load[choice].sum())
        while not deadline.passed:
            best, move = _LEAST * float(np.abs(tables.gain[choice]).sum() + total**2 / budget), None
            for cluster, current in enumerate(choice):
                near = neighbours[cluster][current - tables.offsets[cluster]]
                shift = tables.load[near] - tables.load[current]
                change = tables.gain[near] - tables.gain[current] - shift * (2 * total + shift) / budget
                where = int(np.argmax(change)) if len(near) else -1
                if where >= 0 and change[where] > best:
                    best, move = float(change[where]), (cluster, int(near[where]))
            if move is None:
                break
            choice[move[0]] = move[1]
            total = float(tables.load[choice].sum())
        return SolverResult(Termination.COMPLETED, with_optimal_sms(instance, *tables.steps(choice)))


def _neighbours(tables: step_tables.StepTables, first: int, last: int) -> list[IntArray]:
    """For each candidate of a cluster, those with the next larger or smaller X or fill."""
    keys = [tables.common[first:last], tables.filled[first:last]]
    ranks = [np.unique(key, return_inverse=True)[1] for key in keys]
    near: list[IntArray] = []
    for common, filled in zip(*ranks, strict=True):
        distance = np.abs(ranks[0] - common) + np.abs(ranks[1] - filled)
        near.append(first + np.flatnonzero(distance == 1))
    return near


@dataclass(frozen=True)
class LocalSearch(Solver):
    """Change one user's (x, y) to its best with everyone else fixed, until no user can improve; from all zero.

    The utility counted is everyone's (20), so the end is a local optimum of the joint problem.
    """

    name = "local-search"
    kinds = ("joint",)
    guarantee = Guarantee.HEURISTIC
    max_sweeps: int = 100

    def solve(self, problem: Problem, limits: Limits) -> SolverResult:
        """See the class."""
        instance, deadline = problem.his, Deadline(limits)
        clusters = instance.clusters
        assert clusters is not None
        pair_common, pair_edge = instance.steps.pairs().T
        value = _pair_values(instance, clusters, pair_common, pair_edge)
        rng = np.random.default_rng(limits.seed)
        pick = np.zeros(instance.users, dtype=np.int64)
        cost = edge_work_cost(instance, cluster_sizes(clusters, instance.max_clusters))
        budget, step_cost = float(instance.edge.sms), edge_step_energy_cost(instance)
        counts = np.zeros((instance.max_clusters, instance.steps.common_max + 1), dtype=np.int64)
        np.add.at(counts, (clusters, pair_common[pick]), 1)
        edge_sum = np.bincount(clusters, weights=pair_edge[pick], minlength=len(counts))
        top = np.array([np.flatnonzero(row).max(initial=0) for row in counts])
        load = np.sqrt(cost * (top + edge_sum))
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
        return SolverResult(Termination.COMPLETED, with_optimal_sms(instance, pair_common[pick], pair_edge[pick]))


def _pair_values(instance: Instance, clusters: IntArray, common: IntArray, edge: IntArray) -> FloatArray:
    """w1 Q_n(x) + d_n (x + y) for every user and feasible pair, shape (N, pairs)."""
    table = quality_table(instance.quality, public_similarity(instance, clusters), instance.steps.common_max)
    return instance.weights.quality * table[:, common] + device_step_cost(instance)[:, None] * (common + edge)
