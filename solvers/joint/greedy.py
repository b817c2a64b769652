"""One cluster's move after the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from typing_extensions import override

from hisopt.problems import Joint
from hisopt.result import Guarantee, Limits, SolverResult, Termination
from hisopt.solvers.base import Deadline, Solver
from hisopt.solvers.joint import step_tables
from hisopt.solvers.joint.exact import with_optimal_sms

if TYPE_CHECKING:
    from hisopt.arrays import IntArray

_LEAST = 1e-14  # relative; a move that gains less may be rounding


@dataclass(frozen=True)
class Greedy(Solver[Joint]):
    """Start with the fewest steps on the server; take the single cluster move that gains most, while one gains.

    A move changes one cluster's X, or how many of its users get all their personalised steps, by one candidate.
    """

    name = "greedy"
    problems = (Joint,)
    guarantee = Guarantee.HEURISTIC
    numpy_only = True

    @override
    def solve(self, problem: Joint, limits: Limits) -> SolverResult:
        instance, deadline = problem.instance, Deadline(limits)
        tables = step_tables.for_instance(instance)
        budget = instance.sm_budget
        neighbours = [
            _neighbours(tables, first, last)
            for first, last in zip(tables.offsets[:-1], tables.offsets[1:], strict=True)
        ]
        choice = np.array(
            [first + int(np.argmin(tables.load[first:last]))
             for first, last in zip(tables.offsets[:-1], tables.offsets[1:], strict=True)]
        )  # fmt: skip
        total = float(tables.load[choice].sum())
        while not deadline.passed:
            best, move = _LEAST * float(np.abs(tables.gain[choice]).sum() + total**2 / budget), None
            for cluster, current in enumerate(choice):
                near = neighbours[cluster][current - tables.offsets[cluster]]
                shift = tables.load[near] - tables.load[current]
                change = tables.gain[near] - tables.gain[current] - shift * (2 * total + shift) / budget
                where = int(np.argmax(change)) if len(near) else -1
                if where >= 0 and change[where] > best:
                    best, move = float(change[where]), (cluster, int(near[where]))
            if move is None:
                break
            choice[move[0]] = move[1]
            total = float(tables.load[choice].sum())
        return SolverResult(Termination.COMPLETED, with_optimal_sms(instance, *tables.steps(choice)))


def _neighbours(tables: step_tables.StepTables, first: int, last: int) -> list[IntArray]:
    """For each candidate of a cluster, those with the next larger or smaller X or fill."""
    keys = [tables.common[first:last], tables.filled[first:last]]
    ranks = [np.unique(key, return_inverse=True)[1] for key in keys]
    near: list[IntArray] = []
    for common, filled in zip(*ranks, strict=True):
        distance = np.abs(ranks[0] - common) + np.abs(ranks[1] - filled)
        near.append(first + np.flatnonzero(distance == 1))
    return near
