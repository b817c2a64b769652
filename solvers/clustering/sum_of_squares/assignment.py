"""Items to given centres at least cost, within limits on sizes and with pairs apart: an integer program (HiGHS by scipy).

Without pairs and with single points its linear relaxation is whole, a transport problem. It also says whether any
partition is possible: costs do not matter for that.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

from hisopt.solvers.clustering.sum_of_squares.items import Impossible, Items

if TYPE_CHECKING:
    from hisopt.arrays import FloatArray, IntArray


def assign(items: Items, centres: FloatArray, time_s: float = 60.0) -> IntArray | None:
    """Return labels (n,) of least cost that meet limits and pairs, None if time ran out.

    Raises
    ------
    Impossible
        If there are none.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp
    from scipy.sparse import coo_array

    size, count = len(items), len(centres)
    squares = np.square(items.points[:, None, :] - centres[None, :, :]).sum(axis=2)
    cost = (items.weights[:, None] * squares).ravel()
    item, cluster = np.divmod(np.arange(size * count), count)
    opened = items.least > 1 and not items.exactly
    width = size * count + (count if opened else 0)
    low, high = np.ones(size), np.ones(size)
    row, column, value = [item], [np.arange(size * count)], [np.ones(size * count)]

    def constrain(rows: IntArray, columns: IntArray, values: FloatArray, least: FloatArray, most: FloatArray) -> None:
        nonlocal low, high
        row.append(rows + len(low))
        column.append(columns)
        value.append(values)
        low, high = np.concatenate([low, least]), np.concatenate([high, most])

    counts = items.counts[item].astype(np.float64)
    every, none = np.arange(size * count), np.full(count, -np.inf)
    if opened:  # least * open <= size <= most * open
        places = size * count + np.arange(count)
        rows, columns = np.concatenate([cluster, np.arange(count)]), np.concatenate([every, places])
        constrain(rows, columns, np.concatenate([counts, np.full(count, -float(items.least))]), np.zeros(count), -none)
        constrain(rows, columns, np.concatenate([counts, np.full(count, -float(items.most))]), none, np.zeros(count))
    else:
        least = float(items.least if items.exactly else 0)
        constrain(cluster, every, counts, np.full(count, least), np.full(count, float(items.most)))
    for crowd in _cover(items):
        rows, columns = np.tile(np.arange(count), len(crowd)), np.repeat(crowd, count) * count
        columns = columns + rows
        constrain(rows, columns, np.ones(len(columns)), none, np.ones(count))
    matrix = coo_array(
        (np.concatenate(value), (np.concatenate(row), np.concatenate(column))), shape=(len(low), width)
    ).tocsc()
    scale = float(np.abs(cost).max()) or 1.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = milp(
            np.concatenate([cost / scale, np.zeros(width - size * count)]), integrality=np.ones(width, dtype=np.int64),
            bounds=Bounds(0, 1), constraints=LinearConstraint(matrix, low, high), options={"time_limit": time_s},
        )  # fmt: skip
    if found.status == 2:
        raise Impossible("no partition meets the limits on sizes and the pairs together")
    if found.x is None:
        return None
    return np.asarray(found.x[: size * count].reshape(size, count).argmax(axis=1), dtype=np.int64)


def _cover(items: Items) -> list[IntArray]:
    """Return cliques of pairs apart that hold every pair: few, so that the relaxation is tight."""
    left, cliques = items.apart.copy(), []
    while left.any():
        i = int(np.argmax(left.sum(axis=1)))
        j = int(np.argmax(left[i]))
        crowd = [i, j]
        common = items.apart[i] & items.apart[j]
        while common.any():
            new = int(np.argmax(np.where(common, (left & common).sum(axis=1), -1)))
            crowd.append(new)
            common &= items.apart[new]
        left[np.ix_(crowd, crowd)] = False
        cliques.append(np.array(crowd))
    return cliques
