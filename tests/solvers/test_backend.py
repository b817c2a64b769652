"""What a general solver's answer is worth where its tolerances fail."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hisopt import Full, Instance, Joint, Limits, SolverResult, Termination
from hisopt.solvers.backend import ModelSolver, proven_only
from hisopt.solvers.full.subsets import Subsets
from hisopt.solvers.joint.exact import JointExact
from hisopt.solvers.registry import registered
from hisopt.solvers.run import server
from hisopt.solvers.run.progress import Writer

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("termination", [Termination.OPTIMAL, Termination.TIME_LIMIT])
def test_a_bound_that_the_own_decision_beats_goes(small: Instance, termination: Termination) -> None:
    problem = Joint(small)
    decision = JointExact().solve(problem, Limits()).decision
    assert decision is not None
    value = problem.evaluate(decision).objective
    assert value is not None
    beaten = proven_only(problem, SolverResult(termination, decision, value * (1 - 2e-6), "solver"))
    assert (beaten.termination, beaten.bound) == (Termination.NUMERICAL_ERROR, None)
    assert beaten.decision is decision and "its own decision beats its bound" in beaten.message
    tied = SolverResult(termination, decision, value * (1 - 1e-12), "solver")
    assert proven_only(problem, tied) is tied
    loose = proven_only(problem, SolverResult(termination, decision, value * (1 + 2e-6), "solver"))
    assert loose.bound == value * (1 + 2e-6)
    claimed = termination is Termination.OPTIMAL
    assert loose.termination is (Termination.NUMERICAL_ERROR if claimed else termination)
    for one in (SolverResult(termination, None, 3.0), SolverResult(Termination.TIME_LIMIT, decision, None)):
        kept = proven_only(problem, one)
        assert (kept.decision, kept.bound) == (one.decision, one.bound)


def test_a_bound_told_on_the_way_does_not_outlive_a_numerical_error(small: Instance, tmp_path: Path) -> None:
    problem = Joint(small)
    Writer(problem, tmp_path, lambda: 1.0)(None, 3.0)
    for termination, bound in ((Termination.TIME_LIMIT, 3.0), (Termination.NUMERICAL_ERROR, None)):
        assert server._bounded(SolverResult(termination), problem, tmp_path).bound == bound


def two_devices(small: Instance, apart: float) -> Instance:
    """Two users who gain most from common steps alone in their clusters, the step of one device ``apart`` times the other's."""
    return small.replace(
        users=2, max_clusters=2, embeddings=[[1.0, 0.0], [0.6, 0.8]], prompts=None, similarity=None, clusters=[0, 1],
        edge=small.edge.replace(sms=3.0), devices=small.devices.replace(sms=[0.5 / apart, 0.5]),
        radio=small.radio.replace(gain=1e-9), cluster_size_max=None, given_common=None, given_edge=None,
    )  # fmt: skip


@pytest.mark.parametrize("kind", [Joint, Full])
def test_costs_that_tolerances_cannot_hold_are_refused(small: Instance, kind: type[Joint] | type[Full]) -> None:
    general = [one for one in registered(kind.kind) if isinstance(one, ModelSolver)]
    assert general
    for solver in general:
        near, far = (kind(two_devices(small, apart)) for apart in (1e3, 1e10))
        best = Subsets().solve(Full(near.instance), Limits()) if kind is Full else JointExact().solve(near, Limits())
        found = solver.solve(near, Limits(time_s=60))
        assert found.decision is not None and best.decision is not None
        value, wanted = (near.evaluate(one).objective for one in (found.decision, best.decision))
        assert value == pytest.approx(wanted, rel=1e-6)
        refused = solver.solve(far, Limits(time_s=60))
        assert refused.termination is Termination.UNAVAILABLE
        assert refused.bound is None and "no tolerances" in refused.message
