"""How far the members of clusters can exceed a similarity to their public prompts, at most.

Under the rule ``ideal`` phi_n = e_n . u with u the direction of the cluster's sum of embeddings. For any set H of members
sum_H (phi_n - t) <= |sum_H e_n| - t |H|, so the excess sum_n (phi_n - t)_+ of one cluster is at most the largest
|sum_H e_n| - t |H| over all sets H, and that of M clusters together the largest sum over M disjoint sets. By
2 |sum_H e| <= r |H| + |sum_H e|^2 / (r |H|), for any r > 0, both are at most

    max <C, Z>,  C = S / (2 r) + r / 2 - t,  Z = sum over sets of 1_H 1_H' / |H|,

where Z has no negative entry, eigenvalues in [0, 1] and trace at most M. For every matrix Y >= 0 the sum of the M largest
positive eigenvalues of C + Y bounds that, whatever Y is; Y comes from the alternating direction method of multipliers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from hisopt.arrays import FloatArray
    from hisopt.solvers.base import Deadline

_STEPS = 150  # of the method, for each r
_EVERY = 25  # steps between bounds
_MARGINS = (0.08, 0.13, 0.2)  # r - t; r is best at the mean similarity of the worst set
_ROUNDING = 1e-12  # of the matrix's norm, for the eigenvalues


def largest_excess(similarity: FloatArray, threshold: float, clusters: int, deadline: Deadline) -> float:
    """Return a bound on the total excess of ``clusters`` disjoint clusters above ``threshold``.

    ``similarity`` is the Gram matrix S of unit embeddings, (N, N). Past the deadline the bound is weaker, yet holds.
    """
    users = len(similarity)
    lift = np.zeros(similarity.shape)  # Y
    best = users * max(1.0 - threshold, 0.0)
    for margin in _MARGINS:
        r = threshold + margin
        matrix = similarity / (2 * r) + (r / 2 - threshold)
        unit = float(np.abs(matrix).max())
        copy = np.zeros(similarity.shape)
        for step in range(_STEPS):
            values, vectors = np.linalg.eigh(copy + lift + matrix / unit)
            copy = np.maximum(split := (vectors * _shares(values, clusters)) @ vectors.T - lift, 0.0)
            lift = copy - split
            if step % _EVERY == _EVERY - 1:
                best = min(best, _top(matrix + unit * lift, clusters))
                if deadline.passed:
                    return best
    return best


def _top(matrix: FloatArray, clusters: int) -> float:
    """The sum of the largest eigenvalues, as far as they are positive, rounded up."""
    values = np.linalg.eigvalsh(matrix)
    rounding = _ROUNDING * len(matrix) * float(np.abs(matrix).max())
    return float(np.maximum(values[-clusters:] + rounding, 0.0).sum())


def _shares(values: FloatArray, most: int) -> FloatArray:
    """The nearest point with entries in [0, 1] and a sum of at most ``most``."""
    inside = np.clip(values, 0.0, 1.0)
    if inside.sum() <= most:
        return inside
    low, high = float(values.min()) - 1.0, float(values.max())
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if np.clip(values - middle, 0.0, 1.0).sum() > most else (low, middle)
    return np.clip(values - high, 0.0, 1.0)
