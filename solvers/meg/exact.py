"""The exact solvers of mobile edge generation: two programs with proofs of their own, and the Pyomo model in HiGHS."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from typing_extensions import override

from hisopt.decision import Decision
from hisopt.problems import Meg, Problem
from hisopt.result import PROVEN, Guarantee, Limits, SolverResult, Termination
from hisopt.solvers.backend import InHighs
from hisopt.solvers.base import Solver
from hisopt.solvers.meg.baselines import within

if TYPE_CHECKING:
    from collections.abc import Callable

    from hisopt.cmdp import Cmdp
    from hisopt.solvers.meg.cmdp import CmdpSolution
    from hisopt.solvers.meg.policy_iteration import MovingCmdp

_DENSE = 1000  # bins
_UNITS = {"latency": "s", "energy": "J", "latency_chance": "of probability", "energy_chance": "of probability"}


def blocked(problem: Meg) -> SolverResult | None:
    """Say that no action keeps the limits of a slot in some bin, if that is so."""
    h = problem.blocked
    if h is None:
        return None
    return SolverResult(
        Termination.INFEASIBLE,
        message=f"channel bin {h}: no action keeps latency_cap_s and energy_cap_j; the fastest takes "
        f"{problem.tables.latency[h].min():.4g} s, the thriftiest {problem.tables.energy[h].min():.4g} J",
    )


def too_tight(problem: Meg, violation: float) -> SolverResult:
    """Say that no policy meets the limits, and what is missing at least."""
    process = problem.process
    lowest = [float(process.probability @ np.where(process.allowed, c, np.inf).min(axis=1)) for c in process.costs]
    alone = [
        f"{name} {limit:.6g} is below {low:.6g}, its least mean"
        for name, limit, low in zip(problem.limit_names, process.limits, lowest, strict=True)
        if low > limit
    ]
    reason = "; ".join(alone) or "each limit can be met, but not all together"
    return SolverResult(
        Termination.INFEASIBLE,
        message=f"{reason}; every policy exceeds some limit by {violation:.4%} of it or more",
        details={"least_violation": violation, "least_means": dict(zip(problem.limit_names, lowest, strict=True))},
    )


def shadow_prices(problem: Meg, multipliers: Any) -> dict[str, dict[str, float | str]]:
    """Return each limit's multiplier and what it says."""
    return {
        name: {
            "value": float(value),
            "meaning": f"mean reward gained per {_UNITS[name]} by which the limit on {name} is raised"
            if value > 0
            else f"the limit on {name} costs no reward",
        }
        for name, value in zip(problem.limit_names, multipliers, strict=True)
    }


def answered(problem: Meg, found: CmdpSolution | None) -> SolverResult:
    """Return what an exact algorithm found; an optimum where its bound proves it."""
    if found is None:
        return SolverResult(Termination.TIME_LIMIT, message="the time passed before a policy was found")
    if found.policy is None:
        return too_tight(problem, found.violation)
    details = {
        "multipliers": shadow_prices(problem, found.multipliers),
        "randomised_bins": found.randomised,
        "iterations": found.iterations,
    }
    proven = problem.gap(Decision(policy=found.policy), found.bound) <= PROVEN
    return SolverResult(
        Termination.OPTIMAL if proven else Termination.NUMERICAL_ERROR, Decision(policy=found.policy), found.bound,
        "" if proven else "rounding leaves a gap to the bound", details,
    )  # fmt: skip


@dataclass(frozen=True)
class _Exact(Solver[Meg]):
    problems = (Meg,)
    guarantee = Guarantee.EXACT
    requires = ("scipy",)
    packages = ("scipy",)
    algorithm: ClassVar[str]

    @override
    def prepare(self) -> None:
        self._algorithm()

    def _algorithm(self) -> Callable[[Cmdp, float | None], CmdpSolution | None]:
        raise NotImplementedError

    @override
    def solve(self, problem: Meg, limits: Limits) -> SolverResult:
        return blocked(problem) or answered(problem, self._algorithm()(problem.process, limits.time_s))


