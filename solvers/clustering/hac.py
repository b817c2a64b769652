"""Hierarchical agglomerative clustering, Algorithm 1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from typing_extensions import override

from hisopt.decision import Decision
from hisopt.problems import Clustering
from hisopt.result import Guarantee, Limits, SolverResult, Termination
from hisopt.solvers.base import Solver

if TYPE_CHECKING:
    from collections.abc import Callable

    from hisopt.arrays import FloatArray, IntArray
    from hisopt.instances import IccInstance, Instance

_MATRIX_UP_TO = 2_000  # users for whom the N x N matrix is the faster way
_SINGLE_FROM = 8_000  # users from whom neighbours are sought in single precision
_DECIMALS = 12  # of similarities below that; rounding in a dot product is some 1e-16
_BLOCK = 1 << 26  # similarities in memory at a time


def average_linkage(embeddings: FloatArray, count: int) -> IntArray:
    """Merge clusters by the largest average similarity (27), N - M times; labels 0 .. M-1 (``count``), shape (N,).

    Of equally near clusters the order of users decides, in the way of the algorithm used: up to 2,000 users scipy's
    chain of nearest neighbours, which begins at the first user and takes the first of the nearest (similarities are
    rounded to 12 decimals, so that equal prompts tie on every machine); beyond, `reciprocal_merges`.
    """
    from scipy.cluster.hierarchy import linkage

    users = len(embeddings)
    if count >= users:
        return np.arange(users)
    if users > _MATRIX_UP_TO:
        first, second, similarity = reciprocal_merges(embeddings)
        return cut(first, second, similarity, count)
    similarity = embeddings @ embeddings.T
    upper = np.triu_indices(users, k=1)
    merges = linkage(np.round(np.maximum(1 - similarity[upper], 0.0), _DECIMALS), method="average")
    children = merges[:, :2].astype(np.int64)
    label = np.zeros(2 * users - 1, dtype=np.int64)
    above, done = [2 * users - 2], 0
    while above:  # number what the last M - 1 mergers joined, from left to right as scipy's `fcluster` does: users last
        node = above.pop()
        if node < 2 * users - count:
            label[node], done = done, done + 1
        else:
            left, right = sorted(children[node - users], key=lambda child: child < users)
            above += [right, left]
    for merger in range(users - count - 1, -1, -1):
        label[children[merger]] = label[users + merger]
    return label[:users]


def reciprocal_merges(embeddings: FloatArray, device: str | None = None) -> tuple[IntArray, IntArray, FloatArray]:
    """Return the N - 1 merges of exact average linkage: a user of either cluster, and their average similarity.

    With S_ij = <e_i, e_j> the linkage (27) is the dot product of two cluster means, so O(N d) memory suffices. Average
    linkage is reducible: clusters that are each other's nearest may be merged at once, in any order, and a merger
    brings nobody a nearer neighbour, so that only the merged and those that lost their neighbour look again. Of equally
    near ones each takes the first in the order of users. Neighbours are sought by BLAS in blocks; with ``device`` (such
    as 'cuda', the default where torch finds one) by torch.
    """
    users, _width = embeddings.shape
    seek = np.float32 if users > _SINGLE_FROM else np.float64
    nearest = _seeker(device if device is not None else _accelerator(users))
    sums, sizes = embeddings.astype(np.float64), np.ones(users)
    means: Any = embeddings.astype(seek)
    member = np.arange(users)  # a user of each cluster
    level = np.full(users, np.inf)  # the least similarity of a cluster's mergers: its parent's is no larger
    neighbour, stale = np.zeros(users, dtype=np.int64), np.arange(users)
    firsts: list[IntArray] = []
    seconds: list[IntArray] = []
    similarities: list[FloatArray] = []
    while len(means) > 1:
        neighbour[stale] = nearest(means, stale)
        here = np.arange(len(means))
        pairs = np.flatnonzero((neighbour[neighbour] == here) & (here < neighbour))
        if not len(pairs):  # rounding made a cycle of near-ties: merge the nearest pair of all
            closeness = np.einsum("nd,nd->n", means, means[neighbour])
            pairs = np.array([int(np.argmax(closeness))])
        a, b = pairs, neighbour[pairs]
        firsts.append(member[a])
        seconds.append(member[b])
        average = np.einsum("nd,nd->n", sums[a], sums[b]) / (sizes[a] * sizes[b])
        level[a] = np.minimum(average, np.minimum(level[a], level[b]))
        similarities.append(level[a])
        sums[a] += sums[b]
        sizes[a] += sizes[b]
        means[a] = (sums[a] / sizes[a][:, None]).astype(seek)
        changed = np.zeros(len(means), dtype=bool)
        changed[a] = changed[b] = True
        stale_mask = changed | changed[neighbour]
        left = np.ones(len(means), dtype=bool)
        left[b] = False
        renumber = np.cumsum(left) - 1
        sums, sizes, means, member, level = sums[left], sizes[left], means[left], member[left], level[left]
        neighbour, stale = renumber[neighbour[left]], np.flatnonzero(stale_mask[left])
    return np.concatenate(firsts), np.concatenate(seconds), np.concatenate(similarities)


def cut(first: IntArray, second: IntArray, similarity: FloatArray, count: int) -> IntArray:
    """Return the labels after the merges of largest similarity that leave ``count`` clusters; shape (N,)."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    users = len(similarity) + 1
    # a parent is never nearer than its children; of equal similarity (rounding) the merge found first, a child, goes first
    done = np.lexsort((np.arange(len(similarity)), -similarity))[: users - count]
    graph = coo_array((np.ones(len(done)), (first[done], second[done])), shape=(users, users))
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.int64)


