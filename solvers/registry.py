"""The one table of solvers: where each lives, and solvers by name and options. Modules are imported when asked for."""

from __future__ import annotations

import sys
import types
from dataclasses import fields
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin, get_type_hints

from hisopt.errors import InputError
from hisopt.solvers.run.place import check_class, line_of, load_class

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hisopt.problems import Problem
    from hisopt.solvers.base import Solver

TABLE: dict[str, tuple[str, ...]] = {
    "clustering": (
        "clustering.hac:Hac",
        "clustering.refined_hac:HacRefined",
        "clustering.kmeans:KMeans",
        "clustering.baselines:OneCluster",
        "clustering.baselines:RandomClusters",
        "clustering.ilp:IlpHighs",
        "clustering.ilp:IlpScip",
        "clustering.pairs:PairsHighs",
        "clustering.sdp:PengWeiSdp",
        "clustering.branch_bound.search:BranchBound",
        "clustering.partitions:Partitions",
        "clustering.sum_of_squares.solvers:SumOfSquaresSearch",
        "clustering.pairs:SquaresHighs",
        "clustering.sum_of_squares.solvers:HybridMeans",
        "clustering.sum_of_squares.solvers:Ward",
        "clustering.sum_of_squares.solvers:Groups",
    ),
    "allocation": (
        "allocation.closed_form:ClosedForm",
        "allocation.closed_form:EqualUsers",
        "allocation.closed_form:EqualClusters",
        "allocation.conic:CvxpyClarabel",
        "allocation.conic:CvxpyScs",
        "allocation.natural:AllocationScip",
        "allocation.whole:IntegerAllocation",
        "allocation.whole:RoundDown",
    ),
    "joint": (
        "joint.exact:JointExact",
        "joint.whole:JointExactInteger",
        "joint.natural:JointScip",
        "joint.milp:JointMilp",
        "joint.alternating:Alternating",
        "joint.greedy:Greedy",
        "joint.local_search:LocalSearch",
        "joint.random_steps:RandomSteps",
        "joint.no_sharing:NoSharing",
        "policy.best_response:BestResponse",
        "policy.learned:Ippo",
        "policy.learned_prices:LearnedPrices",
    ),
    "full": (
        "full.subsets:Subsets",
        "full.set_partition:SetPartition",
        "full.type_bound:TypeBound",
        "full.two_stage:TwoStage",
        "full.local_search:PartitionSearch",
        "full.natural:FullScip",
    ),
    "steps": (
        "steps.enumeration:Enumeration",
        "steps.milp:StepsMilp",
        "policy.learned:Hid",
    ),
    "meg": (
        "meg.exact:OccupancyLp",
        "meg.exact:LagrangianDual",
        "meg.exact:PolicyIteration",
        "meg.exact:MegHighs",
        "meg.baselines:Fixed",
        "meg.baselines:RandomPolicy",
    ),
}

ON_REQUEST = (  # run only where they are asked for
    "by_name:PyomoSolver",
    "meg.learned:MegPolicy",
    "meg.trained:Cvpo",
    "meg.trained:PpoLagrangian",
)


def registered(kind: str | type[Problem]) -> list[Solver[Any]]:
    """Return the solvers of a kind of problem with default options: the table's, then those of the entry points."""
    return [solver() for solver in _classes(kind if isinstance(kind, str) else kind.kind)]


def select(kind: str, specifications: Iterable[str]) -> list[Solver[Any]]:
    """Return the solvers of a kind that are asked for (see `parse`), or all; those of other kinds are passed over."""
    wanted = list(dict.fromkeys(specifications))
    if not wanted:
        return registered(kind)
    chosen = [solver for text in wanted if (solver := parse(text, kind)) is not None]
    order = {solver.name: k for k, solver in enumerate(registered(kind))}
    return sorted(chosen, key=lambda solver: order.get(solver.name, len(order)))


def check_names(specifications: Iterable[str]) -> None:
    """Raise `InputError` for what no kind of problem has, for bad options, and for one's own solver whose name is taken."""
    known = {solver.name for kind in TABLE for solver in (*_classes(kind), *on_request(kind))}
    own: dict[str, str] = {}
    for text in dict.fromkeys(specifications):
        target, _ = _split(text)
        if not target.partition(":")[1]:
            if all(parse(text, kind) is None for kind in TABLE):
                raise InputError(f"solver {target!r}: unknown; known are {', '.join(sorted(known))} (see --list)")
            continue
        solver = load_class(target)
        if solver.name in known:
            raise InputError(f"solver {text!r}: its name {solver.name!r} is taken by a solver of --list")
        if own.setdefault(solver.name, target) != target:
            raise InputError(f"solver {text!r}: its name {solver.name!r} is also that of {own[solver.name]!r}")
        _with_options(text, solver, _split(text)[1])


