"""Wrong answers that earlier releases gave, and the tests that hold each; what no other file tests is tested here.

| wrong answer | held by |
|---|---|
| whole SMs: OPTIMAL with bound -27 where -25.5 is feasible and -18.33 optimal | `test_whole_sms.py`: a common step dearer than with real SMs |
| whole SMs: instances without a feasible decision called OPTIMAL, with bound -inf | `test_whole_sms.py`: more busy clusters than whole SMs; one SM for two clusters: here |
| weights of zero: crashes, clusters with work and no SM called optimal | `test_free_work.py`, every solver |
| near ties: open after 20 s where HiGHS needs 0.4 s | `test_joint_exact.py`: near ties are proven |
| binding z: the deadline ignored, nothing returned | here: any moment, and ten thousand users |
| refinement by `centroid` never ends on near-duplicates and antipodal rows | `test_clustering_edges.py`: refinement ends where gains are noise |
| limits on sizes with M > N // min: diverging bounds; sizes that no partition meets searched for | `test_clustering_edges.py`: more clusters than sizes allow; sizes that no partition meets |
| a useless device: bounds below feasible objectives | `test_joint_exact.py`: a useless device costs the others no digits |
| thousands of users with equal devices: bounds 1e-12 below their own decisions, as sums drifted | `test_sums.py`: bounds of many equal users hold |
| halves and 1.9e-9 counted as whole SMs | `test_whole_sms.py`: whole SMs are whole without tolerance |
| phi of a cluster whose embeddings cancel: 1.144, or free | `test_clustering_edges.py`: a cluster that cancels; `tests/models/test_cancelling.py` |
| lies of solvers that reach the parent: NaN, wrapped, masked and complex decisions, bounds that are none, forged answers | `test_liars.py`, one row a lie |
| solvers that kill their server, or leave processes behind | `test_processes.py` |
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from hisopt import PRESETS, Instance, Limits, Termination
from hisopt.experiments.campaigns import edge_instances
from hisopt.problems import Clustering, Joint
from hisopt.solvers.base import Deadline
from hisopt.solvers.clustering.branch_bound.search import BranchBound
from hisopt.solvers.joint.exact import JointExact
from hisopt.solvers.joint.whole import JointExactInteger

if TYPE_CHECKING:
    from hisopt.solvers.base import Solver

LIMITS = Limits(time_s=300)


def test_one_whole_sm_for_two_clusters() -> None:
    """Nine users gain 8.1 on one SM and pay 9; the tenth gains 5 and pays 1."""
    rng = np.random.default_rng(0)
    draft = edge_instances.draft(rng, "joint", True, 10, 2)
    draft.labels, draft.device, draft.budget = np.array([0] * 9 + [1]), np.array([0.9] * 9 + [5.0]), 1.0
    draft.limits = {"total": 1, "common_max": 1, "edge_max": 0, "device_min": 0, "device_max": 1}
    draft.weights, draft.similarity = {"quality": 0.0, "delay": 1.0, "energy": 0.0}, np.full(10, 0.5)
    instance = draft.build()
    assert isinstance(instance, Instance)
    problem = Joint(instance, whole_sms=True)
    found = JointExactInteger().solve(problem, LIMITS)
    assert found.termination is Termination.OPTIMAL
    assert found.decision is not None
    assert found.decision.steps_common is not None
    assert found.decision.steps_common.tolist() == [0] * 9 + [1]
    assert problem.evaluate(found.decision).objective == pytest.approx(-9 * 0.9 - 1, abs=1e-6)
    assert found.bound == pytest.approx(-9 * 0.9 - 1, abs=1e-6)


def test_ten_thousand_users_whose_device_steps_bind() -> None:
    instance = PRESETS["large"].replace(max_clusters=3).sample(0)
    problem = Joint(instance.replace(steps=instance.steps.replace(device_min=5)))
    assert problem.instance.steps.device_binds
    found = JointExact().solve(problem, LIMITS)
    assert found.termination is Termination.OPTIMAL
    assert found.decision is not None
    assert found.bound is not None
    assert problem.gap(found.decision, found.bound) <= 1e-9


class _Patience:
    """Time that is up when it has been asked for that often."""

    def __init__(self, most: int) -> None:
        self.asked, self.most = 0, most

    @property
    def left(self) -> float:
        self.asked += 1
        return 1e3 if self.asked <= self.most else 0.0


@pytest.mark.parametrize(("solver", "whole"), [(JointExact(), False), (JointExactInteger(), True)])
def test_a_deadline_at_any_moment_leaves_a_decision_and_a_bound(
    solver: Solver[Joint], whole: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance = PRESETS["large"].with_users(60).replace(max_clusters=4).sample(0)
    problem = Joint(instance.replace(steps=instance.steps.replace(device_min=5)), whole_sms=whole)
    best = solver.solve(problem, LIMITS)
    assert best.termination is Termination.OPTIMAL
    assert best.decision is not None
    worth = problem.evaluate(best.decision).objective
    assert worth is not None
    most, stopped = 0, 0
    while True:
        clock = _Patience(most)
        with monkeypatch.context() as patch:
            patch.setattr(Deadline, "left", property(lambda self, clock=clock: clock.left))
            found = solver.solve(problem, LIMITS)
        assert found.decision is not None
        assert found.bound is not None
        value = problem.evaluate(found.decision)
        assert value.feasible
        assert value.objective is not None
        assert value.objective <= worth * (1 + 1e-9)
        assert worth * (1 - 1e-12) <= found.bound < np.inf
        if clock.asked <= most:
            assert found.termination is Termination.OPTIMAL, "with all the time that it asked for"
            break
        assert found.termination in (Termination.OPTIMAL, Termination.TIME_LIMIT)
        stopped += found.termination is Termination.TIME_LIMIT
        most = most + 1 if most < 20 else int(most * 1.2)
    assert stopped > 1, "or nothing was interrupted"


def test_branch_and_bound_ends_on_opposite_pairs() -> None:
    there = np.array([1.0, 2.0, 2.0]) / 3
    points = np.array([there, there, -there, -there])
    for clusters in (1, 2, 3, 4):
        for criterion, best in (("mean", 4.0), ("centroid", 4.0), ("sum", 8.0)):
            problem = Clustering(points, clusters, criterion)  # type: ignore[arg-type]
            found = BranchBound().solve(problem, LIMITS)
            assert found.termination is Termination.OPTIMAL
            assert found.bound == pytest.approx(best if clusters > 1 else 0.0, abs=1e-6)
