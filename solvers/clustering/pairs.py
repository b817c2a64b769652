"""Clustering by pair variables in HiGHS."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from typing_extensions import override

from hisopt.problems import Clustering, Problem, SumOfSquares
from hisopt.solvers.backend import InHighs
from hisopt.solvers.clustering.branch_bound.size_limits import impossible

if TYPE_CHECKING:
    from hisopt.result import SolverResult


@dataclass(frozen=True)
class PairsHighs(InHighs[Clustering]):
    """Pair variables with triangle inequalities: ``sum`` with representatives, ``mean`` with sizes as binaries."""

    name = "pairs-highs"
    problems = (Clustering,)
    form = "clustering.pairs"
    up_to = 5_000  # it holds the matrix of pairs many times
    watched = True

    def serves(self, problem: Problem) -> bool:
        """The criteria ``sum`` and ``mean``, with or without limits on sizes."""
        return (
            isinstance(problem, Clustering) and self.too_large(problem) is None and problem.criterion in ("sum", "mean")
        )

    @override
    def refused(self, problem: Clustering) -> SolverResult | None:
        return impossible(problem)


@dataclass(frozen=True)
class SquaresHighs(InHighs[SumOfSquares]):
    """The sum of squares by pair variables in HiGHS, with limits on sizes and pairs; a second way to small optima."""

    name = "sse-pairs-highs"
    problems = (SumOfSquares,)
    form = "clustering.squares"
    up_to = 200  # some N^3 / 2 rows
    watched = True

    def serves(self, problem: Problem) -> bool:
        """The sum of squares of up to 200 points."""
        return isinstance(problem, SumOfSquares) and self.too_large(problem) is None

    @override
    def refused(self, problem: SumOfSquares) -> SolverResult | None:
        return impossible(Clustering(problem.points, problem.clusters, "mean", problem.sizes))
