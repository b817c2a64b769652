"""Solutions of exported models led back to decisions, by a map from the file's names to the model's variables.

The map is a JSON file that `hisopt.models.export.write` puts beside each model: the problem and the hash of its data, what the
model's variables say of the decision, and every name in the file with the model's own name for it.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hisopt.errors import InputError
from hisopt.models.export import MAP_VERSION, form_of

if TYPE_CHECKING:
    from hisopt.decision import Decision
    from hisopt.models.solution_files import Solution
    from hisopt.problems import Problem

WHOLE = 1e-5  # how far from a whole number an integer variable may lie: the solvers' tolerance, and some room
_ROWS = 1e-5  # how far a row may be violated, relative to 1 and its terms
_ALIEN = ("ONE_VAR_CONSTANT", "quadobjvar", "objconstant")  # variables that a writer or a reader of the formats adds


@dataclass(frozen=True)
class VariableMap:
    """Which problem a model's file states, and the model's variable behind each name in the file."""

    problem: dict[str, Any]
    content_hash: str
    variables: dict[str, str]


@dataclass(frozen=True)
class Readback:
    """The decision in a solution, the model's objective there, and where the solution breaks the model it is of."""

    decision: Decision
    objective: float
    faults: tuple[str, ...]


def load_map(path: str | Path) -> VariableMap:
    """Read a map; raise `InputError` where it is none."""
    path = Path(path)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise InputError(f"{path}: not JSON") from None
    if not isinstance(found, dict) or found.get("schema_version") != MAP_VERSION:
        raise InputError(f"{path}: is no map of an exported model of this release (schema_version {MAP_VERSION})")
    problem, names = found.get("problem"), found.get("variables")
    if not isinstance(problem, dict) or not isinstance(found.get("hash"), str):
        raise InputError(f"{path}: problem, hash: missing or malformed")
    if not isinstance(names, dict) or not all(isinstance(name, str) for name in names.values()):
        raise InputError(f"{path}: variables: must be an object of names")
    return VariableMap(problem, found["hash"], names)


def decision_of(problem: Problem, known: VariableMap, solution: Solution, source: str) -> Readback:
    """Build the problem's model again, give its variables the solution's values, and read the decision off it.

    Whole variables are rounded, and real SMs follow from the steps as wherever a model is read; so ``faults`` names what in
    the solution itself is not whole, or breaks a bound or a row. Raises `InputError` where the map is of other data, or the
    solution has a name that the map lacks. ``source`` names the solution in messages.
    """
    from pyomo.environ import Var, value

    if known.content_hash != problem.content_hash:
        raise InputError(
            f"{source}: its map is of a model of other data: {known.content_hash}, not {problem.content_hash}"
        )
    form = form_of(problem)
    model = form.build(problem)
    variables = {v.name: v for v in model.component_data_objects(Var)}
    for variable in variables.values():
        variable.set_value(0.0, skip_validation=True)  # files may leave zeros out
    faults = []
    for name, number in solution.values.items():
        if name.startswith(_ALIEN):
            continue
        variable = variables.get(known.variables.get(name, ""))
        if variable is None:
            raise InputError(f"{source}: line {solution.lines[name]}: {name}: the model has no such variable")
        variable.set_value(number, skip_validation=True)
    for name, variable in variables.items():
        number = variable.value
        if variable.is_integer() and abs(number - round(number)) > WHOLE:
            faults.append(f"{name}: is {number:.9g}, must be a whole number")
        low, high = variable.bounds
        if (low is not None and number < low - _ROWS) or (high is not None and number > high + _ROWS):
            faults.append(f"{name}: is {number:.9g}, must lie within {low} and {high}")
    faults += _broken_rows(model)
    return Readback(form.extract(model, problem), float(value(model.value)), tuple(faults))


def _broken_rows(model: Any) -> list[str]:
    from pyomo.environ import Constraint, value

    broken = []
    for row in model.component_data_objects(Constraint, active=True):
        body = value(row.body)
        low = -math.inf if row.lower is None else value(row.lower)
        high = math.inf if row.upper is None else value(row.upper)
        room = _ROWS * max(1.0, abs(body), *(abs(side) for side in (low, high) if math.isfinite(side)))
        if not low - room <= body <= high + room:
            broken.append(f"row {row.name}: is {body:.9g}, must lie within {low:.9g} and {high:.9g}")
    return broken
