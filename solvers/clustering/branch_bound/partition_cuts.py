"""Cuts that hold for the matrix of every partition, and the search for those that a matrix violates.

For a cluster's 0-1 vector x and disjoint sets S, T of users, (x(S) - x(T)) (x(S) - x(T) + 1) >= 0 because x is whole.
Expanded, divided by two and by the cluster's size, and summed over the clusters, with Z_ij = 1 / size where i and j are
together and 0 elsewhere:

    sum_{i in S, j in T} Z_ij  <=  sum_{i in S} Z_ii + sum_{i < i' in S} Z_ii' + sum_{j < j' in T} Z_jj'.

For 0-1 matrices these are the 2-partition inequalities of Groetschel and Wakabayashi (1990). |S| = 1, |T| = 2 are the
triangle inequalities of Peng and Wei (2007), |S| = |T| = 1 the pair inequalities Z_ij <= Z_ii.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hisopt.solvers.clustering.branch_bound.spectral_relaxation import Cuts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hisopt.arrays import FloatArray, IntArray

_STEPS = 8  # users that a pair grows by
_STARTS = 8000  # pairs that grow, the least decided first
_CHUNK = 1 << 21  # entries of an array while they do


def separate(own: FloatArray, tolerance: float, most: int, *, frugal: bool = False) -> Cuts:
    """Return cuts that a matrix (n, n) violates by more than ``tolerance``: ``most`` of each sort, the most violated first.

    With ``frugal``, 2-partition cuts of more than three users, which take longest to find, only where triangles are few.
    """
    simple = _pairs(own, tolerance).join(_triangles(own, tolerance, most))
    if frugal and len(simple) > len(own):
        return simple
    return simple.join(_two_partition(own, tolerance, most))


def cliques(own: FloatArray, clusters: int, tolerance: float, most: int) -> Cuts:
    """Return cuts that a 0-1 matrix' relaxation violates: of any M + 1 users two are together, so their pairs sum to 1 or more.

    (Chopra and Rao, 1993.) Every pair grows by the user who adds least, so some violated cuts may be missed.
    """
    size = len(own)
    if size <= clusters:
        return Cuts.none()
    first, second = np.triu_indices(size, 1)
    rows = np.arange(len(first))
    chosen = np.zeros((len(rows), clusters + 1), dtype=np.int64)
    chosen[:, 0], chosen[:, 1] = first, second
    total, near = own[first, second].copy(), own[first] + own[second]
    near[rows, first] = near[rows, second] = np.inf
    for k in range(2, clusters + 1):
        user = near.argmin(axis=1)
        total += near[rows, user]
        chosen[:, k] = user
        near += own[user]
        near[rows, user] = np.inf
    found = np.unique(np.sort(chosen[total < 1 - tolerance], axis=1), axis=0)
    a, b = np.triu_indices(clusters + 1, 1)
    sums = own[found[:, a], found[:, b]].sum(axis=1)
    found = found[np.argsort(sums, kind="stable")[:most]]
    count, pairs = len(found), len(a)
    return Cuts(
        np.repeat(np.arange(count), pairs),
        found[:, a].ravel(),
        found[:, b].ravel(),
        np.ones(count * pairs),
        np.ones(count),
    )


def cuts_of(side: IntArray) -> Cuts:
    """Return the cuts <.,Z> >= 0 of the rows of ``side`` (k, n), 1 in S, -1 in T and 0 elsewhere."""
    entries = [np.zeros((4, 0), dtype=np.int64)]
    for k, row in enumerate(side):
        users = np.flatnonzero(row)
        a, b = np.tril_indices(len(users))
        a, b = users[a], users[b]
        kept = (a != b) | (row[a] > 0)
        entries.append(np.stack([np.full(len(a), k), a, b, row[a] * row[b]])[:, kept])
    index, left, right, sign = np.concatenate(entries, axis=1)
    return Cuts(index, left, right, sign.astype(np.float64), np.zeros(len(side)))


def _pairs(own: FloatArray, tolerance: float) -> Cuts:
    i, j = np.nonzero(own - np.diag(own)[:, None] > tolerance)
    count = len(i)
    sign = np.concatenate([np.ones(count), -np.ones(count)])
    return Cuts(
        np.tile(np.arange(count), 2), np.tile(i, 2), np.concatenate([i, j]), sign, np.zeros(count)
    )  # fmt: skip


def _triangles(own: FloatArray, tolerance: float, most: int) -> Cuts:
    diagonal = np.diag(own)
    found: list[FloatArray] = []
    for i in range(len(own)):
        near = np.flatnonzero(own[i] > tolerance)  # without both of these, a pair is violated already
        near = near[near != i]
        excess = own[i, near][:, None] + own[i, near][None, :] - diagonal[i] - own[np.ix_(near, near)]
        j, k = np.nonzero(np.triu(excess, 1) > tolerance)
        found.append(np.stack([np.full(len(j), i), near[j], near[k], excess[j, k]], axis=1))
    triangles = np.concatenate(found)
    triangles = triangles[np.argsort(-triangles[:, 3], kind="stable")[:most]]
    i, j, k = triangles[:, :3].astype(np.int64).T
    sign = np.repeat([1.0, 1.0, -1.0, -1.0], len(i))
    row, column = np.concatenate([i, j, i, i]), np.concatenate([i, k, j, k])
    return Cuts(np.tile(np.arange(len(i)), 4), row, column, sign, np.zeros(len(i)))


def _two_partition(own: FloatArray, tolerance: float, most: int) -> Cuts:
    """Grow S = {i}, T = {j} by the user who adds most to the violation, from the pairs that are least decided."""
    own = own.astype(np.float32)  # cuts hold whatever leads to them
    size, diagonal = len(own), np.diag(own)
    undecided = np.minimum(own, diagonal[:, None] - own)
    np.fill_diagonal(undecided, 0.0)
    first, second = np.nonzero(undecided > tolerance)
    starts = np.argsort(-undecided[first, second], kind="stable")[:_STARTS]
    first, second = first[starts], second[starts]
    found, violation = [np.zeros((0, size), dtype=np.int8)], [np.zeros(0)]
    for begin in range(0, len(first), max(_CHUNK // size, 1)):
        part = slice(begin, begin + max(_CHUNK // size, 1))
        side, excess = _grow(own, diagonal, first[part], second[part])
        new = (excess > tolerance) & ((side != 0).sum(axis=1) > 3)
        found.append(side[new])
        violation.append(excess[new])
    sides, excess = np.concatenate(found), np.concatenate(violation)
    order = np.argsort(-excess, kind="stable")
    _, once = np.unique(sides[order], axis=0, return_index=True)
    return cuts_of(sides[order][np.sort(once)[:most]].astype(np.int64))


def _grow(
    own: FloatArray, diagonal: FloatArray, first: IntArray, second: IntArray
) -> tuple[NDArray[np.int8], FloatArray]:
    """Return the sides (k, n) that the pairs grow to, and by how much their cuts are violated."""
    rows = np.arange(len(first))
    side = np.zeros((len(first), len(own)), dtype=np.int8)
    side[rows, first], side[rows, second] = 1, -1
    excess = own[first, second] - diagonal[first]
    pull = own[first] - own[second]  # what a user adds on the side T; on the side S, minus that and the diagonal
    for _ in range(_STEPS):
        free = side == 0
        to_second = np.where(free, pull, -1.0)
        to_first = np.where(free, -pull - diagonal, -1.0)
        a, b = to_first.argmax(axis=1), to_second.argmax(axis=1)
        is_first = to_first[rows, a] > to_second[rows, b]
        user = np.where(is_first, a, b)
        gain = np.maximum(to_first[rows, a], to_second[rows, b])
        growing = gain > 1e-9
        if not growing.any():
            break
        sign = np.where(is_first, 1, -1) * growing
        side[rows[growing], user[growing]] = sign[growing]
        excess += np.where(growing, gain, 0.0)
        pull += sign[:, None] * own[user]
    return side, excess
