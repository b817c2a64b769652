"""Solvers of minimum sum-of-squares clustering for the registry."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from typing_extensions import override

from hisopt.decision import Decision
from hisopt.problems import Problem, SumOfSquares
from hisopt.result import PROVEN, Guarantee, Limits, SolverResult, Termination
from hisopt.solvers.base import Deadline, Solver
from hisopt.solvers.clustering.sum_of_squares.groups import GroupBounds, bounded, fair_groups
from hisopt.solvers.clustering.sum_of_squares.hybrid import hybrid
from hisopt.solvers.clustering.sum_of_squares.items import Impossible, Items, items_of
from hisopt.solvers.clustering.sum_of_squares.search import Search
from hisopt.solvers.run.progress import report

if TYPE_CHECKING:
    from hisopt.arrays import IntArray

_FEW = 300  # points up to which the heuristic has its full patience


def items_for(problem: SumOfSquares) -> Items:
    """Return a problem's items; raise `Impossible` where its constraints exclude every partition for a plain reason."""
    return items_of(
        problem.points, problem.clusters, least=problem.sizes.least, most=problem.sizes.most,
        must_link=problem.together, cannot_link=problem.apart, exactly=False,
    )  # fmt: skip


def decision_of(items: Items, labels: IntArray) -> Decision:
    """Return the decision on the points from labels of items (n,)."""
    return Decision(clusters=labels[items.groups])


@dataclass(frozen=True)
class SumOfSquaresSearch(Solver[SumOfSquares]):
    """Branch and bound on pairs of points, with the Peng-Wei bound from a smoothed dual; sizes and pairs, up to 3,000 points.

    ``tolerance`` is the gap, relative to the sum of squares, at which it stops; above 1e-6 it claims no optimum. With
    several threads, as many nodes at a time, each in a process of its own; their order then depends on their times.
    """

    name = "sse-branch-bound"
    problems = (SumOfSquares,)
    guarantee = Guarantee.EXACT
    packages = ("scipy",)
    up_to = 3_000  # the search holds the matrix of pairs many times
    tolerance: float = 5e-7

    @override
    def serves(self, problem: Problem) -> bool:
        return isinstance(problem, SumOfSquares) and self.too_large(problem) is None

    @override
    def solve(self, problem: SumOfSquares, limits: Limits) -> SolverResult:
        deadline = Deadline(limits)
        try:
            items = items_for(problem)
            search = Search(items, deadline, self.tolerance, limits.seed)
        except Impossible as error:
            return SolverResult(Termination.INFEASIBLE, message=str(error))
        search.tell = lambda: report(
            None if search.labels is None else decision_of(items, search.labels),
            search.lower if math.isfinite(search.lower) else None,
        )
        search.tell()
        search.run(limits.threads)
        details = {"nodes": search.explored, "open": len(search.open)}
        lower = search.lower if math.isfinite(search.lower) else None
        if search.labels is None:
            if search.proven:
                reason = "no partition meets the limits on sizes and the pairs together"
                return SolverResult(Termination.INFEASIBLE, message=reason, details=details)
            return SolverResult(Termination.TIME_LIMIT, None, lower, details=details)
        decision = decision_of(items, search.labels)
        if lower is not None and problem.gap(decision, lower) <= PROVEN:
            return SolverResult(Termination.OPTIMAL, decision, lower, details=details)
        ended = Termination.COMPLETED if search.proven else Termination.TIME_LIMIT
        return SolverResult(ended, decision, lower, details=details)


