from __future__ import annotations

import numpy as np
import pytest
from scipy.cluster.hierarchy import fcluster, linkage

from hisopt.solvers.clustering.hac import average_linkage, cut, reciprocal_merges
from hisopt.text.corpus import shipped, unit_rows


def points(users: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(12, 24))
    return unit_rows(centres[rng.integers(0, 12, users)] + 0.7 * rng.normal(size=(users, 24)))


def same_partition(a: np.ndarray, b: np.ndarray) -> bool:
    return len(np.unique(a)) == len(np.unique(b)) == len({*zip(a.tolist(), b.tolist(), strict=True)})


@pytest.mark.parametrize(("users", "seed"), [(2, 0), (3, 1), (50, 2), (400, 3), (2000, 4)])
def test_reciprocal_merges_are_scipys(users: int, seed: int) -> None:
    embeddings = points(users, seed)
    first, second, similarity = reciprocal_merges(embeddings)
    upper = np.triu_indices(users, k=1)
    merges = linkage(np.maximum(1 - (embeddings @ embeddings.T)[upper], 0), method="average")
    np.testing.assert_allclose(np.sort(1 - similarity), merges[:, 2], atol=1e-10)
    for count in {1, 2, users // 3 + 1, users}:
        assert same_partition(cut(first, second, similarity, count), fcluster(merges, count, criterion="maxclust"))


def test_shipped_prompts_by_both_ways() -> None:
    embeddings = shipped().embeddings
    first, second, similarity = reciprocal_merges(embeddings)
    assert same_partition(cut(first, second, similarity, 12), average_linkage(embeddings, 12))


def test_ties_and_duplicates_end() -> None:
    embeddings = np.repeat(points(5, 0), 7, axis=0)
    first, second, similarity = reciprocal_merges(embeddings)
    labels = cut(first, second, similarity, 5)
    assert same_partition(labels, np.repeat(np.arange(5), 7))
    assert len(similarity) == 34


@pytest.mark.parametrize("seed", range(20))
def test_exactly_n_minus_m_merges_with_ties_and_duplicates(seed: int) -> None:
    rng = np.random.default_rng(seed)
    users = int(rng.integers(2, 30))
    count = int(rng.integers(1, users + 1))
    signs = rng.choice([-1.0, 1.0], size=(users, 1)) if seed % 2 else 1.0
    embeddings = np.eye(4)[rng.integers(0, 4, users)] * signs
    assert sorted(set(average_linkage(embeddings, count).tolist())) == list(range(count))
    assert len(set(cut(*reciprocal_merges(embeddings), count).tolist())) == count


def test_ties_go_to_the_first_users() -> None:
    assert average_linkage(np.eye(6), 3).tolist() == [0, 0, 0, 0, 1, 2]
    twins = np.repeat(np.eye(3), [4, 1, 1], axis=0)
    noise = unit_rows(twins + 1e-15 * np.random.default_rng(0).normal(size=twins.shape))
    for embeddings in (twins, noise):  # rounding does not decide
        assert same_partition(average_linkage(embeddings, 4), np.array([0, 0, 0, 1, 2, 3]))


@pytest.mark.parametrize("seed", range(10))
def test_labels_are_those_of_scipy_where_nothing_ties(seed: int) -> None:
    embeddings = points(60, seed)
    upper = np.triu_indices(60, k=1)
    merges = linkage(np.maximum(1 - (embeddings @ embeddings.T)[upper], 0), method="average")
    for count in (1, 2, 7, 59):
        np.testing.assert_array_equal(
            average_linkage(embeddings, count), fcluster(merges, count, criterion="maxclust") - 1
        )


def test_neighbours_by_torch_are_the_same() -> None:
    pytest.importorskip("torch", reason="the extra 'learn' brings torch")
    embeddings = points(300, 5)
    for ours, theirs in zip(reciprocal_merges(embeddings), reciprocal_merges(embeddings, device="cpu"), strict=True):
        np.testing.assert_allclose(ours, theirs)


def test_beyond_the_matrix_the_labels_are_complete() -> None:
    labels = average_linkage(points(2500, 6), 12)
    assert sorted(np.unique(labels)) == list(range(12))
