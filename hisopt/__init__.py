"""Compare exact solvers, heuristics and learned policies for hybrid inference of diffusion models.

The public names are imported on first use, so that ``import hisopt`` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hisopt.decision import Decision
    from hisopt.errors import InputError
    from hisopt.instances import IccInstance, Instance, MegInstance
    from hisopt.instances.files import load, save
    from hisopt.instances.scenario import PRESETS, Scenario
    from hisopt.problems import (
        Allocation,
        Clustering,
        Evaluation,
        Full,
        Joint,
        Meg,
        Problem,
        Sizes,
        Steps,
        SumOfSquares,
    )
    from hisopt.result import Guarantee, Limits, SolutionStatus, SolverResult, Termination
    from hisopt.solvers.base import Deadline, Solver
    from hisopt.solvers.clustering.sum_of_squares.estimator import ExactKMeans
    from hisopt.solvers.run.api import compare, run
    from hisopt.solvers.run.checks import Run
    from hisopt.solvers.run.progress import report

__version__ = "0.1.0"

_PUBLIC = {
    "Decision": "decision",
    "InputError": "errors",
    "IccInstance": "instances",
    "Instance": "instances",
    "MegInstance": "instances",
    "load": "instances.files",
    "save": "instances.files",
    "PRESETS": "instances.scenario",
    "Scenario": "instances.scenario",
    "Allocation": "problems",
    "Clustering": "problems",
    "Evaluation": "problems",
    "Full": "problems",
    "Joint": "problems",
    "Meg": "problems",
    "Problem": "problems",
    "Sizes": "problems",
    "Steps": "problems",
    "SumOfSquares": "problems",
    "Guarantee": "result",
    "Limits": "result",
    "SolutionStatus": "result",
    "SolverResult": "result",
    "Termination": "result",
    "Deadline": "solvers.base",
    "ExactKMeans": "solvers.clustering.sum_of_squares.estimator",
    "Solver": "solvers.base",
    "compare": "solvers.run.api",
    "run": "solvers.run.api",
    "Run": "solvers.run.checks",
    "report": "solvers.run.progress",
}
__all__ = [
    "PRESETS", "Allocation", "Clustering", "Deadline", "Decision", "Evaluation", "ExactKMeans", "Full", "Guarantee",
    "IccInstance", "InputError", "Instance", "Joint", "Limits", "Meg", "MegInstance", "Problem", "Run", "Scenario", "Sizes",
    "SolutionStatus", "Solver", "SolverResult", "Steps", "SumOfSquares", "Termination", "__version__", "compare", "load",
    "report", "run", "save",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(f"hisopt.{_PUBLIC[name]}"), name)
    raise AttributeError(f"module 'hisopt' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
