"""Candidates of a cluster where the bounds on device steps bind, so that x_n and y_n do not separate.

For each X, user n is worth val_n(y) = max over x <= X with x + y within the served range of w1 Q_n(x) + d_n (x + y);
the cluster's best for each sum of y is the (max,+) convolution of its users' val_n. Exact, O(X N W) a cluster.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hisopt.arrays import FloatArray, IntArray

if TYPE_CHECKING:
    from hisopt.solvers.step_tables import Members


def candidates(members: Members) -> tuple[IntArray, IntArray, FloatArray, IntArray]:
    """Return cluster, W, G + e W and X of every candidate: for each W the best X, infeasible W left out."""
    found: list[tuple[IntArray, IntArray, FloatArray, IntArray]] = []
    for cluster in range(members.count):
        values = _values(members, np.flatnonzero(members.labels == cluster))
        length = members.limits.common_max + members.limits.edge_max * values.shape[1] + 1
        best = np.full(length, -np.inf)
        best_common = np.zeros(length, dtype=np.int64)
        for common in range(len(values)):
            total = _convolve(values[common])[-1]
            work = common + members.limits.edge_min * values.shape[1] + np.arange(len(total))
            better = total > best[work]
            best[work[better]] = total[better]
            best_common[work[better]] = common
        work = np.flatnonzero(np.isfinite(best))
        found.append((np.full(len(work), cluster), work, best[work], best_common[work]))
    return tuple(np.concatenate(column) for column in zip(*found, strict=True))  # type: ignore[return-value]


def rebuild(members: Members, common_max: IntArray, work: IntArray) -> tuple[IntArray, IntArray]:
    """Return x_n and y_n that attain each cluster's candidate (X_m, W_m)."""
    limits = members.limits
    common = np.zeros(len(members.labels), dtype=np.int64)
    edge = np.zeros_like(common)
    for cluster in range(members.count):
        users = np.flatnonzero(members.labels == cluster)
        if not len(users):
            continue
        top = int(common_max[cluster])
        value = _values(members, users)[top]
        stages = _convolve(value)
        left = int(work[cluster]) - top - limits.edge_min * len(users)
        for i in range(len(users) - 1, -1, -1):
            extra = np.arange(min(value.shape[1] - 1, left) + 1)
            extra = extra[left - extra < len(stages[i])]
            pick = int(extra[np.argmax(stages[i][left - extra] + value[i, extra])])
            edge[users[i]] = limits.edge_min + pick
            left -= pick
        part = _common_value(members, users)[:, : top + 1]
        served = np.arange(top + 1)[None, :] + edge[users][:, None]
        part[(served < limits.served_min) | (served > limits.served_max)] = -np.inf
        common[users] = part.argmax(axis=1)
    return common, edge


def _common_value(members: Members, users: IntArray) -> FloatArray:
    chosen = type(members)(
        members.instance, members.labels[users], members.count, members.similarity[users], members.saved[users]
    )
    return chosen.common_value(slice(None))


def _values(members: Members, users: IntArray) -> FloatArray:
    """val_n(y | X) for y = y_min .. y_max, -inf where no x fits; shape (x_max + 1, users, y_max - y_min + 1)."""
    limits = members.limits
    edge = np.arange(limits.edge_min, limits.edge_max + 1)
    common = np.arange(limits.common_max + 1)
    value = _common_value(members, users)[:, :, None] + members.saved[users][:, None, None] * edge
    served = common[:, None] + edge[None, :]
    value[:, (served < limits.served_min) | (served > limits.served_max)] = -np.inf
    return np.asarray(np.maximum.accumulate(value, axis=1).swapaxes(0, 1))


def _convolve(value: FloatArray) -> list[FloatArray]:
    """(max,+) prefix convolutions of the rows: stage i holds the best of the first i rows for each sum of indices."""
    stages = [np.zeros(1)]
    for row in value:
        last = stages[-1]
        total = np.full(len(last) + len(row) - 1, -np.inf)
        for shift, worth in enumerate(row):
            part = total[shift : shift + len(last)]
            np.maximum(part, last + worth, out=part)
        stages.append(total)
    return stages
