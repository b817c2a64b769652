"""All plans of a small joint problem."""

from __future__ import annotations

from itertools import product

from hisopt import Decision, Instance
from hisopt.equations import steps_sms
from hisopt.problems import Joint


def plans(instance: Instance) -> list[tuple[float, Decision]]:
    """Return every choice of the users' steps with Theorem 1's SMs and its utility, the best first."""
    pairs, found = instance.steps.pairs(), []
    for picks in product(range(len(pairs)), repeat=instance.users):
        x, y = pairs[list(picks)].T
        decision = Decision.of_steps(instance.steps.total, x, y, steps_sms(instance, x, y), instance.clusters)
        objective = Joint(instance).evaluate(decision).objective
        assert objective is not None
        found.append((objective, decision))
    return sorted(found, key=lambda plan: -plan[0])