@dataclass(frozen=True)
class OccupancyLp(_Exact):
    """The linear program over occupancies in HiGHS, by sifting; a vertex, so at most one random bin a limit that binds."""

    name = "occupancy-lp"

    @override
    def _algorithm(self) -> Callable[[Cmdp, float | None], CmdpSolution | None]:
        from hisopt.solvers.meg import occupancy

        return occupancy.solve


@dataclass(frozen=True)
class LagrangianDual(_Exact):
    """Cutting planes on the Lagrangian dual in one multiplier a limit: no program over the pairs."""

    name = "dual"

    @override
    def _algorithm(self) -> Callable[[Cmdp, float | None], CmdpSolution | None]:
        from hisopt.solvers.meg import dual

        return dual.solve


@dataclass(frozen=True)
class PolicyIteration(Solver[Meg]):
    """Policy iteration on the Lagrangian of a Markov channel; that actions do not move it is not used."""

    name = "policy-iteration"
    problems = (Meg,)
    guarantee = Guarantee.EXACT
    requires = ("scipy",)
    packages = ("scipy",)

    @override
    def prepare(self) -> None:
        import hisopt.solvers.meg.policy_iteration  # noqa: F401 - before the clock

    @override
    def serves(self, problem: Problem) -> bool:
        """Markov channels of so many bins that a dense system of equations is a matter of a second."""
        if not isinstance(problem, Meg):
            return False
        channel = problem.instance.channel
        return channel.transition is not None and channel.bins <= _DENSE

    @override
    def solve(self, problem: Meg, limits: Limits) -> SolverResult:
        from hisopt.solvers.meg import policy_iteration
        from hisopt.solvers.meg.vertex import purified

        stuck = blocked(problem)
        if stuck is not None:
            return stuck
        found = policy_iteration.solve(moving(problem), limits.time_s)
        if found is not None and found.policy is not None:
            policy = purified(problem.process, found.policy)
            found = replace(found, policy=policy, randomised=int(((policy > 0).sum(axis=1) > 1).sum()))
        return answered(problem, found)


def moving(problem: Meg) -> MovingCmdp:
    """Return the problem with its channel's transitions, which `hisopt.cmdp.Cmdp` has no need of."""
    from hisopt.solvers.meg.policy_iteration import MovingCmdp

    process, channel = problem.process, problem.instance.channel
    transition = np.tile(channel.probability, (channel.bins, 1)) if channel.transition is None else channel.transition
    allowed = process.allowed | ~process.allowed.any(axis=1, keepdims=True)  # bins that never occur
    start = channel.probability if channel.start is None else channel.start
    return MovingCmdp(
        process.reward, process.costs, process.limits, allowed, transition, start, problem.instance.discount
    )


@dataclass(frozen=True)
class MegHighs(InHighs[Meg]):
    """The linear program stated in Pyomo, with the flow balance of a Markov channel, in HiGHS."""

    name = "lp-highs"
    problems = (Meg,)
    form = "meg"

    @override
    def serves(self, problem: Problem) -> bool:
        """Where stating the balance is a matter of seconds."""
        from hisopt.models.meg import LARGEST, coefficients

        return isinstance(problem, Meg) and coefficients(problem) <= LARGEST

    @override
    def refused(self, problem: Meg) -> SolverResult | None:
        return blocked(problem)

    @override
    def solve(self, problem: Meg, limits: Limits) -> SolverResult:
        found = super().solve(problem, limits)
        if found.decision is None or found.termination is not Termination.OPTIMAL:
            return found
        policy = within(
            problem, found.decision.probabilities
        )  # HiGHS' tolerances on tiny occupancies are worth more of a policy
        return found if policy is None else replace(found, decision=Decision(policy=policy))
