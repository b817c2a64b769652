"""Minimum sum-of-squares clustering by branch and bound on pairs of items, with bounds that hold whatever their accuracy.

The method of `hisopt.solvers.clustering.branch_bound` (after SOS-SDP of Piccialli, Sudoso and Wiegele, 2022) on weighted
items of any norm, with limits on sizes and pairs, and with gaps relative to the sum of squares.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from typing_extensions import override

from hisopt.solvers.clustering.best_first import BestFirst
from hisopt.solvers.clustering.branch_bound.merged_users import Warm, Weighted
from hisopt.solvers.clustering.branch_bound.partition_cuts import separate
from hisopt.solvers.clustering.branch_bound.spectral_relaxation import Cuts, Relaxation, SpectralSet, State
from hisopt.solvers.clustering.partitions import SubsetLattice, labels_of, membership, squared_sums
from hisopt.solvers.clustering.sum_of_squares.hybrid import hybrid
from hisopt.solvers.clustering.sum_of_squares.items import Impossible, Items
from hisopt.solvers.clustering.sum_of_squares.local_search import lloyd, polish
from hisopt.solvers.clustering.sum_of_squares.proximal_dual import Dual, SmoothDual, descend, partition_matrix

if TYPE_CHECKING:
    from collections.abc import Callable

    from hisopt.arrays import FloatArray, IntArray
    from hisopt.solvers.base import Deadline

_STEPS = 80  # of L-BFGS between two rounds of cuts
_TAIL = 300  # of L-BFGS where hardly any cuts are new
_MOST = 10  # new cuts of each sort, a multiple of the items
_PROXIMAL = 0.3  # weight of the proximal term, in mean entries of S times root n
_VIOLATED = 1e-4  # least violation of a new cut, on the entries of D^1/2 Z D^1/2
LEAF = 10  # items that a dynamic program over subsets finishes
_LOOKS = 7  # rounds over which a bound must close a fifth of its gap


@dataclass(frozen=True)
class Node:
    """Groups of items, what is known of them, and where its relaxation starts."""

    nodes: Weighted
    counts: IntArray
    bound: float
    warm: Warm | None = None


class Search(BestFirst[Node]):
    """Search for the partition of most `Items.value`; `run`, then read ``labels``, `lower` and `squares`.

    ``tolerance`` is the gap that counts as closed, relative to the sum of squares; up to ``leaf`` items are enumerated.
    """

    def __init__(
        self, items: Items, deadline: Deadline, tolerance: float = 1e-6, seed: int = 0, leaf: int = LEAF
    ) -> None:  # fmt: skip
        super().__init__(deadline)
        self.items, self.tolerance, self.leaf = items, tolerance, leaf
        self.value, self.labels = -math.inf, None
        self.tell: Callable[[], None] | None = None
        weighted = items.weights[:, None] * items.points
        size = len(items)
        root = Weighted(np.arange(size), items.weights, weighted @ weighted.T, items.apart)
        if size > self.leaf or items.clusters in (1, size):  # fewer items are enumerated at once
            patience = min(100, 2 * size) if items.plain else min(10, size)
            self._offer(hybrid(items, seed, patience=patience, deadline=deadline))
        if items.clusters > 1 and not (self.labels is not None and items.plain and items.clusters >= size):
            highest = items.total * (1 + 8 * size * np.finfo(float).eps)
            self.push(Node(root, items.counts, highest))

    labels: IntArray | None

    @property
    @override
    def best_value(self) -> float:
        return self.value

    @property
    def squares(self) -> float:
        """Sum of squares of the best partition, in the data's units; infinite without one."""
        return math.inf if self.labels is None else self.items.squares(self.labels) * self.items.unit

    @property
    def lower(self) -> float:
        """Lower bound on the sum of squares, in the data's units; infinite where nothing is possible."""
        if self.labels is None and self.proven:
            return math.inf
        if self.labels is None:
            return max(self.items.within + self.items.total - self.bound, 0.0) * self.items.unit
        gap = max(self.bound - self.value, 0.0)
        return max(self.items.squares(self.labels) - gap, self.items.within, 0.0) * self.items.unit

    @override
    def _best_labels(self) -> IntArray | None:
        return self.labels

    @override
    def _learn(self, labels: IntArray) -> None:
        self._offer(labels)

    @override
    def _replica(self) -> Self:
        replica = super()._replica()
        replica.tell = None
        return replica

    @override
    def _tell(self) -> None:
        if self.tell is not None:
            self.tell()

    @override
    def _target(self) -> float:
        if self.labels is None:  # no partition has a value below zero
            return -1e-9 * self.items.total - 1e-300  # below, also where all points are equal
        return self.value + 0.98 * self.tolerance * self.items.squares(self.labels)

    def _offer(self, labels: IntArray | None) -> None:
        if labels is not None and self.items.allowed(labels) and (value := self.items.value(labels)) > self.value:
            self.value, self.labels = value, np.unique(labels, return_inverse=True)[1]

    def relaxation(self, node: Node) -> tuple[Relaxation, FloatArray]:
        """Return the Peng-Wei relaxation of a node for D^1/2 Z D^1/2, D the weights, and the factors between the two."""
        items, weights = self.items, node.nodes.weights
        root = np.sqrt(weights)
        scale, vector = np.outer(root, root), root / np.linalg.norm(root)
        fewer = not items.exactly and (items.least > 1 or items.limited)
        spectral = SpectralSet(vector, 1.0, items.clusters - 1.0, 1.0, orthogonal=True, at_most=fewer)
        least = float(items.least) if items.counted else 0.0
        upper = 1 / np.maximum(weights[:, None] + weights[None, :], least)
        np.fill_diagonal(upper, 1 / np.maximum(weights, least))
        lower = np.zeros_like(upper)
        np.fill_diagonal(lower, np.minimum(1 / items.longest, np.diag(upper)))
        upper[node.nodes.apart] = 0.0
        return Relaxation(node.nodes.products / scale, spectral, lower * scale, upper * scale), scale

    @override
    def _process(self, node: Node) -> list[Node]:
        nodes, items = node.nodes, self.items
        if node.counts.max() > items.most or nodes.weights.max() > items.longest * (1 + 1e-12):
            return []
        if np.diag(nodes.apart).any() or (len(nodes) < items.clusters and items.exactly):
            return []
        if len(nodes) <= max(self.leaf, items.clusters):
            if len(nodes) <= self.leaf:
                self._finish(node)
                return []
            if items.plain and len(nodes) == items.clusters:
                self._offer(nodes.groups)
                return []
        relaxation, scale = self.relaxation(node)
        dual, cuts, proximal = self._start(node, relaxation, scale)
        least, improved, rounds, new = node.bound, [math.inf], 0, cuts

        def enough(found: Dual) -> bool:
            nonlocal least
            state.multiplier, state.cut_multipliers = found.multiplier(cuts), found.cut_multipliers
            least = min(least, relaxation.bound(state, cuts))
            return least <= self._target()

        while True:
            state = State(dual.primal, dual.entries, dual.cut_multipliers, proximal)
            smooth = SmoothDual(relaxation, cuts, dual.primal, proximal, max(self._reach(), 1e-12 * items.total) or 1.0)
            tail = rounds > 0 and len(new) <= len(nodes) // 2
            dual, _ = descend(smooth, dual, _TAIL if tail else _STEPS, enough, self.deadline)
            closed = enough(dual)
            rounds += 1
            if closed:
                self.give_up(least)
                self._close(node, state, cuts, scale)
                return []
            if self.deadline.passed:
                return [Node(nodes, node.counts, least, _suspend(dual, scale, cuts, proximal))]
            if rounds % 4 == 2:
                self._round(dual.primal, nodes)
            gap = least - self._target()
            improved.append(gap)
            if not math.isfinite(self.value):
                break
            active = (dual.cut_multipliers > 1e-9) | (cuts.slack(dual.primal) < 1e-5)
            cuts = cuts.keep(active)
            new = separate(dual.primal / scale, _VIOLATED / float(nodes.weights.max()), _MOST * len(nodes), frugal=True)
            new = new.scaled(scale)
            cuts = cuts.join(new)
            dual.cut_multipliers = np.concatenate([dual.cut_multipliers[active], np.zeros(len(new))])
            if rounds >= _LOOKS and gap > 0.8 * improved[-_LOOKS]:
                break
            if not len(new) and gap > 0.8 * improved[-2]:
                break
        state = State(dual.primal, dual.multiplier(cuts), dual.cut_multipliers, proximal)
        warm = _suspend(dual, scale, cuts, proximal)
        return self._branch(self._fix(node, relaxation, scale, state, cuts), node.counts, least, warm)

    def _close(self, node: Node, state: State, cuts: Cuts, scale: FloatArray) -> None:
        """Keep nothing of what closed a node; who wants a certificate does."""

    def _start(self, node: Node, relaxation: Relaxation, scale: FloatArray) -> tuple[Dual, Cuts, float]:
        """Return where to start from, the parent's cuts, and the proximal weight."""
        warm = node.warm
        if warm is None:
            size = len(scale)
            objective = relaxation.objective
            proximal = _PROXIMAL * (float(np.abs(objective).mean()) or 1.0) * math.sqrt(size)
            centre = self._centre(node.nodes)
            primal = relaxation.spectral.project(objective.copy()) if centre is None else centre
            return Dual(np.zeros((size, size)), np.zeros(0), primal), Cuts.none(), proximal
        cuts = warm.cuts.scaled(scale)
        dual = Dual(warm.multiplier / scale, warm.cut_multipliers, warm.primal * scale)
        dual.entries = dual.entries - cuts.adjoint(dual.cut_multipliers, len(scale))
        free = relaxation.upper <= relaxation.lower
        dual.entries = np.where(free, dual.entries, np.maximum(dual.entries, 0.0))
        return dual, cuts, warm.penalty

    def _centre(self, nodes: Weighted) -> FloatArray | None:
        """Return the matrix of the best partition, None where it does not join and part what the node does."""
        labels = self.labels
        if labels is None:
            return None
        own = np.full(len(nodes), -1)
        own[nodes.groups] = labels
        if (own[nodes.groups] != labels).any() or nodes.apart[own[:, None] == own[None, :]].any():
            return None
        return partition_matrix(own, nodes.weights, self.items.clusters)

    def _reach(self) -> float:
        """Return the sum of squares that gaps are relative to."""
        return self.items.total if self.labels is None else self.items.squares(self.labels)

    def _round(self, matrix: FloatArray, nodes: Weighted) -> None:
        """Offer what a relaxation's matrix suggests: the centres of its rows' groups."""
        items = self.items
        if items.clusters >= len(items):
            return
        own = (matrix * np.sqrt(nodes.weights) / np.sqrt(nodes.weights)[:, None])[nodes.groups]
        centres = own @ _means(items, nodes)
        rng = np.random.default_rng(self.explored)
        start = centres[rng.choice(len(items), items.clusters, replace=False)]
        if items.plain:
            self._offer(polish(items, lloyd(items, start), items.clusters, self.deadline))

    def _fix(self, node: Node, relaxation: Relaxation, scale: FloatArray, state: State, cuts: Cuts) -> Weighted:
        """Put pairs apart that no partition better than the incumbent joins: joined, Z_ij >= 1 / (most weight)."""
        nodes = node.nodes
        if not math.isfinite(self.value):
            return nodes
        slope = cuts.adjoint(state.cut_multipliers, len(nodes)) - state.multiplier
        joined = np.minimum(scale / self.items.longest, np.maximum(relaxation.upper, 0.0))
        hopeless = (relaxation.bound(state, cuts) - 2 * np.maximum(-slope, 0.0) * joined <= self.value) & ~nodes.apart
        np.fill_diagonal(hopeless, False)
        return nodes.separate(hopeless) if hopeless.any() else nodes

    def _branch(self, nodes: Weighted, counts: IntArray, bound: float, warm: Warm) -> list[Node]:
        own, diagonal = warm.primal, np.diag(warm.primal)
        weight = np.minimum(nodes.weights[:, None], nodes.weights[None, :])
        score = np.minimum(own, np.minimum(diagonal[:, None], diagonal[None, :]) - own) * np.sqrt(weight)
        score = np.where(nodes.apart, -np.inf, score)
        np.fill_diagonal(score, -np.inf)
        i, j = sorted(divmod(int(np.argmax(score)), len(nodes)))
        if nodes.apart[i, j] or i == j:  # every pair is apart
            self._offer(nodes.groups)
            return []
        pair = np.zeros((len(nodes), len(nodes)), dtype=bool)
        pair[i, j] = True
        merged = np.delete(counts, j)
        merged[i] += counts[j]
        together = Node(nodes.merge(i, j), merged, bound, warm.merge(i, j, nodes.weights))
        return [Node(nodes.separate(pair), counts, bound, warm), together]

    def _finish(self, node: Node) -> None:
        """Solve few merged items exactly by a dynamic program over their subsets."""
        items, nodes, size = self.items, node.nodes, len(node.nodes)
        member = membership(size)
        sums = np.zeros((size, items.points.shape[1]))
        np.add.at(sums, nodes.groups, items.weights[:, None] * items.points)
        sizes, weights = member @ node.counts, member @ nodes.weights
        value = squared_sums(member, sums) / np.maximum(weights, 1e-300)
        banned = np.einsum("sn,sn->s", member @ nodes.apart, member) > 0
        value[banned | (sizes < items.least) | (sizes > items.most)] = -np.inf
        lattice = SubsetLattice.of(size)
        best = lattice.best_partitions(value, items.clusters)
        if items.exactly:
            best = np.full_like(best, -np.inf)
            best[0, 0] = 0.0
            for k in range(1, items.clusters + 1):
                best[k, 1:] = np.maximum.reduceat(value[lattice.subset] + best[k - 1, lattice.rest], lattice.starts)
        if np.isfinite(best[-1, -1]):
            self._offer(labels_of(lattice.partition(value, best), size)[nodes.groups])


