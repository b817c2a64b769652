"""The full problem by local search over partitions, the exact joint solver inside."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from typing_extensions import override

from hisopt.problems import Clustering, Full, Joint, Problem, sizes_of
from hisopt.result import Guarantee, Limits, SolverResult, Termination
from hisopt.solvers.base import Deadline, Solver
from hisopt.solvers.clustering.balance import balance
from hisopt.solvers.clustering.branch_bound.size_limits import SizeLimits, impossible
from hisopt.solvers.clustering.hac import average_linkage
from hisopt.solvers.clustering.kmeans import lloyd
from hisopt.solvers.clustering.refined_hac import best_refined
from hisopt.solvers.full.moves import Oracle, State
from hisopt.solvers.joint.exact import JointExact
from hisopt.solvers.joint.whole import JointExactInteger
from hisopt.solvers.run.progress import report

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hisopt.arrays import BoolArray, FloatArray, IntArray

_BLOCK = 30_000  # copies of users that are priced at once
_SWAPS = 1000  # pairs of users tried before a partition counts as a local optimum
_LEAST = 1e-9  # least gain of a step, relative
_WHOLE = 4  # partitions that whole SMs are tried on


@dataclass(frozen=True)
class PartitionSearch(Solver[Full]):
    """Users relocated and swapped, clusters merged and split, while the joint optimum improves; restarted from changes.

    It starts from HAC, refined HAC, k-means and random clusters. All relocations of some users are priced at once by what
    they attain at the partition's own multiplier (`hisopt.solvers.full.moves`); the best is then solved exactly. From a
    local optimum it goes on with some users moved at random, or two clusters merged and one split, ``rounds`` times.
    With whole SMs the best partitions for real SMs are solved again for whole ones.
    """

    rounds: int = 60

    name = "local-search"
    problems = (Full,)
    guarantee = Guarantee.HEURISTIC
    packages = ("scipy",)

    def serves(self, problem: Problem) -> bool:
        """The full problem, real or whole SMs, with or without limits on cluster sizes."""
        return isinstance(problem, Full)

    @override
    def solve(self, problem: Full, limits: Limits) -> SolverResult:
        if (answer := impossible(Clustering.of(problem.instance))) is not None:
            return answer
        deadline = Deadline(limits)
        search = _Search(problem, deadline, limits)
        search.run(self.rounds)
        details = {"partitions_solved": search.oracle.solved, "descents": search.descents}
        if not search.best:
            return SolverResult(Termination.COMPLETED, message="no start met the limits on sizes", details=details)
        results = []
        for state in search.best[: _WHOLE if problem.whole_sms else 1]:
            results.append(search.decide(state))
            if deadline.passed:
                break
        best = max(results, key=lambda pair: pair[0])[1]
        return SolverResult(Termination.COMPLETED, best.decision, message=best.message, details=details)


def _one(user: IntArray, target: IntArray, k: int) -> list[tuple[int, int]]:
    return [(int(user[k]), int(target[k]))]


def _two(first: tuple[IntArray, IntArray], second: tuple[IntArray, IntArray], k: int) -> list[tuple[int, int]]:
    return _one(*first, k) + _one(*second, k)


def _partition(labels: IntArray) -> bytes:
    """What labels of the same partition share, whatever the numbers of its clusters."""
    _, first, cluster = np.unique(labels, return_index=True, return_inverse=True)
    return bytes(first[cluster].tobytes())


class _Search:
    """``best``: the best partitions found, best first."""

    def __init__(self, problem: Full, deadline: Deadline, limits: Limits) -> None:
        instance = problem.instance
        self.problem, self.embeddings, self.deadline, self.limits = problem, instance.vectors, deadline, limits
        self.oracle, self.sizes = Oracle(instance, deadline), SizeLimits.of(Clustering.of(instance))
        self.rng = np.random.default_rng(limits.seed)
        self.best: list[State] = []
        self.descents = 0
        self._done: set[bytes] = set()  # partitions that a descent began or ended with

    def run(self, rounds: int) -> None:
        """Descend from every start, then from changes of the best partition."""
        for start in self._starts():
            self._descend(start)
            if self.deadline.passed:
                return
        if self.sizes.users == 1 or self.oracle.count == 1 or not self.best:
            return
        for _ in range(rounds):
            if self.deadline.passed:
                return
            self._descend(self._changed(self.best[0].labels))

    def decide(self, state: State) -> tuple[float, SolverResult]:
        """Return a partition's best decision, by the exact joint solvers, and what it is worth."""
        whole = self.problem.whole_sms
        given = Joint(self.problem.instance.replace(clusters=state.labels, similarity=None), whole_sms=whole)
        solver = JointExactInteger() if whole else JointExact()
        left = Limits(max(self.deadline.left, 0.5), self.limits.memory_gb, self.limits.threads, self.limits.seed)
        result = solver.solve(given, left)
        if result.decision is None:
            return -np.inf, result
        value = self.problem.evaluate(result.decision).objective
        return (-np.inf if value is None else value), result

    def _starts(self) -> Iterator[IntArray]:
        count, points = self.oracle.count, self.embeddings
        yield average_linkage(points, count)
        for criterion in ("mean", "centroid"):
            yield best_refined(points, count, criterion, self.deadline)
        for seed in range(2):
            yield lloyd(points, count, self.limits.seed + seed)
        yield self.rng.integers(0, count, len(points))

    def _descend(self, labels: IntArray) -> None:
        """Relocate and swap until no move promises more; keep the local optimum."""
        limits = self.sizes
        labels = balance(self.embeddings, labels, "mean", limits.clusters, limits.least, limits.most)
        if sizes_of(self.problem.instance).faults(labels):
            return
        if _partition(labels) in self._done:
            return
        self._done.add(_partition(labels))
        state = self.oracle.solve(np.asarray(labels, dtype=np.int64))
        self.descents += 1
        if not self.best:
            self._keep(state)
        while not self.deadline.passed:
            better = self._relocated(state)
            if better is None:
                better = self._swapped(state)
            if better is None:
                break
            state = better
            if _partition(state.labels) in self._done:
                break
            if len(labels) > 200:
                self._keep(state)  # large problems tell on the way
        self._done.add(_partition(state.labels))
        self._keep(state)

    def _keep(self, state: State) -> None:
        best = self.best[0].value if self.best else -np.inf
        self.best = sorted([*self.best, state], key=lambda s: -s.value)[:_WHOLE]
        if state.value > best:
            result = self.decide(state)[1]
            if result.decision is not None:
                report(result.decision)

    def _relocated(self, state: State) -> State | None:
        """Take the best relocation of every block of users that truly gains; None if none does."""
        users = self.rng.permutation(len(state.labels))
        copies = max(len(users) * (self.oracle.count + 1) // max(self.oracle.count, 1), 1)
        step = max(1, _BLOCK // copies)
        start = state
        for first in range(0, len(users), step):
            if self.deadline.passed:
                break
            promised, user, target = self.oracle.relocations(state, users[first : first + step])
            if len(user):
                promised[~self._allowed(state.labels, user, target)] = -np.inf
                moved = self._truly(state, promised, partial(_one, user, target))
                state = moved or state
        return state if state is not start else None

    def _swapped(self, state: State) -> State | None:
        first, second = np.triu_indices(len(state.labels), 1)
        apart = state.labels[first] != state.labels[second]
        first, second = first[apart], second[apart]
        if len(first) > _SWAPS:
            chosen = self.rng.choice(len(first), _SWAPS, replace=False)
            first, second = first[chosen], second[chosen]
        own = np.bincount(state.labels, minlength=self.oracle.count)
        step = max(1, _BLOCK // max(2 * int(own.max()), 1))
        for k in range(0, len(first), step):
            if self.deadline.passed:
                return None
            i, j = first[k : k + step], second[k : k + step]
            promised = self.oracle.swaps(state, i, j)
            a, b = state.labels[i], state.labels[j]
            moved = self._truly(state, promised, partial(_two, (i, b), (j, a)))
            if moved is not None:
                return moved
        return None

    def _truly(self, state: State, promised: FloatArray, moves: Callable[[int], list[tuple[int, int]]]) -> State | None:
        """Solve the most promising move exactly; the new state if it gains."""
        least = _LEAST * max(1.0, abs(state.value))
        pick = int(np.argmax(promised))
        if not promised[pick] > state.value + least:
            return None
        labels = state.labels.copy()
        for user, target in moves(pick):
            labels[user] = target
        moved = self.oracle.solve(labels)
        return moved if moved.value > state.value + least else None

    def _allowed(self, labels: IntArray, user: IntArray, target: IntArray) -> BoolArray:
        sizes, instance = np.bincount(labels, minlength=self.oracle.count), sizes_of(self.problem.instance)
        left, entered = sizes[labels[user]] - 1, sizes[target] + 1
        most = instance.most or len(labels)
        allowed: BoolArray = ((left == 0) | (left >= instance.least)) & (entered >= instance.least) & (entered <= most)
        return allowed

    def _changed(self, labels: IntArray) -> IntArray:
        """Move some users at random, or merge two clusters and split one around two of its members."""
        rng, count, labels = self.rng, self.oracle.count, labels.copy()
        if rng.random() < 0.5:
            users = rng.choice(len(labels), max(1, int(rng.uniform(0.05, 0.25) * len(labels))), replace=False)
            labels[users] = rng.integers(0, count, len(users))
            return labels
        a, b = rng.choice(count, 2, replace=False)
        labels[labels == b] = a
        split = rng.choice(np.unique(labels))
        members = np.flatnonzero(labels == split)
        if len(members) > 1:
            seeds = rng.choice(members, 2, replace=False)
            near = self.oracle.gram[np.ix_(members, seeds)]
            labels[members[near[:, 1] > near[:, 0]]] = b
        return labels
