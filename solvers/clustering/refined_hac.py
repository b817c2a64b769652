"""HAC, then users relocated, pairs swapped, clusters merged and split while the criterion improves."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from typing_extensions import override

from hisopt.decision import Decision
from hisopt.equations import clustering_value
from hisopt.problems import Clustering
from hisopt.result import Guarantee, Limits, SolverResult, Termination
from hisopt.solvers.base import Deadline, Solver, sized
from hisopt.solvers.clustering.balance import balance
from hisopt.solvers.clustering.hac import average_linkage
from hisopt.solvers.clustering.kmeans import lloyd
from hisopt.solvers.clustering.moves import MATRIX_UP_TO, cluster_sums, refine
from hisopt.solvers.run.progress import Pace, report

if TYPE_CHECKING:
    from collections.abc import Callable

    from hisopt.arrays import FloatArray, IntArray
    from hisopt.problems import Problem

_PAIRS, _SPLITS = 8, 4  # rearrangements tried: nearest pairs to merge, widest clusters to split
_KMEANS_STARTS = 20
_LIMITED_STARTS = 6  # of k-means, where sizes are limited


def rearrange(
    embeddings: FloatArray, labels: IntArray, count: int, criterion: str, deadline: Deadline | None = None
) -> IntArray:
    """Leave a local optimum of `refine`: merge two clusters, split a third or their union, refine; while it improves."""
    labels = refine(embeddings, labels, count, criterion, deadline)
    value = clustering_value(criterion, embeddings, labels)
    improved = count > 1
    while improved and not (deadline is not None and deadline.passed):
        improved = False
        for a, b, c in _rearrangements(embeddings, labels, count):
            trial = np.where(labels == b, a, labels)
            members = np.flatnonzero(trial == c)
            seeds = _farthest(embeddings[members])
            closer = embeddings[members] @ embeddings[members[list(seeds)]].T
            trial[members[closer[:, 1] > closer[:, 0]]] = b
            trial = refine(embeddings, trial, count, criterion, deadline)
            found = clustering_value(criterion, embeddings, trial)
            if found > value + 1e-10 * max(1.0, abs(value)):
                labels, value, improved = trial, found, True
                break
            if deadline is not None and deadline.passed:
                break
    return labels


def _rearrangements(embeddings: FloatArray, labels: IntArray, count: int) -> list[tuple[int, int, int]]:
    """Return (a, b, c): merge b into a, the nearest pairs first, and split c into c and b, the least dense first."""
    sums, sizes = cluster_sums(embeddings, labels, count)
    used = np.flatnonzero(sizes)
    squared = np.einsum("md,md->m", sums, sums)
    spread = np.where(sizes > 0, sizes - squared / np.maximum(sizes, 1), -np.inf)
    pairs = []
    for i, a in enumerate(used):
        for b in used[i + 1 :]:
            merged = squared[a] + squared[b] + 2 * sums[a] @ sums[b]
            loss = squared[a] / sizes[a] + squared[b] / sizes[b] - merged / (sizes[a] + sizes[b])
            pairs.append((loss, int(a), int(b)))
    nearest = [(a, b) for _, a, b in sorted(pairs)[:_PAIRS]]
    widest = [int(c) for c in np.argsort(-spread, kind="stable")[:_SPLITS]]
    splits = [(a, b, c) for a, b in nearest for c in {*widest, a} if c != b]
    return [(a, b, c) for a, b, c in splits if sizes[c] + (sizes[b] if c == a else 0) > 1]


def _farthest(points: FloatArray) -> tuple[int, int]:
    """Return two points far apart: the farthest from the mean, and the farthest from that."""
    first = int(np.argmin(points @ points.mean(axis=0)))
    second = int(np.argmin(points @ points[first]))
    return (first, second) if first != second else (0, len(points) - 1)


def best_refined(
    embeddings: FloatArray, count: int, criterion: str, deadline: Deadline | None = None,
    tell: Callable[[IntArray], None] = lambda _: None,
) -> IntArray:  # fmt: skip
    """Return the better of HAC and the best of some k-means, either refined and rearranged; with many users HAC alone.

    ``tell`` hears of labels as they come.
    """
    starts = [average_linkage(embeddings, count)]
    if 1 < count < len(embeddings) <= MATRIX_UP_TO:
        means = (lloyd(embeddings, count, seed) for seed in range(_KMEANS_STARTS))
        starts.append(max(means, key=lambda labels: clustering_value(criterion, embeddings, labels)))
    found = []
    for start in starts:
        tell(start)
        found.append(rearrange(embeddings, start, count, criterion, deadline))
        tell(found[-1])
    return max(found, key=lambda labels: clustering_value(criterion, embeddings, labels))


def _within_limits(problem: Clustering, deadline: Deadline) -> SolverResult:
    """Return the best of the refined clusters, HAC's and some of k-means, each brought within the limits on sizes."""
    points, count, criterion, sizes = problem.points, problem.clusters, problem.criterion, problem.sizes
    most = problem.users if sizes.most is None else sizes.most
    starts: list[Callable[[], IntArray]] = [
        lambda: best_refined(points, count, criterion, deadline), lambda: average_linkage(points, count),
        *(partial(lloyd, points, count, seed) for seed in range(_LIMITED_STARTS)),
    ]  # fmt: skip
    best, value = None, -np.inf
    for start in starts:
        if best is not None and deadline.passed:
            break
        labels = balance(points, start(), criterion, count, sizes.least, most, deadline)
        if not sizes.faults(labels) and (found := clustering_value(criterion, points, labels)) > value:
            best, value = Decision(clusters=labels), found
            report(best)
    if best is None:
        message = f"found no clusters of {sizes.least} to {most} users"
        return SolverResult(Termination.TIME_LIMIT if deadline.passed else Termination.COMPLETED, message=message)
    return SolverResult(Termination.COMPLETED, best)


@dataclass(frozen=True)
class HacRefined(Solver[Clustering]):
    """HAC's clusters improved by relocation, swap and merge-and-split for the criterion asked for.

    With up to 3,000 users the same improvement of the best of 20 k-means, too: they move all duplicates of a prompt at
    once, which single users' moves do not. Limits on sizes are met by moves and swaps of users.
    """

    name = "hac-refined"
    problems = (Clustering,)
    guarantee = Guarantee.HEURISTIC
    packages = ("scipy",)

    @override
    def serves(self, problem: Problem) -> bool:
        """Every criterion; with limits on sizes, up to 3,000 users."""
        return isinstance(problem, Clustering) and (problem.users <= MATRIX_UP_TO or not sized(problem))

    @override
    def solve(self, problem: Clustering, limits: Limits) -> SolverResult:
        pace = Pace()

        def tell(labels: IntArray) -> None:
            if pace.due:
                report(Decision(clusters=labels))

        deadline = Deadline(limits)
        if sized(problem):
            return _within_limits(problem, deadline)
        labels = best_refined(problem.points, problem.clusters, problem.criterion, deadline, tell)
        return SolverResult(Termination.COMPLETED, Decision(clusters=labels))
