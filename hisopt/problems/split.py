"""Steps and SMs where every user takes the same number of common steps: the magazine's uniform sharing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from hisopt.errors import InputError
from hisopt.problems.joint import Joint, score_steps_and_sms
from hisopt.problems.sms import SmsProblem

if TYPE_CHECKING:
    from hisopt.decision import Decision
    from hisopt.problems.base import Evaluation


@dataclass(frozen=True, eq=False)
class SplitJoint(SmsProblem):
    """Maximise the utility (23) as in `Joint`, with x_n = ``split`` for everyone.

    Raises `InputError` for a split outside the instance's limits.
    """

    split: int = 10

    kind: ClassVar[str] = "joint-split"
    needs: ClassVar[tuple[str, ...]] = ("clusters",)

    def __post_init__(self) -> None:
        super().__post_init__()
        Joint(self.instance, self.whole_sms)  # the same data, and the same checks
        steps, left = self.instance.steps, self.instance.steps.total - self.split
        some = max(left - steps.device_max, steps.edge_min) <= min(left - steps.device_min, steps.edge_max)
        if not (0 <= self.split <= steps.common_max and some):
            raise InputError(
                f"split: is {self.split}, and the limits on steps leave no y and z to it (x_max {steps.common_max})"
            )

    def _score(self, decision: Decision) -> Evaluation:
        found = score_steps_and_sms(self.instance, decision, self.instance.labels, [], whole=self.whole_sms)
        common = decision.steps_common
        if common is None or (common == self.split).all():
            return found
        return replace(found, violations=(*found.violations, f"steps_common: must be {self.split} for everyone"))
