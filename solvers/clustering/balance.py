"""Partitions brought within the limits on cluster sizes, and improved by moves and swaps that keep them there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hisopt.equations import cluster_sizes
from hisopt.solvers.clustering.moves import cluster_values, gains, promising, swap_best

if TYPE_CHECKING:
    from hisopt.arrays import FloatArray, IntArray
    from hisopt.solvers.base import Deadline

_GAIN = 1e-9  # least gain of a move within the limits


def balance(
    embeddings: FloatArray, labels: IntArray, criterion: str, count: int, least: int, most: int,
    deadline: Deadline | None = None,
) -> IntArray:  # fmt: skip
    """Return labels (N,) of at most ``count`` clusters of ``least`` to ``most`` users, where moves and swaps find them.

    Best move first: fewer users over or under the limits, then a better criterion. Ends always: a move takes users over
    or under the limits away, or the criterion gains (`hisopt.solvers.clustering.moves.gains`).
    """
    users = len(labels)
    if least == 1 and most >= users:
        return labels
    count = min(count, max(users // least, 1))
    labels = np.minimum(labels, count - 1)
    gram = embeddings @ embeddings.T
    own, rows = np.diag(gram), np.arange(users)
    while deadline is None or not deadline.passed:
        member = (labels[:, None] == np.arange(count)).astype(np.float64)
        dots = gram @ member
        squared = np.einsum("nm,nm->m", dots, member)
        sizes = cluster_sizes(labels, count).astype(np.float64)
        now = cluster_values(criterion, squared, sizes)
        left = squared[labels] - 2 * dots[rows, labels] + own
        leave = cluster_values(criterion, left, sizes[labels] - 1) - now[labels]
        enter = cluster_values(criterion, squared + 2 * dots + own[:, None], sizes + 1) - now
        change = leave[:, None] + enter
        excess = np.maximum(sizes - most, 0) + np.maximum(least - sizes, 0)
        fewer = np.maximum(sizes - 1 - most, 0) + np.maximum(least - sizes + 1, 0) - excess
        more = np.maximum(sizes + 1 - most, 0) + np.maximum(least - sizes - 1, 0) - excess
        worse = fewer[labels][:, None] + more[None, :]
        change[rows, labels] = -np.inf
        if (worse < 0).any():
            user, target = divmod(int(np.argmax(np.where(worse < 0, change, -np.inf))), count)
            labels[user] = target
            continue
        allowed = np.where(worse == 0, change, -np.inf)
        if not any(
            gains(embeddings, labels, [n], [m], criterion, _GAIN) for n, m in promising(allowed, _GAIN)
        ) and not swap_best(embeddings, labels, criterion, squared, sizes, dots, own, now, gram):
            break
    return labels


def packed(embeddings: FloatArray, seed: int, count: int, least: int, most: int) -> IntArray:
    """Return labels (N,) of clusters as large as the limits allow, one after the other, each grown around a random user.

    ``sum`` favours unequal sizes, which single moves from equal ones do not reach.
    """
    rng, left = np.random.default_rng(seed), np.ones(len(embeddings), dtype=bool)
    labels = np.zeros(len(embeddings), dtype=np.int64)
    for cluster in range(count):
        remaining = int(left.sum())
        if not remaining:
            break
        size = min(most, max(remaining - least * (count - 1 - cluster), least), remaining)
        total = np.zeros(embeddings.shape[1])
        worth = np.where(left, rng.uniform(size=len(left)), -np.inf)
        for _ in range(size):
            user = int(np.argmax(worth))
            left[user], labels[user] = False, cluster
            total += embeddings[user]
            worth = np.where(left, embeddings @ total, -np.inf)
    return labels
