"""The one table of solvers: where each lives. Modules are imported when asked for."""

from __future__ import annotations

import importlib.util
import inspect
import os
import sys
import traceback
from collections.abc import Iterable
from functools import cache
from hashlib import sha256
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path

from hisopt.errors import InputError
from hisopt.result import Guarantee
from hisopt.solvers.base import Solver
from hisopt.solvers.policy.learned import SUFFIX, trained
from hisopt.solvers.run.place import VERBOSE, line_of

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
    ),
    "allocation": (
        "allocation.closed_form:ClosedForm",
        "allocation.closed_form:EqualUsers",
        "allocation.closed_form:EqualClusters",
        "allocation.conic:CvxpyClarabel",
        "allocation.conic:CvxpyScs",
        "pyomo_scip:AllocationScip",
        "allocation.whole:IntegerAllocation",
        "allocation.whole:RoundDown",
    ),
    "joint": (
        "joint.exact:JointExact",
        "joint.whole:JointExactInteger",
        "pyomo_scip:JointScip",
        "joint.milp:JointMilp",
        "joint.heuristics:Alternating",
        "joint.heuristics:Greedy",
        "joint.heuristics:LocalSearch",
        "joint.heuristics:RandomSteps",
        "joint.heuristics:NoSharing",
        "policy.best_response:BestResponse",
        "policy.learned:Ippo",
    ),
    "full": (
        "full.subsets:Subsets",
        "full.two_stage:TwoStage",
        "pyomo_scip:FullScip",
    ),
    "steps": (
        "steps.enumeration:Enumeration",
        "steps.enumeration:StepsMilp",
        "policy.learned:Hid",
    ),
}


def registered(kind: str) -> list[type[Solver]]:
    """Return the solver classes of a kind of problem: the table's, then those of the entry points 'hisopt.solvers'."""
    classes = [_resolve(f"hisopt.solvers.{target}") for target in TABLE[kind]]
    return classes + [plugin for plugin in _plugins() if kind in plugin.kinds]


def select(kind: str, names: Iterable[str]) -> list[type[Solver]]:
    """Return the solvers of a kind whose names are given, or all; a name like ``file.py:MySolver`` is loaded from there."""
    known = registered(kind)
    wanted = list(dict.fromkeys(names))
    if not wanted:
        return known
    chosen = [solver for solver in known if solver.name in wanted]
    return chosen + [s for s in (load_file(name) for name in wanted if ":" in name) if kind in s.kinds]


def check_names(names: Iterable[str]) -> None:
    """Raise `InputError` for a name that no kind of problem has, and for one's own solver whose name is taken."""
    known = {solver.name for kind in TABLE for solver in registered(kind)}
    own: dict[str, str] = {}
    for name in dict.fromkeys(names):
        if ":" in name:
            solver = load_file(name)
            if solver.name in known and not name.rpartition(":")[0].endswith(SUFFIX):
                raise InputError(f"solver {name!r}: its name {solver.name!r} is taken by a solver of --list")
            if solver.name in own:
                raise InputError(f"solver {name!r}: its name {solver.name!r} is also that of {own[solver.name]!r}")
            own[solver.name] = name
        elif name not in known:
            raise InputError(f"solver {name!r}: unknown; known are {', '.join(sorted(known))} (see --list)")


def load_file(target: str) -> type[Solver]:
    """Load a solver class from ``path/to/file.py:ClassName``; raise `InputError` if that is not one.

    Modules beside the file can be imported from it, as from a script.
    """
    file, _, name = target.rpartition(":")
    if file.endswith(SUFFIX):
        return trained(file)
    path = Path(file).resolve()
    if not path.is_file():
        raise InputError(f"solver {target!r}: no such file {file!r}")
    module_name = f"_hisopt_user_{path.stem}_{sha256(str(path).encode()).hexdigest()[:12]}"
    if module_name not in sys.modules:
        spec = importlib.util.spec_from_file_location(module_name, path)
        if spec is None or spec.loader is None:
            raise InputError(f"solver {target!r}: {file!r} is not a Python file")
        _see_beside(path.parent)
        module = importlib.util.module_from_spec(spec)
        sys.modules[module_name] = module
        try:
            spec.loader.exec_module(module)
        except (Exception, SystemExit) as error:
            del sys.modules[module_name]
            if os.environ.get(VERBOSE):
                traceback.print_exc()
            reason = " ".join(f"{type(error).__name__}: {error}{line_of(error)}".split())
            raise InputError(f"solver {target!r}: {file} fails to import: {reason}") from None
    solver = getattr(sys.modules[module_name], name, None)
    if not (inspect.isclass(solver) and issubclass(solver, Solver)):
        raise InputError(f"solver {target!r}: {file} has no class {name!r} derived from hisopt's Solver")
    _check_class(target, solver)
    solver._source = target  # type: ignore[attr-defined]
    return solver


def _check_class(target: str, solver: type[Solver]) -> None:
    missing = [attribute for attribute in ("name", "kinds", "guarantee") if not hasattr(solver, attribute)]
    if missing:
        raise InputError(f"solver {target!r}: the class does not set {', '.join(missing)}")
    if not isinstance(solver.name, str) or not solver.name or ":" in solver.name:
        raise InputError(f"solver {target!r}: name is {solver.name!r}, must be a string without a colon")
    kinds = solver.kinds
    if isinstance(kinds, str) or not isinstance(kinds, Iterable) or not set(kinds) <= set(TABLE):
        raise InputError(f"solver {target!r}: kinds is {kinds!r}, must be a tuple of {', '.join(TABLE)}")
    if not isinstance(solver.guarantee, Guarantee):
        raise InputError(f"solver {target!r}: guarantee is {solver.guarantee!r}, must be a Guarantee")


_folders: set[Path] = set()  # of solvers' files loaded so far


def _see_beside(folder: Path) -> None:
    """Let the modules of a folder be imported, and forget those of the same names that stand beside other solvers."""
    for name, module in list(sys.modules.items()):
        place = getattr(module, "__file__", None)
        if place and "." not in name and not name.startswith("_hisopt_user_"):
            others = {Path(place).parent, Path(place).parent.parent} & (_folders - {folder})
            if others and ((folder / f"{name}.py").is_file() or (folder / name).is_dir()):
                for part in [n for n in sys.modules if n == name or n.startswith(f"{name}.")]:
                    del sys.modules[part]
    _folders.add(folder)
    if str(folder) in sys.path:
        sys.path.remove(str(folder))
    sys.path.insert(0, str(folder))


@cache
def _plugins() -> tuple[type[Solver], ...]:
    found = []
    for point in entry_points(group="hisopt.solvers"):
        try:
            solver = point.load()
            _check_class(point.value, solver)
        except InputError:
            raise
        except Exception as error:
            reason = " ".join(f"{type(error).__name__}: {error}{line_of(error)}".split())
            raise InputError(f"entry point {point.name!r} = {point.value!r}: fails to import: {reason}") from None
        found.append(solver)
    return tuple(found)


def _resolve(target: str) -> type[Solver]:
    module, _, name = target.partition(":")
    solver: type[Solver] = getattr(import_module(module), name)
    return solver
