"""The Peng-Wei semidefinite relaxation of ``mean`` (minimum sum-of-squares clustering), in CVXPY."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cvxpy as cp
import numpy as np

from hisopt.decision import Decision

if TYPE_CHECKING:
    from hisopt.arrays import FloatArray
    from hisopt.problems import Clustering


@dataclass(frozen=True)
class Model:
    """The program, its matrix Z (N, N), and the constraints whose multipliers make the bound.

    The objective, and so the multipliers, are in units of ``unit``, the largest squared length of a point, against which
    a conic solver's absolute tolerances are small.
    """

    program: cp.Problem
    matrix: cp.Variable
    rows: cp.Constraint
    nonnegative: cp.Constraint
    unit: float


def build(problem: Clustering) -> Model:
    """State max <S, Z> over Z psd, Z >= 0, Z 1 = 1, tr Z <= M.

    Z = sum over clusters of 1 1^T / |N_m| is feasible with the value of ``mean``. For ``centroid`` the tightest
    bound of the form |s_m| <= (tau |N_m| + |s_m|^2 / (tau |N_m|)) / 2 with one tau is sqrt(N mean*): the spherical
    relaxation that follows from this matrix is Cauchy-Schwarz on its value.
    """
    unit = float(np.diag(problem.similarity_matrix).max()) or 1.0
    similarity = problem.similarity_matrix / unit
    users = problem.users
    matrix = cp.Variable((users, users), PSD=True)
    rows = cp.sum(matrix, axis=1) == 1
    nonnegative = matrix >= 0
    program = cp.Problem(
        cp.Maximize(cp.trace(similarity @ matrix)),
        [rows, nonnegative, cp.trace(matrix) <= problem.clusters],
    )
    return Model(program, matrix, rows, nonnegative, unit)


def insert(model: Model, _: Clustering, decision: Decision) -> None:
    """Set Z to the matrix of a partition."""
    labels = decision.labels
    together = labels[:, None] == labels[None, :]
    model.matrix.save_value(together / together.sum(axis=1))


def extract(model: Model, problem: Clustering) -> Decision:
    """Round Z: rows of its leading eigenvectors, grouped by k-means."""
    from sklearn.cluster import KMeans

    count = problem.clusters
    vectors = np.linalg.eigh((model.matrix.value + model.matrix.value.T) / 2)[1][:, -count:]
    labels = KMeans(count, n_init=10, random_state=0).fit_predict(vectors)
    return Decision(clusters=labels.astype(np.int64))


def safe_bound(similarity: FloatArray, rows: FloatArray, nonnegative: FloatArray, count: int) -> float:
    """Return an upper bound on ``mean`` that holds for any multipliers, however inexact.

    For every y and B >= 0, each feasible Z has <S, Z> <= sum y + <A, Z> with A = S + B - (y 1^T + 1 y^T) / 2. Z has
    eigenvalue 1 for the vector 1, all others in [0, 1] and trace at most M, so <A, Z> <= 1^T A 1 / N plus the M - 1
    largest positive eigenvalues of A on the complement of 1. Rounding is covered by N eps |A|.
    """
    users = len(similarity)
    slack = np.maximum((nonnegative + nonnegative.T) / 2, 0.0)
    matrix = similarity + slack - (rows[:, None] + rows[None, :]) / 2
    mean = matrix.sum(axis=1) / users
    inner = matrix - mean[:, None] - mean[None, :] + mean.mean()
    top = np.linalg.eigvalsh(inner)[::-1][: max(count - 1, 0)]
    rounding = 8 * users * np.finfo(float).eps * float(np.linalg.norm(matrix) + np.abs(rows).sum())
    return float(rows.sum() + users * mean.mean() + np.maximum(top, 0.0).sum() + rounding)
