"""Limits in seconds of the processor, for programs on one thread that share a machine."""

from __future__ import annotations

import time

from typing_extensions import override

from hisopt.solvers.base import Deadline


class ProcessorDeadline(Deadline):
    """Seconds left of this process' processor time, counted from construction."""

    def __init__(self, seconds: float) -> None:
        self._end = time.process_time() + seconds

    @property
    @override
    def left(self) -> float:
        return max(0.0, self._end - time.process_time())
