"""Semidefinite relaxations of clustering, solved by alternating projections of multipliers, with bounds that hold exactly.

The matrix Z of a partition lies in a spectral set F (known eigenvector, bounded eigenvalues and trace), in a box, and
satisfies linear cuts T Z >= b. For every matrix B and every t >= 0

    <S, Z>  <=  max_{F} <S + B, .>  +  max_{box} <T't - B, .>  -  t'b,

where both maxima are closed-form (a sum of eigenvalues, a sum over entries). That is a bound however inexact B and t are.
The alternating direction method of multipliers finds good ones: it projects onto F by an eigendecomposition and onto the
box by clipping, with a primal-dual step for t.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import scipy  # its parts load when they are first named, not when solvers are listed

if TYPE_CHECKING:
    from hisopt.arrays import FloatArray, IntArray
    from hisopt.solvers.base import Deadline

_PROXIMAL = 0.3
_FEW_LEAD = 120  # rows from which a few leading eigenvectors cost less than all


def project_capped_simplex(values: FloatArray, total: float, cap: float) -> FloatArray:
    """Return the nearest point with entries in [0, cap] and sum ``total`` (which must fit), by sorting breakpoints."""
    breaks = np.sort(np.concatenate([values, values - cap]))
    sums = np.clip(values[None, :] - breaks[:, None], 0, cap).sum(axis=1)  # decreasing
    k = int(np.searchsorted(-sums, -total, side="right")) - 1
    k = min(max(k, 0), len(breaks) - 2)
    low, high = breaks[k], breaks[k + 1]
    drop = sums[k] - sums[k + 1]
    shift = low + (high - low) * ((sums[k] - total) / drop if drop > 0 else 0.0)
    return np.asarray(np.clip(values - shift, 0, cap))


@dataclass(frozen=True)
class SpectralSet:
    """Matrices ``fixed u u' + V`` with u a unit vector, V psd, V u = 0 if ``orthogonal``, eigenvalues <= cap, trace V = total.

    With ``at_most`` the trace may be less, too; `support` bounds both.
    """

    vector: FloatArray
    fixed: float
    total: float
    cap: float
    orthogonal: bool
    at_most: bool = False

    def _inner(self, matrix: FloatArray) -> FloatArray:
        if not self.orthogonal:
            return matrix
        u = self.vector
        left = matrix @ u
        return np.asarray(matrix - np.outer(u, left) - np.outer(left, u) + (u @ left) * np.outer(u, u))

    def project(self, matrix: FloatArray) -> FloatArray:
        """Return the nearest element of the set."""
        base = self.fixed * np.outer(self.vector, self.vector)
        inner = self._inner(matrix if self.orthogonal else matrix - base)
        values, vectors = scipy.linalg.eigh(inner, check_finite=False, overwrite_a=True, driver="evd")
        if self.orthogonal:  # the eigenvalue 0 of u itself must stay 0
            own = int(np.argmax(np.abs(self.vector @ vectors)))
            kept = np.delete(np.arange(len(values)), own)
            values, vectors = values[kept], vectors[:, kept]
        new = np.clip(values, 0.0, self.cap)
        if not self.at_most or new.sum() > self.total:
            new = project_capped_simplex(values, min(self.total, self.cap * len(values)), self.cap)
        keep = new > 0
        part = vectors[:, keep] * new[keep]
        return np.asarray(base + part @ vectors[:, keep].T)

    def support(self, matrix: FloatArray) -> float:
        """Return an upper bound on <matrix, .> over the set: its maximum, and a term for rounding."""
        values = np.linalg.eigvalsh(self._inner(matrix))[::-1]
        top = np.maximum(values, 0.0)  # the largest eigenvalues at the cap; a smaller trace may be better
        whole = int(self.total // self.cap) if self.cap > 0 else 0
        rest = self.total - whole * self.cap
        best = self.cap * top[:whole].sum() + (rest * top[whole] if whole < len(top) else 0.0)
        rounding = (
            16 * len(matrix) * np.finfo(float).eps * float(np.linalg.norm(matrix)) * (self.fixed + self.total + 1)
        )
        return float(self.fixed * (self.vector @ matrix @ self.vector) + best + rounding)


@dataclass(frozen=True)
class Cuts:
    """Inequalities sum_k coefficient * Z[row, column] >= side, in coordinate form; ``index`` says which cut an entry is of."""

    index: IntArray
    row: IntArray
    column: IntArray
    coefficient: FloatArray
    side: FloatArray

    @classmethod
    def none(cls) -> Cuts:
        """Return no cuts."""
        empty = np.zeros(0, dtype=np.int64)
        return cls(empty, empty, empty, np.zeros(0), np.zeros(0))

    def __len__(self) -> int:
        return len(self.side)

    def slack(self, matrix: FloatArray) -> FloatArray:
        """Return T Z - b."""
        terms = self.coefficient * matrix[self.row, self.column]
        return np.bincount(self.index, weights=terms, minlength=len(self.side)) - self.side

    def adjoint(self, multipliers: FloatArray, size: int) -> FloatArray:
        """Return T't as a symmetric matrix."""
        weights = self.coefficient * multipliers[self.index]
        flat = np.bincount(self.row * size + self.column, weights=weights, minlength=size * size)
        matrix = flat.reshape(size, size)
        return np.asarray((matrix + matrix.T) / 2)

    def keep(self, wanted: np.ndarray) -> Cuts:
        """Return the cuts marked."""
        entries = wanted[self.index]
        renumber = np.cumsum(wanted) - 1
        return Cuts(
            renumber[self.index[entries]], self.row[entries], self.column[entries], self.coefficient[entries],
            self.side[wanted],
        )  # fmt: skip

    def scaled(self, factor: FloatArray) -> Cuts:
        """Return the same cuts for the matrix ``factor`` * Z (entrywise) in place of Z."""
        coefficient = self.coefficient / factor[self.row, self.column]
        return Cuts(self.index, self.row, self.column, coefficient, self.side)

    def renumbered(self, position: IntArray) -> Cuts:
        """Return the cuts with rows and columns moved to ``position`` (n,)."""
        return Cuts(self.index, position[self.row], position[self.column], self.coefficient, self.side)

    def join(self, other: Cuts) -> Cuts:
        """Return these cuts and then the other's."""
        pairs = zip(
            (self.index, self.row, self.column, self.coefficient, self.side),
            (other.index + len(self), other.row, other.column, other.coefficient, other.side),
            strict=True,
        )
        return Cuts(*(np.concatenate(pair) for pair in pairs))


