"""One command for all, and every command where something is not installed."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import hisopt
from hisopt.__main__ import main

if TYPE_CHECKING:
    from collections.abc import Callable

    Call = Callable[..., subprocess.CompletedProcess[str]]

ROOT = Path(__file__).resolve().parents[1]
COMMANDS = ("solve", "compare", "report", "check", "benchopt", "train", "profile", "prompts", "fit")


def run(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload, no-any-return]


def test_help_names_every_command_and_version_the_version() -> None:
    shown = run("-m", "hisopt")
    assert shown.returncode == 0
    assert all(f"\n  {name} " in shown.stdout for name in COMMANDS)
    assert run("-m", "hisopt", "--version").stdout == f"hisopt, version {hisopt.__version__}\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_is_reached(name: str, call: Call) -> None:
    done = call(main, name, "--help")
    assert done.returncode == 0
    assert done.stdout.startswith("Usage: hisopt")
    assert "--help" in done.stdout


def test_options_alone_are_those_of_solve(call: Call) -> None:
    assert "exact-integer" in call(main, "--list").stdout
    done = call(main, "nope")
    assert done.returncode == 2
    assert done.stderr == f"hisopt: unknown command 'nope'; known are {', '.join(COMMANDS)}\n"


def test_the_citation_names_this_version_and_the_papers_by_the_titles_of_the_models() -> None:
    text = (ROOT / "CITATION.cff").read_text()
    assert f"\nversion: {hisopt.__version__}\n" in text
    assert "The hisopt contributors" in text
    sources = (ROOT / "models" / "README.md").read_text().partition("## Sources")[2]
    titles = [line.split("*")[1] for line in sources.splitlines() if re.match(r"[12356]\. ", line)]
    assert len(titles) == 5
    assert all(title in " ".join(text.split()) for title in titles)
    for doi in re.findall(r"doi (10\.[^,\s]+?)[.,]?\s", sources + " "):
        assert f"doi: {doi}\n" in text


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_says_the_version(name: str, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """As ``python -m hisopt.NAME`` runs it."""
    monkeypatch.delitem(sys.modules, f"hisopt.{name}", raising=False)
    done = call(lambda: runpy.run_module(f"hisopt.{name}", run_name="__main__", alter_sys=True), "--version")
    assert (done.returncode, done.stdout) == (0, f"hisopt, version {hisopt.__version__}\n")


SOLVE = ["--problem", "joint", "--sms", "real", "--solver", "no-sharing"]
WITHOUT = (  # blocks a package as if it were not installed, here and in the processes that solve
    "import sys\n"
    "class Missing:\n"
    "    def find_spec(self, name, path=None, target=None):\n"
    "        if name.partition('.')[0] == {name!r}:\n"
    "            raise ModuleNotFoundError(f'No module named {{name!r}}', name=name)\n"
    "sys.meta_path.insert(0, Missing())\n"
)


@pytest.mark.parametrize("package", ["rich", "psutil", "pydantic", "numpy", "scipy"])
def test_a_package_that_is_needed_and_missing_is_named_in_one_line(package: str, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(WITHOUT.format(name=package))
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    done = run("-m", "hisopt.solve", *SOLVE, env=environment)
    lines = [line for line in done.stderr.splitlines() if not line.startswith("note: ")]
    assert lines == [
        f"hisopt.solve: this needs {package}, which is not installed: pip install hisopt (or 'pip install .' in a checkout)"
    ]
    assert done.returncode == 2
    assert done.stdout == ""


@pytest.mark.parametrize("package", ["pandas", "cloudpickle"])
def test_a_package_that_is_not_needed_may_be_missing(package: str, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(WITHOUT.format(name=package))
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    done = run("-m", "hisopt.solve", *SOLVE, "--format", "csv", env=environment)
    assert done.returncode == 0, done.stderr
    assert ",no-sharing,heuristic,completed,feasible," in done.stdout


def test_without_click_the_one_command_says_so(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(WITHOUT.format(name="click"))
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    for arguments in (["hisopt", "solve"], ["hisopt.solve"], ["hisopt.prompts"]):
        done = run("-m", *arguments, env=environment)
        assert done.returncode == 2
        assert "this needs click, which is not installed" in done.stderr
        assert done.stderr.count("\n") == 1


def test_a_checkout_solves_without_installation(tmp_path: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    program = (
        "import sys; sys.meta_path = [f for f in sys.meta_path if 'editable' not in repr(f).lower()]\n"
        f"sys.path = [{str(ROOT)!r}, *(p for p in sys.path if '__editable__' not in p)]\n"
        f"sys.argv = ['hisopt', *{SOLVE!r}]\n"
        "from hisopt.__main__ import main; main()\n"
    )
    done = run("-c", program, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stderr
    assert "no-sharing" in done.stdout
