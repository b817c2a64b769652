from __future__ import annotations

import ast
import tomllib
from typing import TYPE_CHECKING

import pytest

from hisopt.experiments.campaigns import mutation

if TYPE_CHECKING:
    from pathlib import Path

SOURCE = b'''"""Doc 2."""
def f(x: int, low=0.5):
    """Return 3."""
    assert x > 1
    loss = x - low
    if x < 2 and not low:
        return max(abs(x), low)
    return x[1:3]
'''


def texts(source: bytes) -> set[str]:
    found = mutation.mutants("solvers/size_limits.py", source)
    return {mutant.apply(source).decode() for mutant in found}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("x < 2", "(x <= 2)"),
        ("x < 2", "(x > 2)"),
        ("x - low", "(x + low)"),
        ("loss = x - low", "loss = 0.8 * (x - low)"),
        ("< 2", "< 2.2"),
        ("< 2", "< 1.8"),
        ("max(", "min("),
        ("abs(x)", "x"),
        ("x < 2 and not low", "(x < 2 or not low)"),
        ("x < 2 and not low", "(not (x < 2 and (not low)))"),
        ("x[1:3]", "x[1 + 1:3]"),
        ("return x[1:3]", "return None"),
    ],
)
def test_operators(old: str, new: str) -> None:
    assert SOURCE.decode().replace(old, new) in texts(SOURCE)


def test_words_assertions_and_types_stay() -> None:
    for text in texts(SOURCE):
        assert '"""Doc 2."""' in text and '"""Return 3."""' in text and "assert x > 1" in text and "x: int" in text


@pytest.mark.parametrize("module", mutation.TESTS)
def test_every_mutant_is_python_and_every_mapped_test_exists(module: str) -> None:
    source = (mutation.ROOT / module).read_bytes()
    found = mutation.mutants(module, source)
    assert len(found) > 30
    assert all(mutant.apply(source) != source for mutant in found)
    for mutant in found[::10]:
        ast.parse(mutant.apply(source))
    assert all((mutation.ROOT / test).is_file() for test in mutation.TESTS[module])


def test_equivalent_mutants_are_mutants_and_have_a_reason() -> None:
    listed = tomllib.loads(mutation.EQUIVALENT.read_text()).get("mutant", [])
    for entry in listed:
        source = (mutation.ROOT / entry["module"]).read_bytes()
        assert entry["reason"]
        assert any(mutation.equivalent(source, m, [entry]) for m in mutation.mutants(entry["module"], source)), entry


def test_tests_kill_survive_or_time_out(tmp_path: Path) -> None:
    (tmp_path / "test_one.py").write_text("def test_one():\n    assert 1 + 1 == 2\n")
    (tmp_path / "test_two.py").write_text("def test_two():\n    assert 1 + 1 == 3\n")
    (tmp_path / "test_three.py").write_text("def test_three():\n    while True: pass\n")
    assert mutation.run_tests(tmp_path, ["test_one.py"], 60)[0] == "survived"
    outcome, why, _ = mutation.run_tests(tmp_path, ["test_one.py", "test_two.py"], 60)
    assert outcome == "killed"
    assert "test_two" in why
    assert mutation.run_tests(tmp_path, ["test_three.py"], 2)[0] == "timeout"
