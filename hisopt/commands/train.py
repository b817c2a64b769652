"""``python -m hisopt.train``: train a policy for the users' steps, with its gap to the exact optimum as progress."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from hisopt import __version__
from hisopt.commands.common import deferred_interrupt, require_at_least, run_command, taking

if TYPE_CHECKING:
    from hisopt.solvers.policy.settings import Settings


def _sizes(_: Any, __: Any, value: str | None) -> tuple[int, ...] | None:
    if value is None:
        return None
    try:
        return tuple(int(part) for part in value.split(","))
    except ValueError:
        raise click.BadParameter(f"{value!r} is not a list of whole numbers such as 256,256,256") from None


def _weights(_: Any, __: Any, value: str | None) -> tuple[float, ...] | None:
    if value is None:
        return None
    try:
        first, second, third = (float(part) for part in value.split(","))
    except ValueError:
        raise click.BadParameter(f"{value!r} is not three numbers w1,w2,w3") from None
    return first, second, third


@dataclass(frozen=True)
class TrainOptions:
    """What the command line says, a field an option; None stands for what was not given: the algorithm's own choice."""

    algorithm: str = "ippo"
    tuned: bool = False
    vanilla: bool = False
    preset: str | None = None
    users: int | None = None
    clusters: int | None = None
    weights: tuple[float, float, float] | None = None
    reward: str | None = None
    reward_scale: str | None = None
    observation: str | None = None
    shared: bool | None = None
    hidden: tuple[int, ...] | None = None
    learning_rate: float | None = None
    batch: int | None = None
    epochs: int | None = None
    entropy: float | None = None
    normalise_advantages: bool | None = None
    normalise_rewards: bool | None = None
    fixed_clusters: bool | None = None
    split_subjects: bool | None = None
    updates: int | None = None
    seed: int = 0
    time_limit: float | None = None
    held_out: int = 100
    every: int = 50
    threads: int = 2
    device: str = "cpu"
    output: str = "policy.safetensors"

    def settings(self) -> Settings:
        """Return the settings of the training: what was given, else tuned or vanilla, else the algorithm's own."""
        from hisopt.solvers.policy.settings import HID, TUNED, VANILLA, Settings

        usual: dict[str, Any] = dict(HID) if self.algorithm == "hid" else {}
        if self.tuned:
            usual |= TUNED | ({"reward": "team"} if self.algorithm == "hid" else {})
        if self.vanilla:
            usual |= VANILLA
        names = {field.name for field in fields(Settings)} & set(vars(self))
        return Settings(**(usual | {name: getattr(self, name) for name in names if getattr(self, name) is not None}))


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option(
    "--algorithm",
    type=click.Choice(["ippo", "hid", "cvpo", "ppo-lagrangian"]),
    default="ippo",
    show_default=True,
    help="ippo for the problem 'joint', hid for the ICC model's 'steps' (the team reward by default), cvpo and "
    "ppo-lagrangian for 'meg', where updates, batch (slots an update), seed, threads and output have a meaning.",
)
@click.option("--tuned", is_flag=True, help="Our defaults, which end nearest the optimum, instead of the paper's.")
@click.option("--vanilla", is_flag=True, help="Normalise and truncate nothing, as the papers' ablation does.")
@click.option(
    "--preset", metavar="NAME", help="Scenario to draw decision points from. [default: paper; icc for hid; meg]"
)
@click.option("--users", type=int, metavar="N", help="Users, instead of the preset's; its SMs scale along.")
@click.option("--clusters", type=int, metavar="M", help="Largest number of clusters, instead of the preset's.")
@click.option("--weights", callback=_weights, metavar="W1,W2,W3", help="Weights of quality, delay and energy.")
@click.option(
    "--reward",
    metavar="NAME",
    help="individual (33), team (20), marginal or coalition. [default: individual; team for hid]",
)
@click.option(
    "--reward-scale",
    metavar="NAME",
    help="Statistics that normalise rewards: agent, pooled or return. [default: agent; return for hid]",
)
@click.option("--observation", metavar="NAME", help="published (31) or cluster. [default: published]")
@click.option(
    "--shared/--independent", default=None, help="One network for all users, or one each. [default: independent]"
)
@click.option(
    "--hidden", callback=_sizes, metavar="SIZES", help="Hidden layers. [default: 256,256,256; hid: 128,128,128]"
)
@click.option("--learning-rate", type=float, metavar="R", help="Of Adam. [default: 0.005; hid: 0.0005]")
@click.option("--batch", type=int, metavar="B", help="Decision points an update. [default: 128]")
@click.option("--epochs", type=int, metavar="E", help="Passes over a batch. [default: 4]")
@click.option("--entropy", type=float, metavar="C", help="Weight of the entropy bonus. [default: 0.002]")
@click.option("--normalise-advantages/--raw-advantages", default=None, help="[default: normalise]")
@click.option("--normalise-rewards/--raw-rewards", default=None, help="[default: normalise]")
@click.option(
    "--fixed-clusters/--fresh-clusters",
    default=None,
    help="Whether the instances drawn at the start stay. [default: fresh]",
)
@click.option(
    "--split-subjects",
    is_flag=True,
    default=None,
    help="Train on half of the subjects, judge on others, instead of other draws from the same prompts.",
)
@click.option(
    "--updates", type=int, metavar="U", help="Updates in all. [default: 1000; tuned 1200; cvpo 40, ppo-lagrangian 200]"
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of networks, actions and instances.")
@click.option(
    "--time-limit",
    type=float,
    metavar="S",
    help="Stop after so many seconds; policy and checkpoint are written.",
)
@click.option("--held-out", type=int, default=100, show_default=True, help="Instances on which the gap is measured.")
@click.option(
    "--every", type=int, default=50, show_default=True, help="Updates between two measurements and checkpoints."
)
@click.option("--threads", type=int, default=2, show_default=True, metavar="K")
@click.option("--device", default="cpu", show_default=True, metavar="NAME", help="cpu or cuda.")
@click.option(
    "--output",
    default="policy.safetensors",
    show_default=True,
    metavar="FILE",
    help="The policy; FILE.checkpoint beside it is taken up if it is there.",
)
@click.version_option(__version__, prog_name="hisopt")
@taking(TrainOptions)
def _command(options: TrainOptions) -> None:
    """Train a policy and write it for --solver ippo --policy FILE; stopped or killed, the same command goes on.

    The gap is that of the most likely actions to the proven optimum, on instances that training never draws. Of the
    policies measured the one is kept that does best on the worst twentieth of other, validation instances.
    """
    from hisopt.commands import train_meg

    if options.algorithm in train_meg.ALGORITHMS:
        source = click.get_current_context().get_parameter_source
        given = {field.name for field in fields(options) if source(field.name) is not ParameterSource.DEFAULT}
        train_meg.train(options, given)
        return
    _train(options.settings(), options)


def main() -> None:
    """Run the command line."""
    run_command(_command, "hisopt.train", extra="learn", hint="; the same command goes on from the last checkpoint")


def _train(settings: Settings, options: TrainOptions) -> None:
    import torch

    from hisopt.errors import InputError
    from hisopt.files import require_writable, write_atomically
    from hisopt.solvers.clustering.hac import clustered
    from hisopt.solvers.policy import ippo, training
    from hisopt.solvers.policy.policy_gap import VALIDATION, PolicyGap, held_out

    output = Path(options.output)
    require_writable("--output", output)
    require_at_least(1, options, "held_out", "every", "threads")
    if options.device not in ("cpu", "cuda") or (options.device == "cuda" and not torch.cuda.is_available()):
        raise InputError(f"--device: {options.device!r} is not available")
    checkpoint = output.with_name(output.name + ".checkpoint")
    if output.exists() and not checkpoint.exists() and _finished(output, settings):
        print(f"{output}: trained with these settings before; remove it to train again")
        return
    torch.set_num_threads(options.threads)
    start = time.perf_counter()
    judges, split = options.held_out, {"split_subjects": settings.split_subjects}
    measure = PolicyGap(held_out(settings.scenario, judges, **split))
    contexts = ippo.Contexts(settings, clustered)
    trainer = ippo.Trainer(settings, contexts, options.device)
    if checkpoint.exists():
        trainer.resume(checkpoint)
        print(f"taking up {checkpoint} after {trainer.done} updates", file=sys.stderr)
    judge = PolicyGap(held_out(settings.scenario, 4 * judges, first=VALIDATION, **split))

    def report(row: dict[str, float]) -> None:
        left = row["seconds"] / trainer.done * (settings.updates - trainer.done)
        print(
            f"update {trainer.done} of {settings.updates}, {row['seconds']:.0f} s, {left:.0f} s left: gap to the "
            f"optimum {100 * row['gap_mean']:.2f} % on average, {100 * row['gap_worst']:.2f} % at worst",
            file=sys.stderr, flush=True,
        )  # fmt: skip

    def out_of_time() -> bool:
        return options.time_limit is not None and time.perf_counter() - start > options.time_limit

    with deferred_interrupt() as interrupted:
        finished = training.train(
            trainer, measure, judge, options.every, checkpoint, stop=out_of_time, hurry=interrupted, report=report
        )
        if interrupted():
            raise KeyboardInterrupt
    last_gap = measure(trainer)
    ippo.export(trainer, output)
    write_atomically(output.with_suffix(".json"), json.dumps(trainer.history, indent=1) + "\n")
    if finished:
        checkpoint.unlink(missing_ok=True)
    else:
        print(f"out of time after {trainer.done} updates; the same command goes on from {checkpoint}", file=sys.stderr)
    drawn_from = (
        "subjects that training did not see" if settings.split_subjects else "the prompts that training draws from"
    )
    print(
        f"the policy kept is {100 * last_gap['gap_mean']:.2f} % below the optimum on average, "
        f"{100 * last_gap['gap_worst']:.2f} % at worst, on {judges} held-out instances of {drawn_from}"
    )
    print(f"{output}: {output.stat().st_size / 1e6:.2f} MB; its learning curve: {output.with_suffix('.json')}")


def _finished(output: Path, settings: Settings) -> bool:
    """Whether a file is the policy that this command would make; `InputError` if it is another, or none at all."""
    from hisopt.errors import InputError
    from hisopt.solvers.policy import ippo

    there, updates = ippo.trained_updates(output)
    if changed := settings.differences(there):
        raise InputError(
            f"--output: {output} is a policy of other settings ({changed}); choose another file or remove it"
        )
    return updates >= settings.updates
