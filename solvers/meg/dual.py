"""The Lagrangian dual of a constrained Markov decision process whose actions do not move the state, without the large program.

For multipliers mu the best policy takes in each state the action with the largest r - mu c: one pass over the pairs. The dual
g(mu) is convex and piecewise linear; Kelley's cutting planes (SIAM J. Applied Mathematics 8(4), 1960) minimise it over a
program of one row a limit and one column a policy seen. Its solution mixes at most one policy more than there are limits, and as
occupancies are linear in the policy the mixture is itself a policy with the mixed means (Dantzig and Wolfe, 1960).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import OptimizeResult, linprog

from hisopt.solvers.meg.cmdp import CmdpSolution, best_actions, means_of
from hisopt.solvers.meg.vertex import purified

if TYPE_CHECKING:
    from hisopt.arrays import FloatArray, IntArray
    from hisopt.cmdp import Cmdp

_CLOSED = 1e-12  # relative distance of the bound at which the program has ended
_REPEATED = 1e-15  # relative size of a policy's difference to one seen, at which rounding alone tells them apart
_INFEASIBLE = 1e-9
_PASSES = 1000


class _Seen:
    """The deterministic policies seen: their actions (S,), mean rewards and mean costs."""

    def __init__(self, process: Cmdp) -> None:
        self.process = process
        self.actions: list[IntArray] = []
        self.rewards: list[float] = []
        self.costs: list[FloatArray] = []
        self.repeated = False  # whether the last policy was there before: no multiplier leads further

    def take(self, multipliers: FloatArray, *, with_reward: bool) -> tuple[float, FloatArray]:
        """Take in the best policy at the multipliers; return its mean reward and costs."""
        actions = best_actions(self.process, multipliers, with_reward=with_reward)
        reward, costs = means_of(self.process, actions)
        self.repeated = any(
            abs(reward - known) <= _REPEATED * abs(reward)
            and (np.abs(costs - other) <= _REPEATED * np.abs(costs)).all()
            for known, other in zip(self.rewards, self.costs, strict=True)
        )
        self.actions.append(actions)
        self.rewards.append(reward)
        self.costs.append(costs)
        return reward, costs

    def mix(self, *, elastic: bool) -> tuple[OptimizeResult, FloatArray]:
        """Return the best mixture within the limits (elastic: of least violation), and the multipliers, shape (K,)."""
        process, count = self.process, len(self.actions)
        rows = np.array(self.costs).T / process.scale[:, None]
        gain, one = -np.array(self.rewards), np.ones((1, count))
        if elastic:
            rows = np.hstack([rows, -np.ones((len(rows), 1))])
            gain, one = np.append(np.zeros(count), 1.0), np.append(one, [[0.0]], axis=1)
        found = linprog(
            gain, A_ub=rows, b_ub=process.limits / process.scale, A_eq=one, b_eq=[1.0], bounds=(0, None), method="highs-ds",
            options={"dual_feasibility_tolerance": 1e-10, "primal_feasibility_tolerance": 1e-10},
        )  # fmt: skip
        if found.status != 0:
            raise ArithmeticError(f"HiGHS: {found.message}")
        return found, np.maximum(-found.ineqlin.marginals, 0.0) / process.scale


def solve(process: Cmdp, time_limit_s: float | None = None) -> CmdpSolution | None:
    """Maximise mean reward within the limits; None where the time ran out. See the module.

    ``iterations`` counts passes over the pairs. The mixture is random wherever its policies differ; the policy that is returned,
    as good and as costly, in no more states than there are limits.
    """
    end = np.inf if time_limit_s is None else time.perf_counter() + time_limit_s
    seen = _Seen(process)
    count = len(process.limits)
    for k in range(count):
        seen.take(np.eye(count)[k] / process.scale[k], with_reward=False)
    for _ in range(_PASSES):  # phase one: the least violation
        found, price = seen.mix(elastic=True)
        violation = float(found.x[-1])
        if violation <= 0:
            break
        _, costs = seen.take(price, with_reward=False)
        if seen.repeated or violation - float(price @ (costs - process.limits)) <= _CLOSED * max(1.0, violation):
            break
        if time.perf_counter() > end:
            return None
    if violation > _INFEASIBLE:
        return CmdpSolution(None, -np.inf, np.zeros(count), violation=violation, iterations=len(seen.actions))
    best_bound, best_price = np.inf, np.zeros(count)
    seen.take(np.zeros(count), with_reward=True)
    for _ in range(_PASSES):
        found, price = seen.mix(elastic=False)
        reward, costs = seen.take(price, with_reward=True)
        bound = reward - float(price @ (costs - process.limits))
        if bound < best_bound:
            best_bound, best_price = bound, price
        if seen.repeated or best_bound + found.fun <= _CLOSED * max(1.0, abs(best_bound)):
            break
        if time.perf_counter() > end:
            return None
    policy = np.zeros_like(process.reward)
    states = np.arange(len(policy))
    for share, actions in zip(found.x, seen.actions, strict=False):
        if share > 0:
            policy[states, actions] += share
    policy /= policy.sum(axis=1, keepdims=True)
    policy = purified(process, policy)
    return CmdpSolution(
        policy,
        best_bound,
        best_price,
        randomised=int(((policy > 0).sum(axis=1) > 1).sum()),
        iterations=len(seen.actions),
    )
