"""``python -m hisopt.experiments.campaigns.edges``: every solver at the edges, against enumeration and each other."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import resource
import signal
import sys
import time
import warnings
import zlib
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hisopt.errors import InputError
from hisopt.experiments.campaigns import brute_force, edge_instances
from hisopt.experiments.campaigns.brute_force import Optimum, TooLarge
from hisopt.experiments.campaigns.edge_tally import Finding, Tally
from hisopt.experiments.campaigns.records import Store
from hisopt.instances.files import save as save_instance
from hisopt.problems import PROBLEMS, Criterion, Problem
from hisopt.result import PROVEN, Guarantee, Limits, SolutionStatus, SolverResult, Termination, relative_gap
from hisopt.solvers.registry import registered
from hisopt.solvers.run.checks import Outcome, Run, beats, check, contradictions
from hisopt.solvers.run.identity import modules_hash
from hisopt.solvers.run.runner import Runner

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from hisopt.solvers.base import Solver

GRACE_S = 3.0  # past the limit, before a solve counts as one that hangs
_PATIENT = 30.0  # times limit and grace on the wall's clock: what a busy machine may make of that much processor time
_PATIENCE = 2  # hangs of a solver in one family, after which it is left out of the rest of the family
_MEMORY = 6_000_000_000  # bytes of address space of a process that solves, beyond what it starts with
_CHUNK = 25  # instances a task of the pool
SLOW = frozenset(
    {"ilp-highs", "ilp-scip", "pairs-highs", "pyomo-scip", "scip", "cvxpy-clarabel", "cvxpy-scs", "sdp", "milp-highs",
     "best-response", "ippo", "hid"}
)  # fmt: skip
SERIOUS = ("contradiction", "crash", "hang", "violation")


class Hang(BaseException):
    """A solve went on past its limit and the grace; no `Exception`, so that no solver catches it."""


@dataclass(frozen=True)
class Cell:
    """One family of one problem: what is drawn, and how it is solved."""

    kind: str
    criterion: Criterion | None
    whole: bool
    family: str
    limits: Limits
    in_process: bool = True
    slow_rate: float = 0.0
    skip: frozenset[str] = frozenset()

    @property
    def label(self) -> str:
        """Name for a reader, such as 'joint, whole SMs, scarce_sms'."""
        extra = self.criterion or ("whole SMs" if self.whole else "real SMs" if self.kind in _SMS else "")
        return ", ".join(part for part in (self.kind, extra, self.family) if part)


_SMS = ("allocation", "joint", "full")


def solve_here(problem: Problem, solver: Solver[Any], limits: Limits) -> Run | Finding:
    """Solve in this process with an alarm past the limit and the grace, and check the outcome as the runner does.

    The alarm counts processor time, so that a busy machine makes no hangs; for a solver that sleeps, the clock on the wall.
    """
    solver.prepare()
    over = False

    def alarm(_signum: int, _frame: FrameType | None) -> None:
        if not over:
            raise Hang

    before = {number: signal.signal(number, alarm) for number in (signal.SIGPROF, signal.SIGALRM)}
    start, most = time.perf_counter(), limits.time_s + GRACE_S
    signal.setitimer(signal.ITIMER_PROF, most, 0.5)
    signal.setitimer(signal.ITIMER_REAL, _PATIENT * most, 0.5)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = solver.solve(problem, limits)
        over = True
    except Hang:
        return Finding("hang", solver.name, f"still running {most:g} s after its start")
    except MemoryError:
        result = SolverResult(Termination.MEMORY_LIMIT, message="out of memory")
    except Exception as error:
        result = SolverResult(Termination.CRASHED, message=f"{type(error).__name__}: {error}")
    finally:
        over = True
        for timer in (signal.ITIMER_PROF, signal.ITIMER_REAL):
            signal.setitimer(timer, 0)
        for number, handler in before.items():
            signal.signal(number, handler)
    return check(problem, solver, limits, Outcome(result, time.perf_counter() - start))


@cache
def _runner(limits: Limits) -> Runner:
    return Runner(limits)


def solve_all(problem: Problem, cell: Cell, seed: int) -> Iterator[Run | Finding]:
    """Yield the outcome of every solver that serves the problem; slow ones on a share of the instances, in processes."""
    for solver in registered(problem.kind):
        if not solver.serves(problem) or solver.unavailable() or solver.name in cell.skip:
            continue
        slow = solver.name in SLOW
        draw = zlib.crc32(f"{cell.label} {solver.name} {seed}".encode()) / 2**32
        if slow and draw >= cell.slow_rate:
            continue
        if cell.in_process and not slow:
            yield solve_here(problem, solver, cell.limits)
            continue
        run = _runner(cell.limits).run(problem, solver)
        killed = run.termination is Termination.TIME_LIMIT and "did not stop by itself" in run.message
        yield Finding("hang", solver.name, run.message) if killed else run


def judge(problem: Problem, optimum: Optimum | None, outcomes: list[Run | Finding], limits: Limits) -> list[Finding]:
    """Hold outcomes against the optimum (None where it is not known), the enumeration's own scoring, and each other."""
    runs = [outcome for outcome in outcomes if isinstance(outcome, Run)]
    found = [outcome for outcome in outcomes if isinstance(outcome, Finding)]
    found += [Finding("contradiction", "", line) for line in contradictions(runs)]
    scale = 0.0
    if optimum is not None and optimum.decision is not None and optimum.value is not None:
        told = problem.evaluate(optimum.decision)
        scale = told.scale
        if not told.feasible or told.objective is None or not _near(told.objective, optimum.value, scale):
            text = f"the evaluation finds {told.objective} {told.violations}, enumeration {optimum.value:.9g}"
            found.append(Finding("contradiction", "evaluation", text))
    for run in runs:
        found += _judge_one(problem, optimum, scale, run, limits)
    known = optimum is not None or any(r.termination in (Termination.OPTIMAL, Termination.INFEASIBLE) for r in runs)
    for run in runs:
        exact = run.solver.guarantee is Guarantee.EXACT and run.solver.name not in SLOW
        if known and exact and run.termination is Termination.TIME_LIMIT:
            text = f"open at its limit with {run.objective} and bound {run.bound}, where enumeration or another proves"
            found.append(Finding("unproven", run.solver.name, text))
    return found


