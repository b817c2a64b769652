"""What the problems that decide SMs share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hisopt.problems.base import InstanceProblem

if TYPE_CHECKING:
    from hisopt.instances import Instance


@dataclass(frozen=True, eq=False)
class SmsProblem(InstanceProblem):
    """An instance whose SMs are decided, real or whole."""

    instance: Instance
    whole_sms: bool = False

    @property
    def detail(self) -> str:
        """Whether SMs are whole."""
        return "integer SMs" if self.whole_sms else ""

    def record(self) -> dict[str, Any]:
        """Return what a record says of the problem."""
        return super().record() | {"integer_sms": self.whole_sms}
