"""The E-step's dual against a general convex program, learners against the optimum on a small instance, policies as files."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest

pytest.importorskip("torch")

import cvxpy as cp

from hisopt import Decision, InputError, Limits, Meg, MegInstance
from hisopt.instances import MegChannel
from hisopt.solvers.meg import cvpo, ppo_lagrangian
from hisopt.solvers.meg.exact import OccupancyLp
from hisopt.solvers.meg.learning import Slots, policy_of, read_policy, write_policy

if TYPE_CHECKING:
    from pathlib import Path

SMALL = MegInstance(
    channel=MegChannel.uniform_distance(4), steps=np.array([4.0, 7.0, 10.0]), ratios=np.array([0.0, 0.5])
)


@pytest.mark.parametrize("seed", range(6))
def test_the_e_step_is_the_constrained_program(seed: int) -> None:
    """Its q is the best within the divergence and the limits, as stated primally to a conic solver."""
    rng = np.random.default_rng(seed)
    weight, policy = rng.dirichlet(np.ones(3)), rng.dirichlet(np.ones(4), 3)
    reward, costs = rng.uniform(size=(3, 4)), rng.uniform(size=(2, 3, 4))
    limits = np.einsum("h,ha,kha->k", weight, policy, costs) * np.array([0.97, 1.1])
    found = cvpo.e_step(weight, policy, reward, costs, limits, 0.05)
    q = cp.Variable((3, 4), nonneg=True)
    divergence = cp.sum(cp.multiply(weight[:, None] * np.ones((3, 4)), cp.kl_div(q, policy)))
    rows = [cp.sum(q, axis=1) == 1, divergence <= 0.05]
    rows += [cp.sum(cp.multiply(weight[:, None] * cost, q)) <= limit for cost, limit in zip(costs, limits, strict=True)]
    best = cp.Problem(cp.Maximize(cp.sum(cp.multiply(weight[:, None] * reward, q))), rows)
    best.solve(solver="CLARABEL")
    assert float(weight @ (found.target * reward).sum(axis=1)) == pytest.approx(float(best.value), abs=2e-4)
    assert found.target == pytest.approx(q.value, abs=5e-3)
    assert (np.einsum("h,ha,kha->k", weight, found.target, costs) <= limits + 2e-4).all()


def test_cvpo_comes_near_the_optimum_within_limits() -> None:
    problem = Meg(SMALL)
    optimum = OccupancyLp().solve(problem, Limits()).bound
    assert optimum is not None
    settings = cvpo.CvpoSettings(iterations=16, slots=1024, seed=1)
    policies: list[np.ndarray] = []
    actor = cvpo.train(problem, settings, lambda i, policy: policies.append(policy))
    parts = problem.evaluate(Decision(policy=policy_of(actor, problem))).parts
    first = problem.evaluate(Decision(policy=policies[0])).parts
    assert parts["reward"] > first["reward"] + 0.05
    assert parts["reward"] > optimum - 0.02 * abs(optimum)
    assert parts["latency"] <= 3 * 1.02 and parts["energy"] <= 1800 * 1.02
    again = cvpo.train(problem, cvpo.CvpoSettings(iterations=2, seed=1))
    same = cvpo.train(problem, cvpo.CvpoSettings(iterations=2, seed=1))
    assert (policy_of(again, problem) == policy_of(same, problem)).all()


def test_m_step_stays_within_the_trust_region() -> None:
    problem = Meg(SMALL)
    kept: list[np.ndarray] = []
    cvpo.train(problem, cvpo.CvpoSettings(iterations=6, seed=0, trust=0.02), lambda i, policy: kept.append(policy))
    weight = problem.process.probability
    for old, new in pairwise(kept):
        assert float(weight @ (old * np.log(old / new)).sum(axis=1)) <= 0.02 * 1.1


def test_ppo_lagrangian_raises_the_reward_and_prices_what_is_broken() -> None:
    problem = Meg(SMALL)
    kept: list[np.ndarray] = []
    actor = ppo_lagrangian.train(
        problem, ppo_lagrangian.PpoSettings(iterations=60, slots=1024), lambda i, policy: kept.append(policy)
    )
    first, last = (problem.evaluate(Decision(policy=p)).parts for p in (kept[0], policy_of(actor, problem)))
    assert last["reward"] > first["reward"] and last["energy"] < 1800 * 1.06 and last["latency"] < 3 * 1.06


@pytest.mark.parametrize("correlation", [None, 0.9])
def test_slots_follow_channel_and_policy(correlation: float | None) -> None:
    channel = MegChannel.uniform_distance(4) if correlation is None else MegChannel.gauss_markov(4, correlation)
    problem = Meg(SMALL.replace(channel=channel))
    policy = np.full((4, 6), 1 / 6)
    batch = Slots(problem, 3, episodes=256).live(policy, 256 * 64)
    reward, costs = problem.process.mean(policy)
    assert batch.rewards.mean() == pytest.approx(reward, rel=0.01)
    assert batch.costs.mean(axis=0) == pytest.approx(costs, rel=0.03)
    stays = float((batch.bins == batch.next_bins).mean())
    assert stays == pytest.approx(0.25 if channel.transition is None else np.trace(channel.transition) / 4, abs=0.03)


def test_policies_as_files(tmp_path: Path) -> None:
    problem = Meg(SMALL)
    actor = cvpo.train(problem, cvpo.CvpoSettings(iterations=1))
    write_policy(tmp_path / "p.safetensors", actor, problem, {"seed": 0})
    assert (policy_of(read_policy(tmp_path / "p.safetensors"), problem) == policy_of(actor, problem)).all()
    (tmp_path / "other").write_bytes(b"no tensors")
    with pytest.raises(InputError, match="not a policy of MEG"):
        read_policy(tmp_path / "other")
