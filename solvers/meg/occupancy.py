"""The occupancy-measure linear program of a constrained Markov decision process, in HiGHS, by sifting.

The program has a column for every state and action, but a vertex uses one action in nearly every state. Sifting solves it over
a few columns, prices all others by the multipliers, takes those in that would gain, and ends where none would (Bixby, Gregory,
Lustig, Marsten, Shanno, Operations Research 40(5), 1992): the same optimum, from columns a state instead of all of them.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import OptimizeResult, linprog
from scipy.sparse import csr_array, hstack

from hisopt.solvers.meg.cmdp import CmdpSolution, lagrangian_bound, worth

if TYPE_CHECKING:
    from hisopt.arrays import BoolArray
    from hisopt.cmdp import Cmdp

_SMALL = 1e-9  # share of a state's probability below which an action is rounding
_GAIN = 1e-11  # relative gain below which a column is not worth taking in
_INFEASIBLE = 1e-9  # relative violation from which limits cannot be met
_MANY = 200  # states from which the interior point method, ended by crossover to a vertex, is faster than the simplex


def solve(process: Cmdp, time_limit_s: float | None = None) -> CmdpSolution | None:
    """Maximise mean reward within the limits; None where the time ran out.

    Columns are d(s, a) / nu(s) = pi(a | s) of the allowed actions in states that occur; a row a state sums them to one, a row a
    limit is scaled to one. A vertex has at most one randomised state for each limit that binds. The bound is the Lagrangian at
    the program's multipliers, valid however inexact they are. Where no policy meets the limits, ``violation`` is the least
    possible largest violation relative to the limits.
    """
    end = np.inf if time_limit_s is None else time.perf_counter() + time_limit_s
    chosen = _first_columns(process)
    least = _sift(process, chosen, elastic=True, end=end)
    if least is None:
        return None
    if least.x[-1] > _INFEASIBLE:
        return CmdpSolution(None, -np.inf, np.zeros(len(process.limits)), violation=float(least.x[-1]))
    found = _sift(process, chosen, elastic=False, end=end)
    if found is None:
        return None
    state, action = np.nonzero(chosen)
    policy = np.zeros_like(process.reward)
    policy[state, action] = np.where(found.x > _SMALL, found.x, 0.0)
    never = np.flatnonzero(process.probability == 0)  # such states have no row: any action will do
    policy[never, process.allowed[never].argmax(axis=1)] = 1.0
    policy /= policy.sum(axis=1, keepdims=True)
    multipliers = np.maximum(-found.ineqlin.marginals, 0.0) / process.scale
    randomised = int(((policy > 0).sum(axis=1) > 1).sum())
    if randomised > len(process.limits):
        raise ArithmeticError(f"HiGHS: {randomised} random states with {len(process.limits)} limits: not a vertex")
    return CmdpSolution(
        policy, lagrangian_bound(process, multipliers), multipliers, randomised=randomised, iterations=int(found.nit)
    )


def _first_columns(process: Cmdp) -> BoolArray:
    """Take the best action of every state by reward and by each cost; True where taken, shape (S, A)."""
    chosen = np.zeros(process.reward.shape, dtype=bool)
    states = np.flatnonzero(process.probability > 0)
    for value in (process.reward, *(-process.costs)):
        best = np.where(process.allowed[states], value[states], -np.inf).argmax(axis=1)
        chosen[states, best] = True
    return chosen


def _sift(process: Cmdp, chosen: BoolArray, *, elastic: bool, end: float) -> OptimizeResult | None:
    """Solve over the chosen columns and widen them in place until no other would gain.

    Elastic: minimise instead the violation t, the last column, that all limits may have in common.
    """
    occurring = np.flatnonzero(process.probability > 0)
    limits = process.limits / process.scale
    while True:
        state, action = np.nonzero(chosen)
        weight = process.probability[state]
        rows = csr_array(process.costs[:, state, action] * weight / process.scale[:, None])
        sums = csr_array((np.ones(len(state)), (np.searchsorted(occurring, state), np.arange(len(state)))),
                         shape=(len(occurring), len(state)))  # fmt: skip
        gain = -process.reward[state, action] * weight
        if elastic:
            rows = hstack([rows, csr_array(-np.ones((len(limits), 1)))]).tocsr()
            sums = hstack([sums, csr_array((len(occurring), 1))]).tocsr()
            gain = np.append(np.zeros(len(state)), 1.0)
        options = {"dual_feasibility_tolerance": 1e-10, "primal_feasibility_tolerance": 1e-10}
        if np.isfinite(end):
            options["time_limit"] = max(end - time.perf_counter(), 0.01)
        found: OptimizeResult = linprog(  # type: ignore[call-overload]  # which knows no sparse matrices
            gain, A_ub=rows, b_ub=limits, A_eq=sums, b_eq=np.ones(len(occurring)), bounds=(0, None),
            method="highs-ipm" if len(occurring) > _MANY else "highs-ds", options=options,
        )  # fmt: skip
        if found.status == 1 or time.perf_counter() > end:
            return None
        if found.status != 0:
            raise ArithmeticError(f"HiGHS: {found.message}")
        price = np.maximum(-found.ineqlin.marginals, 0.0) / process.scale
        value = worth(process, price, with_reward=not elastic)
        best = value[occurring].argmax(axis=1)
        top = value[occurring, best]
        inside = np.where(chosen[occurring], value[occurring], -np.inf).max(axis=1)
        wanted = top - inside > _GAIN * np.maximum(1.0, np.abs(top))
        if not wanted.any():
            return found
        chosen[occurring[wanted], best[wanted]] = True
