"""P_II: steps and SMs, given the clusters."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from hisopt.decision import malformed
from hisopt.equations import breakdown, cluster_work
from hisopt.errors import InputError
from hisopt.problems.base import Evaluation
from hisopt.problems.constraints import sms_faults, steps_of
from hisopt.problems.scales import check_scales
from hisopt.problems.sms import SmsProblem

if TYPE_CHECKING:
    from hisopt.arrays import IntArray
    from hisopt.decision import Decision
    from hisopt.instances import Instance


@dataclass(frozen=True, eq=False)
class Joint(SmsProblem):
    """Maximise the utility (23) over the steps and SMs of an instance with clusters; real or whole SMs."""

    kind: ClassVar[str] = "joint"
    needs: ClassVar[tuple[str, ...]] = ("clusters",)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.instance.similarity is None and self.instance.embeddings is None:
            raise InputError("similarity: missing, and the problem joint needs it")
        check_scales(self.instance)

    def _score(self, decision: Decision) -> Evaluation:
        return score_steps_and_sms(self.instance, decision, self.instance.labels, [], whole=self.whole_sms)


def score_steps_and_sms(
    instance: Instance, decision: Decision, labels: IntArray, faults: list[str], *, whole: bool, kept: bool = False
) -> Evaluation:
    """Score steps and SMs on clusters, after the faults found before; ``kept`` as in `breakdown`."""
    steps, wrong = steps_of(decision, instance)
    faults = faults + wrong
    if steps is None:
        return Evaluation(None, violations=tuple(faults))
    sms, count = decision.sms, instance.max_clusters
    if sms is None:
        return Evaluation(None, violations=(*faults, malformed("sms", count)))
    common_max, edge_sum = cluster_work(labels, count, steps[0], steps[1])
    common_max = np.zeros_like(common_max) if kept else common_max
    work = common_max + edge_sum
    faults += sms_faults(instance.sm_budget, sms, work, whole=whole)
    if (sms[work > 0] <= 0).any():
        return Evaluation(None, violations=tuple(faults))
    costs = breakdown(instance, replace(decision, clusters=labels), kept=kept)
    return Evaluation(costs.utility(instance), costs.parts, tuple(faults), costs.scale(instance))
