"""A genetic search over centres, as HG-means (Gribel and Vidal, 2019): the heuristic for the sum of squares.

Two partitions of a small population are crossed by matching their centres (an assignment problem) and keeping one of each
matched pair; one centre then goes and comes back at an item drawn by its distance, which merges two clusters and splits
a third; k-means and relocations make the child a local optimum. With limits on sizes or pairs, an integer program takes
the place of k-means' assignment, and swaps join the relocations.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hisopt.solvers.clustering.sum_of_squares.assignment import assign
from hisopt.solvers.clustering.sum_of_squares.local_search import centres_of, lloyd, nearest, polish

if TYPE_CHECKING:
    from collections.abc import Callable

    from hisopt.arrays import FloatArray, IntArray
    from hisopt.solvers.base import Deadline
    from hisopt.solvers.clustering.sum_of_squares.items import Items

_POPULATION = 10
_SAME = 1e-9  # relative difference of sums of squares below which two partitions count as one
_CONSTRAINED_ROUNDS = 30


def hybrid(
    items: Items, seed: int = 0, generations: int = 300, patience: int = 100, deadline: Deadline | None = None,
    tell: Callable[[IntArray], None] | None = None,
) -> IntArray | None:  # fmt: skip
    """Return the best labels (n,) found, None where time ran out before any were; ends ``patience`` children without gain.

    ``tell`` is called with every better one.
    Raises `hisopt.solvers.clustering.sum_of_squares.items.Impossible` where limits and pairs exclude every partition.
    """
    rng, count = np.random.default_rng(seed), items.clusters
    if count == 1 or count >= len(items):
        only = np.zeros(len(items), dtype=np.int64) if count == 1 else np.arange(len(items))
        if items.allowed(only):
            return only
    found: list[tuple[float, IntArray]] = []
    size, idle = _POPULATION if items.plain else 4, 0
    for child in range(size + generations):
        if found and (idle >= patience or (deadline is not None and deadline.passed)):
            break
        if len(found) < 2 or child < size:
            centres = spread(items, count, rng)
        else:
            first, second = (found[int(rng.integers(len(found)))][1] for _ in range(2))
            centres = _mutated(items, _crossed(items, first, second, rng), rng)
        labels = improved(items, centres, deadline)
        if labels is None:
            return found[0][1] if found else None
        squares = items.squares(labels)
        if tell is not None and (not found or squares < found[0][0]):
            tell(labels)
        idle = 0 if not found or squares < found[0][0] * (1 - _SAME) else idle + 1
        if all(abs(squares - other) > _SAME * squares for other, _ in found):
            found = sorted([*found, (squares, labels)], key=lambda each: each[0])[:_POPULATION]
    return found[0][1] if found else None


def improved(items: Items, centres: FloatArray, deadline: Deadline | None = None) -> IntArray | None:
    """Return a local optimum (n,) from some centres (k, d) that meets limits and pairs; None if time ran out."""
    count = len(centres)
    if items.plain:
        return polish(items, lloyd(items, centres, deadline), count, deadline)
    labels = constrained_lloyd(items, centres, deadline)
    if labels is None or (deadline is not None and deadline.passed):
        return labels
    return polish(items, labels, count, deadline)


def constrained_lloyd(items: Items, centres: FloatArray, deadline: Deadline | None = None) -> IntArray | None:
    """Return labels (n,) at which k-means stops whose assignment meets limits and pairs; None if time ran out first."""
    count = len(centres)
    labels: IntArray | None = None
    for _ in range(_CONSTRAINED_ROUNDS):
        new = assign(items, centres, 60.0 if deadline is None else max(deadline.left, 0.1))
        if new is None or (labels is not None and items.squares(new) >= items.squares(labels) * (1 - 1e-9)):
            break
        labels = new
        sums, weights = centres_of(items, labels, count)
        centres = np.where(weights[:, None] > 0, sums / np.maximum(weights, 1e-300)[:, None], centres)
        if deadline is not None and deadline.passed:
            break
    return labels


def spread(items: Items, count: int, rng: np.random.Generator) -> FloatArray:
    """Return k-means++'s centres (count, d): items drawn by weight and squared distance to those drawn before."""
    chosen = [int(rng.choice(len(items), p=items.weights / items.weights.sum()))]
    squares = np.square(items.points - items.points[chosen[0]]).sum(axis=1)
    while len(chosen) < count:
        share = items.weights * squares
        chosen.append(_drawn(share, rng))
        squares = np.minimum(squares, np.square(items.points - items.points[chosen[-1]]).sum(axis=1))
    return items.points[chosen].copy()


def _drawn(share: FloatArray, rng: np.random.Generator) -> int:
    total = float(share.sum())
    return int(rng.choice(len(share), p=share / total)) if total > 0 else int(rng.integers(len(share)))


def _crossed(items: Items, first: IntArray, second: IntArray, rng: np.random.Generator) -> FloatArray:
    from scipy.optimize import linear_sum_assignment

    centres = []
    for labels in (first, second):
        sums, weights = centres_of(items, labels, items.clusters)
        centres.append(np.where(weights[:, None] > 0, sums / np.maximum(weights, 1e-300)[:, None], 0.0))
    distance = np.square(centres[0][:, None, :] - centres[1][None, :, :]).sum(axis=2)
    match = linear_sum_assignment(distance)[1]
    keep = rng.uniform(size=(items.clusters, 1)) < 0.5
    return np.where(keep, centres[0], centres[1][match])


def _mutated(items: Items, centres: FloatArray, rng: np.random.Generator) -> FloatArray:
    gone = int(rng.integers(len(centres)))
    squares = nearest(items, np.delete(centres, gone, axis=0))[1] if len(centres) > 1 else np.ones(len(items))
    centres = centres.copy()
    centres[gone] = items.points[_drawn(items.weights * squares, rng)]
    return centres
