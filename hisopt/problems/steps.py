"""The ICC model: steps, given the groups."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from hisopt.equations import icc_breakdown
from hisopt.errors import InputError
from hisopt.problems.base import Evaluation, InstanceProblem
from hisopt.problems.constraints import steps_of

if TYPE_CHECKING:
    from hisopt.decision import Decision
    from hisopt.instances import IccInstance


@dataclass(frozen=True, eq=False)
class Steps(InstanceProblem):
    """Maximise the ICC model's utility over the steps of an instance with groups."""

    kind: ClassVar[str] = "steps"
    model: ClassVar[str] = "icc"
    needs: ClassVar[tuple[str, ...]] = ("clusters",)

    instance: IccInstance

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.instance.similarity is None and self.instance.embeddings is None:
            raise InputError("similarity: missing, and the problem steps needs it")

    def _score(self, decision: Decision) -> Evaluation:
        steps, faults = steps_of(decision, self.instance)
        if steps is None:
            return Evaluation(None, violations=tuple(faults))
        costs = icc_breakdown(self.instance, decision)
        return Evaluation(costs.utility(self.instance), costs.parts, tuple(faults), costs.scale(self.instance))
