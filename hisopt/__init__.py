"""Compare exact solvers, heuristics and learned policies for hybrid inference of diffusion models.

The public names are imported on first use, so that ``import hisopt`` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "Instance": "instances",
    "IccInstance": "instances",
    "Scenario": "instances.scenario",
    "PRESETS": "instances.scenario",
    "Problem": "problem",
    "Decision": "decision",
    "Evaluation": "evaluation",
    "evaluate": "evaluation",
    "Limits": "result",
    "SolutionStatus": "result",
    "SolverResult": "result",
    "Termination": "result",
}
__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(f"hisopt.{_PUBLIC[name]}"), name)
    raise AttributeError(f"module 'hisopt' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
