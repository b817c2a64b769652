"""``python -m hisopt.experiments.campaigns.mutation``: change lines of proofs one at a time, and see whether tests fail.

Mutmut names mutants by file, so those of ``solvers/`` would never be switched on in ``hisopt.solvers``; cosmic-ray has no
operator that scales a factor, swaps min and max or drops an absolute value, which are what makes a bound wrong.
"""

from __future__ import annotations

import ast
import copy
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hisopt.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
EQUIVALENT = Path(__file__).with_name("mutation_equivalents.toml")
_JOINT = ("tests/solvers/test_scalar_coupling.py", "tests/solvers/test_joint_exact.py", "tests/test_certificate.py",
          "tests/solvers/test_properties.py", "tests/experiments/test_edges.py")  # fmt: skip
_WHOLE = ("tests/solvers/test_whole_sms.py", "tests/solvers/test_free_work.py", *_JOINT)
_CLUSTERING = ("tests/solvers/test_pruning.py", "tests/solvers/test_clustering_edges.py",
               "tests/solvers/test_partition_cuts.py", "tests/solvers/test_branch_bound.py",
               "tests/experiments/test_edges.py")  # fmt: skip
TESTS: dict[str, tuple[str, ...]] = {
    "solvers/joint/scalar_coupling.py": _JOINT,
    "solvers/joint/coupling_search.py": _JOINT,
    "solvers/joint/step_tables.py": _JOINT,
    "solvers/joint/bound_steps.py": _JOINT,
    "solvers/joint/whole.py": _WHOLE,
    "solvers/joint/whole_sms.py": _WHOLE,
    "solvers/full/subsets.py": _WHOLE,
    "solvers/clustering/branch_bound/spectral_relaxation.py": _CLUSTERING,
    "solvers/clustering/branch_bound/partition_cuts.py": _CLUSTERING,
    "solvers/clustering/branch_bound/search.py": _CLUSTERING,
    "solvers/clustering/branch_bound/task.py": _CLUSTERING,
    "solvers/clustering/branch_bound/merged_users.py": _CLUSTERING,
    "solvers/clustering/branch_bound/size_limits.py": _CLUSTERING,
    "hisopt/certificate.py": ("tests/test_certificate.py",),
    "hisopt/optimality_proof.py": ("tests/test_optimality_proof.py",),
    "hisopt/equations.py": ("tests/test_equations.py", *_JOINT),
    "hisopt/problems/constraints.py": ("tests/test_evaluation.py", "tests/test_equations.py", *_JOINT),
    "solvers/run/checks.py": ("tests/solvers/test_checks.py",),
}
_CHECKS = ("check", "beats", "_close", "contradictions")  # what is said of claims

_COMPARED: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.Gt), ast.LtE: (ast.Lt, ast.GtE), ast.Gt: (ast.GtE, ast.Lt), ast.GtE: (ast.Gt, ast.LtE),
    ast.Eq: (ast.NotEq,), ast.NotEq: (ast.Eq,), ast.Is: (ast.IsNot,), ast.IsNot: (ast.Is,), ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}  # fmt: skip
_COMPUTED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Pow: ast.Mult,
    ast.FloorDiv: ast.Div, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.Mod: ast.FloorDiv,
}  # fmt: skip
_SWAPPED = {"min": "max", "minimum": "maximum", "argmin": "argmax", "floor": "ceil", "any": "all"}
_SWAPPED |= {new: old for old, new in _SWAPPED.items()}
_DROPPED = ("abs", "sqrt", "round")


@dataclass(frozen=True)
class Mutant:
    """One change of a module: bytes ``start`` to ``end`` replaced by ``text``."""

    module: str
    line: int
    operator: str
    start: int
    end: int
    text: str

    def apply(self, source: bytes) -> bytes:
        """Return the changed source."""
        return source[: self.start] + self.text.encode() + source[self.end :]

    def change(self, source: bytes) -> tuple[str, str]:
        """Return what was there and what replaces it, as they stand in the list of equivalent mutants."""
        return source[self.start : self.end].decode(), self.text


