"""The policy for every size: replies against brute force, learning, files, and decisions of any size."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from hisopt import PRESETS, Limits
from hisopt.errors import InputError
from hisopt.instances import Instance
from hisopt.problems import Joint
from hisopt.solvers.clustering.hac import clustered
from hisopt.solvers.joint import step_tables
from hisopt.solvers.joint.exact import JointExact
from hisopt.solvers.policy.learned_prices import LearnedPrices
from hisopt.solvers.policy.price_training import draws, enlarged, fit, gaps, lesson, regret
from hisopt.solvers.policy.prices import GRID, PricePolicy, decide, read, replies, write
from hisopt.text.corpus import shipped

if TYPE_CHECKING:
    from pathlib import Path


def instance_of(seed: int) -> Instance:
    instance = clustered(PRESETS["small"].sample(seed))
    assert isinstance(instance, Instance)
    return instance


def test_replies_are_best_for_every_load_of_the_others() -> None:
    instance = instance_of(0)
    tables, budget = step_tables.for_instance(instance), instance.sm_budget
    found = replies(tables, budget)
    most = sum(max(tables.load[a:b]) for a, b in zip(tables.offsets[:-1], tables.offsets[1:], strict=True))
    for m, (a, b) in enumerate(zip(tables.offsets[:-1], tables.offsets[1:], strict=True)):
        for k, part in enumerate(GRID):
            values = [
                tables.gain[i] - (2 * part * most * tables.load[i] + tables.load[i] ** 2) / budget for i in range(a, b)
            ]
            assert values[found.option[m, k] - a] == pytest.approx(max(values), abs=1e-9)


def test_training_comes_nearer_to_the_optimum() -> None:
    points = lesson(draws(60, 5, shipped().part("training")))
    policy = PricePolicy(16)
    before = np.median(gaps(policy, points)), gaps(policy, points).mean()
    fit(policy, points, 60, batch=32)
    assert (gaps(policy, points) > -1e-4).all()
    assert gaps(policy, points).mean() < before[1]
    again = PricePolicy(16)
    fit(again, points, 60, batch=32)
    assert all(torch.equal(a, b) for a, b in zip(policy.parameters(), again.parameters(), strict=True))


def test_at_the_optimum_no_cluster_regrets_its_own_reply_much() -> None:
    points = lesson([instance_of(seed) for seed in range(5)])
    others = points.best.sum(dim=1, keepdim=True) - points.best
    lost = regret(points, others)
    nearest = (others.unsqueeze(2) - torch.from_numpy(GRID).float()).abs().argmin(dim=2, keepdim=True)
    assert lost.min() >= 0
    assert lost.gather(2, nearest).max() < 0.02


def test_clusters_that_fill_up_a_batch_change_nothing() -> None:
    part = lesson([instance_of(1)])
    policy = PricePolicy(16)
    with torch.no_grad():
        wide = policy(part.gain, part.load, part.share)[:, :3]
        narrow = policy(part.gain[:, :3], part.load[:, :3], part.share[:, :3])
    torch.testing.assert_close(wide, narrow)


@pytest.mark.parametrize(("users", "clusters"), [(8, 1), (60, 20), (300, 7)])
def test_one_file_decides_for_every_size(users: int, clusters: int) -> None:
    scenario = PRESETS["paper"].with_users(users).replace(max_clusters=clusters)
    instance = clustered(scenario.sample(3, enlarged(shipped(), users)))
    assert isinstance(instance, Instance)
    problem = Joint(instance)
    best = JointExact().solve(problem, Limits()).bound
    values = []
    for rounds in (0, 1):
        decision = LearnedPrices(rounds=rounds).solve(problem, Limits()).decision
        assert decision is not None
        found = problem.evaluate(decision)
        assert found.feasible and found.objective is not None and best is not None
        values.append(found.objective)
    assert values[0] <= values[1] + 1e-9 <= best + 2e-9
    assert values[1] >= best - 0.03 * abs(best)


def test_files(tmp_path: Path) -> None:
    policy = PricePolicy(16)
    write(policy, tmp_path / "p.safetensors", {"updates": 0})
    again = read(tmp_path / "p.safetensors")
    for a, b in zip(decide(policy, instance_of(2)), decide(again, instance_of(2)), strict=True):
        assert a.shape == b.shape == (10,)
    (tmp_path / "bad").write_bytes(b"no policy")
    with pytest.raises(InputError, match="bad: not a policy of prices"):
        read(tmp_path / "bad")
    with pytest.raises(InputError, match="rounds"):
        LearnedPrices(rounds=-1)
