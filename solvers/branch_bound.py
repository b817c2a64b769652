"""Clustering by branch and bound on pairs, with semidefinite bounds that hold exactly.

Piccialli, Sudoso and Wiegele (SOS-SDP, 2022) solve minimum sum-of-squares clustering this way: a pair of users is either
together (must-link: the two become one heavier user, and the matrix shrinks) or apart (cannot-link: an entry is zero),
which leaves no symmetry of labels; the Peng-Wei relaxation with triangle and pair cuts bounds each node. Here the bound
comes from `hisopt.solvers.spectral_relaxation`, valid whatever its accuracy, and covers ``sum`` with size limits, too.
The cuts of `hisopt.solvers.partition_cuts` go beyond triangles: with ten clusters of a hundred prompts they close at the
root what triangles leave open (0.67 %).
"""

from __future__ import annotations

import heapq
import math
import warnings
from dataclasses import dataclass
from itertools import count

import numpy as np

from hisopt.arrays import BoolArray, FloatArray, IntArray
from hisopt.decision import Decision
from hisopt.equations import clustering_value
from hisopt.problem import Problem
from hisopt.result import Guarantee, Limits, SolverResult, Termination, relative_gap
from hisopt.solvers.balance import balance, packed
from hisopt.solvers.hac import average_linkage
from hisopt.solvers.hac_refined import cluster_values, refine
from hisopt.solvers.interface import Deadline, Solver
from hisopt.solvers.partition_cuts import cliques, separate
from hisopt.solvers.partitions import SubsetLattice, labels_of, membership
from hisopt.solvers.progress import report
from hisopt.solvers.size_limits import Sizes
from hisopt.solvers.spectral_relaxation import Cuts, Relaxation, SpectralSet, State

PROVEN = 1e-6
_PRUNE = 5e-7  # relative; below what counts as proven
_STEPS = 30  # of the relaxation between two looks at its bound
_ROUND = 2  # such looks between two rounds of cuts
_VIOLATED = 1e-4  # least violation of a new cut, on the matrix' own entries
_LEAF = 10  # merged users that a dynamic program over subsets finishes


def _fold(array: FloatArray, i: int, j: int) -> FloatArray:
    """Return an array (n,) or matrix (n, n) with entries, or rows and columns, i and j (i < j) added up in place of i."""
    array = array.copy()
    array[i] += array[j]
    if array.ndim == 2:
        array[:, i] += array[:, j]
    return _without(array, j)


def _without(array: FloatArray, j: int) -> FloatArray:
    to = np.delete(np.arange(len(array)), j)
    return array[to] if array.ndim == 1 else array[np.ix_(to, to)]


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
        groups = np.where(self.groups == j, i, self.groups)
        apart = _fold(self.apart.astype(np.float64), i, j) > 0
        return Weighted(groups - (groups > j), _fold(self.weights, i, j), _fold(self.products, i, j), apart)

    def separate(self, pairs: BoolArray) -> Weighted:
        """Return the users with the marked pairs apart."""
        return Weighted(self.groups, self.weights, self.products, self.apart | pairs | pairs.T)


@dataclass(frozen=True)
class Warm:
    """What a node's relaxation found, for its children: on the entries of the partition's own matrix."""

    primal: FloatArray
    multiplier: FloatArray
    penalty: float
    cuts: Cuts
    cut_multipliers: FloatArray
    size_multipliers: FloatArray  # of the cuts that the relaxation always has: of each user's cluster, shape (k, n)
    whole_multipliers: FloatArray  # and of all clusters together, shape (0,) or (2,)

    def merge(self, i: int, j: int, weights: FloatArray) -> Warm:
        """Return the same with users i and j (i < j) as one; ``weights`` are those before."""
        position = np.arange(len(weights))
        position[j] = i
        position -= position > j
        growth = float(np.linalg.norm(_fold(weights, i, j)) / np.linalg.norm(weights))
        sizes = [growth * _fold(row, i, j) for row in self.size_multipliers]
        return Warm(
            _without(self.primal, j), _fold(self.multiplier, i, j), self.penalty,
            self.cuts.renumbered(position), self.cut_multipliers,
            np.array(sizes).reshape(len(sizes), len(weights) - 1), growth**2 * self.whole_multipliers,
        )  # fmt: skip


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

    def relaxation(self, nodes: Weighted, sizes: Sizes) -> tuple[Relaxation, FloatArray, Cuts]:
        """Return the relaxation, the factors by which its matrix is the pairs' own, and the cuts it always has.

        Both use D^1/2 Z D^1/2 with D the weights of merged users, whose unit eigenvector or row sums come from the root
        of the weights. ``mean``: Z the Peng-Wei matrix. ``sum``: Z the 0-1 matrix, Z - 1 1'/M psd, with cluster sizes as
        weighted row sums, and as eigenvalues, so none exceeds the largest size; if all are equal, the row sums are known.
        """
        size, weights = len(nodes), nodes.weights
        root = np.sqrt(weights)
        scale, vector = np.outer(root, root), root / np.linalg.norm(root)
        if self.criterion != "sum":
            spectral = SpectralSet(vector, 1.0, self.clusters - 1.0, 1.0, orthogonal=True)
            upper = 1 / np.maximum(weights[:, None] + weights[None, :], float(self.least))
            np.fill_diagonal(upper, 1 / np.maximum(weights, self.least))
            lower = np.zeros((size, size))
            np.fill_diagonal(lower, 1 / self.longest)
            cuts = Cuts.none()
        elif sizes.least == sizes.most:
            spectral = SpectralSet(vector, sizes.most, self.users - sizes.most, sizes.most, orthogonal=True)
            upper, lower, cuts = np.ones((size, size)), np.eye(size), Cuts.none()
        else:
            fixed = self.users / self.clusters
            rest = self.users - fixed  # of the trace
            spectral = SpectralSet(vector, fixed, rest, min(rest, float(sizes.most)), orthogonal=False)
            upper, lower, cuts = np.ones((size, size)), np.eye(size), sizes.cuts(weights).scaled(scale)
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
            report(Decision(clusters=labels))

    def round(self, matrix: FloatArray, nodes: Weighted) -> None:
        """Offer what a relaxation's matrix suggests: k-means on its leading eigenvectors."""
        vectors = np.linalg.eigh(matrix)[1][:, -self.task.clusters :]
        for start in range(2):
            self.balanced(_lloyd(vectors, self.task.clusters, start)[nodes.groups])

    def balanced(self, labels: IntArray) -> None:
        """Offer a partition brought within the limits on sizes."""
        task = self.task
        self.offer(balance(self.embeddings, labels, task.criterion, task.clusters, task.least, task.most))


