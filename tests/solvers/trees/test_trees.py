from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from hisopt.equations import (
    device_step_cost,
    edge_step_energy_cost,
    edge_work_cost,
    quality_table,
    rule_similarity,
    transmission_cost,
)
from hisopt.errors import InputError
from hisopt.instances import Instance, StepLimits, Weights
from hisopt.instances.scenario import PRESETS
from hisopt.problems import Full, Joint
from hisopt.result import Limits
from hisopt.solvers.clustering.hac import clustered
from hisopt.solvers.full.subsets import Subsets
from hisopt.solvers.joint.exact import JointExact
from hisopt.solvers.trees.dendrogram import finished, grown, improved
from hisopt.solvers.trees.nested import Nested, members, partitions, solve, subsets

if TYPE_CHECKING:
    from collections.abc import Iterator


def small(users: int, seed: int, **changes: object) -> Instance:
    instance = PRESETS["small"].with_users(users).replace(max_clusters=2, **changes).sample(seed)
    assert isinstance(instance, Instance)
    return instance


@pytest.mark.parametrize("seed", range(4))
def test_without_splits_it_is_the_full_problem(seed: int) -> None:
    instance = small(4, seed)
    found = solve(instance, nested=False)
    problem = Full(instance)
    other = Subsets().solve(problem, Limits(60.0))
    assert found.utility == pytest.approx(problem.evaluate(other.decision).objective, rel=1e-9)
    assert found.utility <= found.bound * (1 + 1e-12)


def histories(groups: tuple[tuple[int, int], ...], left: int) -> Iterator[tuple[tuple[tuple[int, int], ...], ...]]:
    """Every way to go on from groups (prompt's set, users) for so many steps: the groups that each step is run for."""
    yield ()
    if not left:
        return
    for now in regrouped(groups):
        if now:
            for rest in histories(now, left - 1):
                yield (now, *rest)


def regrouped(groups: tuple[tuple[int, int], ...]) -> Iterator[tuple[tuple[int, int], ...]]:
    """Every way in which users leave, prompts are made anew, and groups split, before a step."""
    if not groups:
        yield ()
        return
    (prompt, users), *others = groups
    for rest in regrouped(tuple(others)):
        yield rest
        for stay in subsets(users):
            yield ((prompt, stay), *rest)
            for parts in partitions(len(list(members(stay))), 9):
                names = list(members(stay))
                sets = [sum(1 << names[k] for k in members(part)) for part in parts]
                yield (*((part, part) for part in sets), *rest)


def enumerated(instance: Instance) -> float:
    """The best utility of one tree of all users, from its definition: every history of groups, every y, its SMs all of them."""
    users, everyone = instance.users, (1 << instance.users) - 1
    quality = {}
    for mask in subsets(everyone):
        labels = np.array([0 if mask >> n & 1 else 1 for n in range(users)])
        quality[mask] = instance.weights.quality * quality_table(
            instance.quality, rule_similarity(instance, labels), instance.steps.common_max
        )
    device, energy = device_step_cost(instance), edge_step_energy_cost(instance)
    cost = float(edge_work_cost(instance, np.array(users))) / instance.sm_budget
    best = -np.inf
    for history in histories(((everyone, everyone),), instance.steps.common_max):
        value = sum(quality[everyone][n, 0] for n in range(users))
        served = np.zeros(users)
        for step, groups in enumerate(history, start=1):
            for prompt, stay in groups:
                for n in members(stay):
                    value += quality[prompt][n, step] - quality[prompt][n, step - 1]
                    served[n] += 1
        run = sum(map(len, history))
        for steps_edge in np.ndindex(*(instance.steps.edge_max + 1,) * users):
            work = run + sum(steps_edge)
            devices = float(device @ (instance.steps.total - served - np.array(steps_edge)))
            best = max(best, value - devices - energy * work - cost * work)
    return float(best - transmission_cost(instance))


@pytest.mark.parametrize("seed", range(3))
def test_trees_against_every_history(seed: int) -> None:
    limits = StepLimits(total=5, common_max=2, edge_min=0, edge_max=1, device_min=0, device_max=5)
    weights = PRESETS["small"].weights.replace(delay=[0.01, 0.05, 0.2][seed])
    instance = small(3, seed, steps=limits, weights=weights).replace(max_clusters=1)
    assert solve(instance).utility == pytest.approx(enumerated(instance), rel=1e-12)


def test_a_tree_never_loses_and_splits_where_that_pays() -> None:
    """Two pairs of users that are far apart, whose steps are dear: one tree whose pairs part beats one flat cluster."""
    angle = np.array([0.0, 0.05, 2.4, 2.45])
    vectors = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    limits = StepLimits(total=20, common_max=16, edge_min=0, edge_max=0, device_min=0, device_max=20)
    instance = small(4, 0, steps=limits, weights=Weights(delay=0.03))
    instance = instance.replace(embeddings=vectors, prompts=None, max_clusters=1)
    flat, trees = solve(instance, nested=False), solve(instance)
    assert trees.utility > flat.utility * 1.02
    assert trees.utility <= trees.bound * (1 + 1e-12)


@pytest.mark.parametrize("seed", range(2))
def test_depths_along_a_dendrogram_never_end_below_the_flat_optimum(seed: int) -> None:
    instance = clustered(PRESETS["paper"].sample(seed))
    assert isinstance(instance, Instance)
    flat, trees = improved(instance)
    assert trees >= flat
    few = clustered(small(6, seed).replace(max_clusters=1))
    assert isinstance(few, Instance)
    flat, trees = improved(few)
    exact = solve(few)
    assert flat <= trees <= exact.bound * (1 + 1e-9)


def test_flat_trees_have_the_utility_of_the_flat_optimum() -> None:
    instance = clustered(PRESETS["paper"].sample(0))
    assert isinstance(instance, Instance)
    found = JointExact().solve(Joint(instance), Limits(60.0)).decision
    assert found is not None and found.steps_common is not None
    groups = [np.flatnonzero(instance.labels == m) for m in range(instance.max_clusters)]
    trees = [grown(instance, users, int(found.steps_common[users].max())) for users in groups]
    assert finished(instance, trees)[0] == pytest.approx(Joint(instance).evaluate(found).objective, rel=1e-9)


def test_what_is_not_stated_is_refused() -> None:
    with pytest.raises(InputError, match="up to 7"):
        Nested(small(8, 0))
    binding = small(4, 0, steps=StepLimits(device_min=5))
    with pytest.raises(InputError, match="limits on z"):
        Nested(binding)
    with pytest.raises(InputError, match="limits on y or z"):
        improved(clustered(binding))
