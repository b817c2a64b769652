"""How a policy for MEG is judged: exactly on the channel in bins, by simulation, and on channels that it was not trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hisopt.instances import MegChannel, MegInstance
from hisopt.instances.meg import path_gain
from hisopt.problems import Meg
from hisopt.solvers.meg import dual
from hisopt.solvers.meg.baselines import within
from hisopt.solvers.meg.learning import Slots

if TYPE_CHECKING:
    from hisopt.arrays import FloatArray

BINS = 64


def judging() -> Meg:
    """Return the problem that policies are judged on: the preset."""
    return Meg(MegInstance())


def choosing() -> Meg:
    """Return the problem that settings are chosen on: nearer devices and tighter limits."""
    channel = MegChannel.uniform_distance(BINS, 150.0, 250.0)
    return Meg(MegInstance(channel=channel, latency_limit_s=2.1, energy_limit_j=1500.0))


def elsewhere() -> dict[str, Meg]:
    """Return the preset on other channels."""
    middle = 200.0 + (np.arange(BINS) + 0.5) * 100.0 / BINS
    tilted = np.arange(1.0, BINS + 1)
    channels = {
        "Gauss-Markov, same distances": MegChannel.gauss_markov(BINS),
        "100 to 200 m": MegChannel.uniform_distance(BINS, 100.0, 200.0),
        "100 to 300 m": MegChannel.uniform_distance(BINS, 100.0, 300.0),
        "250 to 350 m": MegChannel.uniform_distance(BINS, 250.0, 350.0),
        "200 to 300 m, more often far": MegChannel(gain=path_gain(middle), probability=tilted / tilted.sum()),
    }
    return {name: Meg(MegInstance(channel=channel)) for name, channel in channels.items()}


def optimum_of(problem: Meg) -> float:
    """Return the optimum, proven by the dual's bound."""
    found = dual.solve(problem.process)
    assert found is not None and found.policy is not None
    return found.bound


def exact(problem: Meg, policy: FloatArray, optimum: float) -> dict[str, float]:
    """Return a policy's exact means, its gap to the optimum and its largest violation (negative: slack), both relative.

    ``repaired`` is the gap of the policy moved towards the thriftiest one as far as the limits need: one number for both.
    """
    process = problem.process
    reward, costs = process.mean(policy)
    moved = within(problem, policy)
    assert moved is not None
    found = {"reward": reward, **dict(zip(problem.limit_names, map(float, costs), strict=True))}
    found["gap"] = (optimum - reward) / abs(optimum)
    found["violation"] = float(((costs - process.limits) / process.scale).max())
    found["repaired"] = (optimum - process.mean(moved)[0]) / abs(optimum)
    return found


def simulated(problem: Meg, policy: FloatArray, seed: int, episodes: int = 512) -> dict[str, float]:
    """Return mean reward and costs over episodes of the instance's horizon, and half widths of 95 % intervals."""
    horizon = problem.instance.horizon
    batch = Slots(problem, seed, episodes).live(policy, episodes * horizon)
    found: dict[str, float] = {}
    for name, values in (("reward", batch.rewards), *zip(problem.limit_names, batch.costs.T, strict=True)):
        per_episode = values.reshape(horizon, episodes).mean(axis=0)
        found[f"simulated_{name}"] = float(per_episode.mean())
        found[f"interval_{name}"] = float(1.96 * per_episode.std(ddof=1) / np.sqrt(episodes))
    return found
