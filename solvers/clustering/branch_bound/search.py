"""Clustering by branch and bound on pairs, with semidefinite bounds that hold exactly.

Piccialli, Sudoso and Wiegele (SOS-SDP, 2022) solve minimum sum-of-squares clustering this way: a pair of users is either
together (must-link: the two become one heavier user, and the matrix shrinks) or apart (cannot-link: an entry is zero),
which leaves no symmetry of labels; the Peng-Wei relaxation with triangle and pair cuts bounds each node. Here the bound
(`spectral_relaxation`) is valid whatever its accuracy, and covers ``sum`` with size limits, too. The cuts of `partition_cuts`
go beyond triangles: with ten clusters of a hundred prompts they close at the root what triangles leave open (0.67 %).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from typing_extensions import override

from hisopt.decision import Decision
from hisopt.problems import Clustering, Problem
from hisopt.result import PROVEN, Guarantee, Limits, SolverResult, Termination
from hisopt.solvers.base import Deadline, Solver
from hisopt.solvers.clustering.best_first import BestFirst, Processed
from hisopt.solvers.clustering.branch_bound.merged_users import Warm, Weighted
from hisopt.solvers.clustering.branch_bound.partition_cuts import cliques, separate
from hisopt.solvers.clustering.branch_bound.size_limits import Sizes, impossible
from hisopt.solvers.clustering.branch_bound.spectral_relaxation import Cuts, Relaxation, State
from hisopt.solvers.clustering.branch_bound.task import Incumbent, Task
from hisopt.solvers.clustering.moves import cluster_values
from hisopt.solvers.clustering.partitions import SubsetLattice, labels_of, membership, squared_sums
from hisopt.solvers.run.progress import report

if TYPE_CHECKING:
    from hisopt.arrays import FloatArray, IntArray

_PRUNE = 9e-7  # relative; below what counts as proven
_STEPS = 30  # of the relaxation between two looks at its bound
_ROUND = 2  # such looks between two rounds of cuts
_VIOLATED = 1e-4  # least violation of a new cut, on the matrix' own entries
_LEAF = 10  # merged users that a dynamic program over subsets finishes


@dataclass(frozen=True)
class _Node:
    nodes: Weighted
    bound: float
    sizes: Sizes
    warm: Warm | None = None


class Search(BestFirst[_Node]):
    """`run` until proven or out of time, then read ``incumbent`` and `bound`."""

    def __init__(self, problem: Clustering, deadline: Deadline) -> None:
        super().__init__(deadline)
        self.task = task = Task.of(problem)
        self.incumbent = Incumbent(task, problem.points, deadline)
        if task.clusters == 1:  # one partition; sqrt(N mean) is too coarse where its value is zero
            self.incumbent.offer(np.zeros(task.users, dtype=np.int64), improve=False)
            return
        sizes = Sizes.of(task.users, task.clusters, task.least, task.most)
        bound = task.plain_bound(problem.points)
        self.push(_Node(Weighted.of(problem.similarity_matrix), bound, sizes))

    @property
    @override
    def best_value(self) -> float:
        return self.incumbent.value

    @override
    def run(self, processes: int = 1) -> None:
        if self.open:
            self.incumbent.begin()
        super().run(processes)

    @override
    def processed(self, node: _Node, labels: IntArray | None, deadline: Deadline) -> Processed[_Node]:
        self.incumbent.deadline = deadline
        return super().processed(node, labels, deadline)

    @override
    def _best_labels(self) -> IntArray | None:
        return self.incumbent.labels

    @override
    def _learn(self, labels: IntArray) -> None:
        self.incumbent.offer(labels, improve=False)

    @override
    def _tell(self) -> None:
        report(bound=self.bound)

    @override
    def _target(self) -> float:
        value = self.incumbent.value
        return value + _PRUNE * abs(value) if math.isfinite(value) else -math.inf

    @override
    def _process(self, node: _Node) -> list[_Node]:
        nodes, task = node.nodes, self.task
        if nodes.weights.max() > (node.sizes.most if task.criterion == "sum" else task.longest):
            return []
        if len(nodes) <= _LEAF:
            self._finish(nodes)
            return []
        relaxation, scale, always = task.relaxation(nodes, node.sizes)
        state, cuts = relaxation.start(), always
        state.cut_multipliers = np.zeros(len(always))
        if node.warm is not None:
            state, cuts = _resume(node.warm, scale, always)
        history = [node.bound]
        while True:
            relaxation.iterate(state, cuts, _STEPS, self.deadline)
            bound = min(history[-1], task.from_relaxation(relaxation.bound(state, cuts)))
            history.append(bound)
            report(bound=max(self.bound, bound))
            if bound <= self._target():
                self.give_up(bound)
                return []
            if self.deadline.passed:
                return [_Node(nodes, bound, node.sizes, _suspend(state, scale, cuts, always))]
            if len(history) % 8 == 4:
                self.incumbent.round(state.primal, nodes)
            looks = 2 if task.criterion == "sum" else 20  # branching pays earlier where cuts close little of the gap
            slow = len(history) > 2 * looks and history[-looks - 1] - bound < 0.05 * (bound - self.incumbent.value)
            if len(history) % _ROUND == 1:
                active = (state.cut_multipliers > 1e-9) | (cuts.slack(state.primal) < 1e-5)
                active[: len(always)] = True
                cuts, state.cut_multipliers = cuts.keep(active), state.cut_multipliers[active]
                most = (1 if task.criterion == "sum" else 5) * len(nodes)
                new = separate(state.primal / scale, _VIOLATED, most)
                if task.criterion == "sum":
                    new = new.join(cliques(state.primal / scale, task.clusters, _VIOLATED, most))
                new = new.scaled(scale)
                slow = slow or (len(new) < len(nodes) // 4 and state.residual < 1e-5)
                cuts = cuts.join(new)
                state.cut_multipliers = np.concatenate([state.cut_multipliers, np.zeros(len(new))])
            if slow:
                break
        warm = _suspend(state, scale, cuts, always)
        nodes = self._fix(nodes, relaxation, scale, state, cuts)
        if task.criterion == "sum" and (halves := node.sizes.halves()):
            return [_Node(nodes, bound, half, warm) for half in halves]
        return self._branch(nodes, bound, node.sizes, warm)

    def _fix(self, nodes: Weighted, relaxation: Relaxation, scale: FloatArray, state: State, cuts: Cuts) -> Weighted:
        """Put pairs apart that no partition better than the incumbent joins: joined, Z_ij >= 1 / (largest size)."""
        slope = cuts.adjoint(state.cut_multipliers, len(nodes)) - state.multiplier
        joined = scale * (1 / self.task.longest if self.task.criterion != "sum" else 1.0)
        loss = 2 * np.maximum(-slope, 0.0) * np.minimum(joined, np.maximum(relaxation.upper, 0.0))
        value = self.incumbent.value
        if not math.isfinite(value):
            return nodes
        if self.task.criterion == "centroid":
            value = value**2 / self.task.users
        hopeless = (relaxation.bound(state, cuts) - loss <= value) & ~nodes.apart
        np.fill_diagonal(hopeless, False)
        return nodes.separate(hopeless) if hopeless.any() else nodes

    def _branch(self, nodes: Weighted, bound: float, sizes: Sizes, warm: Warm) -> list[_Node]:
        own = warm.primal
        diagonal = np.diag(own)
        apart_from_whole = np.minimum(diagonal[:, None], diagonal[None, :]) - own
        weight = np.minimum(nodes.weights[:, None], nodes.weights[None, :])
        score = np.where(nodes.apart, -np.inf, np.minimum(own, apart_from_whole) * np.sqrt(weight))
        np.fill_diagonal(score, -np.inf)
        i, j = sorted(divmod(int(np.argmax(score)), len(nodes)))
        if nodes.apart[i, j] or i == j:  # every pair is apart
            self.incumbent.offer(nodes.groups, improve=False)
            return []
        pair = np.zeros((len(nodes), len(nodes)), dtype=bool)
        pair[i, j] = True
        together = _Node(nodes.merge(i, j), bound, sizes, warm.merge(i, j, nodes.weights))
        return [_Node(nodes.separate(pair), bound, sizes, warm), together]

    def _finish(self, nodes: Weighted) -> None:
        """Solve few merged users exactly by a dynamic program over their subsets."""
        task, size = self.task, len(nodes)
        member = membership(size)
        embeddings = self.incumbent.embeddings
        sums = np.zeros((size, embeddings.shape[1]))
        np.add.at(sums, nodes.groups, embeddings)
        weights = member @ nodes.weights
        value = cluster_values(task.criterion, squared_sums(member, sums), weights)
        banned = np.einsum("sn,sn->s", member @ nodes.apart, member) > 0
        value[banned | (weights < task.least) | (weights > task.most)] = -np.inf
        lattice = SubsetLattice.of(size)
        best = lattice.best_partitions(value, task.clusters)
        if np.isfinite(best[-1, -1]):
            labels = labels_of(lattice.partition(value, best), size)[nodes.groups]
            self.incumbent.offer(labels, improve=False)
            self.incumbent.offer(labels)


def _suspend(state: State, scale: FloatArray, cuts: Cuts, always: Cuts) -> Warm:
    own = np.arange(len(cuts)) >= len(always)
    sizes, whole = np.split(state.cut_multipliers[~own], [len(always) - len(always) % len(scale)])
    return Warm(
        state.primal / scale, state.multiplier * scale, state.penalty,
        cuts.keep(own).scaled(1 / scale), state.cut_multipliers[own], sizes.reshape(-1, len(scale)), whole,
    )  # fmt: skip


def _resume(warm: Warm, scale: FloatArray, always: Cuts) -> tuple[State, Cuts]:
    sizes = np.concatenate([warm.size_multipliers.ravel(), warm.whole_multipliers])
    if len(sizes) != len(always):  # the parent's sizes were not equal, and the child's are
        sizes = np.zeros(len(always))
    multipliers = np.concatenate([sizes, warm.cut_multipliers])
    state = State(warm.primal * scale, warm.multiplier / scale, multipliers, warm.penalty)
    return state, always.join(warm.cuts.scaled(scale))


@dataclass(frozen=True)
class BranchBound(Solver[Clustering]):
    """Must-link and cannot-link branching on semidefinite bounds with triangle cuts, for every criterion and size limits.

    The bound never trusts the relaxation's accuracy. ``centroid`` is bounded by sqrt(N mean*) in each node, which leaves
    a gap of tenths of a per cent that only branching closes: expect a proof up to some 20 users, a bound beyond. With
    several threads, as many nodes at a time, each in a process of its own; their order then depends on their times.
    """

    name = "branch-bound"
    problems = (Clustering,)
    guarantee = Guarantee.EXACT
    up_to = 5_000  # it holds the matrix of pairs many times
    packages = ("scipy",)

    def serves(self, problem: Problem) -> bool:
        """Every criterion, with or without limits on sizes."""
        return isinstance(problem, Clustering) and self.too_large(problem) is None

    @override
    def solve(self, problem: Clustering, limits: Limits) -> SolverResult:
        if (answer := impossible(problem)) is not None:
            return answer
        search = Search(problem, Deadline(limits))
        search.run(limits.threads)
        labels, bound = search.incumbent.labels, search.bound
        details = {"nodes": search.explored, "open": len(search.open)}
        if labels is None:
            if search.proven:
                return SolverResult(Termination.INFEASIBLE, message="no partition meets the limits", details=details)
            return SolverResult(Termination.TIME_LIMIT, None, bound if math.isfinite(bound) else None, details=details)
        decision = Decision(clusters=labels)
        termination = Termination.OPTIMAL if problem.gap(decision, bound) <= PROVEN else Termination.TIME_LIMIT
        return SolverResult(termination, decision, bound if math.isfinite(bound) else None, details=details)
