"""``python -m hisopt.experiments.campaigns.price_policy``: train the policy for every size (`learned-prices`) anew.

Three disjoint sets: the prompts of the training subjects teach, those of the validation subjects choose which of the
policies met on the way is kept, and those of the judgement subjects are left to `hisopt.experiments.campaigns.price_gaps`.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import torch

from hisopt.solvers.policy.price_training import Lesson, capped_gap, draws, fit, lesson
from hisopt.solvers.policy.prices import PricePolicy, write
from hisopt.text.corpus import shipped

_LOOKS = 10  # at the validation set


def train(points: list[Lesson], choosing: list[Lesson], updates: int, seed: int, output: Path) -> None:
    """Train a policy and write it whenever it is better than before on the set that chooses: a killed run leaves its best."""
    policy, best = PricePolicy(seed=seed), float("inf")

    def look(done: int, loss: float) -> None:
        nonlocal best
        if done % max(updates // _LOOKS, 1) and done < updates:
            return
        found = capped_gap(policy, choosing)
        print(f"{done} updates, {time.process_time():.0f} s: loss {loss:.4f}, gap {found:.5f}", file=sys.stderr)
        if found < best:
            best = found
            about = {"instances": len(points), "choosing": len(choosing), "updates": updates, "seed": seed}
            write(policy, output, about | {"kept": done, "gap": found})

    look(0, float("nan"))
    fit(policy, points, updates, seed, report=look)


def main() -> None:
    """Train on instances of the training subjects and write the policy that the validation subjects choose."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--instances", type=int, default=800, help="instances that teach")
    parser.add_argument("--choosing", type=int, default=100, help="instances that choose")
    parser.add_argument("--updates", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, required=True, help="safetensors file to write")
    options = parser.parse_args()
    torch.set_num_threads(1)
    points = [lesson(one, 1e-4) for one in draws(options.instances, 1 + options.seed, shipped().part("training"))]
    choosing = [lesson(one) for one in draws(options.choosing, 0, shipped().part("validation"))]
    train(points, choosing, options.updates, options.seed, options.output)


if __name__ == "__main__":
    main()
