"""From any policy to one that is as good, costs the same and is random in at most as many states as there are limits.

Carathéodory's theorem as an algorithm: with one more choice between two actions than limits, some mixture of the choices leaves
every mean cost as it is; going along it, in the direction in which the reward does not fall, ends where an action is no longer
taken. Every step takes one action out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from hisopt.arrays import FloatArray
    from hisopt.cmdp import Cmdp


def purified(process: Cmdp, policy: FloatArray) -> FloatArray:
    """Return such a policy, shape (S, A): deterministic but for at most K states, K the number of limits.

    Mean costs stay as they are and the mean reward does not fall, both up to rounding.
    """
    policy, limits = policy.copy(), len(process.limits)
    waiting = [int(s) for s in np.flatnonzero((policy > 0).sum(axis=1) > 1)]
    choices: list[tuple[int, int]] = []  # a state, and an action to weigh against the first one that it takes
    while True:
        while waiting and len(choices) <= limits:
            choices += _choices(policy, waiting.pop())
        if len(choices) <= limits:
            return policy
        _step(process, policy, choices)
        choices = [pair for s in dict.fromkeys(s for s, _ in choices) for pair in _choices(policy, s)]


def _choices(policy: FloatArray, state: int) -> list[tuple[int, int]]:
    return [(state, int(a)) for a in np.flatnonzero(policy[state] > 0)[1:]]


def _step(process: Cmdp, policy: FloatArray, choices: list[tuple[int, int]]) -> None:
    """Take an action out of the policy, in place, along the null space of the costs."""
    first = [int((policy[s] > 0).argmax()) for s, _ in choices]
    states, into = np.array(choices).T
    nu = process.probability[states]
    change = (process.costs[:, states, into] - process.costs[:, states, first]) * nu / process.scale[:, None]
    gain = (process.reward[states, into] - process.reward[states, first]) * nu
    along = np.linalg.svd(change)[2][-1]
    if along @ gain < 0:
        along = -along
    moves: dict[tuple[int, int], float] = {}
    for (s, a), b, amount in zip(choices, first, along, strict=True):
        moves[s, a] = moves.get((s, a), 0.0) + amount
        moves[s, b] = moves.get((s, b), 0.0) - amount
    length, gone = min((policy[pair] / -move, pair) for pair, move in moves.items() if move < 0)
    for pair, move in moves.items():
        policy[pair] = max(policy[pair] + length * move, 0.0)
    policy[gone] = 0.0
