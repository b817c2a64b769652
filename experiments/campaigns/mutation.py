"""``python -m hisopt.experiments.campaigns.mutation``: change lines of proofs one at a time, and see whether tests fail.

The tests run in a copy of the checkout, in forks of one process that has imported them; see `mutation_trials`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import click

from hisopt.experiments.campaigns.mutants import Entry, Mutant, equivalent, may_list, mutants, named

ROOT = Path(__file__).resolve().parents[2]
EQUIVALENT = Path(__file__).with_name("mutation_equivalents.toml")
NAMED = Path(__file__).with_name("mutation_named.toml")
_JOINT = (
    "tests/solvers/joint/test_coupling_margins.py",
    "tests/solvers/joint/test_coupling_rules.py",
    "tests/solvers/joint/test_coupling_search.py",
    "tests/solvers/joint/test_step_tables.py",
    "tests/solvers/joint/test_scalar_coupling.py",
    "tests/solvers/joint/test_joint_exact.py",
    "tests/test_certificate.py",
    "tests/solvers/test_properties.py",
    "tests/experiments/test_edges.py",
)
_WHOLE = (
    "tests/solvers/joint/test_whole_options.py",
    "tests/solvers/joint/test_whole_merge.py",
    "tests/solvers/joint/test_whole_search.py",
    "tests/solvers/joint/test_whole_optima.py",
    "tests/solvers/joint/test_whole_sms.py",
    "tests/solvers/test_free_work.py",
    *_JOINT,
)
_CLUSTERING = (
    "tests/solvers/clustering/test_best_first.py",
    "tests/solvers/test_proximal_dual.py",
    "tests/solvers/clustering/test_search_nodes.py",
    "tests/solvers/clustering/test_relaxations.py",
    "tests/solvers/clustering/test_pruning.py",
    "tests/solvers/clustering/test_clustering_edges.py",
    "tests/solvers/clustering/test_partition_cuts.py",
    "tests/solvers/clustering/test_branch_bound.py",
    "tests/solvers/clustering/test_size_limits.py",
    "tests/experiments/test_edges.py",
)
TESTS: dict[str, tuple[str, ...]] = {
    "solvers/joint/scalar_coupling.py": _JOINT,
    "solvers/joint/coupling_search.py": _JOINT,
    "solvers/joint/step_tables.py": _JOINT,
    "solvers/joint/bound_steps.py": _JOINT,
    "solvers/joint/sums.py": ("tests/solvers/joint/test_sums.py",),
    "solvers/joint/whole.py": _WHOLE,
    "solvers/joint/whole_sms.py": _WHOLE,
    "solvers/full/subsets.py": ("tests/solvers/full/test_subsets.py", *_WHOLE),
    "solvers/clustering/branch_bound/spectral_relaxation.py": _CLUSTERING,
    "solvers/clustering/branch_bound/partition_cuts.py": _CLUSTERING,
    "solvers/clustering/best_first.py": _CLUSTERING,
    "solvers/clustering/branch_bound/search.py": _CLUSTERING,
    "solvers/clustering/branch_bound/task.py": _CLUSTERING,
    "solvers/clustering/branch_bound/merged_users.py": _CLUSTERING,
    "solvers/clustering/branch_bound/size_limits.py": _CLUSTERING,
    "hisopt/certificate.py": ("tests/test_certificate.py",),
    "hisopt/optimality_proof.py": ("tests/test_optimality_proof.py", "tests/test_optimality_proof_rules.py"),
    "hisopt/equations.py": (
        "tests/test_equations_plain.py",
        "tests/test_equations.py",
        "tests/test_evaluation.py",
        *_JOINT,
    ),
    "hisopt/problems/constraints.py": (
        "tests/test_constraints.py",
        "tests/test_evaluation.py",
        "tests/test_equations.py",
        *_JOINT,
    ),
    "solvers/run/checks.py": ("tests/solvers/run/test_checks.py",),
}


def read_records(path: Path) -> dict[str, dict[str, object]]:
    """Return what became of mutants, by key; the last word counts."""
    lines = path.read_text().splitlines() if path.exists() else []
    return {record["key"]: record for record in map(json.loads, lines)}


@click.command()
@click.option("--module", "chosen", multiple=True, type=click.Choice(sorted(TESTS)), help="Only this one; repeatable.")
@click.option("--function", default="", help="Only functions whose name contains this.")
@click.option("--tests", "only", multiple=True, help="Only these test files, or tests; repeatable.")
@click.option("--records", type=click.Path(path_type=Path), default=Path("mutants.jsonl"), show_default=True,
              help="File of what became of each mutant: the dead are not run again, the others by new tests.")  # fmt: skip
@click.option("--longest", default=10.0, show_default=True, help="Leave out tests that take more CPU seconds.")
@click.option("--budget", default=60.0, show_default=True, help="CPU seconds of tests a mutant, the cheapest first.")
@click.option("--listed", "also", is_flag=True, help="Run those listed as equivalent, too.")
@click.option("--report", is_flag=True, help="Only print what the records say.")
@click.option(
    "--named", "by_name", is_flag=True, help="Only the mutants of mutation_named.toml, by the tests that it names."
)
def main(
    chosen: tuple[str, ...], function: str, only: tuple[str, ...], records: Path, longest: float, budget: float,
    also: bool, report: bool, by_name: bool,
) -> None:  # fmt: skip
    """Mutate modules in a copy of the checkout; print the score of each, and the mutants that survive."""
    if by_name:
        sys.exit(run_named())
    listed = tomllib.loads(EQUIVALENT.read_text())["group"]
    modules = list(chosen or TESTS)
    if not report:
        for tests in dict.fromkeys(TESTS[module] for module in modules):  # modules of the same tests share a process
            group = [module for module in modules if TESTS[module] == tests]
            every = [module for module in TESTS if TESTS[module] == tests]
            found = wanted(group, function, read_records(records), [] if also else listed)
            run(found, every, only or tests, records, longest, budget)
    known = read_records(records)
    for module in modules:
        print(score(module, known, listed), flush=True)
    for entry in idle(listed, known):
        print(f"matches no mutant that a test leaves alive: {entry}")


def wanted(
    group: list[str], function: str, known: dict[str, dict[str, object]], listed: list[Entry]
) -> list[dict[str, object]]:
    """Return the mutants of some modules that are neither listed nor dead, as a plan holds them."""
    found = []
    for module in group:
        source = (ROOT / module).read_bytes()
        for mutant in mutants(module, source):
            record = known.get(mutant.key(source), {})
            dead = record.get("outcome") in ("killed", "timeout")
            if not dead and function in mutant.place.function and not equivalent(source, mutant, listed):
                found.append(_planned(mutant, source, record.get("survived", [])))
    return found


def _planned(mutant: Mutant, source: bytes, survived: object) -> dict[str, object]:
    old = mutant.change(source)[0]
    return {"key": mutant.key(source), "mutant": asdict(mutant), "old": old, "survived": survived}


def run(
    planned: list[dict[str, object]], modules: list[str], tests: tuple[str, ...], records: Path, longest: float,
    budget: float,
) -> None:  # fmt: skip
    """Run mutants of ``modules`` in a process of their own."""
    if not planned:
        return
    with tempfile.TemporaryDirectory(prefix="hisopt-mutants-") as temporary:
        folder = Path(temporary) / "checkout"
        ignored = shutil.ignore_patterns(".git", ".venv", "__pycache__", ".*_cache", "*.jsonl", "build", "*.egg-info")
        shutil.copytree(ROOT, folder, ignore=ignored, symlinks=True)
        plan = {
            "folder": str(folder), "modules": modules, "tests": [test for test in tests if _file(test).exists()],
            "coverage": str(records.resolve().with_suffix(".coverage")), "records": str(records.resolve()),
            "mutants": planned, "longest": longest, "budget": budget,
        }  # fmt: skip
        path = Path(temporary) / "plan.json"
        path.write_text(json.dumps(plan))
        own = {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1", "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "hisopt.experiments.campaigns.mutation_trials", str(path)]
        subprocess.run(command, cwd=folder, env=dict(os.environ) | own, check=True, stdout=subprocess.DEVNULL)


def _file(test: str) -> Path:
    return ROOT / test.partition("::")[0]


def run_named() -> int:
    """Run the mutants with names, print which test kills each, and return how many survive."""
    listed = tomllib.loads(NAMED.read_text())["mutant"]
    sources = {given["module"]: (ROOT / given["module"]).read_bytes() for given in listed}
    found = [named(given["module"], sources[given["module"]], given["old"], given["new"]) for given in listed]
    planned = [_planned(mutant, sources[mutant.module], []) for mutant in found]
    tests = tuple(dict.fromkeys(given["test"] for given in listed))
    with tempfile.TemporaryDirectory(prefix="hisopt-named-") as temporary:
        records = Path(temporary) / "named.jsonl"
        run(planned, list(sources), tests, records, longest=60, budget=60)
        known = read_records(records)
    ended = [known[str(plan["key"])] for plan in planned]
    for given, record in zip(listed, ended, strict=True):
        print(f"{given['name']}: {record['outcome']} {record['by']}", flush=True)
    return sum(record["outcome"] == "survived" for record in ended)


def idle(listed: list[Entry], known: dict[str, dict[str, object]]) -> list[Entry]:
    """Return the entries that list nothing: no mutant is theirs, or tests kill all of them."""
    left = list(listed)
    for module in TESTS:
        source = (ROOT / module).read_bytes()
        for mutant in mutants(module, source) if any(may_list(entry, module) for entry in left) else []:
            if known.get(mutant.key(source), {}).get("outcome") not in ("killed", "timeout"):
                left = [entry for entry in left if not equivalent(source, mutant, [entry])]
    return left


def score(module: str, known: dict[str, dict[str, object]], listed: list[Entry]) -> str:
    """Say how many mutants of a module the tests catch, and which they do not."""
    source = (ROOT / module).read_bytes()
    counts: Counter[str] = Counter()
    lines = []
    for mutant in mutants(module, source):
        record = known.get(mutant.key(source), {"outcome": "not run"})
        if record["outcome"] in ("killed", "timeout") or not equivalent(source, mutant, listed):
            counts[str(record["outcome"])] += 1
        else:
            counts["equivalent"] += 1
            continue
        if record["outcome"] == "survived":
            lines.append(_line(mutant, source, record))
    caught = counts["killed"] + counts["timeout"]
    real = caught + counts["survived"]
    share = f"{100 * caught / real:.0f} %" if real else "-"
    judged_not = counts["not run"] + counts["late"]  # late: stopped by the clock on a busy machine, which says nothing
    rest = f"{counts['timeout']} by time), {counts['equivalent']} equivalent, {judged_not} not judged"
    return "\n".join([f"{module}: {share}: {caught} of {real} caught ({rest}", *lines])


def _line(mutant: Mutant, source: bytes, record: dict[str, object]) -> str:
    old, new = mutant.change(source)
    left = f", {record['left']} tests left" if record.get("left") else ""
    return f"    {mutant.line} {mutant.place.function}: {old!r} -> {new!r} ({record['tests']} tests{left})"


if __name__ == "__main__":
    main()
