"""P_I and P_II together: clusters, steps and SMs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from hisopt.problems.base import Evaluation, labels_of
from hisopt.problems.clustering import sizes_of
from hisopt.problems.joint import score_steps_and_sms
from hisopt.problems.scales import check_scales
from hisopt.problems.sms import SmsProblem

if TYPE_CHECKING:
    from hisopt.decision import Decision


@dataclass(frozen=True, eq=False)
class Full(SmsProblem):
    """Maximise the utility (23) over clusters, steps and SMs; phi_n follows the clusters by the public-prompt rule.

    Clusters and similarities that the instance may hold are those of another partition, and are dropped.
    """

    kind: ClassVar[str] = "full"
    needs: ClassVar[tuple[str, ...]] = ("embeddings",)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.instance.similarity is not None:
            object.__setattr__(self, "instance", self.instance.replace(similarity=None))
        check_scales(self.instance)

    def _score(self, decision: Decision) -> Evaluation:
        labels, faults = labels_of(decision, self.users, self.max_clusters)
        if labels is None:
            return Evaluation(None, violations=tuple(faults))
        return score_steps_and_sms(
            self.instance, decision, labels, sizes_of(self.instance).faults(labels), whole=self.whole_sms
        )