def _means(items: Items, nodes: Weighted) -> FloatArray:
    sums = np.zeros((len(nodes), items.points.shape[1]))
    np.add.at(sums, nodes.groups, items.weights[:, None] * items.points)
    return sums / nodes.weights[:, None]


def _suspend(dual: Dual, scale: FloatArray, cuts: Cuts, proximal: float) -> Warm:
    none = np.zeros((0, len(scale)))
    return Warm(
        dual.primal / scale, dual.multiplier(cuts) * scale, proximal, cuts.scaled(1 / scale), dual.cut_multipliers,
        none, np.zeros(0),
    )  # fmt: skip


@dataclass(frozen=True)
class Answer:
    """What a search found: labels of the points (None without a partition), its sum of squares, and what is proven.

    ``impossible`` says why no partition is allowed; ``points`` of weight zero have the label -1.
    """

    labels: IntArray | None
    squares: float
    lower: float
    nodes: int
    proven: bool
    impossible: str = ""

    @property
    def gap(self) -> float:
        """(sum of squares - lower bound) / sum of squares; 0 where both are 0."""
        if self.labels is None:
            return math.inf
        return max(self.squares - self.lower, 0.0) / self.squares if self.squares > 0 else 0.0


def solve(
    items: Items, deadline: Deadline, tolerance: float = 1e-6, seed: int = 0, leaf: int = LEAF, processes: int = 1
) -> Answer:  # fmt: skip
    """Return the best partition and a lower bound on every partition's sum of squares."""
    try:
        search = Search(items, deadline, tolerance, seed, leaf)
    except Impossible as error:
        return Answer(None, math.inf, math.inf, 0, True, str(error))
    search.run(processes)
    if search.labels is None:
        reason = "no partition meets the limits on sizes and the pairs together" if search.proven else ""
        return Answer(None, math.inf, search.lower, search.explored, search.proven, reason)
    labels = np.where(items.groups >= 0, search.labels[items.groups], -1)
    return Answer(labels, search.squares, search.lower, search.explored, search.proven)
