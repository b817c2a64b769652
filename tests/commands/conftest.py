"""Solving for tests of commands that are about something else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from hisopt.solvers.run.checks import Outcome, check

if TYPE_CHECKING:
    from hisopt import Limits


class HereAndNow:
    """A runner that solves in this process, which saves the start of another."""

    def __init__(self, limits: Limits, jobs: int) -> None:
        self.limits = limits

    def __enter__(self) -> HereAndNow:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def run_all(self, tasks: Any) -> Any:
        for problem, solver in tasks:
            yield check(problem, solver, self.limits, Outcome(solver.solve(problem, self.limits), 0.0))


@pytest.fixture
def solved_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands solve in this process; what a process of its own does is tested in `tests/solvers/run`."""
    monkeypatch.setattr("hisopt.solvers.run.runner.Runner", HereAndNow)
