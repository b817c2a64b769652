"""Imports point one way and never in a circle, and everyone sees the same tree: Python, mypy, a wheel."""

from __future__ import annotations

import ast
import re
import statistics
import subprocess
import sys
import zipfile
from functools import cache
from pathlib import Path

import networkx as nx
import pytest

ROOT = Path(__file__).resolve().parents[1]
BESIDE = ("models", "solvers", "experiments")  # folders beside hisopt/ that are its sub-packages
LAYERS = ("core", "models", "solvers", "experiments", "commands")
DOORS = (
    "__main__",
    "solve",
    "compare",
    "report",
    "check",
    "benchopt",
    "train",
    "profile",
    "prompts",
    "fit",
)  # python -m hisopt.NAME
WINGS = {  # what a wing of solvers/ takes from others, besides what stands in solvers/ itself and in solvers/run
    "joint": {"allocation"},
    "full": {"clustering", "joint"},
    "policy": {"clustering", "joint", "steps"},
    "schemes": {"clustering", "joint"},
    "trees": {"joint"},
}


def files() -> list[Path]:
    own = [f for f in (ROOT / "hisopt").rglob("*.py") if f.relative_to(ROOT / "hisopt").parts[0] not in BESIDE]
    return sorted(own + [f for folder in BESIDE for f in (ROOT / folder).rglob("*.py")])


def module_of(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    parts = parts if parts[0] == "hisopt" else ("hisopt", *parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(file): file for file in files()}


def layer(module: str) -> str:
    parts = module.split(".")
    if len(parts) > 1 and parts[1] in BESIDE:
        return parts[1]
    return "commands" if len(parts) > 1 and (parts[1] == "commands" or parts[1] in DOORS) else "core"


def nodes(tree: ast.AST) -> list[ast.stmt]:
    """Every import that runs some time: those under TYPE_CHECKING do not."""
    found: list[ast.stmt] = []
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            found.append(node)
        found += nodes(node)
    return found


@cache
def imports(module: str) -> frozenset[str]:
    """The modules of the package that a module imports, at its start or later."""
    found = set()
    for node in nodes(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: imports are absolute"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found |= {name if name in MODULES else str(node.module) for name in names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return frozenset(name for name in found if name in MODULES and name != module)


@pytest.mark.parametrize("module", sorted(MODULES))
def test_arrows(module: str) -> None:
    """Core, models, solvers, experiments, commands: nobody imports what stands above."""
    allowed = LAYERS[: LAYERS.index(layer(module)) + 1]
    if layer(module) == "experiments":
        allowed = (*allowed, "commands")  # a program of experiments shares the commands' ways with errors
    above = {name for name in imports(module) if layer(name) not in allowed}
    if layer(module) == "commands":
        above = {name for name in imports(module) if layer(name) == "experiments"}
    assert not above
    doors = {name for name in imports(module) if name.split(".")[-1] in DOORS and name.count(".") == 1}
    assert not doors, "nothing imports a door"


def test_no_circle_anywhere() -> None:
    graph = nx.DiGraph((module, name) for module in MODULES for name in imports(module))
    assert [sorted(circle) for circle in nx.strongly_connected_components(graph) if len(circle) > 1] == []


def test_wings_of_solvers_take_from_others_what_the_table_says() -> None:
    taken: dict[str, set[str]] = {}
    for module in MODULES:
        parts = module.split(".")
        if layer(module) != "solvers" or len(parts) < 4 or parts[2] == "run":
            continue
        others = {name.split(".")[2] for name in imports(module) if layer(name) == "solvers" and name.count(".") > 2}
        taken.setdefault(parts[2], set()).update(others - {parts[2], "run"})
    assert {wing: others for wing, others in taken.items() if others} == WINGS


def test_files_are_short() -> None:
    lines = {file: len(file.read_text().splitlines()) for file in files()}
    assert {file.name: length for file, length in lines.items() if length > 400} == {}
    assert statistics.median(lines.values()) < 120


def test_types_say_what_is_there_not_assertions() -> None:
    found = [
        f"{module}:{node.lineno}"
        for module, file in MODULES.items()
        if layer(module) != "experiments"  # whose programs hold what they measure
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Assert) and ast.unparse(node.test).endswith("is not None")
    ]
    assert len(found) < 10, found


def test_kinds_of_problems_are_types() -> None:
    """Their names are compared where text becomes problems: by the registry and the command line."""
    kinds = {"clustering", "allocation", "joint", "full", "steps", "meg"}
    found = []
    for module, file in MODULES.items():
        if layer(module) == "commands" or module == "hisopt.solvers.registry":
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Compare) and not any(isinstance(op, (ast.In, ast.NotIn)) for op in node.ops):
                named = {n.value for n in (node.left, *node.comparators) if isinstance(n, ast.Constant)}
                found += [f"{module}:{node.lineno}"] * bool(named & kinds)
    assert found == []


def test_paths_named_in_contributing_exist() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    named = [path for path in re.findall(r"`([\w/.-]+/[\w.-]+\.(?:py|md|toml))`", text) if "NAME" not in path]
    assert len(named) > 15
    assert [path for path in named if not (ROOT / path).is_file()] == []


def test_links_lead_beside() -> None:
    for folder in BESIDE:
        link = ROOT / "hisopt" / folder
        assert link.is_symlink()
        assert link.resolve() == ROOT / folder


def test_the_wheel_holds_the_packages_on_disk(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(tmp_path),
        ".",
    ]
    copy = tmp_path / "checkout"
    subprocess.run(["git", "-C", str(ROOT), "checkout-index", "-a", f"--prefix={copy}/"], check=True)
    for folder in BESIDE:  # as in an archive that was unpacked without links
        (copy / "hisopt" / folder).unlink()
    done = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        inside = {name for name in wheel.namelist() if name.endswith(".py")}
    tracked = subprocess.run(["git", "-C", str(ROOT), "ls-files", "*.py"], capture_output=True, text=True, check=True)
    on_disk = {name if name.startswith("hisopt/") else f"hisopt/{name}" for name in tracked.stdout.split()
               if name.split("/")[0] in ("hisopt", *BESIDE)}  # fmt: skip
    assert inside == on_disk


@pytest.mark.parametrize("where", [ROOT, ROOT / "tests", Path("/")], ids=["checkout", "tests", "elsewhere"])
def test_the_package_imports_from_anywhere(where: Path) -> None:
    program = (
        "import hisopt.solvers.registry, hisopt.models.export, hisopt.experiments.campaigns; print(hisopt.__version__)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=where, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_checkout_alone_is_the_whole_package(tmp_path: Path) -> None:
    """Without any installed hisopt, Python started in the checkout finds all of it, and every class only once."""
    program = (
        "import sys; sys.meta_path = [f for f in sys.meta_path if 'editable' not in repr(f).lower()]\n"
        f"sys.path = [p for p in sys.path if '__editable__' not in p]; sys.path.insert(0, {str(ROOT)!r})\n"
        "import hisopt, hisopt.solvers.registry, hisopt.models.export, hisopt.experiments.campaigns\n"
        f"assert hisopt.__file__.startswith({str(ROOT / 'hisopt')!r}), hisopt.__file__\n"
        "import importlib.util\n"
        "assert importlib.util.find_spec('hisopt.hisopt') is None"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
