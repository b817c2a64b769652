from __future__ import annotations

import ast
import os
import resource
import signal
import tomllib
from typing import TYPE_CHECKING

import numpy as np
import pytest

from hisopt import PRESETS, Instance, Limits
from hisopt.experiments.campaigns import mutants, mutation, mutation_trials
from hisopt.problems import Full
from hisopt.solvers.clustering.branch_bound.merged_users import Weighted
from hisopt.solvers.full.subsets import Subsets

if TYPE_CHECKING:
    from collections.abc import Callable

SOURCE = b'''"""Doc 2."""
def f(
    x: int,
    low=0.5,
    high=0.5,
):
    """Return 3."""
    assert x > 1
    loss = x - low
    lost = max(low - x, 0)
    if x < 2 and not low:
        return max(abs(x), low)
    return x[1:3]
'''


def texts(source: bytes) -> set[str]:
    found = mutants.mutants("solvers/size_limits.py", source)
    return {mutant.apply(source).decode() for mutant in found}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("x < 2", "(x <= 2)"),
        ("x < 2", "(x > 2)"),
        ("x - low", "(x + low)"),
        ("loss = x - low", "loss = 0.8 * (x - low)"),
        ("max(low - x, 0)", "(0.8 * max(low - x, 0))"),
        ("< 2", "< 2.2"),
        ("< 2", "< 1.8"),
        ("max(abs", "min(abs"),
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
    found = mutants.mutants(module, source)
    assert len(found) > 20
    assert all(mutant.apply(source) != source for mutant in found)
    for mutant in found[::10]:
        ast.parse(mutant.apply(source))
    assert all((mutation.ROOT / test).is_file() for test in mutation.TESTS[module])


def test_every_group_of_equivalent_mutants_has_a_reason_and_some_mutant() -> None:
    listed = tomllib.loads(mutation.EQUIVALENT.read_text())["group"]
    assert all(set(entry) <= {*mutants._FIELDS, "reason"} and entry["reason"] for entry in listed)
    assert not mutation.idle(listed, {})


def test_listed_by_patterns_of_what_the_program_prints() -> None:
    found = [m for m in mutants.mutants("a.py", SOURCE) if m.change(SOURCE) == ("x < 2", "(x > 2)")]
    assert [mutant.place.function for mutant in found] == ["f"]
    entry = {"module": "a.py", "reason": "why"}
    for more in (
        {"function": "f"}, {"line": "if x < 2 and not low:"}, {"line": "if x*"}, {"line": ["no", "*low:"]},
        {"operator": "comparison"}, {"old": "x < 2", "new": "(x > 2)"}, {"old": "*<*", "new": "*>*"},
    ):  # fmt: skip
        assert mutants.equivalent(SOURCE, found[0], [{**entry, **more}]) == {**entry, **more}
    for other in (
        {"function": "g"},
        {"function": ""},
        {"line": "x*"},
        {"new": "*<*"},
        {"operator": ["scaled", "sign"]},
    ):
        assert mutants.equivalent(SOURCE, found[0], [{**entry, **other}]) is None


def test_entries_that_list_nothing_are_told() -> None:
    module = next(iter(mutation.TESTS))
    source = (mutation.ROOT / module).read_bytes()
    mutant = next(m for m in mutants.mutants(module, source) if m.place.function)
    own, other = {"module": module, "function": mutant.place.function}, {"module": module, "function": "no such"}
    assert mutation.idle([own, other], {}) == [other]
    dead = {m.key(source): {"outcome": "killed"} for m in mutants.mutants(module, source)}
    assert mutation.idle([own, other], dead) == [own, other]


def test_mutants_with_names_stand_where_they_are_said_to() -> None:
    listed = tomllib.loads(mutation.NAMED.read_text())["mutant"]
    assert len(listed) >= 5
    for given in listed:
        source = (mutation.ROOT / given["module"]).read_bytes()
        mutant = mutants.named(given["module"], source, given["old"], given["new"])
        ast.parse(mutant.apply(source))
        assert mutant.place.function
        assert mutant.place.first <= mutant.line <= mutant.place.last or "\n" in given["old"]
        file, _, name = given["test"].partition("::")
        assert f"def {name.partition('[')[0]}(" in (mutation.ROOT / file).read_text()
    with pytest.raises(ValueError, match="exactly once"):
        mutants.named("a.py", SOURCE, "x", "y")


