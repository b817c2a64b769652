"""Clustering by branch and bound on pairs, with semidefinite bounds that hold exactly.

Piccialli, Sudoso and Wiegele (SOS-SDP, 2022) solve minimum sum-of-squares clustering this way: a pair of users is either
together (must-link: the two become one heavier user, and the matrix shrinks) or apart (cannot-link: an entry is zero),
which leaves no symmetry of labels; the Peng-Wei relaxation with triangle and pair cuts bounds each node. Here the bound
comes from `hisopt.solvers.spectral_relaxation`, valid whatever its accuracy, and covers ``sum`` with size limits, too.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

import numpy as np

from hisopt.arrays import BoolArray, FloatArray, IntArray
from hisopt.decision import Decision
from hisopt.equations import clustering_value
from hisopt.problem import Problem
from hisopt.result import Guarantee, Limits, SolverResult, Termination, relative_gap
from hisopt.solvers.hac import average_linkage
from hisopt.solvers.hac_refined import cluster_values, refine
from hisopt.solvers.interface import Deadline, Solver
from hisopt.solvers.partitions import SubsetLattice, labels_of, membership
from hisopt.solvers.spectral_relaxation import Cuts, Relaxation, SpectralSet, State

PROVEN = 1e-6
_PRUNE = 5e-7  # relative; below what counts as proven
_STEPS = 30  # of the relaxation between two looks at its bound
_LEAF = 10  # merged users that a dynamic program over subsets finishes


@dataclass(frozen=True)
class Weighted:
    """Users merged by must-links: their weights (n,), the sums of S between them (n, n), and which may not be together."""

    groups: IntArray  # merged user of each user, shape (N,)
    weights: FloatArray
    products: FloatArray
    apart: BoolArray

    def __len__(self) -> int:
        return len(self.weights)

    @classmethod
    def of(cls, similarity: FloatArray) -> Weighted:
        """Return the users, none merged."""
        size = len(similarity)
        return cls(np.arange(size), np.ones(size), similarity, np.zeros((size, size), dtype=bool))

    def merge(self, i: int, j: int) -> Weighted:
        """Return the users with i and j (i < j) as one."""
        to = np.delete(np.arange(len(self)), j)

        def fold(matrix: FloatArray) -> FloatArray:
            matrix = matrix.copy()
            matrix[i] += matrix[j]
            matrix[:, i] += matrix[:, j]
            return matrix[np.ix_(to, to)]

        weights = self.weights.copy()
        weights[i] += weights[j]
        groups = np.where(self.groups == j, i, self.groups)
        apart = fold(self.apart.astype(np.float64)) > 0
        return Weighted(groups - (groups > j), weights[to], fold(self.products), apart)

    def separate(self, pairs: BoolArray) -> Weighted:
        """Return the users with the marked pairs apart."""
        return Weighted(self.groups, self.weights, self.products, self.apart | pairs | pairs.T)


@dataclass(frozen=True)
class Task:
    """What is maximised: the criterion, at most ``clusters`` clusters, of ``least`` to ``most`` users each."""

    criterion: str
    users: int
    clusters: int
    least: int
    most: int

    @property
    def longest(self) -> int:
        """Most users that a cluster of some optimum holds."""
        if self.criterion != "sum" and self.least == 1:  # splitting never hurts, so all clusters are used
            return min(self.most, self.users - self.clusters + 1)
        return self.most

    def from_relaxation(self, bound: float) -> float:
        """Return the bound on the criterion: that of the relaxation; for ``centroid``, sqrt(N mean)."""
        return math.sqrt(self.users * max(bound, 0.0)) if self.criterion == "centroid" else bound

    def relaxation(self, nodes: Weighted) -> tuple[Relaxation, FloatArray, Cuts]:
        """Return the relaxation, the factors by which its matrix is the pairs' own, and the cuts it always has.

        ``mean``: D^1/2 Z D^1/2 with Z the Peng-Wei matrix of merged users and D their weights; its unit eigenvector
        is the root of the weights. ``sum``: the 0-1 matrix X, X - 1 1'/M psd, with cluster sizes as row sums.
        """
        size, weights = len(nodes), nodes.weights
        if self.criterion != "sum":
            root = np.sqrt(weights)
            scale = np.outer(root, root)
            vector = root / np.linalg.norm(root)
            spectral = SpectralSet(vector, 1.0, self.clusters - 1.0, 1.0, orthogonal=True)
            upper = 1 / np.maximum(weights[:, None] + weights[None, :], float(self.least))
            np.fill_diagonal(upper, 1 / np.maximum(weights, self.least))
            lower = np.zeros((size, size))
            np.fill_diagonal(lower, 1 / self.longest)
            cuts = Cuts.none()
        else:
            scale = np.ones((size, size))
            vector = np.full(size, 1 / math.sqrt(size))
            rest = size - size / self.clusters  # the trace of X - 1 1'/M
            spectral = SpectralSet(vector, size / self.clusters, rest, rest, orthogonal=False)
            upper, lower = np.ones((size, size)), np.eye(size)
            index = np.repeat(np.arange(size), size)
            column = np.tile(np.arange(size), size)
            norm = float(np.linalg.norm(weights))
            share = np.tile(weights, size) / norm
            least = Cuts(index, index, column, share, np.full(size, self.least / norm))
            cuts = least.join(Cuts(index, index, column, -share, np.full(size, -self.most / norm)))
        upper = np.where(nodes.apart, 0.0, upper * scale)
        return Relaxation(nodes.products / scale, spectral, lower * scale, upper), scale, cuts


@dataclass
class Incumbent:
    """The best partition so far."""

    task: Task
    embeddings: FloatArray
    value: float = -math.inf
    labels: IntArray | None = None

    def offer(self, labels: IntArray, *, improve: bool = True) -> None:
        """Take a partition, improved by relocation and swap, if it is allowed and better."""
        task = self.task
        if improve and task.least == 1 and task.most >= task.users:
            labels = refine(self.embeddings, labels, task.clusters, task.criterion)
        sizes = np.unique(labels, return_counts=True)[1]
        if len(sizes) > task.clusters or sizes.min() < task.least or sizes.max() > task.most:
            return
        value = clustering_value(task.criterion, self.embeddings, labels)
        if value > self.value:
            self.value, self.labels = value, labels

    def round(self, matrix: FloatArray, nodes: Weighted) -> None:
        """Offer what a relaxation's matrix suggests: k-means on its leading eigenvectors."""
        vectors = np.linalg.eigh(matrix)[1][:, -self.task.clusters :]
        for start in range(2):
            self.offer(self._balanced(_lloyd(vectors, self.task.clusters, start)[nodes.groups]))

    def _balanced(self, labels: IntArray) -> IntArray:
        return balance(self.embeddings, labels, self.task)