class CutMatrix:
    """The operator T of cuts as a sparse matrix over all entries of Z, for many products; it adds where an entry comes twice."""

    def __init__(self, cuts: Cuts, size: int) -> None:
        self.size, self.side = size, cuts.side
        upper = np.minimum(cuts.row, cuts.column) * size + np.maximum(cuts.row, cuts.column)
        self.matrix = scipy.sparse.csr_array((cuts.coefficient, (cuts.index, upper)), shape=(len(cuts), size * size))
        self.transposed = scipy.sparse.csr_array(self.matrix.T)

    def slack(self, matrix: FloatArray) -> FloatArray:
        """Return T Z - b of a symmetric matrix (n, n)."""
        return np.asarray(self.matrix @ matrix.ravel() - self.side)

    def adjoint(self, multipliers: FloatArray) -> FloatArray:
        """Return T't as a symmetric matrix (n, n)."""
        square = np.asarray(self.transposed @ multipliers).reshape(self.size, self.size)
        return np.asarray((square + square.T) / 2)


class LeadingProjection:
    """The projection onto a spectral set by as many leading eigenvectors as it needs, a number that it remembers."""

    def __init__(self, spectral: SpectralSet, guess: int) -> None:
        self.spectral, self.guess = spectral, guess

    def __call__(self, matrix: FloatArray) -> FloatArray:
        """Return the nearest element; the set must be one whose vector is an eigenvector of the rest."""
        spectral, size = self.spectral, len(matrix)
        u = spectral.vector
        left = matrix @ u
        half = np.outer(u, left - (u @ left) / 2 * u)
        inner = matrix - half - half.T
        inner -= (1 + float(np.abs(inner).sum(axis=1).max())) * np.outer(u, u)  # so that u comes last
        while True:
            few = self.guess < size // 2
            if few:
                last = (size - self.guess, size - 1)
                values, vectors = scipy.linalg.eigh(inner, check_finite=False, driver="evr", subset_by_index=last)
            else:
                values, vectors = scipy.linalg.eigh(inner, check_finite=False, driver="evd")
                values, vectors = values[1:], vectors[:, 1:]
            new = np.clip(values, 0.0, spectral.cap)
            if not spectral.at_most or new.sum() > spectral.total:
                new = project_capped_simplex(values, min(spectral.total, spectral.cap * len(values)), spectral.cap)
            used = int(np.count_nonzero(new > 0))
            if not few or used < len(values):
                break
            self.guess *= 2
        self.guess = max(min(self.guess, used + 4), 4)
        part = vectors[:, new > 0] * np.sqrt(new[new > 0])
        return np.asarray(spectral.fixed * np.outer(u, u) + part @ part.T)


