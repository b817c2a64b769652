"""What an engine of a campaign is: it runs tasks somewhere, each in a process of its own."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Protocol

from hisopt.commands.campaign import Task

if TYPE_CHECKING:
    from collections.abc import Iterator

Named = tuple[str, Task]  # a task under the key of its record


class Engine(Protocol):
    """Runs tasks.

    Attributes
    ----------
    about
        Where and how many at a time, for a reader.
    keeps
        Whether records are in the campaign's folder already when `run` yields them.
    """

    about: str
    keeps: bool

    def run(self, tasks: Iterator[Named]) -> Iterator[dict[str, Any]]:
        """Yield the record of each task as it ends; hold few at a time; say on standard error what could not be kept."""

    def close(self) -> None:
        """End what still runs."""


def not_kept(task: Task, reason: str) -> None:
    """Say that a solve has no record: the next call of the same campaign takes it up again."""
    print(f"{task.problem.label}: {task.solver.label}: not kept, {' '.join(reason.split())}", file=sys.stderr)
