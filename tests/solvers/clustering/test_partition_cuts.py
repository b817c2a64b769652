"""Two-partition cuts hold for every partition, and the search finds violated ones."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import pytest

from hisopt.solvers.clustering.branch_bound.merged_users import Warm, Weighted
from hisopt.solvers.clustering.branch_bound.partition_cuts import cliques, cuts_of, separate
from hisopt.solvers.clustering.branch_bound.size_limits import Sizes
from hisopt.solvers.clustering.branch_bound.spectral_relaxation import Cuts

if TYPE_CHECKING:
    from hisopt.arrays import FloatArray


def matrices(size: int, weighted: bool) -> list[FloatArray]:
    """The matrices of all partitions of that many users, with entries 1 / cluster size or 1."""
    found = []
    for labels in product(range(size), repeat=size):
        if all(label <= max(labels[:i], default=-1) + 1 for i, label in enumerate(labels)):
            same = np.equal.outer(labels, labels).astype(float)
            found.append(same / same.sum(axis=1) if weighted else same)
    return found


@pytest.mark.parametrize("weighted", [True, False])
def test_every_cut_holds_for_every_partition(weighted: bool) -> None:
    sides = np.array(list(product((-1, 0, 1), repeat=5)))
    cuts = cuts_of(sides)
    partitions = matrices(5, weighted)
    assert len(partitions) == 52
    tight = np.zeros(len(sides), dtype=bool)
    for matrix in partitions:
        slack = cuts.slack(matrix)
        assert slack.min() >= -1e-12
        tight |= slack < 1e-12
    assert tight[sides.sum(axis=1) <= 0].all()  # with |S| <= |T| none could be stronger


def test_clique_cuts_hold_for_every_partition_into_few_clusters() -> None:
    cuts = cliques(np.zeros((5, 5)), 3, 1e-6, 100)
    assert 1 <= len(cuts) <= 5
    rng = np.random.default_rng(0)
    for _ in range(20):
        noise = rng.uniform(size=(5, 5)) / 10
        cuts = cuts.join(cliques(noise + noise.T, 3, 1e-6, 100))
    for matrix in matrices(5, weighted=False):
        few = np.linalg.matrix_rank(matrix) <= 3
        assert cuts.slack(matrix).min() >= (0 if few else -1)
    assert cuts.slack(np.eye(5)).min() == -1  # five clusters
    assert not len(cliques(np.zeros((3, 3)), 3, 1e-6, 100))


def test_a_cut_is_the_inequality_of_its_docstring() -> None:
    rng = np.random.default_rng(0)
    matrix = rng.uniform(size=(6, 6))
    matrix = matrix + matrix.T
    s, t = [0, 3], [1, 2, 5]
    side = np.zeros((1, 6), dtype=np.int64)
    side[0, s], side[0, t] = 1, -1
    expected = sum(matrix[i, i] for i in s) + matrix[0, 3] + matrix[1, 2] + matrix[1, 5] + matrix[2, 5]
    expected -= sum(matrix[i, j] for i in s for j in t)
    assert cuts_of(side).slack(matrix)[0] == pytest.approx(expected)


def test_the_search_finds_a_cut_beyond_triangles() -> None:
    matrix = np.full((4, 4), 0.0)  # user 0 a third with each of three users who are never together
    matrix[0, 1:] = matrix[1:, 0] = 0.4
    np.fill_diagonal(matrix, 1.0)
    found = separate(matrix, 1e-6, 10)
    assert found.slack(matrix).min() == pytest.approx(1 - 3 * 0.4)
    assert len(found) == 1


@pytest.mark.parametrize("seed", range(5))
def test_all_cuts_found_are_violated_and_hold(seed: int) -> None:
    rng = np.random.default_rng(seed)
    own = rng.uniform(size=(5, 5))
    own = own + own.T
    np.fill_diagonal(own, 1.5)
    found = separate(own, 1e-3, 50)
    assert len(found)
    assert (found.slack(own) < -1e-3).all()
    for matrix in matrices(5, weighted=True):
        assert found.slack(matrix).min() >= -1e-12


def test_merged_cuts_and_multipliers_keep_their_meaning() -> None:
    rng = np.random.default_rng(0)
    sides = rng.integers(-1, 2, size=(20, 5))
    multiplier = rng.normal(size=(5, 5))
    warm = Warm(np.eye(5), multiplier + multiplier.T, 1.0, cuts_of(sides), np.ones(20), rng.uniform(size=(2, 5)),
                rng.uniform(size=2))  # fmt: skip
    merged = warm.merge(1, 3, np.ones(5))
    nodes, sizes = Weighted.of(np.eye(5)), Sizes.of(5, 3, 1, 5)
    always, fewer = sizes.cuts(np.ones(5)), sizes.cuts(nodes.merge(1, 3).weights)
    assert isinstance(merged.cuts, Cuts)
    for matrix in matrices(5, weighted=True):
        if matrix[1, 3] > 0:  # together: rows 1 and 3 are equal
            small = np.delete(np.delete(matrix, 3, axis=0), 3, axis=1)
            np.testing.assert_allclose(merged.cuts.slack(small), warm.cuts.slack(matrix), atol=1e-12)
            before = np.concatenate([warm.size_multipliers.ravel(), warm.whole_multipliers])
            after = np.concatenate([merged.size_multipliers.ravel(), merged.whole_multipliers])
            together = (matrix > 0).astype(float)
            few = np.delete(np.delete(together, 3, axis=0), 3, axis=1)
            assert after @ (fewer.slack(few) + fewer.side) == pytest.approx(
                before @ (always.slack(together) + always.side)
            )
            assert (merged.multiplier * small).sum() == pytest.approx((warm.multiplier * matrix).sum())


def test_frugal_search_stops_at_many_triangles_alone() -> None:
    """Where triangles and pairs outnumber the users, these are all that is returned; where they do not, it is everything."""
    many = np.full((12, 12), 0.05)
    many[0], many[:, 0] = 0.6, 0.6  # one user near to all, who are far from each other
    np.fill_diagonal(many, 0.7)
    everything, few = separate(many, 1e-6, 100), separate(many, 1e-6, 100, frugal=True)
    assert len(few) > 12 and len(everything) > len(few)
    users_of_a_cut = np.bincount(few.index, minlength=len(few))
    assert users_of_a_cut.max() <= 4  # of a triangle four entries count, of a pair two
    rng = np.random.default_rng(4)
    points = rng.normal(size=(9, 2))
    near = np.exp(-np.square(points[:, None] - points[None]).sum(axis=2)) / 4
    assert len(separate(near, 1e-6, 100)) == len(separate(near, 1e-6, 100, frugal=True))
