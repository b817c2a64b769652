"""What a general solver's answer is worth where its tolerances fail."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hisopt import Instance, Joint, Limits, SolverResult, Termination
from hisopt.solvers.backend import proven_only
from hisopt.solvers.joint.exact import JointExact
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
