"""How far the members of clusters can exceed a similarity to their public prompts, at most.

Under the rule ``ideal`` phi_n = e_n . u with u the direction of the cluster's sum of embeddings. For any set H of members
sum_H (phi_n - t) <= |sum_H e_n| - t |H|, so the excess sum_n (phi_n - t)_+ of one cluster is at most the largest
|sum_H e_n| - t |H| over all sets H, and that of M clusters together the largest sum over M disjoint sets. By
2 |sum_H e| <= r |H| + |sum_H e|^2 / (r |H|), for any r > 0, both are at most

    max <C, Z>,  C = S / (2 r) + r / 2 - t,  Z = sum over sets of 1_H 1_H' / |H|,

where Z has eigenvalues in [0, 1] and trace at most M, and its row of user i is zero, or 1 / |H| at the members of a set
with i in it. For every matrix R the sum of the M largest positive eigenvalues of C - (R + R') / 2, and the most that R
can be worth row by row, bound that, whatever R is; R comes from the alternating direction method of multipliers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from hisopt.arrays import FloatArray
    from hisopt.solvers.base import Deadline

_STEPS = 150  # of the method, for each r
_EVERY = 25  # steps between bounds
_GAIN = 1e-3  # relative, of a bound over the one before, without which the method ends
_MARGINS = (0.08, 0.13, 0.2)  # r - t; r is best at the mean similarity of the worst set
_ROUNDING = 1e-12  # of a matrix's largest entry and order, for its eigenvalues and its rows' values


@dataclass(frozen=True)
class ExcessBound:
    """A bound on excess, and the r and R, (N, N), that prove it; ``rows`` is None where phi <= 1 alone does."""

    value: float
    r: float = 1.0
    rows: FloatArray | None = None


def largest_excess(similarity: FloatArray, threshold: float, clusters: int, deadline: Deadline) -> ExcessBound:
    """Return a bound on the total excess of ``clusters`` disjoint clusters above ``threshold``, with what proves it.

    ``similarity`` is the Gram matrix S of unit embeddings, (N, N). Past the deadline the bound is weaker, yet holds.
    """
    rows, multiplier = np.zeros(similarity.shape), np.zeros(similarity.shape)
    best = ExcessBound(len(similarity) * max(1.0 - threshold, 0.0))
    for margin in _MARGINS:
        r = threshold + margin
        matrix = similarity / (2 * r) + (r / 2 - threshold)
        unit, last = float(np.abs(matrix).max()), np.inf
        for step in range(_STEPS):
            behind = rows - multiplier
            values, vectors = np.linalg.eigh((behind + behind.T) / 2 + matrix / unit)
            spectral = (vectors * shares(values, clusters)) @ vectors.T
            rows = nearest_rows(spectral + multiplier)
            multiplier = multiplier + spectral - rows
            if step % _EVERY == _EVERY - 1:
                left = matrix - unit * (multiplier + multiplier.T) / 2
                found = _top(left, clusters) + most_by_row(unit * multiplier)
                if found < best.value:
                    best = ExcessBound(found, r, unit * multiplier)
                if deadline.passed:
                    return best
                if found > (1 - _GAIN) * last:
                    break
                last = found
    return best


def _top(matrix: FloatArray, clusters: int) -> float:
    """The sum of the largest eigenvalues, as far as they are positive, rounded up."""
    values = np.linalg.eigvalsh(matrix)
    rounding = _ROUNDING * len(matrix) * float(np.abs(matrix).max())
    return float(np.maximum(values[-clusters:] + rounding, 0.0).sum())


def most_by_row(worth: FloatArray) -> float:
    """The sum over users i of the largest mean of ``worth[i]`` over a set with i in it, or 0, rounded up."""
    means = np.cumsum(_own_first(np.maximum(worth, 0.0), worth), axis=1) / np.arange(1, len(worth) + 1)
    return float(np.maximum(means.max(axis=1), 0.0).sum() + _ROUNDING * len(worth) * np.abs(worth).max())


def _own_first(others: FloatArray, matrix: FloatArray) -> FloatArray:
    """Each row's diagonal entry of a matrix, then the off-diagonal entries of ``others``, decreasing."""
    off = others.copy()
    np.fill_diagonal(off, np.inf)
    ordered = -np.sort(-off, axis=1)
    ordered[:, 0] = np.diag(matrix)
    return np.asarray(ordered)


def nearest_rows(matrix: FloatArray) -> FloatArray:
    """The nearest matrix whose rows have no negative entry, and none above the row's own diagonal entry."""
    count = len(matrix)
    ordered = _own_first(matrix, matrix)
    pooled = np.cumsum(ordered, axis=1) / np.arange(
        1, count + 1
    )  # the diagonal entry if it and s others are made equal
    following = np.column_stack([ordered[:, 1:], np.full(count, -np.inf)])
    pick = (following <= pooled).argmax(axis=1)
    diagonal = np.maximum(pooled[np.arange(count), pick], 0.0)
    nearest = np.clip(matrix, 0.0, diagonal[:, None])
    np.fill_diagonal(nearest, diagonal)
    return nearest


def shares(values: FloatArray, most: int) -> FloatArray:
    """The nearest point with entries in [0, 1] and a sum of at most ``most``."""
    inside = np.clip(values, 0.0, 1.0)
    if inside.sum() <= most:
        return inside
    bends = np.sort(np.concatenate([values, values - 1.0]))  # the sum falls linearly in the shift between them
    sums = np.clip(values - bends[:, None], 0.0, 1.0).sum(axis=1)
    shift = float(np.interp(-most, -sums, bends))
    return np.clip(values - shift, 0.0, 1.0)
