"""Both branch and bounds with several processes: the optimum and proof of one, and nothing lost when time is up."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
import pytest

from hisopt import ExactKMeans, Limits
from hisopt.problems import Clustering
from hisopt.solvers.base import Deadline
from hisopt.solvers.clustering.branch_bound import search as pairs
from hisopt.solvers.clustering.sum_of_squares import search as squares
from hisopt.solvers.clustering.sum_of_squares.items import items_of

if TYPE_CHECKING:
    from hisopt.solvers.clustering.best_first import BestFirst


def posed(which: str, time_s: float = 120) -> BestFirst:
    deadline = Deadline(Limits(time_s=time_s))
    if which == "sum of squares":  # a grid, whose many optima take branching
        grid = np.stack(np.meshgrid(np.arange(3.0), np.arange(5.0)), axis=-1).reshape(-1, 2)
        return squares.Search(items_of(grid, 4), deadline, 1e-7, leaf=4)
    rng = np.random.default_rng(1)
    points = rng.normal(size=(13, 4))
    return pairs.Search(Clustering(points / np.linalg.norm(points, axis=1, keepdims=True), 4, "centroid"), deadline)


@pytest.mark.parametrize("which", ["sum of squares", "pairs"])
def test_two_processes_prove_what_one_does(which: str) -> None:
    one, two = posed(which), posed(which)
    two.patience_s = 0.0
    one.run()
    two.run(2)
    assert one.explored >= 3 and two.explored >= 3
    assert one.proven and two.proven
    assert two.best_value == pytest.approx(one.best_value, rel=1e-9)
    assert two.best_value <= two.bound <= two.best_value * (1 + 1e-6)


def test_the_estimator_takes_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    begun = []
    monkeypatch.setattr(squares.Search, "run", lambda self, processes: begun.append(processes))
    for jobs, processes in ((None, 1), (1, 1), (2, 2), (-1, os.cpu_count())):
        ExactKMeans(2, n_jobs=jobs).fit(np.arange(12.0)[:, None])
        assert begun.pop() == processes


class Over(Deadline):
    """Passed once it was looked at so often."""

    def __init__(self, looks: int) -> None:
        super().__init__(Limits(time_s=1e6))
        self.looks = looks

    @property
    def left(self) -> float:
        self.looks -= 1
        return 1e6 if self.looks > 0 else 0.0


def test_nodes_that_time_cuts_off_stay_open() -> None:
    search, optimum = posed("sum of squares"), posed("sum of squares")
    optimum.run()
    while len(search.open) < 2:
        for child in search._process(search._next()):
            search.push(child)
    search.deadline, search.patience_s = Over(6), 0.0
    search.run(2)
    assert not search.proven and not search._running
    assert search.bound >= optimum.best_value - 1e-9


def test_a_process_knows_the_best_partition_and_tells_a_better_one() -> None:
    done, search = posed("sum of squares"), posed("sum of squares")
    done.run()
    search.value, search.labels = -np.inf, None
    (_, _, root), *_ = search.open
    learnt = search.processed(root, done.labels, Deadline(Limits(time_s=60)))
    assert search.value == pytest.approx(done.value) and learnt.labels is None
    assert len(learnt.children) == 2 and all(child.bound <= root.bound for child in learnt.children)
    search.value, search.labels = 0.9 * done.value, np.zeros(15, dtype=int)
    told = search.processed(root, None, Deadline(Limits(time_s=60)))
    assert told.labels is not None and search.items.value(told.labels) > 0.9 * done.value