@dataclass(frozen=True)
class HybridMeans(Solver[SumOfSquares]):
    """HG-means (Gribel and Vidal, 2019): genetic search over centres, k-means, relocations and swaps; sizes and pairs, too."""

    name = "hg-means"
    problems = (SumOfSquares,)
    guarantee = Guarantee.HEURISTIC
    packages = ("scipy",)
    generations: int = 300

    @override
    def serves(self, problem: Problem) -> bool:
        return isinstance(problem, SumOfSquares)

    @override
    def solve(self, problem: SumOfSquares, limits: Limits) -> SolverResult:
        deadline = Deadline(limits)
        try:
            items = items_for(problem)
            patience = 100 if items.plain else 15  # an integer program a child
            labels = hybrid(
                items, limits.seed, self.generations, patience, deadline,
                lambda labels: report(decision_of(items, labels)),
            )  # fmt: skip
        except Impossible as error:
            return SolverResult(Termination.COMPLETED, message=str(error))
        if labels is None:
            return SolverResult(Termination.TIME_LIMIT)
        return SolverResult(Termination.COMPLETED, decision_of(items, labels))


@dataclass(frozen=True)
class Ward(Solver[SumOfSquares]):
    """Hierarchical clustering by Ward's linkage (scipy), which merges where the sum of squares grows least."""

    name = "ward"
    problems = (SumOfSquares,)
    guarantee = Guarantee.HEURISTIC
    packages = ("scipy",)
    up_to = 20_000  # whose distances fit into memory

    @override
    def serves(self, problem: Problem) -> bool:
        return isinstance(problem, SumOfSquares) and problem.plain and self.too_large(problem) is None

    @override
    def solve(self, problem: SumOfSquares, limits: Limits) -> SolverResult:
        from scipy.cluster.hierarchy import cut_tree, ward

        if problem.users == 1:
            return SolverResult(Termination.COMPLETED, Decision(clusters=np.zeros(1, dtype=np.int64)))
        scaled = problem.points / (float(np.abs(problem.points).max()) or 1.0)
        labels = cut_tree(ward(scaled), n_clusters=[problem.clusters]).ravel()
        return SolverResult(Termination.COMPLETED, Decision(clusters=labels.astype(np.int64)))


@dataclass(frozen=True)
class Groups(Solver[SumOfSquares]):
    """A bound for thousands of points: fair groups of ``size`` points, each bounded alone; the partition is of HG-means.

    ``tolerance`` is the gap within a group at which its bound is taken. As many groups are bounded at a time as there
    are threads. The details of its result hold the group of each point and the bound of each group, the certificate.
    """

    name = "groups"
    problems = (SumOfSquares,)
    guarantee = Guarantee.BOUND
    packages = ("scipy",)
    up_to = 300_000
    size: int = 150
    tolerance: float = 2e-3

    @override
    def serves(self, problem: Problem) -> bool:
        return isinstance(problem, SumOfSquares) and problem.plain and self.too_large(problem) is None

    @override
    def solve(self, problem: SumOfSquares, limits: Limits) -> SolverResult:
        deadline = Deadline(limits)
        items = items_for(problem)
        brief = Deadline(Limits(time_s=0.2 * limits.time_s))
        labels = hybrid(items, limits.seed, 20 if problem.users > _FEW else 100, patience=10, deadline=brief)
        if labels is None:
            return SolverResult(Termination.TIME_LIMIT)
        decision = decision_of(items, labels)
        report(decision)
        count = max(-(-problem.users // self.size), 1)
        points = problem.points - problem.points.mean(axis=0)
        half = Deadline(Limits(time_s=0.3 * deadline.left))
        groups = fair_groups(points, labels[items.groups], count, limits.seed, half)

        def tell(found: GroupBounds) -> None:
            report(bound=found.lower)

        found = bounded(
            problem.points, problem.clusters, groups, deadline, tolerance=self.tolerance, processes=limits.threads,
            tell=tell,
        )  # fmt: skip
        details = {"groups": groups.tolist(), "bounds": found.bounds.tolist()}
        told = f"time for {found.searched:,} of {count:,} groups; the others have the bound of principal components"
        message = told if found.searched < count else ""
        return SolverResult(Termination.COMPLETED, decision, found.lower, message, details)