def parse(text: str, kind: str) -> Solver[Any] | None:
    """Return a solver of a kind from text, None where that kind has none of the name.

    The text is a name of the table or ``path/to/file.py:MySolver``, then perhaps options: ``kmeans:restarts=50``,
    ``best-response:reward=marginal``. Raises `InputError` for a file or an option that cannot be.
    """
    target, options = _split(text)
    if ":" in target:
        solver = load_class(target)
        return _with_options(text, solver, options) if _solves(solver, kind) else None
    for solver in (*_classes(kind), *on_request(kind)):
        if solver.name == target:
            return _with_options(text, solver, options)
    return None


def _split(text: str) -> tuple[str, dict[str, str]]:
    """Return a specification's name, or file and class, and its options."""
    head, colon, tail = text.rpartition(":")
    if not colon or "=" not in tail:
        if colon and not head.endswith(".py"):
            raise InputError(
                f"solver {text!r}: {tail!r} is no option; options are name=value, with commas between them"
            )
        return text, {}
    options = {}
    for part in tail.split(","):
        name, equals, value = part.partition("=")
        if not equals or not name.strip():
            raise InputError(
                f"solver {text!r}: {part!r} is no option; options are name=value, with commas between them"
            )
        options[name.strip().replace("-", "_")] = value.strip()
    return head, options


def _with_options(text: str, solver: type[Solver[Any]], options: dict[str, str]) -> Solver[Any]:
    known = {field.name for field in fields(solver) if field.init}
    values = {}
    for name, value in options.items():
        if name not in known:
            has = f"its options are {', '.join(sorted(known))}" if known else "it has none"
            raise InputError(f"solver {text!r}: no option {name!r}; {has}")
        values[name] = _converted(f"solver {text!r}: {name}", value, _type_of(solver, name))
    try:
        return solver(**values)
    except InputError as error:
        raise InputError(f"solver {text!r}: {error}") from None


def _type_of(solver: type[Solver[Any]], option: str) -> Any:
    """Return the type of one option; what other annotations name need not exist at run time."""
    owner = next(base for base in solver.__mro__ if option in vars(base).get("__annotations__", {}))
    alone = types.SimpleNamespace(__annotations__={option: owner.__annotations__[option]})
    return get_type_hints(alone, vars(sys.modules[owner.__module__]))[option]


def _converted(place: str, text: str, hint: Any) -> Any:
    """Return an option's value from text by the type of its field."""
    choices = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    if type(None) in choices and text.lower() == "none":
        return None
    for choice in choices:
        if choice is bool:
            if text.lower() in ("true", "false", "yes", "no", "1", "0"):
                return text.lower() in ("true", "yes", "1")
        elif choice in (int, float):
            try:
                return choice(text)
            except ValueError:
                continue
        elif choice is str:
            return text
    names = " or ".join(getattr(choice, "__name__", str(choice)) for choice in choices)
    raise InputError(f"{place}: is {text!r}, must be {names}")


@cache
def _classes(kind: str) -> tuple[type[Solver[Any]], ...]:
    classes = tuple(_resolve(f"hisopt.solvers.{target}") for target in TABLE[kind])
    return classes + tuple(plugin for plugin in _plugins() if _solves(plugin, kind))


def _solves(solver: type[Solver[Any]], kind: str) -> bool:
    return any(problem.kind == kind for problem in solver.problems)


def on_request(kind: str) -> tuple[type[Solver[Any]], ...]:
    """Return the solvers of a kind that run only where they are asked for, by name and options."""
    classes = (_resolve(f"hisopt.solvers.{target}") for target in ON_REQUEST)
    return tuple(solver for solver in classes if _solves(solver, kind))


@cache
def _plugins() -> tuple[type[Solver[Any]], ...]:
    found = []
    for point in entry_points(group="hisopt.solvers"):
        try:
            solver = point.load()
            check_class(point.value, solver)
        except InputError:
            raise
        except Exception as error:
            reason = " ".join(f"{type(error).__name__}: {error}{line_of(error)}".split())
            raise InputError(f"entry point {point.name!r} = {point.value!r}: fails to import: {reason}") from None
        found.append(solver)
    return tuple(found)


def _resolve(target: str) -> type[Solver[Any]]:
    module, _, name = target.partition(":")
    solver: type[Solver[Any]] = getattr(import_module(module), name)
    return solver
