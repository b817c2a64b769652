"""The one table of solvers: where each lives. Modules are imported when asked for."""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Iterable
from hashlib import sha256
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path

from hisopt.errors import InputError
from hisopt.solvers.interface import Solver
from hisopt.solvers.learned import SUFFIX, trained

TABLE: dict[str, tuple[str, ...]] = {
    "clustering": (
        "hac:Hac",
        "hac_refined:HacRefined",
        "kmeans:KMeans",
        "baselines:OneCluster",
        "baselines:RandomClusters",
        "ilp:IlpHighs",
        "ilp:IlpScip",
        "pairs:PairsHighs",
        "sdp:PengWeiSdp",
        "branch_bound:BranchBound",
        "partitions:Partitions",
    ),
    "allocation": (
        "closed_form:ClosedForm",
        "closed_form:EqualUsers",
        "closed_form:EqualClusters",
        "conic:CvxpyClarabel",
        "conic:CvxpyScs",
        "pyomo_scip:AllocationScip",
        "integer_allocation:IntegerAllocation",
        "integer_allocation:RoundDown",
    ),
    "joint": (
        "joint_exact:JointExact",
        "joint_integer:JointExactInteger",
        "pyomo_scip:JointScip",
        "joint_milp:JointMilp",
        "joint_heuristics:Alternating",
        "joint_heuristics:Greedy",
        "joint_heuristics:LocalSearch",
        "joint_heuristics:RandomSteps",
        "joint_heuristics:NoSharing",
        "best_response:BestResponse",
        "learned:Ippo",
    ),
    "full": (
        "subsets:Subsets",
        "two_stage:TwoStage",
        "pyomo_scip:FullScip",
    ),
    "steps": (
        "icc:Enumeration",
        "icc:StepsMilp",
        "learned:Hid",
    ),
}


def registered(kind: str) -> list[type[Solver]]:
    """Return the solver classes of a kind of problem: the table's, then those of the entry points 'hisopt.solvers'."""
    classes = [_resolve(f"hisopt.solvers.{target}") for target in TABLE[kind]]
    plugins = (point.load() for point in entry_points(group="hisopt.solvers"))
    return classes + [plugin for plugin in plugins if kind in plugin.kinds]


def select(kind: str, names: Iterable[str]) -> list[type[Solver]]:
    """Return the solvers of a kind whose names are given, or all; a name like ``file.py:MySolver`` is loaded from there."""
    known = registered(kind)
    wanted = list(names)
    if not wanted:
        return known
    chosen = [solver for solver in known if solver.name in wanted]
    return chosen + [s for s in (load_file(name) for name in wanted if ":" in name) if kind in s.kinds]


def check_names(names: Iterable[str]) -> None:
    """Raise `InputError` for a name that no kind of problem has."""
    known = sorted({solver.name for kind in TABLE for solver in registered(kind)})
    for name in names:
        if ":" in name:
            load_file(name)
        elif name not in known:
            raise InputError(f"solver {name!r}: unknown; known are {', '.join(known)} (see --list)")


def load_file(target: str) -> type[Solver]:
    """Load a solver class from ``path/to/file.py:ClassName``; raise `InputError` if that is not one."""
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
        module = importlib.util.module_from_spec(spec)
        sys.modules[module_name] = module
        try:
            spec.loader.exec_module(module)
        except Exception as error:
            del sys.modules[module_name]
            raise InputError(f"solver {target!r}: {file} fails to import: {type(error).__name__}: {error}") from None
    solver = getattr(sys.modules[module_name], name, None)
    if not (inspect.isclass(solver) and issubclass(solver, Solver)):
        raise InputError(f"solver {target!r}: {file} has no class {name!r} derived from hisopt's Solver")
    missing = [attribute for attribute in ("name", "kinds", "guarantee") if not hasattr(solver, attribute)]
    if missing:
        raise InputError(f"solver {target!r}: the class does not set {', '.join(missing)}")
    solver._source = target  # type: ignore[attr-defined]
    return solver


def _resolve(target: str) -> type[Solver]:
    module, _, name = target.partition(":")
    solver: type[Solver] = getattr(import_module(module), name)
    return solver
