"""Prices of users that bound a set partitioning program whose columns are all subsets of the users."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hisopt.solvers.clustering.partitions import membership

if TYPE_CHECKING:
    from hisopt.arrays import FloatArray, IntArray

_ROUNDS = 200  # of pricing
_BATCH = 40  # columns of largest violation that enter a round, beside the worst of each user
_ENOUGH = 1e-9  # relative; violation at which pricing ends
_PENALTY = 10.0  # of the largest value, for a user that no column covers


@dataclass(frozen=True)
class Prices:
    """What any partition into at most M subsets is worth: at most ``bound``, less the ``loss`` of each of its subsets.

    ``loss`` has shape (2^N,), inf for sets that are not allowed and the price of an unused cluster for the empty set;
    ``load`` is the mean total load of the relaxation's solution.
    """

    bound: float
    loss: FloatArray
    load: float


class PriceProgram:
    """max sum v(A) x_A over subsets A: each user covered once, at most M subsets; columns enter as they are needed."""

    def __init__(self, users: int, clusters: int, columns: IntArray) -> None:
        import highspy

        self._users, self._clusters = users, clusters
        self._columns = np.zeros(0, dtype=np.int64)
        self._known: set[int] = set()
        self._rows = membership(users).astype(bool)
        self._highs = highspy.Highs()
        self._highs.silent()
        self._highs.setOptionValue("threads", 1)
        self._highs.changeObjectiveSense(highspy.ObjSense.kMaximize)
        for _ in range(users):
            self._highs.addRow(1.0, 1.0, 0, np.zeros(0, dtype=np.int32), np.zeros(0))
        self._highs.addRow(-highspy.kHighsInf, float(clusters), 0, np.zeros(0, dtype=np.int32), np.zeros(0))
        self._inf = highspy.kHighsInf
        for user in range(users):
            self._highs.addCol(0.0, 0.0, self._inf, 1, np.array([user], dtype=np.int32), np.ones(1))
        self._add(columns, np.zeros(len(columns)))

    def _add(self, columns: IntArray, cost: FloatArray) -> None:
        for column, value in zip(columns.tolist(), cost.tolist(), strict=True):
            if column in self._known:
                continue
            self._known.add(column)
            rows = np.append(np.flatnonzero(self._rows[column]), self._users).astype(np.int32)
            self._highs.addCol(value, 0.0, self._inf, len(rows), rows, np.ones(len(rows)))
            self._columns = np.append(self._columns, column)

    def solve(self, value: FloatArray, load: FloatArray) -> Prices:
        """Return prices for the values of all sets, shape (2^N,), -inf where a set is not allowed, 0 for the empty one.

        Whatever accuracy the linear program has, the bound holds: the price of a cluster is raised to the largest
        value that the users' prices leave.
        """
        finite = value[np.isfinite(value)]
        unit = float(np.abs(finite).max()) or 1.0
        scaled = value / unit
        users, first = self._users, self._users
        indices = np.arange(users + len(self._columns), dtype=np.int32)
        costs = np.concatenate([np.full(users, -_PENALTY), np.maximum(scaled[self._columns], -_PENALTY)])
        self._highs.changeColsCost(len(indices), indices, costs)
        best: tuple[float, FloatArray, float] | None = None
        mean = 0.0
        for _ in range(_ROUNDS):
            self._highs.run()
            solution = self._highs.getSolution()
            dual = np.asarray(solution.row_dual)
            priced = _sums(dual[:users])
            left = scaled - priced
            left[0] = -np.inf
            cluster = max(float(left.max()), 0.0)
            bound = float(dual[:users].sum()) + self._clusters * cluster
            if best is None or bound < best[0]:
                best = bound, left, cluster
            share = np.asarray(solution.col_value)[first:]
            mean = float(share @ load[self._columns])
            violation = left - max(float(dual[users]), 0.0)
            if violation.max() <= _ENOUGH:
                break
            new = self._worst(violation)
            if not len(new):
                break
            self._add(new, scaled[new])
        assert best is not None
        bound, left, cluster = best
        loss = (cluster - left) * unit
        loss[0] = cluster * unit
        return Prices(bound * unit, loss, mean)

    def _worst(self, violation: FloatArray) -> IntArray:
        """The most violated columns over all, and of each user, that are not in the program yet."""
        some = np.argpartition(violation, -min(_BATCH, len(violation)))[-min(_BATCH, len(violation)) :]
        own = [int(np.where(self._rows[:, user], violation, -np.inf).argmax()) for user in range(self._users)]
        found = np.unique(np.concatenate([some, own]))
        found = found[violation[found] > _ENOUGH]
        return np.array([c for c in found.tolist() if c not in self._known], dtype=np.int64)


def _sums(price: FloatArray) -> FloatArray:
    """The sum of prices over every set, shape (2^N,)."""
    total = np.zeros(1)
    for own in price:
        total = np.concatenate([total, total + own])
    return total
