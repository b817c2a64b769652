"""Steps and whole SMs together, exactly."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from typing_extensions import override

from hisopt.decision import Decision
from hisopt.equations import edge_step_energy_cost
from hisopt.problems import Joint, Problem
from hisopt.result import PROVEN, Guarantee, Limits, SolverResult, Termination, relative_gap
from hisopt.solvers.allocation.whole import MOST_SMS, marginal_allocation
from hisopt.solvers.base import Deadline, Solver
from hisopt.solvers.joint import scalar_coupling, step_tables
from hisopt.solvers.joint.exact import lost_in_sums, most_quality
from hisopt.solvers.joint.whole_sms import MOST_ENTRIES, Options, merge
from hisopt.solvers.run.progress import Pace, report

if TYPE_CHECKING:
    from hisopt.arrays import BoolArray, IntArray
    from hisopt.instances import Instance

_CLOSED = 1e-9  # relative; no search goes on below
_QUICK = 3e7  # pairs of states and options up to which a merge comes before the bound with real SMs
_REASONS = {
    Termination.TIME_LIMIT: "time ran out",
    Termination.MEMORY_LIMIT: "the merge over the SMs needs more memory than it may take",
    Termination.NUMERICAL_ERROR: "rounding errors are larger than the gap allowed",
}


@dataclass(frozen=True)
class JointExactInteger(Solver[Joint]):
    """P_II with whole SMs: prices of an SM bound it, real SMs bound it, and the clusters' SMs near both are merged.

    The optimum with real SMs is a bound that rounding its SMs often meets within 1e-6, above all where SMs are many; else
    a (max,+) dynamic program over the SMs in use, pruned by the price's bound, ends with the optimum. OPTIMAL means that
    objective and bound are within 1e-6 relative; the bound holds a margin of (32 + 4 sqrt(N)) 2^-52 of the numbers added up.
    """

    name = "exact-integer"
    problems = (Joint,)
    guarantee = Guarantee.EXACT
    numpy_only = True

    def serves(self, problem: Problem) -> bool:
        """The joint problem with whole SMs."""
        return isinstance(problem, Joint) and problem.whole_sms

    @override
    def solve(self, problem: Joint, limits: Limits) -> SolverResult:
        instance, deadline = problem.instance, Deadline(limits)
        if instance.sm_budget > MOST_SMS:
            return SolverResult(Termination.UNAVAILABLE, message=f"whole SMs are counted up to {MOST_SMS}")
        search = _Search(instance, int(instance.sm_budget))
        if search.options.forced > search.budget:
            return SolverResult(Termination.INFEASIBLE, message="more clusters must have steps on the server than SMs")
        stopped = search.run(limits, deadline)
        decision = search.decision
        bound = search.tables.constant + search.bound
        # the first is the search's own and costs nothing; a value that nearly cancels is measured by its parts
        proven = search.gap <= PROVEN or problem.gap(decision, bound) <= PROVEN
        # a search that ended leaves nothing but the margin for rounding
        termination = Termination.OPTIMAL if proven else stopped or Termination.NUMERICAL_ERROR
        return SolverResult(
            termination,
            decision,
            bound,
            _REASONS.get(termination, ""),
            details={"bound_by_price": search.tables.constant + search.dual, "price_of_an_sm": search.price},
        )


class _Search:
    """Holds the incumbent (options, SMs, value) and the bound, without the utility's constant."""

    def __init__(self, instance: Instance, budget: int) -> None:
        self.instance, self.budget = instance, budget
        self.tables = tables = step_tables.for_instance(instance, whole=True)
        self.options = Options.of(tables.gain, tables.load**2, tables.work, tables.offsets)
        if budget == 0 and not self.options.forced:
            self.options = self.options.idle_only()

    @property
    def decision(self) -> Decision:
        """The incumbent."""
        instance, options = self.instance, self.options
        common, steps_edge = self.tables.steps(options.index[self.pick])
        sms = np.where(options.busy[self.pick], self.sms, 0).astype(np.float64)
        return Decision.of_steps(instance.steps.total, common, steps_edge, sms, instance.labels)

    def run(self, limits: Limits, deadline: Deadline) -> Termination | None:
        """Improve incumbent and bound until they meet; return why that stopped early, if it did."""
        pace = Pace()
        options, budget = self.options, self.budget
        self.price, self.dual, sms = options.minimise_dual(budget)
        self.pick, self.sms, self.value = options.improve(sms, budget)
        self.rounding = self._margin(np.ones(len(options.gain), dtype=bool))
        _, value = options.priced(self.price, budget)
        top = np.maximum.reduceat(value, options.starts)[options.cluster]
        self.rounding = self._margin(top - value <= self.loss + self.rounding)  # no other is in an optimum
        self.bound = max(self.dual, self.value) + self.rounding
        if pace.due:
            report(self.decision, self.tables.constant + self.bound)
        if self.gap <= _CLOSED:
            return None
        quick = options.candidates(self.price, budget, self.loss, MOST_ENTRIES // 8)
        if quick is None or _pairs(quick[0], budget) > _QUICK:
            self._real(Deadline(replace(limits, time_s=deadline.left / 2)))
            if self.gap <= PROVEN:
                return None
            quick = options.candidates(self.price, budget, self.loss)
        if deadline.passed:
            return Termination.TIME_LIMIT
        if quick is None:
            return Termination.MEMORY_LIMIT
        if pace.due:  # what follows may take most of the time
            report(self.decision, self.tables.constant + self.bound)
        found = merge(*quick, budget, self.price, self.loss, lambda: deadline.passed, limits.memory_gb * 0.25e9)
        if found.sms is not None:
            self._offer(found.sms)
        if found.stopped is None:
            self.bound = min(self.bound, self.value + self.rounding)
        return found.stopped

    def _margin(self, kept: BoolArray) -> float:
        """Return what rounding may hide in choices among some options, by the numbers that these are sums of.

        A gain is at most w1 sum |Q| less costs that all have one sign, e W among them.
        """
        options = self.options
        energy = edge_step_energy_cost(self.instance) * self.tables.work[options.index]
        gains = np.maximum.reduceat(np.where(kept, np.abs(options.gain) + 2 * energy, 0.0), options.starts).sum()
        ends = abs(self.dual) + abs(self.value) + abs(self.tables.constant)
        terms = float(gains + 2 * most_quality(self.instance) + self.price * self.budget + ends)
        return lost_in_sums(self.instance.users) * terms

    @property
    def loss(self) -> float:
        """What an optimal choice may lose against the bound by the price."""
        return max(self.dual - self.value, 0.0) + self.rounding

    @property
    def gap(self) -> float:
        """The relative gap."""
        return relative_gap(self.tables.constant + self.value, self.tables.constant + self.bound)

    def _offer(self, sms: IntArray) -> None:
        pick, sms, value = self.options.improve(sms, self.budget)
        if value > self.value:
            self.pick, self.sms, self.value = pick, sms, value

    def _real(self, deadline: Deadline) -> None:
        """Bound by the optimum with real SMs, and round its SMs."""
        tables = self.tables
        if not (tables.load > 0).any():
            return
        real = scalar_coupling.maximise(
            tables.gain, tables.load, tables.offsets, float(self.budget), deadline,
            constant=tables.constant, tolerance=_CLOSED,
        )  # fmt: skip
        self.bound = min(self.bound, max(real.bound, real.value) + self.rounding)
        sms = marginal_allocation(tables.load[real.choice] ** 2, self.budget, tables.work[real.choice] > 0)
        if sms is not None:
            self._offer(sms)
        self.bound = max(self.bound, self.value)


def _pairs(sms: list[IntArray], budget: int) -> float:
    """Return about how many pairs of states and options a merge forms."""
    sizes = sorted(len(own) for own in sms)
    states, pairs = 1.0, 0.0
    for size in sizes:
        pairs += states * size
        states = min(states * size, budget + 1.0)
    return pairs
