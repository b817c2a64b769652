"""The policy for every size: what it sees, learning, files, decisions of any size, and the program that judges it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from hisopt import PRESETS, Limits
from hisopt.errors import InputError
from hisopt.experiments.campaigns import price_gap_report
from hisopt.instances import Instance
from hisopt.problems import Joint
from hisopt.solvers.clustering.hac import clustered
from hisopt.solvers.joint.exact import JointExact
from hisopt.solvers.policy.doubts import settle
from hisopt.solvers.policy.learned_prices import LearnedPrices
from hisopt.solvers.policy.price_training import capped_gap, draws, enlarged, fit, lesson
from hisopt.solvers.policy.prices import Batch, PricePolicy, decide, likelihoods, read, reply_of, write
from hisopt.solvers.policy.replies import lost_at_price, utility
from hisopt.text.corpus import shipped

if TYPE_CHECKING:
    from pathlib import Path


def instance_of(seed: int) -> Instance:
    instance = clustered(PRESETS["small"].sample(seed))
    assert isinstance(instance, Instance)
    return instance


def trained() -> PricePolicy:
    policy = PricePolicy(8)
    fit(policy, [lesson(one) for one in draws(20, 1, shipped().part("training"))], 5, batch=8)
    return policy


def test_untrained_it_takes_the_best_replies_to_expected_loads() -> None:
    seen = lesson(instance_of(0)).seen
    a, b = (likelihoods(PricePolicy(8, seed), [seen])[0] for seed in (0, 1))
    np.testing.assert_array_equal(a, b)
    np.testing.assert_allclose(np.exp(a).sum(axis=1), 1, rtol=1e-5)


def test_training_comes_nearer_to_the_optimum() -> None:
    points = [lesson(one, 1e-4) for one in draws(60, 5, shipped().part("training"))]
    policies = [PricePolicy(16), PricePolicy(16)]
    before, losses = capped_gap(policies[0], points), []
    for policy in policies:
        fit(policy, points, 60, batch=32, report=lambda _, loss: losses.append(loss))
    assert capped_gap(policies[0], points) < before
    assert np.mean(losses[50:60]) < np.mean(losses[:10])
    assert all(torch.equal(a, b) for a, b in zip(*(policy.parameters() for policy in policies), strict=True))


def test_a_batch_changes_nothing_and_clusters_have_no_order() -> None:
    policy, seen = trained(), [lesson(one).seen for one in (instance_of(1), instance_of(2))]
    together = policy(Batch.of(seen)).detach().numpy()
    alone = np.concatenate([policy(Batch.of([one])).detach().numpy() for one in seen])
    np.testing.assert_allclose(together, alone, atol=1e-4)
    batch = Batch.of(seen[:1])
    order = torch.argsort(batch.cluster, descending=True, stable=True)
    turned = Batch(batch.gain[order], batch.load[order], batch.price, len(batch.instance) - 1 - batch.cluster[order],
                   batch.instance)  # fmt: skip
    np.testing.assert_allclose(policy(turned).detach(), policy(batch)[order].detach(), atol=1e-4)


def test_a_network_that_errs_costs_nothing_where_combinations_are_tried() -> None:
    policy = PricePolicy(8)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.normal_(0, 3, generator=torch.Generator().manual_seed(1))
    for seed in range(5):
        seen = lesson(instance_of(seed)).seen
        likely = likelihoods(policy, [seen])[0]
        found = utility(seen, reply_of(seen, likely, 3))
        for order in (likely, -lost_at_price(seen)):
            assert found >= utility(seen, settle(seen, order, 3))
        assert reply_of(seen, likely, 0).tolist() == likely.argmax(axis=1).tolist()


@pytest.mark.parametrize(("users", "clusters"), [(8, 1), (60, 20), (300, 7)])
def test_one_file_decides_for_every_size(users: int, clusters: int) -> None:
    scenario = PRESETS["paper"].with_users(users).replace(max_clusters=clusters)
    instance = clustered(scenario.sample(3, enlarged(shipped(), users)))
    assert isinstance(instance, Instance)
    problem = Joint(instance)
    best = JointExact().solve(problem, Limits()).bound
    values = []
    for doubts in (0, 10):
        decision = LearnedPrices(doubts=doubts).solve(problem, Limits()).decision
        assert decision is not None
        found = problem.evaluate(decision)
        assert found.feasible and found.objective is not None and best is not None
        values.append(found.objective)
    assert values[0] <= values[1] + 1e-9 <= best + 2e-9
    assert values[1] >= best - 0.01 * abs(best)


def test_files(tmp_path: Path) -> None:
    policy = trained()
    write(policy, tmp_path / "p.safetensors", {"updates": 5})
    again = read(tmp_path / "p.safetensors")
    for a, b in zip(decide(policy, instance_of(2), 2), decide(again, instance_of(2), 2), strict=True):
        assert a.shape == b.shape == (10,)
    (tmp_path / "bad").write_bytes(b"no policy")
    with pytest.raises(InputError, match="bad: not a policy of prices"):
        read(tmp_path / "bad")
    for doubts in (-1, 21):
        with pytest.raises(InputError, match="doubts"):
            LearnedPrices(doubts=doubts)


def test_judging_goes_on_from_its_records(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parts = list(price_gap_report.blocks([10], [2, 3, 20], 2))
    assert parts == [(10, 2, range(2)), (10, 3, range(2))]  # 20 clusters of 10 users are none
    first = price_gap_report.run(None, parts, 10, tmp_path)
    assert len(capsys.readouterr().err.splitlines()) == 2
    assert price_gap_report.run(None, parts, 10, tmp_path) == first
    assert capsys.readouterr().err == ""
    assert "76 decisions, 2 draws or more in each of 38 cells" in first
    assert len(price_gap_report.weightings()) == 19
    write(PricePolicy(8), tmp_path / "other", {})
    price_gap_report.run(tmp_path / "other", parts[:1], 10, tmp_path)  # another policy has other records
    assert len(capsys.readouterr().err.splitlines()) == 1