def _judge_one(problem: Problem, optimum: Optimum | None, scale: float, run: Run, limits: Limits) -> Iterator[Finding]:
    """Judge a run; ``scale`` is that of the optimum's objective."""
    name, objective, feasible = run.solver.name, run.objective, run.solution_status is SolutionStatus.FEASIBLE
    if run.termination is Termination.CRASHED:
        yield Finding("crash", name, run.message)
    if run.violations and (optimum is None or optimum.value is not None):
        yield Finding("violation", name, "; ".join(run.violations))
    if run.decision is not None and run.termination is not Termination.CRASHED:
        own, own_feasible = brute_force.score(problem, run.decision)
        if own_feasible != feasible:
            text = f"its decision is {'' if feasible else 'in'}feasible to the evaluation, not so to enumeration"
            yield Finding("contradiction", "evaluation", f"{name}: {text}")
        elif feasible and (own is None or objective is None or not _near(own, objective, run.scale)):
            yield Finding("contradiction", "evaluation", f"{name}: scored {objective}, by enumeration {own}")
    early = run.seconds is not None and run.seconds < 0.5 * limits.time_s
    if run.termination is Termination.TIME_LIMIT and early:
        yield Finding("unproven", name, f"says time_limit after {run.seconds:.2g} s of {limits.time_s:g} s")
    if optimum is None:
        return
    best = optimum.value
    if best is None:
        if feasible:
            yield Finding("contradiction", name, f"has {objective} where enumeration finds nothing feasible")
        return
    if run.termination is Termination.INFEASIBLE:
        yield Finding("contradiction", name, f"claims infeasible, enumeration has {best:.9g}")
    if run.bound is not None and beats(problem, best, run.bound, scale):
        yield Finding("contradiction", name, f"bound {run.bound:.9g}, but enumeration has {best:.9g}")
    if feasible and objective is not None and beats(problem, objective, best, run.scale):
        yield Finding("contradiction", name, f"objective {objective:.9g} beyond the enumerated optimum {best:.9g}")
    optimal = run.termination is Termination.OPTIMAL and feasible
    if optimal and objective is not None and beats(problem, best, objective, scale):
        yield Finding("contradiction", name, f"calls {objective:.9g} optimal, enumeration has {best:.9g}")


