"""What solvers import: those of NumPy alone nothing large, the others what they need before the clock, not while they solve."""

from __future__ import annotations

import pickle
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from hisopt import PRESETS
from hisopt.instances.scenario import MEG_PRESETS
from hisopt.problems import Clustering, Meg, Problem, Steps, SumOfSquares, problem_of
from hisopt.solvers.clustering.hac import clustered
from hisopt.solvers.registry import TABLE, registered
from hisopt.solvers.run.place import place_of

if TYPE_CHECKING:
    from pathlib import Path

    from hisopt.solvers.base import Solver

LARGE = ("scipy", "pandas", "pyomo", "highspy", "pyscipopt", "cvxpy", "sklearn", "torch")
NUMPY_ALONE = f"""
import pickle, sys
from hisopt import Limits
from hisopt.solvers.run.place import found_at

for place, problem in pickle.load(open(sys.argv[1], "rb")):
    solver = found_at(place)()
    solver.prepare()
    assert solver.solve(problem, Limits(5.0)).decision is not None, solver.name
    loaded = [name for name in {LARGE} if name in sys.modules]
    assert not loaded, f"{{solver.name}}: {{loaded}}"
"""
BEFORE_THE_CLOCK = f"""
import os, pickle, sys
from hisopt import Limits
from hisopt.solvers.run.place import found_at

def large():
    return {{name for name in {LARGE} if name in sys.modules}}

for place, problem in pickle.load(open(sys.argv[1], "rb")):
    solver = found_at(place)()
    solver.prepare()
    if os.fork() == 0:  # as the server of solver processes does
        before = large()
        solver.solve(problem, Limits(0.2))
        late = large() - before
        print(*late, file=sys.stderr)
        os._exit(len(late))
    _, status = os.wait()
    assert status == 0, solver.name
"""


@pytest.fixture(scope="module")
def problems() -> list[Problem]:
    """Small problems of every kind."""
    small: Any = clustered(PRESETS["small"].replace(users=5).sample(0)).replace(
        given_common=[2] * 5, given_edge=[2] * 5
    )
    icc = clustered(PRESETS["icc"].replace(users=5).sample(0))
    found: list[Problem] = [*(Clustering.of(small, criterion) for criterion in ("mean", "sum")), Steps(icc)]
    found += [Meg(MEG_PRESETS[name].sample(0)) for name in ("meg", "meg-markov")]
    found += [SumOfSquares(small.embeddings, 2)]
    for kind in ("allocation", "joint", "full"):
        found += [problem_of(kind, small, whole_sms=whole) for whole in (False, True)]
    return found


def run(program: str, work: list[tuple[Any, Problem]], folder: Path) -> None:
    (folder / "work").write_bytes(pickle.dumps(work))
    command = [sys.executable, "-c", program, folder / "work"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def test_solvers_of_numpy_alone_import_nothing_else(problems: list[Problem], tmp_path: Path) -> None:
    light: set[Solver[Any]] = {solver for kind in TABLE for solver in registered(kind) if solver.numpy_only}
    work = [(place_of(type(s)), problem) for s in light for problem in problems if s.serves(problem)]
    assert {place for place, _ in work} == {place_of(type(s)) for s in light} and len(light) >= 15
    run(NUMPY_ALONE, work, tmp_path)


def test_solvers_import_what_they_need_before_the_clock(problems: list[Problem], tmp_path: Path) -> None:
    heavy: set[Solver[Any]] = {solver for kind in TABLE for solver in registered(kind) if not solver.numpy_only}
    work = [
        (place_of(type(solver)), next(problem for problem in problems if solver.serves(problem)))
        for solver in sorted(heavy, key=lambda solver: (len(solver.requires), solver.packages))
    ]  # those that declare the least first, before others have imported what they left out
    assert len(work) >= 25
    run(BEFORE_THE_CLOCK, work, tmp_path)
