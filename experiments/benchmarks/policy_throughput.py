"""``python -m hisopt.experiments.benchmarks.policy_throughput``: agent-steps a second of our IPPO and of BenchMARL's, in turn.

Both train on the same contexts, game, rewards and observations, with the same frames, minibatches, epochs, hidden layers,
activation, learning rate and threads; BenchMARL on a vectorised TorchRL environment, an instance a row, in its best form
(`hisopt.experiments.benchmarks.benchmarl_steps`). They take turns update by update in one process, the first ones
uncounted. BenchMARL and TorchRL are no dependencies: install them beside hisopt.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click

from hisopt.commands.common import run_command

if TYPE_CHECKING:
    from hisopt.experiments.benchmarks.batched_steps import BatchedSteps
    from hisopt.solvers.policy.ippo import Settings

_WARM_UP = 2  # updates of each


@dataclass
class Learner:
    """Processor seconds, seconds and mean raw reward of each update."""

    processor: list[float] = field(default_factory=list)
    clock: list[float] = field(default_factory=list)
    reward: list[float] = field(default_factory=list)

    def took(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Add an update."""
        self.processor.append(end[0] - start[0])
        self.clock.append(end[1] - start[1])

    def rates(self, agent_steps: int) -> tuple[float, float]:
        """Agent-steps a second of the processor and of the clock, medians over the updates that count."""
        processor, clock = (statistics.median(seconds[_WARM_UP:]) for seconds in (self.processor, self.clock))
        return agent_steps / processor, agent_steps / clock

    def rise(self) -> str:
        """Mean raw reward of the first and of the last fifth of the updates."""
        part = max(len(self.processor) // 5, 1)
        first, last = self.reward[:part], self.reward[len(self.processor) - part : len(self.processor)]
        return f"{statistics.mean(first):.2f} → {statistics.mean(last):.2f}"


def compare(settings: Settings, updates: int, *, two_heads: bool = True) -> tuple[Learner, Learner]:
    """Train ours and BenchMARL's in turn, ``updates`` each after the warm-up, and return both."""
    from hisopt.experiments.benchmarks import benchmarl_steps
    from hisopt.experiments.benchmarks.batched_steps import BatchedSteps
    from hisopt.solvers.clustering.hac import clustered
    from hisopt.solvers.policy.ippo import Contexts, Trainer

    trainer, contexts = Trainer(settings, Contexts(settings, clustered)), Contexts(settings, clustered)
    made: list[BatchedSteps] = []
    own, other = Learner(), Learner()

    def make(count: int) -> BatchedSteps:
        made.append(BatchedSteps(settings, contexts, count, settings.seed))
        return made[-1]

    def now() -> tuple[float, float]:
        return time.process_time(), time.perf_counter()

    start = now()

    def turn() -> None:
        nonlocal start
        middle = now()
        other.took(start, middle)
        own.reward.append(trainer.step()["reward"])
        own.took(middle, now())
        start = now()

    benchmarl_steps.run(settings, make, _WARM_UP + updates, turn, two_heads=two_heads)
    other.reward = made[-1].raw
    return own, other


@click.command()
@click.option("--preset", default="paper", show_default=True)
@click.option("--batches", default="128,512,2048", show_default=True, help="Decision points of an update.")
@click.option("--repeats", default="1,4", show_default=True, help="Of an instance in a batch, in both.")
@click.option("--updates", default=10, show_default=True, help="Timed each, after two to warm up.")
@click.option("--threads", default=1, show_default=True)
@click.option("--pairs", is_flag=True, help="BenchMARL with an output for every pair of steps, as it comes.")
def command(preset: str, batches: str, repeats: str, updates: int, threads: int, pairs: bool) -> None:
    """Print a table of both rates and their ratio."""
    import torch

    from hisopt.errors import InputError
    from hisopt.solvers.policy.ippo import TUNED, Settings

    for name, value in (("updates", updates), ("threads", threads)):
        if value < 1:
            raise InputError(f"--{name}: is {value}, must be >= 1")
    torch.set_num_threads(threads)
    print(
        "| decision points an update | repeats | hisopt | BenchMARL | ratio | by the clock | reward, hisopt; BenchMARL |"
    )
    print("|---|---|---|---|---|---|---|", flush=True)
    for batch, repeat in ((b, r) for b in _whole("batches", batches) for r in _whole("repeats", repeats)):
        changes: dict[str, Any] = {
            "preset": preset, "batch": batch, "repeats": repeat, "together": 0.0, "anneal": False,
            "fresh": max(round(TUNED["fresh"] * batch / TUNED["batch"]), 1), "updates": updates,
        }  # fmt: skip
        settings = Settings(**(TUNED | changes))
        try:
            own, other = compare(settings, updates, two_heads=not pairs)
        except ModuleNotFoundError as error:
            raise InputError(f"the comparison needs {error.name}, beside hisopt") from None
        steps = batch * settings.scenario.users
        (ours, ours_clock), (theirs, theirs_clock) = own.rates(steps), other.rates(steps)
        print(
            f"| {batch} | {repeat} | {ours:,.0f} | {theirs:,.0f} | {ours / theirs:.2f} | {ours_clock / theirs_clock:.2f} "
            f"| {own.rise()}; {other.rise()} |",
            flush=True,
        )


def _whole(name: str, text: str) -> list[int]:
    from hisopt.errors import InputError

    try:
        values = [int(part) for part in text.split(",")]
    except ValueError:
        values = []
    if not values or min(values) < 1:
        raise InputError(f"--{name}: is {text!r}, must be whole numbers >= 1, separated by commas")
    return values


def main() -> None:
    """Run the command line."""
    run_command(command, "hisopt.experiments.benchmarks.policy_throughput", extra="learn")


if __name__ == "__main__":
    main()
