"""Training of policies for mobile edge generation, for ``hisopt.train --algorithm cvpo`` and ``ppo-lagrangian``."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hisopt.commands.common import flag, require_at_least
from hisopt.errors import InputError
from hisopt.files import require_writable

if TYPE_CHECKING:
    from hisopt.arrays import FloatArray
    from hisopt.problems import Meg

ALGORITHMS = ("cvpo", "ppo-lagrangian")
_USED = {"algorithm", "preset", "updates", "batch", "seed", "threads", "output"}


def train(options: Any, given: set[str]) -> None:
    """Train and write a policy; progress goes to the standard error.

    ``options`` are `hisopt.commands.train.TrainOptions`; ``given`` are the options that were on the
    command line; one that means nothing here is an `InputError`.
    """
    import torch

    from hisopt.instances.scenario import MEG_PRESETS
    from hisopt.problems import Meg
    from hisopt.solvers.meg import cvpo, dual, ppo_lagrangian
    from hisopt.solvers.meg.learning import policy_of, write_policy

    for name in sorted(given - _USED):
        raise InputError(f"{flag(name)}: means nothing for {options.algorithm}")
    preset = options.preset or "meg"
    if preset not in MEG_PRESETS:
        raise InputError(f"--preset: {preset!r} is none of {', '.join(MEG_PRESETS)}")
    require_at_least(1, options, "updates", "batch", "threads")
    output = Path(options.output)
    require_writable("--output", output)
    torch.set_num_threads(options.threads)
    problem = Meg(MEG_PRESETS[preset].sample(0))
    best = dual.solve(problem.process)
    if best is None or best.policy is None:
        raise InputError(f"--preset: {preset}: no policy meets the limits")
    module: Any = cvpo if options.algorithm == "cvpo" else ppo_lagrangian
    settings = cvpo.CvpoSettings() if module is cvpo else ppo_lagrangian.PpoSettings()
    changes = {"iterations": options.updates, "slots": options.batch, "seed": options.seed}
    settings = replace(settings, **{name: value for name, value in changes.items() if value is not None})

    def tell(iteration: int, policy: FloatArray) -> None:
        if iteration % max(1, settings.iterations // 10) == 0:
            print(
                f"update {iteration} of {settings.iterations}: {_standing(problem, policy, best.bound)}",
                file=sys.stderr,
            )

    actor = module.train(problem, settings, tell)
    told = {"algorithm": options.algorithm, "preset": preset, "seed": settings.seed}
    write_policy(output, actor, problem, told)
    print(f"the policy written: {_standing(problem, policy_of(actor, problem), best.bound)}")
    print(f"{output}: {output.stat().st_size / 1e3:.0f} kB, for hisopt.solve --preset {preset} --policy {output}")


def _standing(problem: Meg, policy: FloatArray, optimum: float) -> str:
    process = problem.process
    reward, costs = process.mean(policy)
    over = float(((costs - process.limits) / process.scale).max())
    limits = f"a limit broken by {over:.3%}" if over > 0 else f"limits kept, {-over:.3%} to spare"
    return f"{(optimum - reward) / abs(optimum):.3%} below the optimum, {limits}"
