"""The Lagrangian dual of a constrained Markov decision process whose actions do not move the state, without the large program.

For multipliers mu the best policy takes in each state the action with the largest r - mu c: one pass over the pairs. The rest is
`hisopt.solvers.meg.columns`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hisopt.solvers.meg.cmdp import CmdpSolution, best_actions, means_of
from hisopt.solvers.meg.columns import Column, cutting_planes
from hisopt.solvers.meg.vertex import purified

if TYPE_CHECKING:
    from hisopt.arrays import FloatArray
    from hisopt.cmdp import Cmdp


def solve(process: Cmdp, time_limit_s: float | None = None) -> CmdpSolution | None:
    """Maximise mean reward within the limits; None where the time ran out. See the module.

    ``iterations`` counts passes over the pairs. The mixture is random wherever its policies differ; the policy that is returned,
    as good and as costly, in no more states than there are limits.
    """

    def oracle(multipliers: FloatArray, *, with_reward: bool) -> Column:
        actions = best_actions(process, multipliers, with_reward=with_reward)
        return Column(actions, *means_of(process, actions), process.probability)

    found = cutting_planes(oracle, process.limits, process.scale, time_limit_s)
    if found is None:
        return None
    if not found.columns:
        nothing = np.zeros(len(process.limits))
        return CmdpSolution(None, -np.inf, nothing, violation=found.violation, iterations=found.passes)
    policy = purified(process, found.policy(*process.reward.shape))
    randomised = int(((policy > 0).sum(axis=1) > 1).sum())
    if randomised > len(process.limits):
        raise ArithmeticError(f"{randomised} random states with {len(process.limits)} limits")
    return CmdpSolution(policy, found.bound, found.multipliers, randomised=randomised, iterations=found.passes)
