"""Steps and SMs where the common phases were kept from earlier requests: the magazine's cached prefixes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from hisopt.problems.joint import Joint, score_steps_and_sms
from hisopt.problems.sms import SmsProblem

if TYPE_CHECKING:
    from hisopt.decision import Decision
    from hisopt.problems.base import Evaluation


@dataclass(frozen=True, eq=False)
class KeptJoint(SmsProblem):
    """Maximise the utility (23) where the server holds every cluster's latents after each step of its common phase.

    A user takes the latent after its x_n common steps; the server runs only the personalised steps, W_m = Y_m. Quality,
    transmission and the device's steps are those of `Joint`. The model is ours (the magazine article only names cached
    prefixes) and an upper bound on what a cache can bring: every cluster is a hit; filling and keeping the cache, up to
    x_max + 1 latents a cluster, costs nothing; and a user's similarity to the kept public prompt is taken as it is to one
    made for its cluster.
    """

    kind: ClassVar[str] = "joint-kept"
    needs: ClassVar[tuple[str, ...]] = ("clusters",)

    def __post_init__(self) -> None:
        super().__post_init__()
        Joint(self.instance, self.whole_sms)  # the same data, and the same checks

    def _score(self, decision: Decision) -> Evaluation:
        return score_steps_and_sms(self.instance, decision, self.instance.labels, [], whole=self.whole_sms, kept=True)
