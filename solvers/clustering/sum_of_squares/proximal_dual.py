"""Multipliers of a Peng-Wei relaxation from its smoothed dual, minimised by projected L-BFGS round by round.

With F the spectral set of `hisopt.solvers.clustering.branch_bound.spectral_relaxation`, entries Z >= l and cuts T Z >= b,
every y >= 0 and t >= 0 prove the bound max_F <S + y + T't, .> - y'l - t'b, which is convex in them and not smooth. Taking
(mu / 2) |Z - C|^2 off inside the maximum makes it so (Moreau, Yosida; the step of a proximal point or augmented
Lagrangian method): its gradient is Z - l and T Z - b at Z = P_F(C + (S + y + T't) / mu), a projection that needs the few
leading eigenvectors. The minimum does not move when the centre C solves the relaxation. The first centre is the matrix of
the best partition known, and each round begins at the matrix that the last one ended with. The bound is computed anew from
the multipliers, so nothing here needs to be accurate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hisopt.solvers.clustering.branch_bound.spectral_relaxation import CutMatrix, LeadingProjection
from hisopt.solvers.clustering.sum_of_squares.projected_lbfgs import minimise

if TYPE_CHECKING:
    from collections.abc import Callable

    from hisopt.arrays import FloatArray, IntArray
    from hisopt.solvers.base import Deadline
    from hisopt.solvers.clustering.branch_bound.spectral_relaxation import Cuts, Relaxation

_MEMORY = 12  # pairs of vectors that L-BFGS keeps
_LOOK = 20  # evaluations between two looks at the bound


@dataclass
class Dual:
    """Multipliers y of the entries, as a symmetric matrix (n, n) over unordered pairs' halves, and t of the cuts; and Z."""

    entries: FloatArray
    cut_multipliers: FloatArray
    primal: FloatArray

    def multiplier(self, cuts: Cuts) -> FloatArray:
        """Return y + T't, the matrix that is added to the objective."""
        return self.entries + cuts.adjoint(self.cut_multipliers, len(self.entries))


class _Enough(Exception):
    """The bound is what was asked for, or time is up."""


class SmoothDual:
    """The smoothed dual of a relaxation with cuts, as a function of y on the upper triangle, then t."""

    def __init__(self, relaxation: Relaxation, cuts: Cuts, centre: FloatArray, proximal: float, unit: float) -> None:
        self.relaxation, self.cuts, self.centre, self.proximal, self.unit = relaxation, cuts, centre, proximal, unit
        size = len(centre)
        self.rows, self.columns = np.triu_indices(size)
        self.flat = self.rows * size + self.columns
        self.half = np.where(self.rows == self.columns, 1.0, 0.5)
        self.lower = relaxation.lower.ravel()[self.flat]
        self.free = relaxation.upper.ravel()[self.flat] <= self.lower
        spectral = relaxation.spectral
        self.project = LeadingProjection(spectral, int(4 * (spectral.total / spectral.cap + 2)) if spectral.cap else 4)
        self.operator = CutMatrix(cuts, size)
        self.primal = centre

    def pack(self, dual: Dual) -> FloatArray:
        """Return multipliers as one vector."""
        return np.concatenate([dual.entries.ravel()[self.flat] / self.half, dual.cut_multipliers])

    def unpack(self, x: FloatArray) -> Dual:
        """Return multipliers from one vector, with the matrix that they lead to."""
        size, pairs = len(self.centre), len(self.flat)
        entries = np.zeros((size, size))
        entries[self.rows, self.columns] = entries[self.columns, self.rows] = x[:pairs] * self.half
        return Dual(entries, x[pairs:].copy(), self.primal)

    def __call__(self, x: FloatArray) -> tuple[float, FloatArray]:
        """Return the value, in units of ``unit`` above zero, and its gradient."""
        size, pairs = len(self.centre), len(self.flat)
        total = np.zeros(size * size)
        total[self.flat] = x[:pairs]
        if len(self.cuts):
            total += np.asarray(self.operator.transposed @ x[pairs:])
        square = total.reshape(size, size)
        priced = self.relaxation.objective + (square + square.T) / 2
        self.primal = self.project(self.centre + priced / self.proximal)
        z = self.primal.ravel()
        slack = self.operator.slack(self.primal) if len(self.cuts) else np.zeros(0)
        known = z[self.flat] - self.lower
        away = self.primal - self.centre
        value = np.vdot(self.relaxation.objective, self.primal) - self.proximal / 2 * np.vdot(away, away)
        value += known @ x[:pairs] + slack @ x[pairs:]
        return float(value) / self.unit, np.concatenate([known, slack]) / self.unit


def descend(
    smooth: SmoothDual, dual: Dual, iterations: int, enough: Callable[[Dual], bool], deadline: Deadline,
) -> tuple[Dual, float]:  # fmt: skip
    """Return better multipliers after some steps of L-BFGS, and the smoothed dual there; ends early where ``enough``."""
    best, calls, value = smooth.pack(dual), 0, np.inf

    def looked(x: FloatArray) -> tuple[float, FloatArray]:
        nonlocal best, calls, value
        if deadline.passed:
            raise _Enough
        found, gradient = smooth(x)
        calls += 1
        if found < value:
            best, value = x.copy(), found
            if calls % _LOOK == 0 and enough(smooth.unpack(best)):
                raise _Enough
        return found, gradient

    try:
        minimise(
            looked, best, np.concatenate([smooth.free, np.zeros(len(smooth.cuts), dtype=bool)]), iterations, _MEMORY
        )
    except _Enough:
        pass
    else:
        smooth(best)  # so that the primal matrix is that of the best multipliers
    return smooth.unpack(best), float(value)


def partition_matrix(labels: IntArray, weights: FloatArray, count: int) -> FloatArray:
    """Return D^1/2 Z D^1/2 of a partition of items with weights D."""
    member = (labels[:, None] == np.arange(count)) * np.sqrt(weights)[:, None]
    length = np.linalg.norm(member, axis=0)
    member = member[:, length > 0] / length[length > 0]
    return np.asarray(member @ member.T)
