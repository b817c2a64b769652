"""Imports point one way, and the package imports from everywhere a user may stand."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("hisopt", "models", "solvers", "experiments")
MAY_IMPORT = {
    "hisopt": {"hisopt"},
    "models": {"hisopt", "models"},
    "solvers": {"hisopt", "models", "solvers"},
    "experiments": {"hisopt", "models", "solvers", "experiments"},
}
COMMAND_LINES = {
    "__main__",
    "solve",
    "solve_problems",
    "train",
    "profile",
    "prompts",
    "fit",
}  # the composition roots: they import solvers inside functions


def layer(module: str) -> str:
    part = module.split(".")[1] if module.count(".") else ""
    return part if part in FOLDERS else "hisopt"


def imports(tree: ast.AST) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "hisopt":
            found |= {node.module} if node.module != "hisopt" else {f"hisopt.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.split(".")[0] == "hisopt"}
    return found


def type_checking_only(tree: ast.Module) -> set[str]:
    blocks = [node for node in ast.walk(tree) if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    return {name for block in blocks for statement in block.body for name in imports(statement)}


@pytest.mark.parametrize(
    "file", [f for d in FOLDERS for f in sorted((ROOT / d).glob("*.py"))], ids=lambda f: f"{f.parent.name}/{f.stem}"
)
def test_arrows(file: Path) -> None:
    tree = ast.parse(file.read_text())
    own, stem = file.parent.name, file.stem
    assert not any(isinstance(n, ast.ImportFrom) and n.level for n in ast.walk(tree)), "imports are absolute"
    wanted = imports(tree) - type_checking_only(tree)
    if own == "hisopt" and stem in COMMAND_LINES:
        top = {
            name
            for statement in tree.body
            if isinstance(statement, (ast.Import, ast.ImportFrom))
            for name in imports(statement)
        }
        assert {layer(name) for name in top} <= {"hisopt"}, "a command line imports solvers inside functions"
        return
    assert {layer(name) for name in wanted} <= MAY_IMPORT[own]
    assert not {name for name in wanted if name.split(".")[-1] in COMMAND_LINES}, "nothing imports a command line"


@pytest.mark.parametrize("where", [ROOT, ROOT / "tests", Path("/")], ids=["checkout", "tests", "elsewhere"])
def test_the_package_imports_from_anywhere(where: Path) -> None:
    program = "import hisopt.solvers.registry, hisopt.models.clustering.pairs, hisopt.experiments.campaigns.records; print(hisopt.__version__)"
    done = subprocess.run([sys.executable, "-c", program], cwd=where, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_checkout_alone_imports_its_siblings(tmp_path: Path) -> None:
    """Without any installed hisopt, Python started in the checkout still finds models, solvers and experiments."""
    program = (
        "import sys; sys.meta_path = [f for f in sys.meta_path if 'editable' not in repr(f).lower()]\n"
        f"sys.path = [p for p in sys.path if '__editable__' not in p]; sys.path.insert(0, {str(ROOT)!r})\n"
        "import hisopt, hisopt.solvers.registry, hisopt.models.clustering.pairs, hisopt.experiments.campaigns.records\n"
        f"assert hisopt.__file__.startswith({str(ROOT / 'hisopt')!r}), hisopt.__file__"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
