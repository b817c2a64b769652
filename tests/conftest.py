from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

# before NumPy and torch: the workers of pytest use the cores, and their threads would spin in vain
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from hisopt import PRESETS, Instance, Limits
from hisopt.solvers.clustering.hac import average_linkage
from hisopt.solvers.run.checks import Outcome, Run, check

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from hisopt.problems import Problem
    from hisopt.solvers.base import Solver

    Call = Callable[..., subprocess.CompletedProcess[str]]

settings.register_profile(
    "fixed",
    derandomize=True,
    deadline=None,
    database=None,
    max_examples=60,
    suppress_health_check=list(HealthCheck),
)
settings.load_profile("fixed")


@pytest.fixture(scope="session")
def small() -> Instance:
    """The default instance, with HAC's clusters and everyone's steps in the middle."""
    instance = PRESETS["small"].sample(0)
    assert isinstance(instance, Instance)
    assert instance.embeddings is not None
    common, steps_edge = instance.steps.middle()
    return instance.replace(
        clusters=average_linkage(instance.embeddings, instance.max_clusters),
        given_common=np.full(instance.users, common),
        given_edge=np.full(instance.users, steps_edge),
    )


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Call]:
    """Programs in this process and the test's folder: their imports and models are loaded once for many calls."""
    monkeypatch.chdir(tmp_path)
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]

    def run(main: Callable[[], None], *arguments: str) -> subprocess.CompletedProcess[str]:
        monkeypatch.setattr(sys, "argv", ["hisopt", *arguments])
        capsys.readouterr()
        code: Any = 0
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
        return subprocess.CompletedProcess(arguments, code, *capsys.readouterr())

    yield run
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


class HereAndNow:
    """A runner that solves in this process, which saves the start of another."""

    def __init__(self, limits: Limits | None = None, jobs: int = 1) -> None:
        self.limits = limits or Limits()

    def __enter__(self) -> HereAndNow:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def run(self, problem: Problem, solver: Solver[Any], limits: Limits | None = None) -> Run:
        limits = limits or self.limits
        return check(problem, solver, limits, Outcome(solver.solve(problem, limits), 0.0))

    def run_all(self, tasks: Any) -> Iterator[Run]:
        for problem, solver in tasks:
            yield self.run(problem, solver)


@pytest.fixture
def solved_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands and `hisopt.run` solve in this process; what a process of its own does is tested in `tests/solvers/run`."""
    for user in ("hisopt.solvers.run.runner", "hisopt.solvers.run.api"):
        monkeypatch.setattr(f"{user}.Runner", HereAndNow)