def test_keys_tell_mutants_apart_and_outlive_changes_elsewhere() -> None:
    found = mutants.mutants("a.py", SOURCE)
    keys = [mutant.key(SOURCE) for mutant in found]
    assert len(set(keys)) == len(found)
    later = b"import os\n\n\n" + SOURCE + b"\n\ndef g():\n    pass\n"
    inside = {m.key(SOURCE) for m in found if m.place.function and m.place.first}
    assert inside <= {mutant.key(later) for mutant in mutants.mutants("a.py", later)}


def test_forks_say_what_they_did_and_how_they_ended() -> None:
    def ends(say: Callable[[str], None]) -> None:
        say("one")
        say("two")

    def fails(say: Callable[[str], None]) -> None:
        say("one")
        os._exit(3)

    def hangs(say: Callable[[str], None]) -> None:
        say("one")
        resource.setrlimit(resource.RLIMIT_CPU, (1, resource.RLIM_INFINITY))
        while True:
            pass

    assert mutation_trials.fork(ends, 60) == (0, ["one", "two"])
    assert mutation_trials.fork(fails, 60) == (3, ["one"])
    assert mutation_trials.fork(hangs, 60) == (-signal.SIGXCPU, ["one"])


def test_a_mutant_that_no_test_runs_survives() -> None:
    source = (mutation.ROOT / "solvers/clustering/branch_bound/merged_users.py").read_bytes()
    mutant = mutants.mutants("solvers/clustering/branch_bound/merged_users.py", source)[0]
    plan = mutation_trials.Plan("", [], [], "", "", [], 1.0, 1.0)
    assert mutation_trials.Trials(plan)._try(mutant, source, [], {}) == ("survived", "")


def test_lines_that_run_are_seen() -> None:
    file = mutants.__file__
    with mutation_trials.traced({file: "it"}) as lines:
        mutants.mutants("a.py", b"x = 1 - 2")
    source = (mutation.ROOT / "experiments/campaigns/mutants.py").read_text().splitlines()
    run = {source[line - 1].strip() for line in lines["it"]}
    assert "def variants(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:" in run
    assert 'yield "loop", ast.Continue() if isinstance(node, ast.Break) else ast.Break()' not in run


def test_exchanged_code_runs_wherever_it_was_imported() -> None:
    module = "solvers/clustering/branch_bound/merged_users.py"
    source = (mutation.ROOT / module).read_bytes()
    change = ("groups - (groups > j)", "(groups + (groups > j))")
    mutant = next(m for m in mutants.mutants(module, source) if m.change(source) == change)

    def child(say: Callable[[str], None]) -> None:
        say(str(Weighted.of(np.eye(3)).merge(0, 1).groups.tolist()))
        mutation_trials.exchange(mutant, source)
        say(str(Weighted.of(np.eye(3)).merge(0, 1).groups.tolist()))

    assert mutation_trials.fork(child, 60) == (0, ["[0, 0, 1]", "[0, 0, 3]"])
    assert Weighted.of(np.eye(3)).merge(0, 1).groups.tolist() == [0, 0, 1]


def test_exchanged_code_runs_behind_a_decorator() -> None:
    """Every solver's ``solve`` is decorated, so that its reports are told apart."""
    module = "solvers/full/subsets.py"
    source = (mutation.ROOT / module).read_bytes()
    change = ("not search.possible", "search.possible")
    mutant = next(m for m in mutants.mutants(module, source) if m.change(source) == change)
    drawn = PRESETS["small"].with_users(4).sample(0)
    assert isinstance(drawn, Instance)
    problem = Full(drawn)

    def child(say: Callable[[str], None]) -> None:
        say(Subsets().solve(problem, Limits()).termination.value)
        mutation_trials.exchange(mutant, source)
        say(Subsets().solve(problem, Limits()).termination.value)

    assert mutation_trials.fork(child, 60) == (0, ["optimal", "infeasible"])
