"""Solvers that say they need NumPy alone import none of the large libraries, so that their time does not count imports."""

from __future__ import annotations

import pickle
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from hisopt import PRESETS
from hisopt.instances.scenario import MEG_PRESETS
from hisopt.problems import Clustering, Meg, Problem, Steps, problem_of
from hisopt.solvers.clustering.hac import clustered
from hisopt.solvers.registry import TABLE, registered
from hisopt.solvers.run.place import place_of

if TYPE_CHECKING:
    from pathlib import Path

    from hisopt.solvers.base import Solver

PROGRAM = """
import pickle, sys
from hisopt import Limits
from hisopt.solvers.run.place import found_at

large = ("scipy", "pandas", "pyomo", "highspy", "pyscipopt", "cvxpy", "sklearn", "torch")
for place, problem in pickle.load(open(sys.argv[1], "rb")):
    solver = found_at(place)()
    solver.prepare()
    assert solver.solve(problem, Limits(5.0)).decision is not None, solver.name
    loaded = [name for name in large if name in sys.modules]
    assert not loaded, f"{solver.name}: {loaded}"
"""


def test_solvers_of_numpy_alone_import_nothing_else(tmp_path: Path) -> None:
    small: Any = clustered(PRESETS["small"].sample(0)).replace(given_common=[2] * 10, given_edge=[2] * 10)
    icc = clustered(PRESETS["icc"].replace(users=6).sample(0))
    problems: list[Problem] = [Clustering.of(small, "mean"), Meg(MEG_PRESETS["meg"].sample(0)), Steps(icc)]
    problems += [
        problem_of(kind, small, whole_sms=whole) for kind in ("allocation", "joint") for whole in (False, True)
    ]
    light: set[Solver[Any]] = {solver for kind in TABLE for solver in registered(kind) if solver.numpy_only}
    work = [(place_of(type(s)), problem) for s in light for problem in problems if s.serves(problem)]
    assert {place for place, _ in work} == {place_of(type(s)) for s in light} and len(light) >= 15
    (tmp_path / "work").write_bytes(pickle.dumps(work))
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, tmp_path / "work"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