def balance(embeddings: FloatArray, labels: IntArray, task: Task) -> IntArray:
    """Move users until every cluster holds ``least`` to ``most``, then improve by moves and swaps that keep it so."""
    if task.least == 1 and task.most >= task.users:
        return labels
    return _Balancer(embeddings, labels, task).run()


class _Balancer:
    def __init__(self, embeddings: FloatArray, labels: IntArray, task: Task) -> None:
        self.gram, self.task = embeddings @ embeddings.T, task
        used = min(task.clusters, max(task.users // task.least, 1))
        self.labels, self.used = np.minimum(labels, used - 1), used

    def _value(self, labels: IntArray) -> float:
        member = (labels[:, None] == np.arange(self.used)).astype(np.float64)
        squared = np.einsum("nm,nm->m", self.gram @ member, member)
        sizes = np.maximum(member.sum(axis=0), 1)
        return float(cluster_values(self.task.criterion, squared, sizes).sum())

    def _excess(self, labels: IntArray) -> int:
        sizes = np.bincount(labels, minlength=self.used)
        over = np.maximum(sizes - self.task.most, 0).sum()
        return int(over + np.maximum(self.task.least - sizes, 0).sum())

    def run(self) -> IntArray:
        labels = self.labels.copy()
        now = (-self._excess(labels), self._value(labels))
        while True:
            best, move = now, None
            for user in range(len(labels)):
                for target in range(self.used):
                    if target != labels[user]:
                        trial = labels.copy()
                        trial[user] = target
                        rank = (-self._excess(trial), self._value(trial))
                        if rank > (best[0], best[1] + 1e-12):
                            best, move = rank, trial
            if move is None and now[0] == 0 and self.task.criterion != "centroid":
                best, move = self._swap(labels, now)
            if move is None:
                return labels
            labels, now = move, best

    def _swap(self, labels: IntArray, now: tuple[int, float]) -> tuple[tuple[int, float], IntArray | None]:
        member = (labels[:, None] == np.arange(self.used)).astype(np.float64)
        to = self.gram @ member
        sizes = np.maximum(member.sum(axis=0), 1)
        factor = np.ones(self.used) if self.task.criterion == "sum" else 1 / sizes
        own = np.diag(self.gram)
        lose = factor[labels] * (own - 2 * to[np.arange(len(labels)), labels])  # i leaves its cluster
        gain = factor[labels][None, :] * (2 * to[:, labels] + own[:, None])  # i enters j's cluster
        change = lose[:, None] + lose[None, :] + gain + gain.T
        change -= 2 * self.gram * (factor[labels][:, None] + factor[labels][None, :])
        change[labels[:, None] == labels[None, :]] = -np.inf
        i, j = divmod(int(np.argmax(change)), len(labels))
        if not change[i, j] > 1e-9:
            return now, None
        trial = labels.copy()
        trial[i], trial[j] = labels[j], labels[i]
        return (now[0], self._value(trial)), trial


def _lloyd(points: FloatArray, clusters: int, seed: int) -> IntArray:
    """k-means from a seeded k-means++ start."""
    from scipy.cluster.vq import kmeans2

    rng = np.random.default_rng(seed)
    return np.asarray(
        kmeans2(points, clusters, minit="++", rng=rng, missing="warn", check_finite=False)[1], dtype=np.int64
    )


def separate(matrix: FloatArray, scale: FloatArray, weighted: bool, tolerance: float, most: int) -> Cuts:
    """Return the most violated triangle and pair cuts of a matrix.

    Z_ij + Z_ik <= Z_ii + Z_jk and, where the diagonal is not one (``weighted``), Z_ij <= Z_ii.
    """
    own = matrix / scale
    size, diagonal = len(own), np.diag(own)
    found: list[FloatArray] = []
    for i in range(size):
        excess = own[i][:, None] + own[i][None, :] - diagonal[i] - own
        excess[i, :] = excess[:, i] = 0.0
        j, k = np.nonzero(np.triu(excess, 1) > tolerance)
        found.append(np.stack([np.full(len(j), i), j, k, excess[j, k]], axis=1))
    triangles = np.concatenate(found)
    triangles = triangles[np.argsort(-triangles[:, 3], kind="stable")[:most]]
    i, j, k = triangles[:, :3].astype(np.int64).T
    pairs = own - diagonal[:, None]
    a, b = np.nonzero(pairs > tolerance) if weighted else (np.zeros(0, np.int64), np.zeros(0, np.int64))
    kinds, lone = len(i), len(a)
    index = np.concatenate([np.tile(np.arange(kinds), 4), kinds + np.tile(np.arange(lone), 2)])
    row = np.concatenate([i, j, i, i, a, a])
    column = np.concatenate([i, k, j, k, a, b])
    sign = np.concatenate([np.ones(2 * kinds), -np.ones(2 * kinds), np.ones(lone), -np.ones(lone)])
    return Cuts(index, row, column, sign / scale[row, column], np.zeros(kinds + lone))


@dataclass(order=True)
class _Node:
    priority: float
    order: int
    nodes: Weighted = field(compare=False)
    bound: float = field(compare=False)
    state: State | None = field(compare=False, default=None)
    cuts: Cuts | None = field(compare=False, default=None)


class Search:
    """Best-bound-first search; `run` until proven or out of time, then read ``incumbent`` and `bound`."""

    def __init__(
        self,
        problem: Problem,
        criterion: str,
        deadline: Deadline,
        report: Callable[[float, float, int], None] | None = None,
    ) -> None:
        instance = problem.instance
        assert instance.embeddings is not None
        most = min(instance.cluster_size_max or instance.users, instance.users)
        self.task = Task(criterion, instance.users, instance.max_clusters, instance.cluster_size_min, most)
        self.incumbent = Incumbent(self.task, instance.embeddings)
        self.deadline, self.report = deadline, report
        self.explored, self.closed = 0, -math.inf  # largest bound among what was given up as proven
        self._order = count()
        root = Weighted.of(instance.similarity_matrix)
        self.open = [_Node(-math.inf, next(self._order), root, math.inf)]

    @property
    def bound(self) -> float:
        """Upper bound on the optimum."""
        return max(self.incumbent.value, self.closed, *(node.bound for node in self.open), -math.inf)

    @property
    def proven(self) -> bool:
        """Whether nothing is open."""
        return not self.open

    def run(self) -> None:
        """Search."""
        self._first_incumbents()
        while self.open and not self.deadline.passed:
            node = heapq.heappop(self.open)
            if node.bound <= self._target():
                self.closed = max(self.closed, node.bound)
                continue
            self.explored += 1
            children = self._process(node)
            for child in children:
                heapq.heappush(self.open, child)
            if self.report is not None:
                self.report(self.incumbent.value, self.bound, len(self.open))

    def _target(self) -> float:
        value = self.incumbent.value
        return value + _PRUNE * abs(value) if math.isfinite(value) else -math.inf

    def _first_incumbents(self) -> None:
        task, embeddings = self.task, self.incumbent.embeddings
        starts = [average_linkage(embeddings, task.clusters)]
        starts += [_lloyd(embeddings, task.clusters, seed) for seed in range(2 if task.users > 120 else 6)]
        for labels in starts:
            self.incumbent.offer(balance(embeddings, labels, task))

    def _process(self, node: _Node) -> list[_Node]:
        """Bound a node; return its children, none if it is proven."""
        nodes, task = node.nodes, self.task
        if nodes.weights.max() > task.longest:
            return []
        if len(nodes) <= _LEAF:
            self._finish(nodes)
            return []
        relaxation, scale, always = task.relaxation(nodes)
        state = node.state or relaxation.start()
        cuts = node.cuts if node.cuts is not None else always
        if len(state.cut_multipliers) != len(cuts):
            state.cut_multipliers = np.zeros(len(cuts))
        bound, history = node.bound, [node.bound]
        size = len(nodes)
        while True:
            relaxation.iterate(state, cuts, _STEPS)
            bound = min(bound, task.from_relaxation(relaxation.bound(state, cuts)))
            history.append(bound)
            if bound <= self._target():
                self.closed = max(self.closed, bound)
                return []
            if self.deadline.passed:
                return [_Node(-bound, next(self._order), nodes, bound, state, cuts)]
            if len(history) % 8 == 4:
                self.incumbent.round(state.primal, nodes)
            gap = bound - self.incumbent.value
            slow = len(history) > 40 and history[-31] - bound < 0.05 * gap
            if len(history) % 2 == 1:
                active = (state.cut_multipliers > 1e-9) | (cuts.slack(state.primal) < 1e-5)
                active[: len(always)] = True
                cuts, state.cut_multipliers = cuts.keep(active), state.cut_multipliers[active]
                new = separate(state.primal, scale, task.criterion != "sum", 1e-4, 5 * size)
                slow = slow or (len(new) < size // 4 and state.residual < 1e-5)
                cuts = cuts.join(new)
                state.cut_multipliers = np.concatenate([state.cut_multipliers, np.zeros(len(new))])
            if slow:
                break
        nodes = self._fix(nodes, relaxation, scale, state, cuts)
        return self._branch(nodes, scale, state, cuts, bound)

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

    def _branch(self, nodes: Weighted, scale: FloatArray, state: State, cuts: Cuts, bound: float) -> list[_Node]:
        own = state.primal / scale
        diagonal = np.diag(own)
        apart_from_whole = np.minimum(diagonal[:, None], diagonal[None, :]) - own
        weight = np.minimum(nodes.weights[:, None], nodes.weights[None, :])
        score = np.where(nodes.apart, -np.inf, np.minimum(own, apart_from_whole) * np.sqrt(weight))
        np.fill_diagonal(score, -np.inf)
        i, j = sorted(divmod(int(np.argmax(score)), len(nodes)))
        pair = np.zeros((len(nodes), len(nodes)), dtype=bool)
        if nodes.apart[i, j] or i == j:  # every pair is apart
            self.incumbent.offer(nodes.groups, improve=False)
            return []
        pair[i, j] = True
        zero = nodes.separate(pair)
        warm = State(state.primal.copy(), state.multiplier.copy(), state.cut_multipliers.copy(), state.penalty)
        children = [_Node(-bound, next(self._order), zero, bound, warm, cuts)]
        children.append(_Node(-bound, next(self._order), nodes.merge(i, j), bound))
        return children

    def _finish(self, nodes: Weighted) -> None:
        """Solve few merged users exactly by a dynamic program over their subsets."""
        task, size = self.task, len(nodes)
        member = membership(size)
        squared = np.einsum("sn,sn->s", member @ nodes.products, member)
        weights = member @ nodes.weights
        value = cluster_values(task.criterion, squared, weights)
        banned = np.einsum("sn,sn->s", member @ nodes.apart, member) > 0
        value[banned | (weights < task.least) | (weights > task.most)] = -np.inf
        lattice = SubsetLattice.of(size)
        best = lattice.best_partitions(value, task.clusters)
        if np.isfinite(best[-1, -1]):
            labels = labels_of(lattice.partition(value, best), size)[nodes.groups]
            self.incumbent.offer(labels, improve=False)
            self.incumbent.offer(labels)


@dataclass(frozen=True)
class BranchBound(Solver):
    """Must-link and cannot-link branching on semidefinite bounds with triangle cuts, for every criterion and size limits.

    The bound never trusts the relaxation's accuracy. ``centroid`` is bounded by sqrt(N mean*) in each node, which leaves
    a gap of tenths of a per cent that only branching closes: expect a proof up to some 20 users, a bound beyond.
    """

    name = "branch-bound"
    kinds = ("clustering",)
    guarantee = Guarantee.EXACT
    packages = ("scipy",)

    @classmethod
    def serves(cls, problem: Problem) -> bool:
        """Every criterion, with or without limits on sizes."""
        return problem.kind == "clustering"

    def solve(self, problem: Problem, limits: Limits) -> SolverResult:
        """See the class."""
        instance, deadline = problem.instance, Deadline(limits)
        assert instance.embeddings is not None
        assert problem.criterion is not None
        search = Search(problem, problem.criterion, deadline)
        search.run()
        labels, bound = search.incumbent.labels, search.bound
        details = {"nodes": search.explored, "open": len(search.open)}
        if labels is None:
            if search.proven:
                return SolverResult(Termination.INFEASIBLE, message="no partition meets the limits", details=details)
            return SolverResult(Termination.TIME_LIMIT, None, bound if math.isfinite(bound) else None, details=details)
        termination = (
            Termination.OPTIMAL if relative_gap(search.incumbent.value, bound) <= PROVEN else Termination.TIME_LIMIT
        )
        return SolverResult(
            termination, Decision(clusters=labels), bound if math.isfinite(bound) else None, details=details
        )