def clustered(instance: Instance | IccInstance) -> Instance | IccInstance:
    """Return the instance with HAC's clusters, unless it has clusters already."""
    if instance.clusters is not None or instance.embeddings is None:
        return instance
    return instance.with_clusters(average_linkage(instance.embeddings, instance.max_clusters))


def _accelerator(users: int) -> str | None:
    if users <= _SINGLE_FROM:
        return None
    try:
        import torch
    except ImportError:
        return None
    return "cuda" if torch.cuda.is_available() else None


def _seeker(device: str | None) -> Callable[[Any, IntArray], IntArray]:
    """Return a function of means (n, d) and rows that finds each row's nearest other mean."""
    if device is None:
        return _nearest
    import torch

    def on_device(means: FloatArray, rows: IntArray) -> IntArray:
        points = torch.from_numpy(means).to(device)
        found = np.empty(len(rows), dtype=np.int64)
        step = max(1, _BLOCK // len(means))
        for start in range(0, len(rows), step):
            part = torch.from_numpy(rows[start : start + step]).to(device)
            dots = points[part] @ points.T
            dots[torch.arange(len(part), device=device), part] = -torch.inf
            found[start : start + step] = dots.argmax(dim=1).cpu().numpy()
        return found

    return on_device


def _nearest(means: FloatArray, rows: IntArray) -> IntArray:
    found = np.empty(len(rows), dtype=np.int64)
    step = max(1, _BLOCK // len(means))
    for start in range(0, len(rows), step):
        part = rows[start : start + step]
        dots = means[part] @ means.T
        dots[np.arange(len(part)), part] = -np.inf
        found[start : start + step] = dots.argmax(axis=1)
    return found


@dataclass(frozen=True)
class Hac(Solver[Clustering]):
    """Algorithm 1, average linkage on 1 - S: scipy's up to 2,000 users, merges of reciprocal neighbours beyond."""

    name = "hac"
    problems = (Clustering,)
    guarantee = Guarantee.HEURISTIC
    packages = ("scipy",)

    @override
    def solve(self, problem: Clustering, limits: Limits) -> SolverResult:
        labels = average_linkage(problem.points, problem.clusters)
        return SolverResult(Termination.COMPLETED, Decision(clusters=labels))