def _near(one: float, other: float, scale: float) -> bool:
    return relative_gap(one, other, scale) <= PROVEN


def examine(cell: Cell, seeds: range) -> Tally:
    """Draw, enumerate and solve the instances of a family."""
    tally, hangs = Tally(), Counter[str]()
    for seed in seeds:
        problem = edge_instances.draw(cell.kind, cell.criterion, cell.whole, cell.family, seed)
        try:
            optimum = brute_force.optimum(problem)
        except TooLarge:
            optimum = None
        tired = frozenset(name for name, count in hangs.items() if count >= _PATIENCE)
        outcomes = list(solve_all(problem, _without(cell, tired), seed))
        found = judge(problem, optimum, outcomes, cell.limits)
        tally.instances += 1
        tally.enumerated += optimum is not None
        tally.infeasible += optimum is not None and optimum.value is None
        tally.solves += len(outcomes)
        tally.left_out += len(tired)
        hangs.update(f.solver for f in found if f.what == "hang")
        tally.found.update({(f.what, f.solver or f.text.split(":")[1].split()[0]) for f in found})
        if found:
            tally.offending.append((seed, found))
    return tally


def _without(cell: Cell, names: frozenset[str]) -> Cell:
    values = {name: getattr(cell, name) for name in cell.__dataclass_fields__}
    return Cell(**{**values, "skip": cell.skip | names})


def _start() -> None:
    """Import what solvers import, outside their time, and limit memory, so that a solver that asks for all fails alone."""
    for module in ("scipy.sparse.linalg", "scipy.cluster.hierarchy", "sklearn.cluster"):
        import_module(module)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (used + _MEMORY, hard))


def save(folder: Path, cell: Cell, seed: int, found: list[Finding]) -> None:
    """Save an offending instance, and beside it what was found, with the seed."""
    folder.mkdir(parents=True, exist_ok=True)
    instance, _ = edge_instances.draw_with_instance(cell.kind, cell.criterion, cell.whole, cell.family, seed)
    name = "-".join(cell.label.replace(",", "").split()) + f"-{seed}"
    save_instance(instance, folder / f"{name}.json")
    with (folder / "findings.jsonl").open("a") as lines:
        record = {"instance": f"{name}.json", "problem": cell.kind, "criterion": cell.criterion, "whole": cell.whole,
                  "family": cell.family, "seed": seed, "found": [vars(f) for f in found]}  # fmt: skip
        lines.write(json.dumps(record) + "\n")


@click.command()
@click.option(
    "--problem", "kinds", multiple=True, type=click.Choice(list(PROBLEMS)), help="Only this problem; may be repeated."
)
@click.option("--family", "chosen", multiple=True, help="Only this family; may be repeated.")
@click.option("--instances", default=10_000, show_default=True, help="Instances a problem, shared by its families.")
@click.option("--seed", default=0, show_default=True, help="First seed; instance i of a family uses seed + i.")
@click.option("--in-process", is_flag=True, help="Quick solvers without a process for each solve.")
@click.option("--slow-rate", default=0.02, show_default=True, help="Share of instances for general solvers and torch.")
@click.option("--time-limit", default=2.0, show_default=True, help="Seconds a solve.")
@click.option("--jobs", default=2, show_default=True, help="Processes at a time.")
@click.option("--save", "folder", type=click.Path(path_type=Path), default=Path("edges"), show_default=True,
              help="Folder of the offending instances.")  # fmt: skip
