"""Independent proximal policy optimisation (IPPO) for the users' steps, in plain torch: its parts under one name.

Every user has an actor and a critic of its own, unless they share one; all networks of a kind are one batched matrix
product, so nothing loops over users. Equation numbers are the journal paper's, defaults its Table II; what it leaves
open is said at `hisopt.solvers.policy.settings.Settings`. Contexts are drawn afresh at every decision point and do not
depend on actions, so a discount above zero only adds noise: it is zero by default, and GAE then is reward minus value.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hisopt.solvers.policy.advantages import RewardScale, advantages
from hisopt.solvers.policy.contexts import Contexts
from hisopt.solvers.policy.networks import AgentNetworks, Policy
from hisopt.solvers.policy.settings import HID, TUNED, VANILLA, Settings
from hisopt.solvers.policy.step_game import StepGame
from hisopt.solvers.policy.storage import export, load, trained_updates
from hisopt.solvers.policy.trainer import Trainer

if TYPE_CHECKING:
    import numpy as np

    from hisopt.instances import IccInstance, Instance

__all__ = [
    "HID", "TUNED", "VANILLA", "AgentNetworks", "Contexts", "Policy", "RewardScale", "Settings", "Trainer", "advantages",
    "decide", "export", "load", "trained_updates",
]  # fmt: skip


def decide(policy: Policy, instance: Instance | IccInstance) -> tuple[np.ndarray, np.ndarray]:
    """Return the most likely x_n and y_n, shapes (N,)."""
    common, steps_edge, _ = policy.act(policy.scaled(StepGame.of([instance])))
    return common[0].numpy(), steps_edge[0].numpy()
