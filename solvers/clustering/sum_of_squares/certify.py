"""Certificates of lower bounds on sums of squares: the search's tree with the multipliers of its leaves.

`hisopt.sum_of_squares_certificate` says what they prove and checks them, in exact arithmetic and without this package's
solvers. Numbers are rounded, and the trace's multiplier is enlarged a little, so that what must be psd is definite.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from hisopt.errors import InputError
from hisopt.result import Limits
from hisopt.solvers.base import Deadline
from hisopt.solvers.clustering.sum_of_squares.items import Items, Pairs, items_of
from hisopt.solvers.clustering.sum_of_squares.search import Search

if TYPE_CHECKING:
    from hisopt.arrays import FloatArray, IntArray
    from hisopt.solvers.clustering.branch_bound.merged_users import Weighted
    from hisopt.solvers.clustering.branch_bound.spectral_relaxation import Cuts, Relaxation, State
    from hisopt.solvers.clustering.sum_of_squares.search import Node

_ROOM = 1e-10  # by which the trace's multiplier is enlarged, relative to the largest eigenvalue
_SLACK = 1e-7  # of the sum of squares, by which the claim stays below what the search proves


def certify(
    points: FloatArray, clusters: int, *, must_link: Pairs = (), cannot_link: Pairs = (), tolerance: float = 1e-6,
    time_s: float = 60.0,
) -> dict[str, Any]:  # fmt: skip
    """Return a certificate that no partition of points (N, d) has a sum of squares below one that is ``lower`` in it.

    Raises
    ------
    InputError
        Where time runs out, or no partition is possible.
    """
    points = np.asarray(points, dtype=np.float64)
    deadline = Deadline(Limits(time_s=time_s))
    items = items_of(points, clusters, must_link=must_link, cannot_link=cannot_link)
    first = Search(items, deadline, tolerance)
    first.run()
    if not first.proven or first.labels is None:
        raise InputError("certificate: time is up" if not first.proven else "certificate: no partition is possible")
    origin = points.mean(axis=0)
    recorder = _Recorder(items, deadline, tolerance, first.labels, points - origin)
    tree = (
        recorder.tree(recorder.open[0][-1])
        if recorder.open
        else {"one": True}
        if items.clusters == 1
        else {"single": True}
    )
    labels = first.labels[items.groups]
    return {
        "clusters": items.clusters, "groups": items.groups.tolist(), "origin": origin.tolist(),
        "lower": (first.squares if not recorder.open else first.squares * (1 - tolerance)) * (1 - _SLACK),
        "squares": first.squares, "labels": labels.tolist(), "tree": tree,
    }  # fmt: skip


class _Recorder(Search):
    """A search whose incumbent is optimal already; it branches to the end, and keeps the multipliers of what it closes."""

    def __init__(
        self, items: Items, deadline: Deadline, tolerance: float, labels: IntArray, centred: FloatArray
    ) -> None:
        super().__init__(items, deadline, 0.9 * tolerance, leaf=0)
        self.value, self.labels = items.value(labels), labels
        self.centred = centred
        self.kept: dict[str, Any] = {}
        self.fixed: dict[str, Any] | None = None

    def tree(self, node: Node) -> dict[str, Any]:
        """Bound a node, and those below it; return the part of the certificate."""
        if len(node.nodes) <= self.items.clusters:
            return {"single": True}
        self.kept, self.fixed = {}, None
        children = self._process(node)
        if self.deadline.passed and len(children) == 1:
            raise InputError("certificate: time is up")
        found: dict[str, Any] = {} if self.fixed is None else {"fixed": self.fixed}
        if not children:
            return found | (self.kept or {"clique": True})
        apart, together = children
        before = node.nodes.apart if self.fixed is None else node.nodes.separate(self.fixed_pairs).apart
        i, j = (int(x) for x in np.argwhere(np.triu(apart.nodes.apart & ~before))[0])
        below = {"pair": [i, j], "apart": self.tree(apart)}
        return found | below | {"together": self.tree(together)}

    def _close(self, node: Node, state: State, cuts: Cuts, scale: FloatArray) -> None:
        self.kept = {"leaf": self._multipliers(node.nodes, state, cuts, scale)}

    def _fix(self, node: Node, relaxation: Relaxation, scale: FloatArray, state: State, cuts: Cuts) -> Weighted:
        nodes = super()._fix(node, relaxation, scale, state, cuts)
        new = np.triu(nodes.apart & ~node.nodes.apart)
        if new.any():
            self.fixed_pairs = new
            self.fixed = self._multipliers(node.nodes, state, cuts, scale) | {"pairs": np.argwhere(new).tolist()}
        return nodes

    def _multipliers(self, nodes: Weighted, state: State, cuts: Cuts, scale: FloatArray) -> dict[str, Any]:
        """Return multipliers in the data's own units, on the entries of Z, as the checker's page has them."""
        unit = self.items.unit
        entries = _rounded(unit * (state.multiplier - cuts.adjoint(state.cut_multipliers, len(scale))) * scale)
        used = state.cut_multipliers > 0
        cuts, multipliers = cuts.keep(used).scaled(1 / scale), _rounded(unit * state.cut_multipliers[used])
        whole = [_vector(cuts, k) for k in range(len(cuts))]
        entries = (entries + entries.T) / 2
        entries = np.where(nodes.apart, entries, np.maximum(entries, 0.0))
        size, weights = len(nodes), nodes.weights
        sums = np.zeros((size, self.centred.shape[1]))
        np.add.at(sums, nodes.groups[self.items.groups], self.centred)
        priced = sums @ sums.T + entries
        for t, members in zip(multipliers, whole, strict=True):
            index, v = np.array([i for i, _ in members]), np.array([float(v) for _, v in members])
            block = np.outer(v, v) / 2
            np.fill_diagonal(block, v * (v + 1) / 2)
            priced[np.ix_(index, index)] += t * block
        root = np.sqrt(weights)
        u = root / np.linalg.norm(root)
        matrix = priced / np.outer(root, root)
        left = matrix @ u
        around = left - (u @ left) * u / 2
        inner = matrix - np.outer(u, around) - np.outer(around, u)
        largest = float(np.abs(np.linalg.eigvalsh(inner)).max())
        values, vectors = np.linalg.eigh(inner - 2 * (largest + 1e-300) * np.outer(u, u))  # so that u comes last
        top = self.items.clusters - 1
        trace = float(values[-top - 1]) if size > self.items.clusters else 0.0
        trace += _ROOM * largest
        first = len(values) - top
        lead = vectors[:, first:] * np.sqrt(np.maximum(values[first:] - trace, 0.0) + _ROOM * largest)
        around = around + (2 * _ROOM * largest - trace) * u / 2
        return {
            "entries": entries.tolist(), "cuts": [[float(t), m] for t, m in zip(multipliers, whole, strict=True)],
            "trace": float(_rounded(np.array(trace))), "shift": _rounded(root * around / np.linalg.norm(root)).tolist(),
            "factor": _rounded(root[:, None] * lead).tolist(),
        }  # fmt: skip


def _rounded(values: FloatArray) -> FloatArray:
    """Return numbers of few binary digits, 2^-40 of the largest, so that exact arithmetic stays short."""
    largest = float(np.abs(values).max(initial=0.0))
    if largest == 0:
        return np.asarray(values)
    step = 2.0 ** (np.ceil(np.log2(largest)) - 40)
    return np.asarray(np.round(values / step) * step)


def _vector(cuts: Cuts, k: int) -> list[list[int]]:
    """Return the whole vector v that a cut is made of, as pairs of a group and its entry."""
    mine = cuts.index == k
    square: dict[int, float] = {}
    pairs: dict[tuple[int, int], float] = {}
    for i, j, c in zip(cuts.row[mine].tolist(), cuts.column[mine].tolist(), cuts.coefficient[mine], strict=True):
        square.setdefault(i, 0.0)
        square.setdefault(j, 0.0)
        if i == j:
            square[i] += float(c)
        else:
            key = (min(i, j), max(i, j))
            pairs[key] = pairs.get(key, 0.0) + float(c)
    groups = sorted(square)
    choices = [[v for v in range(-10, 11) if abs(v * (v + 1) / 2 - square[g]) < 1e-6] for g in groups]
    for found in product(*choices):
        value = dict(zip(groups, found, strict=True))
        if all(abs(value[i] * value[j] - pairs.get((i, j), 0.0)) < 1e-6 for i in groups for j in groups if i < j):
            return [[g, v] for g, v in value.items() if v]
    raise InputError("certificate: a cut of the search is of no form that the checker knows")