def _lloyd(points: FloatArray, clusters: int, seed: int) -> IntArray:
    """k-means from a seeded k-means++ start."""
    from scipy.cluster.vq import kmeans2

    rng = np.random.default_rng(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of empty clusters, which are allowed
        return np.asarray(kmeans2(points, clusters, minit="++", rng=rng, check_finite=False)[1], dtype=np.int64)


@dataclass(frozen=True)
class _Node:
    nodes: Weighted
    bound: float
    sizes: Sizes
    warm: Warm | None = None


class Search:
    """Best-bound-first search; `run` until proven or out of time, then read ``incumbent`` and `bound`."""

    def __init__(self, problem: Problem, deadline: Deadline) -> None:
        instance = problem.instance
        assert instance.embeddings is not None and problem.criterion is not None
        most = min(instance.cluster_size_max or instance.users, instance.users)
        self.task = Task(problem.criterion, instance.users, instance.max_clusters, instance.cluster_size_min, most)
        self.incumbent = Incumbent(self.task, instance.embeddings)
        self.deadline = deadline
        self.explored, self.closed = 0, -math.inf  # largest bound among what was given up as proven
        self._order = count()
        self.open: list[tuple[float, int, _Node]] = []  # a heap, the largest bound first
        sizes = Sizes.of(self.task.users, self.task.clusters, self.task.least, most)
        self._push(_Node(Weighted.of(instance.similarity_matrix), math.inf, sizes))

    def _push(self, node: _Node) -> None:
        heapq.heappush(self.open, (-node.bound, next(self._order), node))

    @property
    def bound(self) -> float:
        """Upper bound on the optimum."""
        return max(self.incumbent.value, self.closed, *(-priority for priority, _, _ in self.open), -math.inf)

    @property
    def proven(self) -> bool:
        """Whether nothing is open."""
        return not self.open

    def run(self) -> None:
        """Search."""
        self._first_incumbents()
        while self.open and not self.deadline.passed:
            node = heapq.heappop(self.open)[-1]
            if node.bound <= self._target():
                self.closed = max(self.closed, node.bound)
                continue
            self.explored += 1
            for child in self._process(node):
                self._push(child)
            report(bound=self.bound)

    def _target(self) -> float:
        value = self.incumbent.value
        return value + _PRUNE * abs(value) if math.isfinite(value) else -math.inf

    def _first_incumbents(self) -> None:
        task, embeddings = self.task, self.incumbent.embeddings
        self.incumbent.balanced(average_linkage(embeddings, task.clusters))
        for seed in range(2 if task.users > 120 else 6):
            self.incumbent.balanced(_lloyd(embeddings, task.clusters, seed))
        if task.criterion == "sum":  # fewer clusters than allowed are better where they hold all
            for used in range(math.ceil(task.users / task.most), min(task.clusters, task.users // task.least) + 1):
                for seed in range(10):
                    labels = packed(embeddings, seed, used, task.least, task.most)
                    self.incumbent.offer(balance(embeddings, labels, task.criterion, used, task.least, task.most))

    def _process(self, node: _Node) -> list[_Node]:
        """Bound a node; return its children, none if it is proven."""
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
            relaxation.iterate(state, cuts, _STEPS)
            bound = min(history[-1], task.from_relaxation(relaxation.bound(state, cuts)))
            history.append(bound)
            report(bound=max(self.bound, bound))
            if bound <= self._target():
                self.closed = max(self.closed, bound)
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
        search = Search(problem, Deadline(limits))
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
