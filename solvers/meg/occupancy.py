"""The occupancy-measure linear program of a constrained Markov decision process, sparse, in HiGHS."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import coo_array, vstack

from hisopt.arrays import FloatArray
from hisopt.solvers.meg.cmdp import Cmdp, CmdpSolution, lagrangian_bound

_SMALL = 1e-9  # share of a state's probability below which an action is rounding


def solve(process: Cmdp, time_limit_s: float | None = None) -> CmdpSolution | None:
    """Maximise mean reward within the limits; None where the time ran out.

    Columns are d(s, a) / nu(s) = pi(a | s) of the allowed actions in states that occur; a row a state sums them to one, a row a
    limit is scaled to one. A vertex has at most one randomised state for each limit that binds. The bound is the Lagrangian at
    the program's multipliers, valid however inexact they are.
    """
    state, action = np.nonzero(process.allowed & (process.probability > 0)[:, None])
    occupied, row = np.unique(state, return_inverse=True)
    weight = process.probability[state]
    scale = np.where(process.limits != 0, np.abs(process.limits), 1.0)
    rows = process.costs[:, state, action] * weight / scale[:, None]
    columns = np.arange(len(state))
    sums = coo_array((np.ones(len(state)), (row, columns)), shape=(len(occupied), len(state))).tocsr()
    options = {"presolve": True, "dual_feasibility_tolerance": 1e-10, "primal_feasibility_tolerance": 1e-10}
    if time_limit_s is not None:
        options["time_limit"] = time_limit_s
    found = linprog(
        -process.reward[state, action] * weight, A_ub=rows, b_ub=process.limits / scale, A_eq=sums,
        b_eq=np.ones(len(occupied)), bounds=(0, None), method="highs-ds", options=options,
    )  # fmt: skip
    if found.status == 1:
        return None
    if found.status != 0:
        return CmdpSolution(None, -np.inf, np.zeros(len(scale)), violation=least_violation(process, rows, sums, scale))
    policy = np.zeros_like(process.reward)
    policy[state, action] = np.where(found.x > _SMALL, found.x, 0.0)
    missing = np.setdiff1d(np.arange(len(policy)), occupied)
    policy[missing, process.allowed[missing].argmax(axis=1)] = 1.0  # states that never occur
    policy /= policy.sum(axis=1, keepdims=True)
    multipliers = np.maximum(-found.ineqlin.marginals, 0.0) / scale
    return CmdpSolution(
        policy, lagrangian_bound(process, multipliers), multipliers,
        randomised=int(((policy > 0).sum(axis=1) > 1).sum()), iterations=int(found.nit),
    )  # fmt: skip


def least_violation(process: Cmdp, rows: FloatArray, sums: object, scale: FloatArray) -> float:
    """The least t with mean costs at most limits + t |limit| for some policy."""
    limits = process.limits / scale
    slack = coo_array(-np.ones((len(limits), 1)))
    a_ub = vstack([coo_array(rows).T, coo_array((1, len(limits)))]).T.tocsr()
    a_ub = a_ub + coo_array((slack.toarray()[:, 0], (np.arange(len(limits)), np.full(len(limits), rows.shape[1]))),
                            shape=a_ub.shape).tocsr()  # fmt: skip
    a_eq = vstack([coo_array(sums).T, coo_array((1, sums.shape[0]))]).T.tocsr()  # type: ignore[attr-defined]
    cost = np.zeros(rows.shape[1] + 1)
    cost[-1] = 1.0
    found = linprog(cost, A_ub=a_ub, b_ub=limits, A_eq=a_eq, b_eq=np.ones(sums.shape[0]), bounds=(0, None), method="highs")  # type: ignore[attr-defined]
    return float(found.x[-1])
