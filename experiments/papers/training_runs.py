"""Training runs of the papers' learners and of their ablations: curves of the gap to the proven optimum."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hisopt.solvers.policy.settings import HID, TUNED, VANILLA

if TYPE_CHECKING:
    from hisopt.solvers.policy.settings import Settings

ABLATIONS: dict[str, dict[str, Any]] = {
    "published": {},
    "raw advantages": {"normalise_advantages": False},
    "raw rewards": {"normalise_rewards": False},
    "vanilla": VANILLA,
}
OURS = "ours"
LEARNERS = ("ippo", "hid")
POINTS = 10  # of a curve


def settings_of(learner: str, variant: str, seed: int, updates: int) -> Settings:
    """Return what a run is: the journal's Table II (``ippo``) or the conference paper's HID, an ablation of it, or ours."""
    from hisopt.solvers.policy.settings import Settings

    usual: dict[str, Any] = dict(HID) if learner == "hid" else {}
    usual |= TUNED if variant == OURS else ABLATIONS[variant]
    if learner == "hid":
        usual["reward"] = "team"
    return Settings(**(usual | {"updates": updates, "seed": seed}))


def train(settings: Settings, judges: int) -> list[dict[str, float]]:
    """Return the curve of a run, one row a point: update, and mean and worst gap of the most likely actions.

    ``judges`` is how many held-out instances judge.
    """
    import torch

    from hisopt.solvers.clustering.hac import clustered
    from hisopt.solvers.policy.contexts import Contexts
    from hisopt.solvers.policy.policy_gap import PolicyGap, held_out
    from hisopt.solvers.policy.trainer import Trainer

    torch.set_num_threads(1)
    trainer = Trainer(settings, Contexts(settings, clustered))
    measure = PolicyGap(held_out(settings.scenario, judges))
    curve: list[dict[str, float]] = [{"update": 0} | measure(trainer)]
    every = max(settings.updates // POINTS, 1)
    for update in range(1, settings.updates + 1):
        trainer.step()
        if update % every == 0 or update == settings.updates:
            curve.append({"update": update} | measure(trainer))
    return curve
