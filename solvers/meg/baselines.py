"""Policies to beat: one action whatever the channel, and one drawn at random."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from typing_extensions import override

from hisopt.decision import Decision
from hisopt.errors import InputError
from hisopt.problems import Meg
from hisopt.result import Guarantee, Limits, SolverResult, Termination
from hisopt.solvers.base import Solver

if TYPE_CHECKING:
    from hisopt.arrays import FloatArray

_WITHIN = 5e-10  # relative to a limit; half of what the evaluation grants


def pure(problem: Meg, actions: FloatArray | int) -> FloatArray:
    """Return the policy that takes these actions, one for all bins or one a bin, shape (H, A)."""
    policy = np.zeros(problem.shapes["policy"])
    policy[np.arange(len(policy)), actions] = 1.0
    return policy


def thriftiest(problem: Meg) -> FloatArray:
    """Return the policy that takes in each bin the allowed action with the least sum of costs, each relative to its limit."""
    process = problem.process
    total = np.tensordot(1 / process.scale, process.costs, axes=1)
    return pure(problem, np.where(process.allowed, total, np.inf).argmin(axis=1))


def within(problem: Meg, policy: FloatArray) -> FloatArray | None:
    """Return a policy moved towards the thriftiest one as far as the mean limits need; None where even that is too much."""
    process, cheap = problem.process, thriftiest(problem)
    over = (process.mean(policy)[1] - process.limits) / process.scale
    under = (process.mean(cheap)[1] - process.limits) / process.scale
    if (under > _WITHIN).any():
        return None
    needed = over > 0
    share = float(np.max(over[needed] / (over[needed] - np.minimum(under[needed], 0.0)), initial=0.0))
    return (1 - share) * policy + share * cheap


@dataclass(frozen=True)
class Fixed(Solver[Meg]):
    """One (n, beta) whatever the channel: the one asked for, or the best that meets the limits.

    ``steps`` and ``ratio`` are values of the instance's n and beta; None leaves the choice open.
    """

    name = "fixed"
    problems = (Meg,)
    guarantee = Guarantee.HEURISTIC
    numpy_only = True

    steps: float | None = None
    ratio: float | None = None

    @override
    def solve(self, problem: Meg, limits: Limits) -> SolverResult:
        instance, process = problem.instance, problem.process
        wanted = np.ones(instance.actions, dtype=bool)
        for name, value, values, index in (
            ("steps", self.steps, instance.steps, np.arange(instance.actions) // len(instance.ratios)),
            ("ratio", self.ratio, instance.ratios, np.arange(instance.actions) % len(instance.ratios)),
        ):
            if value is not None:
                if value not in values:
                    known = ", ".join(f"{v:g}" for v in values)
                    raise InputError(f"{name}: is {value:g}, the instance has {known}")
                wanted &= values[index] == value
        means = np.tensordot(process.costs, process.probability, axes=(1, 0))  # (K, A)
        excess = ((means - process.limits[:, None]) / process.scale[:, None]).max(axis=0)
        everywhere = process.allowed[process.probability > 0].all(axis=0)
        feasible = wanted & everywhere & (excess <= _WITHIN)
        reward = process.probability @ process.reward
        if not feasible.any():
            least = float(excess[wanted].min())
            return SolverResult(
                Termination.COMPLETED,
                message=f"no fixed action meets the limits: the closest exceeds one by {max(least, 0):.4%} of it"
                if least > 0
                else "no fixed action keeps the limits of every slot",
            )
        best = int(np.where(feasible, reward, -np.inf).argmax())
        details = {"action": instance.action_name(best)}
        return SolverResult(Termination.COMPLETED, Decision(policy=pure(problem, best)), details=details)


@dataclass(frozen=True)
class RandomPolicy(Solver[Meg]):
    """A random policy over the allowed actions, moved towards the thriftiest one as far as the limits need."""

    name = "random"
    problems = (Meg,)
    guarantee = Guarantee.HEURISTIC
    numpy_only = True

    @override
    def solve(self, problem: Meg, limits: Limits) -> SolverResult:
        process = problem.process
        if problem.blocked is not None:
            return SolverResult(Termination.COMPLETED, message="no action keeps the limits of a slot in some bin")
        rng = np.random.default_rng(limits.seed)
        drawn = rng.exponential(size=process.reward.shape) * process.allowed
        drawn[~process.allowed.any(axis=1), 0] = 1.0  # bins that never occur
        drawn /= drawn.sum(axis=1, keepdims=True)
        policy = within(problem, drawn)
        if policy is None:
            return SolverResult(Termination.COMPLETED, message="the thriftiest actions do not meet the limits")
        return SolverResult(Termination.COMPLETED, Decision(policy=policy))
