"""P_II^B: SMs, given clusters and steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from hisopt.decision import malformed
from hisopt.equations import cluster_sizes, cluster_work, edge_work_cost
from hisopt.problems.base import Evaluation
from hisopt.problems.constraints import sms_faults
from hisopt.problems.sms import SmsProblem

if TYPE_CHECKING:
    from hisopt.decision import Decision


@dataclass(frozen=True, eq=False)
class Allocation(SmsProblem):
    """Minimise sum A_m / v_m over the SMs v_m of an instance with clusters and given steps; real or whole SMs."""

    kind: ClassVar[str] = "allocation"
    maximise: ClassVar[bool] = False
    needs: ClassVar[tuple[str, ...]] = ("clusters", "given_common", "given_edge")

    def _score(self, decision: Decision) -> Evaluation:
        instance, sms, count = self.instance, decision.sms, self.max_clusters
        if sms is None:
            return Evaluation(None, violations=(malformed("sms", count),))
        common_max, edge_sum = cluster_work(instance.labels, count, *instance.given_steps)
        work = common_max + edge_sum
        faults = tuple(sms_faults(instance.sm_budget, sms, work, whole=self.whole_sms))
        used = work > 0
        if (sms[used] <= 0).any():
            return Evaluation(None, violations=faults)
        cost = edge_work_cost(instance, cluster_sizes(instance.labels, count)) * work
        return Evaluation(float((cost[used] / sms[used]).sum()), violations=faults)