@dataclass
class State:
    """Multipliers B (n, n) and t, the primal iterate Y, and the penalty; kept between calls to start warm."""

    primal: FloatArray
    multiplier: FloatArray
    cut_multipliers: FloatArray
    penalty: float
    residual: float = field(default=np.inf)


@dataclass(frozen=True)
class Relaxation:
    """max <S, Z> over a spectral set, a box and cuts."""

    objective: FloatArray
    spectral: SpectralSet
    lower: FloatArray
    upper: FloatArray

    def start(self) -> State:
        """Return a start without information."""
        size = len(self.objective)
        zero = np.zeros((size, size))
        return State(self.spectral.project(self.objective.copy()), zero, np.zeros(0), self._usual_penalty())

    def _usual_penalty(self) -> float:
        return 4 * (float(np.abs(self.objective).mean()) + 1e-12) * math.sqrt(len(self.objective))

    def bound(self, state: State, cuts: Cuts) -> float:
        """Return the bound that the multipliers prove."""
        slope = cuts.adjoint(state.cut_multipliers, len(self.objective)) - state.multiplier
        box = np.where(slope > 0, slope * self.upper, slope * self.lower)
        rounding = 4 * len(slope) * np.finfo(float).eps * float(np.abs(box).sum() + state.cut_multipliers.sum())
        side = float(state.cut_multipliers @ cuts.side)
        return self.spectral.support(self.objective + state.multiplier) + float(box.sum()) - side + rounding

    def iterate(self, state: State, cuts: Cuts, rounds: int, deadline: Deadline | None = None) -> None:
        """Improve the multipliers by ``rounds`` steps, fewer if the deadline passes."""
        size = len(self.objective)
        t, penalty, usual = state.cut_multipliers, state.penalty, self._usual_penalty()
        primal, multiplier = state.primal, state.multiplier
        weight, rate = _curvature(cuts, size)
        relaxation = 1.0 if len(cuts) else 1.6
        operator = CutMatrix(cuts, size)
        slack = operator.slack(primal)
        project = self.spectral.project
        if self.spectral.orthogonal and size >= _FEW_LEAD:
            project = LeadingProjection(self.spectral, size // 5)
        for step in range(rounds):
            if deadline is not None and deadline.passed:
                break
            spectral = project(primal + (self.objective + multiplier) / penalty)
            mixed = relaxation * spectral + (1 - relaxation) * primal
            before = primal
            if len(cuts):
                # the augmented term of the cuts, linearised at the last Y with a proximal term above its curvature
                proximal = penalty * weight
                pull = operator.adjoint(np.maximum(t - penalty * rate * slack, 0.0))
                target = (penalty * mixed - multiplier + pull + proximal * primal) / (penalty + proximal)
                primal = np.clip(target, self.lower, self.upper)
                slack = operator.slack(primal)
                t = np.maximum(t - penalty * rate * slack, 0.0)
            else:
                primal = np.clip(mixed - multiplier / penalty, self.lower, self.upper)
            multiplier = multiplier - penalty * (mixed - primal)
            if step % 20 == 19:
                apart = float(np.linalg.norm(spectral - primal) / np.linalg.norm(primal))
                moved = float(penalty * np.linalg.norm(primal - before) / (np.linalg.norm(multiplier) + 1e-300))
                state.residual = max(apart, moved)
                if apart > 5 * moved:
                    penalty = min(1.5 * penalty, 20 * usual)
                elif moved > 5 * apart:
                    penalty = max(penalty / 1.5, usual / 20)
        state.primal, state.multiplier, state.cut_multipliers, state.penalty = primal, multiplier, t, penalty


def _curvature(cuts: Cuts, size: int) -> tuple[FloatArray, float]:
    """Return entrywise weights w (n, n) and a step r such that r T'T <= diag(w), the typical w being 1."""
    if not len(cuts):
        return np.zeros((size, size)), 1.0
    magnitude = np.abs(cuts.coefficient)
    rows = np.bincount(cuts.index, weights=magnitude, minlength=len(cuts))
    flat = np.bincount(
        cuts.row * size + cuts.column, weights=magnitude * rows[cuts.index], minlength=size * size
    ).reshape(size, size)
    columns = (flat + flat.T) / 2
    rate = _PROXIMAL / float(np.median(columns[columns > 0]))
    return columns * rate, rate
