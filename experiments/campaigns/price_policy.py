"""``python -m hisopt.experiments.campaigns.price_policy``: train the policy for every size (`learned-prices`) anew."""

from __future__ import annotations

import argparse
from pathlib import Path

from hisopt.solvers.policy.price_training import draws, fit, lesson
from hisopt.solvers.policy.prices import PricePolicy, write
from hisopt.text.corpus import shipped


def main() -> None:
    """Train on instances of the training subjects and write the policy."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--instances", type=int, default=20_000)
    parser.add_argument("--updates", type=int, default=5_000)
    parser.add_argument("--output", type=Path, required=True, help="safetensors file to write")
    options = parser.parse_args()
    points = lesson(draws(options.instances, 1, shipped().part("training")))
    policy = PricePolicy()
    fit(policy, points, options.updates)
    write(policy, options.output, {"instances": options.instances, "updates": options.updates})


if __name__ == "__main__":
    main()