@click.option("--records", type=click.Path(path_type=Path), help="Folder of tallies, from which a killed run goes on.")
@click.option("--without", multiple=True, help="Leave this solver out; may be repeated.")
def main(
    kinds: tuple[str, ...], chosen: tuple[str, ...], instances: int, seed: int, in_process: bool, slow_rate: float,
    time_limit: float, jobs: int, folder: Path, records: Path | None, without: tuple[str, ...],
) -> None:  # fmt: skip
    """Solve instances at the edges; exit code 1 if a claim is refuted, a solver crashes, hangs or breaks a constraint."""
    for name in chosen:
        if name not in {known for kind in PROBLEMS for known in edge_instances.families(kind)}:
            raise click.BadParameter(f"{name!r}: no such family", param_hint="--family")
    cells = []
    for kind in kinds or PROBLEMS:
        places = [
            (criterion, whole, family)
            for criterion, whole in edge_instances.variants(kind)
            for family in edge_instances.families(kind)
            if not chosen or family in chosen
        ]
        for i, (criterion, whole, family) in enumerate(places):
            share = instances // len(places) + (i < instances % len(places))
            limits = Limits(time_s=time_limit)
            cells.append(
                (Cell(kind, criterion, whole, family, limits, in_process, slow_rate, frozenset(without)), share)
            )
    total = _run(cells, seed, jobs, folder, Store(records))
    print(f"{total.instances} instances, {total.enumerated} enumerated ({total.infeasible} of them infeasible), "
          f"{total.solves} solves: {total.count('contradiction')} contradictions, {total.count('crash')} crashes, "
          f"{total.count('hang')} hangs, {total.count('violation')} decisions that violate a constraint, "
          f"{total.count('unproven')} claims of doubt; {total.left_out} solves left out after hangs")  # fmt: skip
    raise SystemExit(1 if any(total.count(what) for what in SERIOUS) else 0)


def _run(cells: list[tuple[Cell, int]], seed: int, jobs: int, folder: Path, store: Store) -> Tally:
    """Share the cells among processes and print each as it ends; a process that dies takes its chunk with it.

    The tally of each chunk is kept in the store, and not made again.
    """
    total, context = Tally(), multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(jobs, mp_context=context, initializer=_start)
    try:
        waiting = [
            (
                cell,
                [(part, _kept(store, cell, part) or pool.submit(examine, cell, part)) for part in _chunks(seed, share)],
            )
            for cell, share in cells
        ]
        for cell, parts in waiting:
            tally = Tally()
            for part, done in parts:
                if isinstance(done, Tally):
                    tally.add(done)
                    continue
                try:
                    new = done.result()
                except BrokenProcessPool:
                    raise InputError(f"{cell.label}, near seeds {part}: a process that solves died") from None
                store.write(_record_name(cell, part), new.to_dict())
                tally.add(new)
            for at, found in tally.offending:
                save(folder, cell, at, found)
            print(describe(cell, tally), flush=True)
            total.add(tally)
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    return total


def _chunks(seed: int, count: int) -> Iterator[range]:
    for first in range(seed, seed + count, _CHUNK):
        yield range(first, min(first + _CHUNK, seed + count))


def _kept(store: Store, cell: Cell, part: range) -> Tally | None:
    record = store.read(_record_name(cell, part))
    return None if record is None else Tally.from_dict(record)


def _record_name(cell: Cell, part: range) -> str:
    """Name a chunk by all that its tally depends on."""
    parts = [cell.label, vars(cell.limits), cell.in_process, cell.slow_rate, sorted(cell.skip), part.start, part.stop,
             _sources(cell.kind)]  # fmt: skip
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]


@cache
def _sources(kind: str) -> str:
    return modules_hash(
        [*(type(solver).__module__ for solver in registered(kind)), "hisopt.experiments.campaigns.edges"]
    )


def describe(cell: Cell, tally: Tally) -> str:
    """Return a line on a family, and the first instance of every kind of finding below it."""
    lines = [f"{cell.label:46} {tally.instances:5} instances {tally.solves:6} solves  "
             + ("clean" if not tally.found else "")]  # fmt: skip
    first: dict[tuple[str, str], tuple[int, str]] = {}
    for seed, found in tally.offending:
        for f in found:
            first.setdefault((f.what, f.solver or f.text.split(":")[1].split()[0]), (seed, f.text))
    for (what, solver), count in sorted(tally.found.items()):
        seed, text = first[what, solver]
        lines.append(f"    {count:5} x {what}: {solver}: seed {seed}: {text[:150]}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
