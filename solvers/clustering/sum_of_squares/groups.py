"""A lower bound on the sum of squares of thousands of points: fair groups, each bounded alone.

Split the points into groups. Any clustering, restricted to a group, clusters the group, and its sum of squares there is
no less than the group's own optimum; so the groups' lower bounds add up to one for all (a triangle inequality of sums of
squares: within a group, distances to the group's own centres are least). The bound is tight where every group looks like
the whole: each cluster of a good partition is dealt out evenly, and points of the same cluster are swapped between groups
until the groups' means of it agree (anticlustering; the groups of AVOC, Croella, Piccialli, Rinaldi and Sudoso, 2024).
The groups and their bounds are the certificate: whoever bounds each group anew has checked it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hisopt.result import Limits
from hisopt.solvers.base import Deadline
from hisopt.solvers.clustering.sum_of_squares.items import items_of
from hisopt.solvers.clustering.sum_of_squares.search import solve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hisopt.arrays import FloatArray, IntArray

_LEAST_S = 0.3  # seconds in which a group's search finds more than the spectral bound
_TRIES = 60  # rounds of swaps, in each of which every point of a cluster is paired with another once


@dataclass(frozen=True)
class GroupBounds:
    """Lower bounds of groups: ``groups`` (N,) is the group of each point, ``bounds`` (g,) what each proves so far.

    ``searched`` is the number of groups that were searched; the bound of the others is `spectral`.
    """

    groups: IntArray
    bounds: FloatArray
    searched: int

    @property
    def lower(self) -> float:
        """Lower bound on the sum of squares of all points."""
        eps = float(np.finfo(np.float64).eps)
        return max(float(self.bounds.sum()) * (1 - 4 * len(self.bounds) * eps), 0.0)


def fair_groups(
    points: FloatArray, labels: IntArray, count: int, seed: int = 0, deadline: Deadline | None = None
) -> IntArray:  # fmt: skip
    """Return groups (N,) that each hold every cluster's share of points, with means as close to the cluster's as swaps get.

    Minimised is sum over groups g and clusters c of n_gc |mean_gc - mean_c|^2, what the groups' sums of squares lack. When
    the deadline passes, the groups are as fair as they are then.
    """
    rng = np.random.default_rng(seed)
    groups, turn = np.zeros(len(points), dtype=np.int64), 0
    for cluster in np.unique(labels):
        members = np.flatnonzero(labels == cluster)
        part = points[members] - points[members].mean(axis=0)
        members = members[_ordered(part)]
        own = _dealt(len(members), count, rng, turn)
        turn += len(members)  # so that the groups' sizes differ by one at most
        groups[members] = _swapped(points[members] - points[members].mean(axis=0), own, count, rng, deadline)
    return groups


def _ordered(part: FloatArray) -> IntArray:
    """Return an order in which neighbours are alike: along the direction of largest spread."""
    if len(part) < 2:
        return np.arange(len(part))
    leading = np.linalg.svd(part, full_matrices=False)[2][0]
    return np.argsort(part @ leading, kind="stable")


def _dealt(size: int, count: int, rng: np.random.Generator, turn: int) -> IntArray:
    """Deal points in order to groups, each round of ``count`` in an order of its own; the rest where it is the turn."""
    whole = size // count
    rounds = [rng.permutation(count) for _ in range(whole)]
    rest = (turn + whole * count + np.arange(size - whole * count)) % count
    return np.concatenate([*rounds, rest]).astype(np.int64)


def _swapped(
    part: FloatArray, own: IntArray, count: int, rng: np.random.Generator, deadline: Deadline | None
) -> IntArray:  # fmt: skip
    """Swap points (n, d) of one cluster, centred, between groups while their means come closer to zero."""
    size = len(part)
    sizes = np.bincount(own, minlength=count)
    if size <= count or count == 1:
        return own
    sums = np.zeros((count, part.shape[1]))
    np.add.at(sums, own, part)
    for k in range(_TRIES * max(size // 2, 1)):
        if k % 1000 == 0 and deadline is not None and deadline.passed:
            break
        i, j = rng.integers(size, size=2)
        a, b = own[i], own[j]
        if a == b:
            continue
        step = part[j] - part[i]
        # of |s_a|^2 / n_a + |s_b|^2 / n_b when i and j change places
        change = (2 * sums[a] @ step + step @ step) / sizes[a] + (step @ step - 2 * sums[b] @ step) / sizes[b]
        if change < -1e-15:
            own[i], own[j] = b, a
            sums[a] += step
            sums[b] -= step
    return own


@dataclass(frozen=True)
class _Task:
    points: FloatArray
    clusters: int
    tolerance: float
    time_s: float


def _bounded(task: _Task) -> float:
    """Bound one group; a lower bound on its sum of squares with at most as many clusters."""
    clusters = min(task.clusters, len(task.points))
    items = items_of(task.points, clusters, exactly=False)
    return solve(items, Deadline(Limits(time_s=task.time_s)), task.tolerance).lower


def bounded(
    points: FloatArray, clusters: int, groups: IntArray, deadline: Deadline, *, tolerance: float = 2e-3,
    processes: int = 1, tell: Callable[[GroupBounds], None] | None = None,
) -> GroupBounds:  # fmt: skip
    """Bound every group, in as many processes as asked for; one that time does not reach has its `spectral` bound."""
    order = np.argsort(groups, kind="stable")
    members = [points[part] for part in np.split(order, np.cumsum(np.bincount(groups))[:-1])]
    bounds = np.array([spectral(part, clusters) for part in members])
    searched = 0

    def keep(results: Iterator[tuple[int, float]]) -> None:
        nonlocal searched
        for group, lower in results:
            bounds[group] = max(lower, bounds[group])
            searched += 1
            if tell is not None:
                tell(GroupBounds(groups, bounds, searched))

    if tell is not None:
        tell(GroupBounds(groups, bounds, searched))

    if processes == 1:
        keep(_one_by_one(members, clusters, tolerance, deadline))
    else:
        keep(_side_by_side(members, clusters, tolerance, deadline, processes))
    return GroupBounds(groups, bounds, searched)


def spectral(points: FloatArray, clusters: int) -> float:
    """Return the bound of principal components (Zha et al., 2001): what their first k - 1 do not explain of points (n, d)."""
    shifted = points - points[0]
    shifted = shifted - shifted.mean(axis=0)
    wide = len(points) <= points.shape[1]
    squares = np.linalg.eigvalsh(shifted @ shifted.T if wide else shifted.T @ shifted)[::-1]
    total = float(np.square(shifted).sum())
    rounding = 16 * sum(points.shape) * float(np.finfo(np.float64).eps) * total
    return max(total - float(squares[: clusters - 1].sum()) - rounding, 0.0)


def _one_by_one(
    members: list[FloatArray], clusters: int, tolerance: float, deadline: Deadline
) -> Iterator[tuple[int, float]]:
    for group, part in enumerate(members):
        if deadline.passed:
            return
        share = max(
            0.95 * deadline.left / (len(members) - group), _LEAST_S
        )  # what easy groups leave helps the later ones
        yield group, _bounded(_Task(part, clusters, tolerance, min(share, deadline.left)))


def _side_by_side(
    members: list[FloatArray], clusters: int, tolerance: float, deadline: Deadline, processes: int
) -> Iterator[tuple[int, float]]:
    from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
    from multiprocessing import get_context

    waiting = list(range(len(members)))
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn"), initializer=_single_threaded) as pool:
        running: dict[Future[float], int] = {}
        while waiting or running:
            while waiting and len(running) < processes and not deadline.passed:
                group = waiting.pop(0)
                share = max(0.95 * deadline.left * processes / (len(waiting) + len(running) + 1), _LEAST_S)
                task = _Task(members[group], clusters, tolerance, min(share, deadline.left))
                running[pool.submit(_bounded, task)] = group
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                yield running.pop(future), future.result()


def _single_threaded() -> None:
    from threadpoolctl import threadpool_limits

    threadpool_limits(1)
