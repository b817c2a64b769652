"""The same small problems for every registered solver: what it returns is checked, and held to the known optimum."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from hisopt import PRESETS, Decision, Instance, Limits, Termination
from hisopt.experiments.campaigns.random_instances import draw_problems
from hisopt.experiments.campaigns.sum_of_squares import draw
from hisopt.instances import MegChannel, MegInstance, StepLimits
from hisopt.problems import (
    PROBLEMS,
    Allocation,
    Clustering,
    Full,
    Joint,
    Meg,
    Problem,
    Sizes,
    Steps,
    SumOfSquares,
    problem_of,
)
from hisopt.result import PROVEN, Guarantee, SolutionStatus
from hisopt.solvers.base import Solver, whole_sms
from hisopt.solvers.clustering.hac import clustered
from hisopt.solvers.registry import TABLE, registered
from hisopt.solvers.run.runner import Outcome, Run, beats, check

if TYPE_CHECKING:
    from collections.abc import Iterator

LIMITS = Limits(time_s=120.0, seed=1)
SEEDS = (0, 5, 21)


@cache
def catalogue() -> list[tuple[str, Problem]]:
    """Random problems of every kind, with the trivial ones (one user, one cluster, nothing allowed on the server)."""
    problems = [(f"{problem.label} {seed}", problem) for seed in SEEDS for problem in draw_problems(seed)]
    for label, problem in [pair for pair in problems if pair[0].endswith(f" {SEEDS[0]}")]:
        if isinstance(problem, Clustering):
            problems.append((f"{label} idle", replace(problem, sizes=Sizes())))
            continue
        if isinstance(problem, Meg):
            one = MegInstance(channel=MegChannel.uniform_distance(1), steps=[4.0], ratios=[0.0])  # type: ignore[arg-type]
            problems.append((f"{label} idle", Meg(one)))
            continue
        assert isinstance(problem, (Allocation, Joint, Full, Steps))
        instance = problem.instance
        steps = instance.steps.replace(total=5, common_max=0, edge_min=0, edge_max=0, device_min=0, device_max=5)
        changes: dict[str, Any] = {"steps": steps, "cluster_size_min": 1, "cluster_size_max": None}
        if isinstance(instance, Instance):
            changes |= {"given_common": [0] * instance.users, "given_edge": [0] * instance.users}
        idle = problem_of(problem.kind, instance.replace(**changes), whole_sms=whole_sms(problem))
        problems.append((f"{label} idle", idle))
    for preset, kind in (("small", "joint"), ("icc", "steps")):  # the step limits that the shipped policies know
        instance = clustered(PRESETS[preset].replace(users=5, max_clusters=2).sample(0))
        problems.append((f"{kind} default", problem_of(kind, instance)))
    return problems + list(sums_of_squares())


def sums_of_squares() -> Iterator[tuple[str, Problem]]:
    """Points of any norm, with and without limits on sizes and pairs, some of which exclude each other."""
    for seed in range(6):
        case = draw(100 + seed)
        points = np.random.default_rng(seed).normal(size=(8, 2)) * 10.0**seed if seed < 2 else case.points
        sizes = Sizes() if seed < 2 else Sizes(case.least, case.most)
        pairs = (None, None) if seed < 2 else (case.together, case.apart)
        clusters = min(3, len(points)) if seed < 2 else case.clusters
        yield f"clustering, sse {seed}", SumOfSquares(points, clusters, sizes, *pairs)
    yield "clustering, sse contradicting pairs", SumOfSquares(np.eye(4), 2, Sizes(), [(0, 1)], [(1, 0)])  # type: ignore[arg-type]


def enumerate_partitions(users: int, clusters: int) -> list[np.ndarray]:
    """Every partition once, labels in order of first appearance."""
    partitions = [np.zeros(1, dtype=np.int64)]
    for _ in range(1, users):
        partitions = [
            np.append(labels, new) for labels in partitions for new in range(min(int(labels.max()) + 2, clusters))
        ]
    return partitions


@cache
def optimum(name: str) -> tuple[float, float] | None:
    """The optimum of a clustering, by enumeration; of the other problems, the best that any solver finds; its scale."""
    problem = dict(catalogue())[name]
    if isinstance(problem, (Clustering, SumOfSquares)):
        found = [
            problem.evaluate(Decision(clusters=labels))
            for labels in enumerate_partitions(problem.users, problem.max_clusters)
        ]
        values = [(e.objective, e.scale) for e in found if e.feasible and e.objective is not None]
        return (max(values) if problem.maximise else min(values)) if values else None
    runs = [solve(solver, name) for solver in registered(problem.kind) if solver.serves(problem)]
    values = [
        (run.objective, run.scale)
        for run in runs
        if run.objective is not None and run.solution_status == SolutionStatus.FEASIBLE
    ]
    return (max(values) if problem.maximise else min(values)) if values else None


@cache
def solve(solver: Solver[Any], name: str) -> Run:
    problem = dict(catalogue())[name]
    return check(problem, solver, LIMITS, Outcome(solver.solve(problem, LIMITS), 0.0))


CASES = [
    pytest.param(solver, name, id=f"{solver.name}: {name}")
    for (name, problem), kind in product(catalogue(), PROBLEMS)
    if problem.kind == kind
    for solver in registered(kind)
    if solver.serves(problem)
]


@pytest.mark.parametrize(("solver", "name"), CASES)
def test_solver(solver: Solver[Any], name: str) -> None:
    problem, run = dict(catalogue())[name], solve(solver, name)
    assert run.termination is not Termination.CRASHED
    if run.termination is Termination.UNAVAILABLE:
        assert solver.guarantee is Guarantee.LEARNED
        assert isinstance(problem, (Joint, Steps))
        assert problem.instance.steps != StepLimits()
        assert run.message == "the policy was trained with other step limits"
        return
    assert run.refuted == ()
    known = optimum(name)
    if known is None:
        assert run.solution_status is not SolutionStatus.FEASIBLE
        assert run.termination is not Termination.OPTIMAL
        return
    best, scale = known
    if run.decision is not None:
        assert run.solution_status is SolutionStatus.FEASIBLE, run.violations
        assert run.objective is not None
        assert not beats(problem, run.objective, best, run.scale)
    if run.bound is not None:
        assert not beats(problem, best, run.bound, scale)
    assert run.termination is not Termination.INFEASIBLE
    if solver.guarantee is Guarantee.EXACT:
        # SCIP's natural form of the full problem may need longer; every other exact solver finishes on these
        assert run.termination is Termination.OPTIMAL or (solver.name == "scip" and run.bound is not None)
    elif run.termination is Termination.OPTIMAL:  # a relaxation that happens to prove its decision
        assert solver.guarantee is Guarantee.BOUND
        assert run.decision is not None
        assert run.bound is not None
        assert problem.gap(run.decision, run.bound) <= PROVEN


@pytest.mark.parametrize(
    "solver", [s for kind in PROBLEMS for s in registered(kind)], ids=lambda s: f"{s.problems[0].kind} {s.name}"
)
def test_same_seed_same_answer(solver: Solver[Any]) -> None:
    name = next((name for name, problem in catalogue() if solver.serves(problem)), None)
    assert name is not None, f"no problem of the catalogue is served by {solver.name}"
    problem = dict(catalogue())[name]
    again = check(problem, solver, LIMITS, Outcome(solver.solve(problem, LIMITS), 0.0))
    assert again.objective == solve(solver, name).objective


def test_no_solver_of_the_table_is_missing() -> None:
    tested = {case.values[0] for case in CASES}
    assert {solver for kind in PROBLEMS for solver in registered(kind)} <= tested
    assert set(TABLE) == set(PROBLEMS)
    for kind in PROBLEMS:
        names = [solver.name for solver in registered(kind)]
        assert len(names) == len(set(names)), "a name serves one solver a kind of problem"


def test_every_kind_has_an_exact_solver_and_a_rival() -> None:
    for kind in PROBLEMS:
        solvers = registered(kind)
        assert any(solver.guarantee is Guarantee.EXACT for solver in solvers)
        assert len(solvers) > 1


def test_problems_refuse_instances_of_the_other_model() -> None:
    from hisopt.errors import InputError

    icc = next(problem.instance for _, problem in catalogue() if isinstance(problem, Steps))
    journal = next(problem.instance for _, problem in catalogue() if isinstance(problem, Joint))
    for kind in ("allocation", "joint", "full"):
        with pytest.raises(InputError, match="not defined"):
            problem_of(kind, icc)
    with pytest.raises(InputError, match="not defined"):
        problem_of("steps", journal)