def variants(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """Yield the changes of one node: the operator's name and the node that takes its place."""
    if isinstance(node, ast.Compare):
        for i, op in enumerate(node.ops):
            for other in _COMPARED[type(op)]:
                yield (
                    "comparison",
                    ast.Compare(node.left, [*node.ops[:i], other(), *node.ops[i + 1 :]], node.comparators),
                )
    elif isinstance(node, ast.BinOp) and type(node.op) in _COMPUTED:
        yield "arithmetic", ast.BinOp(node.left, _COMPUTED[type(node.op)](), node.right)
    elif isinstance(node, ast.AugAssign) and type(node.op) in _COMPUTED:
        yield "arithmetic", ast.AugAssign(node.target, _COMPUTED[type(node.op)](), node.value)
        yield "deleted", ast.Pass()
    elif isinstance(node, ast.Constant) and isinstance(node.value, (int, float)) and not isinstance(node.value, bool):
        yield from _constants(node.value)
    elif isinstance(node, ast.BoolOp):
        yield "logic", ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.Not, ast.USub, ast.Invert)):
        yield "sign", node.operand
    elif isinstance(node, (ast.Call, ast.Attribute, ast.Name)):
        yield from _names(node)
    elif isinstance(node, ast.Slice):
        for end, by in (("lower", ast.Add()), ("upper", ast.Sub())):
            old = getattr(node, end)
            if old is not None:
                new = copy.copy(node)
                setattr(new, end, ast.BinOp(old, by, ast.Constant(1)))
                yield "slice", new
    elif isinstance(node, ast.Assign) and isinstance(node.value, ast.BinOp) and isinstance(node.value.op, ast.Sub):
        for factor in (0.8, 1.25):
            yield "scaled", ast.Assign(node.targets, ast.BinOp(ast.Constant(factor), ast.Mult(), node.value), lineno=0)
    elif isinstance(node, (ast.Break, ast.Continue)):
        yield "loop", ast.Continue() if isinstance(node, ast.Break) else ast.Break()
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        yield "deleted", ast.Pass()
    elif isinstance(node, ast.Return) and node.value is not None and not isinstance(node.value, ast.Constant):
        yield "returned", ast.Return(ast.Constant(None))


def _constants(value: float) -> Iterator[tuple[str, ast.AST]]:
    if isinstance(value, int):
        yield from (("constant", ast.Constant(value + 1)), ("constant", ast.Constant(value - 1)))
    if value >= 2 or (isinstance(value, float) and value > 1e-3):
        yield from (("scaled", ast.Constant(round(value * 1.1, 12))), ("scaled", ast.Constant(round(value * 0.9, 12))))
    elif isinstance(value, float):
        yield "constant", ast.Constant(value * 1e4 if value else 1.0)
        if value:
            yield "constant", ast.Constant(0.0)


def _names(node: ast.Call | ast.Attribute | ast.Name) -> Iterator[tuple[str, ast.AST]]:
    if isinstance(node, ast.Call):
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        if name in _DROPPED and node.args:
            yield "dropped", node.args[0]
    elif isinstance(node, ast.Attribute) and node.attr in _SWAPPED:
        yield "swapped", ast.Attribute(node.value, _SWAPPED[node.attr])
    elif isinstance(node, ast.Name) and node.id in _SWAPPED and isinstance(node.ctx, ast.Load):
        yield "swapped", ast.Name(_SWAPPED[node.id])


def mutants(module: str, source: bytes) -> list[Mutant]:
    """Return every mutant of a module, in the order of its lines."""
    lengths = [0]
    for line in source.splitlines(keepends=True):
        lengths.append(lengths[-1] + len(line))
    found: dict[tuple[int, int, str], Mutant] = {}
    for node, conditional in _nodes(module, ast.parse(source)):
        if not hasattr(node, "lineno") and not isinstance(node, ast.Slice):
            continue
        place: ast.expr | ast.stmt = node  # type: ignore[assignment]
        start = lengths[place.lineno - 1] + place.col_offset
        end = lengths[(place.end_lineno or place.lineno) - 1] + (place.end_col_offset or 0)
        changes = list(variants(node))
        if conditional:
            changes.append(("negated", ast.UnaryOp(ast.Not(), node)))  # type: ignore[arg-type]
        for operator, new in changes:
            text = ast.unparse(ast.fix_missing_locations(new))
            if isinstance(new, ast.expr) and not isinstance(new, (ast.Slice, ast.Attribute, ast.Name, ast.Constant)):
                text = f"({text})"
            found.setdefault((start, end, text), Mutant(module, place.lineno, operator, start, end, text))
    return sorted(found.values(), key=lambda m: (m.start, m.end, m.text))


def _nodes(module: str, tree: ast.Module) -> Iterator[tuple[ast.AST, bool]]:
    """Walk what runs, each node with whether it is a condition; no annotations, assertions, errors or decorators."""
    for statement in tree.body:
        own = module != "solvers/run/checks.py" or getattr(statement, "name", "") in _CHECKS
        if own and not isinstance(statement, (ast.Import, ast.ImportFrom)):
            yield from _walk(statement, False)


def _walk(node: ast.AST, conditional: bool) -> Iterator[tuple[ast.AST, bool]]:
    if isinstance(node, (ast.Assert, ast.Raise, ast.JoinedStr)):
        return
    yield node, conditional
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "type_params"):
            continue
        condition = name == "test" and isinstance(node, (ast.If, ast.IfExp, ast.While))
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _walk(child, condition)


