"""Steps that improve a partition by a criterion: users relocated and swapped, each gain counted from the members alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hisopt.equations import cluster_sizes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hisopt.arrays import FloatArray, IntArray
    from hisopt.solvers.base import Deadline

_GAIN = 1e-12  # least gain of a step, relative to the criterion and at least absolute
_TRIES = 8  # promising steps whose gain is computed afresh before a neighbourhood is given up
_STEPS_PER_USER = 100  # of relocation and swap; more than any start needs
MATRIX_UP_TO = 3000  # users for whom pairs are compared for swaps


def cluster_values(criterion: str, squared: FloatArray, sizes: FloatArray) -> FloatArray:
    """Value of clusters from |s_m|^2 and |N_m|, elementwise; empty ones are worth 0."""
    squared = np.maximum(squared, 0.0)
    if criterion == "sum":
        return squared
    if criterion == "mean":
        return squared / np.maximum(sizes, 1)
    return np.sqrt(squared)


def cluster_sums(embeddings: FloatArray, labels: IntArray, count: int) -> tuple[FloatArray, FloatArray]:
    """Return s_m of shape (M, d) and |N_m| of shape (M,)."""
    sizes = cluster_sizes(labels, count)
    used = np.flatnonzero(sizes)
    sums = np.zeros((count, embeddings.shape[1]))
    starts = np.cumsum(sizes)[used] - sizes[used]
    sums[used] = np.add.reduceat(embeddings[np.argsort(labels, kind="stable")], starts, axis=0)
    return sums, sizes.astype(np.float64)


def worth(embeddings: FloatArray, labels: IntArray, pair: tuple[int, int], criterion: str) -> float:
    """Value of two clusters from their members' own sums: the same number whenever they have the same members."""
    total = 0.0
    for cluster in pair:
        members = embeddings[labels == cluster]
        total += float(cluster_values(criterion, np.square(members.sum(axis=0)).sum(), np.asarray(float(len(members)))))
    return total


def gains(
    embeddings: FloatArray, labels: IntArray, users: list[int], targets: list[int], criterion: str, least: float
) -> bool:
    """Move users to clusters (two are touched) if the criterion truly grows by more than ``least``; whether it did.

    What differences of squares promise can be noise: |s| of a cluster whose sum nearly vanishes has an error of
    sqrt(1e-16). The gain counted here is a difference of numbers that belong to the clusters' members alone, so that no
    sequence of steps can come back to where it began.
    """
    trial = labels.copy()
    trial[users] = targets
    pair = int(labels[users[0]]), targets[0]
    if not worth(embeddings, trial, pair, criterion) - worth(embeddings, labels, pair, criterion) > least:
        return False
    labels[users] = targets
    return True


def promising(change: FloatArray, least: float) -> Iterator[tuple[int, int]]:
    """Yield the entries of a matrix above ``least``, the largest first, a few at most."""
    flat, width = change.ravel(), change.shape[1]
    first = int(np.argmax(flat))
    if not flat[first] > least:
        return
    yield divmod(first, width)
    some = np.argpartition(-flat, min(_TRIES, len(flat) - 1))[:_TRIES]
    for entry in some[np.argsort(-flat[some], kind="stable")]:
        if entry != first and flat[entry] > least:
            yield divmod(int(entry), width)


def refine(
    embeddings: FloatArray, labels: IntArray, count: int, criterion: str, deadline: Deadline | None = None
) -> IntArray:
    """Relocate and swap users, best improvement first, until a local optimum of both; labels of shape (N,).

    Works with all ``count`` clusters, empty ones included. O(N M) a relocation and O(N^2) a swap. Ends always: every
    step gains (`gains`), and steps are limited to 100 a user.
    """
    labels = labels.copy()
    users = np.arange(len(labels))
    own_square = np.einsum("nd,nd->n", embeddings, embeddings)
    gram = embeddings @ embeddings.T if len(labels) <= MATRIX_UP_TO else None
    for _ in range(_STEPS_PER_USER * len(labels)):
        if deadline is not None and deadline.passed:
            break
        sums, sizes = cluster_sums(embeddings, labels, count)
        squared = np.einsum("md,md->m", sums, sums)
        dots = embeddings @ sums.T
        now = cluster_values(criterion, squared, sizes)
        left = squared[labels] - 2 * dots[users, labels] + own_square
        leave = cluster_values(criterion, left, sizes[labels] - 1) - now[labels]
        enter = cluster_values(criterion, squared + 2 * dots + own_square[:, None], sizes + 1) - now
        change = leave[:, None] + enter
        change[users, labels] = -np.inf
        least = _GAIN * max(1.0, float(np.abs(now).sum()))
        if any(gains(embeddings, labels, [n], [m], criterion, least) for n, m in promising(change, least)):
            continue
        if gram is None or not swap_best(embeddings, labels, criterion, squared, sizes, dots, own_square, now, gram):
            break
    return labels


def swap_best(
    embeddings: FloatArray, labels: IntArray, criterion: str, squared: FloatArray, sizes: FloatArray, dots: FloatArray,
    own_square: FloatArray, now: FloatArray, gram: FloatArray,
) -> bool:  # fmt: skip
    """Swap the pair of users that gains most; False if none gains."""
    own = dots[np.arange(len(labels)), labels]
    cross = dots[:, labels]  # [i, j]: e_i with the sum of j's cluster
    moved = own_square[:, None] + own_square[None, :] - 2 * gram
    after_i = squared[labels][:, None] + 2 * (cross.T - own[:, None]) + moved  # i's cluster with j instead of i
    after = cluster_values(criterion, after_i, sizes[labels][:, None]) - now[labels][:, None]
    change = np.triu(after + after.T, 1)
    change[labels[:, None] == labels[None, :]] = -np.inf
    least = _GAIN * max(1.0, float(np.abs(now).sum()))
    return any(
        gains(embeddings, labels, [i, j], [int(labels[j]), int(labels[i])], criterion, least)
        for i, j in promising(change, least)
    )
