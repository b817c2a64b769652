"""The one loop that trains: updates, measurements and checkpoints in turn, until done or told to stop."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hisopt.solvers.policy.policy_gap import PolicyGap
    from hisopt.solvers.policy.trainer import Trainer


def train(
    trainer: Trainer,
    measure: PolicyGap,
    judge: PolicyGap,
    every: int,
    checkpoint: Path,
    *,
    stop: Callable[[], bool] = lambda: False,
    hurry: Callable[[], bool] = lambda: False,
    report: Callable[[dict[str, float]], None] = lambda _: None,
) -> bool:
    """Train to the settings' number of updates and return whether it got there; the best parameters are then in place.

    Every ``every`` updates, after the last and when ``stop`` says so, ``judge`` decides whether the parameters are the best
    so far, ``measure`` adds its gap to the history, a checkpoint is written and ``report`` gets the row. Where ``hurry``
    says so (an interruption), the checkpoint is written at once, unmeasured, and the parameters stay as they are.
    """
    start = time.perf_counter() - (trainer.history[-1]["seconds"] if trainer.history else 0.0)
    updates, stopped = trainer.settings.updates, False
    while trainer.done < updates and not stopped:
        row = trainer.step()
        stopped = stop() or hurry()
        if hurry() and trainer.done % every:
            trainer.save(checkpoint)  # what is measured is measured by the run that goes on
        elif trainer.done % every == 0 or trainer.done == updates or stopped:
            trainer.keep(judge.tail(trainer))
            row |= measure(trainer) | {"seconds": time.perf_counter() - start}
            trainer.history.append(row)
            trainer.save(checkpoint)
            report(row)
    if not hurry():
        trainer.take_best()
    return trainer.done == updates
