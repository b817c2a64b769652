"""Limits on cluster sizes and what a relaxation makes of them: as tight as the definition, against lists of all sizes."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations_with_replacement, product
from typing import TYPE_CHECKING

import numpy as np
import pytest

from hisopt import problems
from hisopt.equations import clustering_value
from hisopt.experiments.campaigns.random_instances import draw_instance
from hisopt.problems import Clustering
from hisopt.result import Limits
from hisopt.solvers.base import Deadline
from hisopt.solvers.clustering.branch_bound import size_limits
from hisopt.solvers.clustering.branch_bound.merged_users import Weighted
from hisopt.solvers.clustering.branch_bound.search import Search
from hisopt.solvers.clustering.branch_bound.size_limits import SizeLimits, Sizes
from hisopt.solvers.clustering.branch_bound.task import Task

if TYPE_CHECKING:
    from hisopt.problems import Criterion


def all_sizes(users: int, clusters: int, least: int, most: int) -> list[tuple[int, ...]]:
    """Every way to fill at most ``clusters`` clusters of ``least`` to ``most`` with all users."""
    return [
        sizes
        for used in range(1, clusters + 1)
        for sizes in combinations_with_replacement(range(least, most + 1), used)
        if sum(sizes) == users
    ]


def points(users: int, clusters: int, least: int, most: int, criterion: Criterion = "mean") -> Clustering:
    given = Clustering.of(draw_instance(np.random.default_rng(users), users, users), criterion)
    return replace(given, clusters=clusters, sizes=problems.Sizes(least, most))


@pytest.mark.parametrize("users", [1, 2, 5, 6, 7])
def test_limits_are_the_sizes_that_occur(users: int) -> None:
    for clusters in range(1, users + 1):
        for least in range(1, users + 1):
            for most in range(least, users + 1):
                found, every = (
                    SizeLimits.of(points(users, clusters, least, most)),
                    all_sizes(users, clusters, least, most),
                )
                assert found.possible == bool(every)
                if every:
                    assert found.least == min(map(min, every))
                    assert found.most == max(map(max, every))
                    assert found.fewest == min(map(len, every))
                    assert found.clusters == max(map(len, every))


@pytest.mark.parametrize("users", [1, 4, 6, 9])
def test_partitions_into_sizes_are_all_and_only_those(users: int) -> None:
    for clusters in range(1, 5):
        for least in range(1, 4):
            for most in range(least, users + 2):
                every = all_sizes(users, clusters, least, most)
                listed = list(size_limits._partitions(users, clusters, least, most))
                assert sorted(listed) == sorted(every)
                if every:
                    assert sorted(Sizes.of(users, clusters, least, most).partitions) == sorted(every)


def test_halves_share_no_sizes() -> None:
    for users, clusters, least, most in ((9, 3, 1, 9), (12, 4, 2, 8), (10, 3, 1, 6)):
        sizes = Sizes.of(users, clusters, least, most)
        low, high = sizes.halves()
        assert sorted(low.partitions + high.partitions) == sorted(sizes.partitions)
        assert max(low.squares) < min(high.squares)
        assert set(low.squares) | set(high.squares) == set(sizes.squares)


def test_relaxations_are_as_tight_as_their_definition() -> None:
    given = points(7, 3, 1, 7)
    task = Task.of(given)
    nodes = Weighted.of(given.similarity_matrix).merge(0, 1).merge(2, 3)
    pair = np.zeros((5, 5), dtype=bool)
    pair[1, 4] = True
    nodes = nodes.separate(pair)
    relaxation, scale, _ = task.relaxation(nodes, Sizes.of(7, 3, 1, 7))
    assert (relaxation.spectral.fixed, relaxation.spectral.total, relaxation.spectral.cap) == (1, 2, 1)
    np.testing.assert_allclose(np.diag(relaxation.lower), nodes.weights / 5)  # of seven users in three clusters
    assert (relaxation.upper[nodes.apart] == 0).all()
    assert (relaxation.upper[~nodes.apart] > 0).all()
    np.testing.assert_allclose(np.diag(relaxation.upper), 1)
    np.testing.assert_allclose(scale, np.sqrt(np.outer(nodes.weights, nodes.weights)))
    given = points(7, 3, 1, 4, "sum")
    task, nodes = (
        Task.of(given),
        Weighted.of(given.similarity_matrix).merge(0, 1).separate(np.zeros((6, 6), dtype=bool)),
    )
    relaxation, _, _ = task.relaxation(nodes, Sizes.of(7, 3, 1, 4))
    assert relaxation.spectral.fixed == pytest.approx(7 / 3)
    assert relaxation.spectral.total == pytest.approx(7 - 7 / 3)
    assert relaxation.spectral.cap == 4
    np.testing.assert_allclose(np.diag(relaxation.lower), nodes.weights)
    assert task.from_relaxation(0.25) == 0.25


def test_the_bound_of_centroid_is_the_root_of_users_times_mean() -> None:
    task = Task.of(points(6, 3, 1, 6, "centroid"))
    for mean, bound in ((0.24, 1.2), (0.0, 0.0), (-1e-9, 0.0), (6.0, 6.0)):
        assert task.from_relaxation(mean) == pytest.approx(bound, abs=1e-15)


@pytest.mark.parametrize(
    ("criterion", "least", "most"), [("sum", 2, 2), ("mean", 2, 2), ("centroid", 1, 3), ("sum", 3, 3), ("mean", 1, 6)]
)
def test_few_users_are_finished_exactly(criterion: Criterion, least: int, most: int) -> None:
    """Also where all clusters are needed, and where no user can be left out."""
    for seed in range(3):
        given = replace(points(6, 3, least, most, criterion), points=np.random.default_rng(seed).normal(size=(6, 3)))
        search = Search(given, Deadline(Limits(time_s=60)))
        search._finish(Weighted.of(given.points @ given.points.T))
        every = [np.array(labels) for labels in product(range(3), repeat=6)]
        worths = [
            clustering_value(criterion, given.points, labels)
            for labels in every
            if all(least <= size <= most for size in np.bincount(labels) if size)
        ]
        assert search.incumbent.value == pytest.approx(max(worths), rel=1e-12)
