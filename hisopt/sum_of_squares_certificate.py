"""Proofs of lower bounds on sums of squares, checked in exact arithmetic from what is stored of them alone.

A certificate (`hisopt.solvers.clustering.sum_of_squares.certify` makes one) is a tree of plain JSON values. Inside, a pair
of groups of points is either together or apart; a leaf holds multipliers. With w the groups' sizes, s_i the sum of group
i's points and Z_ij = 1 / size where i and j share a cluster, and 0 elsewhere, the sum of squares is
sum |p|^2 - sum_ij s_i.s_j Z_ij, and every partition into k clusters has

    Z w = 1, sum w_i Z_ii = k, Z psd, D^-1 - Z psd (D = diag w), Z_ij >= 0, Z_ii >= 1 / L, Z_ij = 0 where apart,
    sum_{i <= j} c_ij Z_ij >= 0 with c_ij = v_i v_j and c_ii = v_i (v_i + 1) / 2 for whole v

(the last because x (x + 1) >= 0 for x the sum of v over a cluster; L the largest size that a cluster can have when all k
are used, which loses nothing). So for Y >= 0 (free where apart), t >= 0, and any a, tau and V: if
R = V V' + tau D + a w' + w a' - S - Y - T't is positive definite, then

    <S, Z>  <=  tr(V V' D^-1) + k tau + 2 sum a - sum_i Y_ii / L.

All numbers are floats, hence fractions; positive definite is checked by exact elimination. Nothing is shared with the
solver. Cost: n^3 / 3 operations on whole numbers of thousands of digits, so this is for small sets (N <= 50 or so).
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

from hisopt.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

Matrix = list[list[Fraction]]


def proven_lower_bound(
    certificate: dict[str, Any], points: Sequence[Sequence[float]], must_link: Sequence[Sequence[int]] = (),
    cannot_link: Sequence[Sequence[int]] = (),
) -> Fraction:  # fmt: skip
    """Return the lower bound on the sum of squares that a certificate proves, exactly.

    Raises `InputError`, which says where, if it proves nothing.
    """
    clusters, root = int(certificate["clusters"]), [int(g) for g in certificate["groups"]]
    exact = [[Fraction(x) - Fraction(o) for x, o in zip(p, certificate["origin"], strict=True)] for p in points]
    if len(root) != len(exact):
        raise InputError(f"certificate: is of {len(root)} points, not of {len(exact)}")
    _check_root(root, exact, must_link, cannot_link)
    count = max(root) + 1
    sizes = [root.count(g) for g in range(count)]
    apart = {frozenset((root[i], root[j])) for i, j in cannot_link}
    if any(len(pair) == 1 for pair in apart) or not 1 <= clusters <= count:
        raise InputError("certificate: pairs or clusters do not fit the groups")
    longest = len(exact) - sum(sorted(sizes)[: clusters - 1])
    claimed = Fraction(certificate["lower"])
    _Check(exact, clusters, longest, claimed).node(certificate["tree"], root, apart, "root")
    return claimed


def _check_root(
    root: list[int], points: Matrix, must_link: Sequence[Sequence[int]], cannot_link: Sequence[Sequence[int]]
) -> None:
    """Groups of the root must be joined by pairs, or be equal points that no pair names."""
    parent = list(range(len(points)))

    def top(i: int) -> int:
        while parent[i] != i:
            i = parent[i]
        return i

    for i, j in must_link:
        parent[top(i)] = top(j)
    named = {i for pairs in (must_link, cannot_link) for pair in pairs for i in pair}
    first: dict[tuple[Fraction, ...], int] = {}
    for i, point in enumerate(points):
        if i not in named:
            parent[top(i)] = top(first.setdefault(tuple(point), i))
    for i, j in ((i, root.index(g)) for i, g in enumerate(root)):
        if top(i) != top(j):
            raise InputError(f"certificate: points {i} and {j} are one group, and nothing joins them")
    if any(root[i] != root[j] for i, j in must_link):
        raise InputError("certificate: must_link pairs in different groups")


class _Check:
    """Walks the tree; every leaf must prove the bound claimed."""

    def __init__(self, points: Matrix, clusters: int, longest: int, claimed: Fraction) -> None:
        self.points, self.clusters, self.longest, self.claimed = points, clusters, longest, claimed
        self.total = sum((x * x for point in points for x in point), Fraction(0))

    def node(self, tree: dict[str, Any], groups: list[int], apart: set[frozenset[int]], place: str) -> None:
        """Raise `InputError` unless every partition that keeps groups together and pairs apart costs the bound or more."""
        count = max(groups) + 1
        if "fixed" in tree:
            matrix = tree["fixed"]["entries"]
            bound = self._bound(tree["fixed"], groups, apart, place)
            for i, j in tree["fixed"]["pairs"]:
                gain = 2 * Fraction(matrix[i][j]) / self.longest  # Z_ij >= 1 / L if they were together
                if i == j or self.total - bound + gain < self.claimed:
                    raise InputError(f"certificate: {place}: groups {i} and {j} are set apart without a reason")
            apart = apart | {frozenset(pair) for pair in tree["fixed"]["pairs"]}
        if "pair" in tree:
            i, j = sorted(tree["pair"])
            if not 0 <= i < j < count:
                raise InputError(f"certificate: {place}: no pair {i}, {j}")
            self.node(tree["apart"], groups, apart | {frozenset((i, j))}, f"{place}, {i} and {j} apart")
            if frozenset((i, j)) not in apart:
                merged = [i if g == j else g - (g > j) for g in groups]
                moved = {frozenset(i if g == j else g - (g > j) for g in pair) for pair in apart}
                if all(len(pair) == 2 for pair in moved):
                    self.node(tree["together"], merged, moved, f"{place}, {i} and {j} together")
        elif tree.get("single"):
            if count > self.clusters or self._within(groups) < self.claimed:
                raise InputError(f"certificate: {place}: the groups alone do not cost as much as is claimed")
        elif tree.get("one"):
            if self.clusters != 1 or self._within([0] * len(groups)) < self.claimed:
                raise InputError(f"certificate: {place}: all points in one cluster do not cost as much as is claimed")
        elif tree.get("clique"):
            if count <= self.clusters or len(apart) < count * (count - 1) // 2:
                raise InputError(f"certificate: {place}: not all groups are apart")
        elif self.total - self._bound(tree["leaf"], groups, apart, place) < self.claimed:
            raise InputError(f"certificate: {place}: its multipliers prove less than is claimed")

    def _sums(self, groups: list[int]) -> tuple[Matrix, list[int]]:
        count, width = max(groups) + 1, len(self.points[0])
        sums = [[Fraction(0)] * width for _ in range(count)]
        for point, g in zip(self.points, groups, strict=True):
            sums[g] = [a + b for a, b in zip(sums[g], point, strict=True)]
        return sums, [groups.count(g) for g in range(count)]

    def _within(self, groups: list[int]) -> Fraction:
        sums, sizes = self._sums(groups)
        saved = (sum((x * x for x in s), Fraction(0)) / w for s, w in zip(sums, sizes, strict=True))
        return self.total - sum(saved, Fraction(0))

    def _bound(self, leaf: dict[str, Any], groups: list[int], apart: set[frozenset[int]], place: str) -> Fraction:
        """Return the upper bound on <S, Z> that multipliers prove; raise `InputError` if they prove none."""
        sums, sizes = self._sums(groups)
        size = range(len(sizes))
        entries = [[Fraction(x) for x in row] for row in leaf["entries"]]
        for i in size:
            for j in range(i, len(sizes)):
                if entries[i][j] != entries[j][i] or (entries[i][j] < 0 and frozenset((i, j)) not in apart):
                    raise InputError(
                        f"certificate: {place}: the multiplier of entry {i}, {j} is negative or not symmetric"
                    )
        shift, trace = [Fraction(x) for x in leaf["shift"]], Fraction(leaf["trace"])
        factor = [[Fraction(x) for x in row] for row in leaf["factor"]]
        rest = [
            [-entries[i][j] - sum(a * b for a, b in zip(sums[i], sums[j], strict=True)) for j in size] for i in size
        ]
        for i in size:
            rest[i][i] += trace * sizes[i]
            for j in size:
                rest[i][j] += shift[i] * sizes[j] + sizes[i] * shift[j]
                rest[i][j] += sum((a * b for a, b in zip(factor[i], factor[j], strict=True)), Fraction(0))
        for multiplier, cut in leaf["cuts"]:
            t, members = Fraction(multiplier), [(int(i), int(v)) for i, v in cut]
            if t < 0 or len({i for i, _ in members}) < len(members):
                raise InputError(
                    f"certificate: {place}: the multiplier of a cut is negative, or a group stands in it twice"
                )
            for i, v in members:
                for j, u in members:
                    rest[i][j] -= t * (Fraction(v * (v + 1), 2) if i == j else Fraction(v * u, 2))
        if not positive_definite(rest):
            raise InputError(f"certificate: {place}: a matrix is not positive definite")
        bound = self.clusters * trace + 2 * sum(shift)
        for row, w, own in zip(factor, sizes, (entries[i][i] for i in size), strict=True):
            bound += sum((x * x for x in row), Fraction(0)) / w - own / self.longest
        return bound


def positive_definite(matrix: Matrix) -> bool:
    """Whether a symmetric matrix of fractions is positive definite, by elimination without fractions (Bareiss, 1968)."""
    scale = 1
    for row in matrix:
        for x in row:
            scale = max(scale, x.denominator)  # powers of two, as floats have
    whole = [[int(x * scale) if (x * scale).denominator == 1 else None for x in row] for row in matrix]
    if any(x is None for row in whole for x in row):
        raise InputError("certificate: a number is no float")
    rows: list[list[int]] = [[x for x in row if x is not None] for row in whole]
    before = 1
    for k in range(len(rows)):
        pivot = rows[k][k]
        if pivot <= 0:
            return False
        for i in range(k + 1, len(rows)):
            factor, upper, own = rows[i][k], rows[k], rows[i]
            for j in range(i, len(rows)):  # symmetric: the upper half is enough
                own[j] = (own[j] * pivot - factor * upper[j]) // before
            for j in range(i, len(rows)):
                rows[j][i] = own[j]
        before = pivot
    return True