def equivalent(source: bytes, mutant: Mutant, listed: list[dict[str, str]]) -> str | None:
    """Return the reason why a mutant is listed as equivalent, or None."""
    old, new = mutant.change(source)
    line = source.splitlines()[mutant.line - 1].decode().strip()
    for entry in listed:
        same = entry["module"] == mutant.module and entry["line"] == line
        if same and entry["old"] == old and entry["new"] == new:
            return entry["reason"]
    return None


def run_tests(folder: Path, tests: list[str], seconds: float) -> tuple[str, str, float]:
    """Run tests against a copy of the checkout; return killed, survived or timeout, the first failure, and the time."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "--tb=no", "-rfE", *tests]
    environment = dict(os.environ) | {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1", "HF_HUB_OFFLINE": "1"}
    start = time.perf_counter()
    child = subprocess.Popen(command, cwd=folder, env=environment, text=True, start_new_session=True,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # fmt: skip
    try:
        output, _ = child.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.communicate()
        return "timeout", "", time.perf_counter() - start
    failed = [line for line in output.splitlines() if line.startswith(("FAILED", "ERROR"))]
    outcome = "survived" if child.returncode == 0 else "killed"
    return outcome, (failed or [output[-200:]])[0][:200] if child.returncode else "", time.perf_counter() - start


@click.command()
@click.option("--module", "chosen", multiple=True, type=click.Choice(sorted(TESTS)), help="Only this one; repeatable.")
@click.option("--sample", default=0, help="Mutants a module, drawn at random; 0 takes all.")
@click.option("--seed", default=0, show_default=True, help="Seed of the sample.")
@click.option("--records", type=click.Path(path_type=Path), default=Path("mutants.jsonl"), show_default=True,
              help="File of what became of each mutant; those in it are not run again.")  # fmt: skip
@click.option(
    "--slowest", default=4.0, show_default=True, help="A mutant times out after this many times the tests' time."
)
def main(chosen: tuple[str, ...], sample: int, seed: int, records: Path, slowest: float) -> None:
    """Mutate modules in a copy of the checkout; print the score of each, and the mutants that survive."""
    listed = tomllib.loads(EQUIVALENT.read_text()).get("mutant", [])
    known = {r["key"]: r for r in map(json.loads, records.read_text().splitlines())} if records.exists() else {}
    with tempfile.TemporaryDirectory(prefix="hisopt-mutants-") as temporary:
        folder = Path(temporary) / "checkout"
        shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(".git", "__pycache__", ".*_cache"))
        for module in chosen or TESTS:
            score(module, folder, sample, seed, records, known, listed, slowest)


def score(
    module: str, folder: Path, sample: int, seed: int, records: Path, known: dict[str, dict[str, object]],
    listed: list[dict[str, str]], slowest: float,
) -> None:  # fmt: skip
    """Run the mutants of a module and print how many tests catch."""
    source, tests = (ROOT / module).read_bytes(), [test for test in TESTS[module] if (ROOT / test).exists()]
    every = mutants(module, source)
    picked = (
        sorted(random.Random(seed).sample(range(len(every)), sample)) if 0 < sample < len(every) else range(len(every))
    )
    outcome, _, seconds = "survived", "", 0.0
    wording = b"".join((ROOT / test).read_bytes() for test in tests)
    keys = {i: hashlib.sha256(b"".join([source, wording, repr(every[i]).encode()])).hexdigest()[:16] for i in picked}
    if any(key not in known for key in keys.values()):
        outcome, why, seconds = run_tests(folder, tests, 600)
        if outcome != "survived":
            raise InputError(f"{module}: its tests fail without any change: {why}")
    counts: Counter[str] = Counter()
    lines = []
    for i in picked:
        mutant, key = every[i], keys[i]
        reason = equivalent(source, mutant, listed)
        if reason is None and key not in known:
            (folder / module).write_bytes(mutant.apply(source))
            outcome, why, took = run_tests(folder, tests, max(20.0, slowest * seconds))
            (folder / module).write_bytes(source)
            old, new = mutant.change(source)
            known[key] = {"key": key, "module": module, "line": mutant.line, "operator": mutant.operator, "old": old,
                          "new": new, "outcome": outcome, "by": why, "seconds": round(took, 1)}  # fmt: skip
            with records.open("a") as file:
                file.write(json.dumps(known[key]) + "\n")
        counts["equivalent" if reason else str(known[key]["outcome"])] += 1
        if not reason and known[key]["outcome"] == "survived":
            lines.append(
                f"    {module}:{mutant.line}: {mutant.operator}: {known[key]['old']!r} -> {known[key]['new']!r}"
            )
    caught, real = counts["killed"] + counts["timeout"], sum(counts.values()) - counts["equivalent"]
    share = f"{100 * caught / real:.0f} %" if real else "-"
    print(f"{module}: {share}: {caught} of {real} caught ({counts['timeout']} by time), {counts['equivalent']} equivalent, "
          f"{len(every)} mutants in all")  # fmt: skip
    print("\n".join(lines), flush=True)


if __name__ == "__main__":
    main()
