"""Clusters, steps and SMs together, exactly, for few users."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from typing_extensions import override

from hisopt.problems import Full, Problem, sizes_of
from hisopt.result import PROVEN, Guarantee, Limits, SolverResult, Termination
from hisopt.solvers.base import Deadline, Solver
from hisopt.solvers.clustering.partitions import MAX_USERS, SubsetLattice, allowed_sizes, labels_of, membership
from hisopt.solvers.full import subset_tables
from hisopt.solvers.joint import scalar_coupling, step_tables
from hisopt.solvers.joint.exact import with_optimal_sms
from hisopt.solvers.run.progress import Pace, report

if TYPE_CHECKING:
    from collections.abc import Callable

    from hisopt.arrays import FloatArray
    from hisopt.instances import Instance

_CLOSE = 1e-10  # relative; what is this close to the incumbent is not searched
_ROUNDING = 1e-14  # of the numbers that are added up


@dataclass(frozen=True)
class Subsets(Solver[Full]):
    """The full problem: each subset's candidates, priced by the scalar dual, and a dynamic program over sets of users.

    The program gives an upper bound for every multiplier and, at the best one, for every partial partition; the few
    partitions whose bound exceeds the incumbent by more than 1e-10 relative are solved exactly as joint problems. Up to
    15 users.
    """

    name = "subsets"
    problems = (Full,)
    guarantee = Guarantee.EXACT

    def serves(self, problem: Problem) -> bool:
        """The full problem with real SMs, up to 15 users."""
        return isinstance(problem, Full) and not problem.whole_sms and problem.instance.users <= MAX_USERS

    @override
    def solve(self, problem: Full, limits: Limits) -> SolverResult:
        deadline = Deadline(limits)
        search = _Search(problem.instance, deadline, _telling(problem.instance))
        if not search.possible:
            return SolverResult(Termination.INFEASIBLE, message="no partition meets the limits on cluster sizes")
        search.run()
        labels = labels_of(search.best, problem.instance.users)
        given = problem.instance.with_clusters(labels)
        tables = step_tables.for_instance(given)
        found = scalar_coupling.maximise(tables.gain, tables.load, tables.offsets, float(given.edge.sms), deadline)
        constant = search.tables.constant
        decision, bound = with_optimal_sms(given, *tables.steps(found.choice)), constant + search.bound
        open_end = Termination.TIME_LIMIT if deadline.passed else Termination.ITERATION_LIMIT
        return SolverResult(
            Termination.OPTIMAL if problem.gap(decision, bound) <= PROVEN else open_end,
            decision,
            bound,
            details={"partitions_solved": search.solved, "dual_bound": constant + search.dual},
        )


def _telling(instance: Instance) -> Callable[[list[int], float], None]:
    """Return what reports a partition with its best steps and SMs, and a bound, now and then."""
    pace = Pace()
    told: list[int] | None = None

    def tell(partition: list[int], bound: float) -> None:
        nonlocal told
        if not pace.due:
            return
        decision = None
        if partition != told:
            told, given = partition, instance.with_clusters(labels_of(partition, instance.users))
            tables = step_tables.for_instance(given)
            found = scalar_coupling.maximise(tables.gain, tables.load, tables.offsets, float(given.edge.sms))
            decision = with_optimal_sms(given, *tables.steps(found.choice))
        report(decision, bound if np.isfinite(bound) else None)

    return tell


class _Search:
    def __init__(self, instance: Instance, deadline: Deadline, tell: Callable[[list[int], float], None]) -> None:
        self._tell = tell
        self.users, self.count = instance.users, instance.max_clusters
        self.budget, self.deadline = float(instance.edge.sms), deadline
        self.allowed = allowed_sizes(sizes_of(instance), membership(self.users).sum(axis=1))
        self.tables = step_tables.build(subset_tables.members(instance, np.arange(1 << self.users)))
        self.lattice = SubsetLattice.of(self.users)
        self.best: list[int] = []
        self.value, self.dual, self.solved, self.complete = -np.inf, np.inf, 0, True
        self.unsearched = -np.inf  # the best bound of what was left out
        feasible = self.lattice.best_partitions(np.where(self.allowed, 0.0, -np.inf), self.count)
        self.possible = bool(np.isfinite(feasible[-1, -1]))

    @property
    def bound(self) -> float:
        """A bound on every partition, without the utility's constant."""
        return min(self.dual, max(self.value, self.unsearched)) if self.complete else self.dual

    @property
    def slack(self) -> float:
        """By how much a bound must exceed the incumbent to be worth a search."""
        magnitude = abs(self.dual) + abs(self.value) + abs(self.tables.constant)
        return max(_CLOSE * abs(self.tables.constant + self.value), _ROUNDING * magnitude)

    def run(self) -> None:
        """Minimise the dual over the multiplier, then walk the partitions that may beat the incumbent."""
        low, high = 0.0, None
        multiplier, best_multiplier = 0.0, 0.0
        for _ in range(60):
            dual, load = self._price(multiplier)
            if dual < self.dual:
                self.dual, best_multiplier = dual, multiplier
            if load >= multiplier:
                low = multiplier
            else:
                high = multiplier
            if high is None:
                multiplier = load if load > multiplier else 2 * multiplier
                high = multiplier if load <= multiplier else None
                if load == 0.0:
                    break
            else:
                if high - low <= 1e-6 * high or self.deadline.passed:
                    break
                multiplier = (low + high) / 2
        value = self._subset_values(best_multiplier)
        best = self.lattice.best_partitions(value, self.count)
        self._walk(len(value) - 1, self.count, best_multiplier**2 / self.budget, [], value, best)

    def _subset_values(self, multiplier: float) -> FloatArray:
        priced = self.tables.gain - (2 * multiplier / self.budget) * self.tables.load
        value = np.maximum.reduceat(priced, self.tables.offsets[:-1])
        return np.where(self.allowed, value, -np.inf)

    def _price(self, multiplier: float) -> tuple[float, float]:
        """Return h(lambda) and the total load of a partition that attains it; offer the partition as incumbent."""
        value = self._subset_values(multiplier)
        best = self.lattice.best_partitions(value, self.count)
        partition = self.lattice.partition(value, best)
        self._offer(partition)
        load = 0.0
        for subset in partition:
            part = slice(self.tables.offsets[subset], self.tables.offsets[subset + 1])
            priced = self.tables.gain[part] - (2 * multiplier / self.budget) * self.tables.load[part]
            load += float(self.tables.load[part][int(np.argmax(priced))])
        return multiplier**2 / self.budget + float(best[-1, -1]), load

    def _offer(self, partition: list[int]) -> None:
        pieces = [slice(self.tables.offsets[s], self.tables.offsets[s + 1]) for s in partition]
        gain = np.concatenate([self.tables.gain[piece] for piece in pieces])
        load = np.concatenate([self.tables.load[piece] for piece in pieces])
        offsets = np.concatenate([[0], np.cumsum([piece.stop - piece.start for piece in pieces])])
        found = scalar_coupling.maximise(gain, load, offsets, self.budget, self.deadline)
        self.solved += 1
        if found.bound > found.value:
            self.unsearched = max(self.unsearched, found.bound)
        if found.value > self.value:
            self.value, self.best = found.value, partition
        self._tell(self.best, self.tables.constant + self.dual)

    def _walk(
        self, left: int, count: int, bound: float, chosen: list[int], value: FloatArray, best: FloatArray
    ) -> None:
        """Extend a partial partition by every subset whose bound clearly exceeds the incumbent, best first."""
        if self.deadline.passed:
            self.complete = False
            return
        if left == 0:
            self._offer(chosen)
            return
        subset, rest = self.lattice.splits(left)
        ahead = bound + value[subset] + best[count - 1, rest]
        for i in np.argsort(-ahead, kind="stable"):
            if ahead[i] <= self.value + self.slack:
                self.unsearched = max(self.unsearched, float(ahead[i]))
                break
            self._walk(int(rest[i]), count - 1, bound + value[subset[i]], [*chosen, int(subset[i])], value, best)
