"""Work that costs nothing (weights of zero, no weighted energy that SMs change): every solver, held to the optimum."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from hisopt import Decision, Instance, Limits, Problem, Termination
from hisopt.equations import optimal_sms, steps_sms, with_slivers
from hisopt.experiments.campaigns.random_instances import draw_instance
from hisopt.instances.common import StepLimits, Weights
from hisopt.instances.scenario import PRESETS
from hisopt.problems import Allocation, Full, problem_of
from hisopt.result import Guarantee
from hisopt.solvers.full.subsets import Subsets
from hisopt.solvers.registry import registered
from hisopt.solvers.run.runner import Outcome, Run, beats, check

if TYPE_CHECKING:
    from hisopt.solvers.base import Solver

LIMITS = Limits(time_s=60, seed=1)
FREE: dict[str, dict[str, Any]] = {
    "quality only": {"weights": {"quality": 1, "delay": 0, "energy": 0}},
    "nothing counts": {"weights": {"quality": 0, "delay": 0, "energy": 0}},
    "no energy drawn": {"weights": {"quality": 1, "delay": 0, "energy": 1e-6}, "edge": {"energy_coefficient": 0.0}},
    "no static power": {"weights": {"quality": 1, "delay": 0, "energy": 1e-6}, "edge": {"power_static": 0.0}},
    "delay only": {"weights": {"quality": 0, "delay": 1, "energy": 0}},
    "no power and delay": {"weights": {"quality": 1, "delay": 0.01, "energy": 1e-6}, "edge": {"power_static": 0.0}},
}
BUDGETS = (2.0, 3.7, 2.0 * 3 + 1)


def instance(name: str, sms: float) -> Instance:
    rng = np.random.default_rng(7)
    drawn = draw_instance(rng, 5, 3)
    assert isinstance(drawn, Instance)
    change = FREE[name]
    edge = drawn.edge.replace(sms=sms, **change.get("edge", {}))
    return drawn.replace(
        edge=edge, weights=change["weights"], clusters=[0, 1, 2, 0, 1], cluster_size_min=1, cluster_size_max=None
    )


def by_formula(problem: Problem) -> float | None:
    """What whole SMs allow in ``allocation``: with 3 busy clusters and V = 2, nothing."""
    given = problem.instance
    busy = [
        given.given_common[given.clusters == m].any() or given.given_edge[given.clusters == m].any() for m in range(3)
    ]  # type: ignore[index]
    return None if problem.whole_sms and sum(busy) > given.sm_budget else 0.0


CASES = [
    pytest.param(solver, kind, integer, name, id=f"{kind} {solver.name} {'whole' if integer else 'real'}: {name}")
    for name in FREE
    for kind in ("allocation", "joint", "full")
    for integer in (False, True)
    for solver in registered(kind)
    if solver.guarantee is not Guarantee.LEARNED
    and (kind, solver.name) != ("full", "scip")  # minutes
    and solver.serves(problem_of(kind, instance(name, 7.0), whole_sms=integer))  # type: ignore[arg-type]
]
EXACT = {("allocation", False): "closed-form", ("allocation", True): "integer", ("joint", False): "exact",
         ("joint", True): "exact-integer", ("full", False): "subsets"}  # fmt: skip


@cache
def posed(kind: str, integer: bool, name: str, sms: float) -> Problem:
    return problem_of(kind, instance(name, sms), whole_sms=integer)  # type: ignore[arg-type]


@cache
def proven(kind: str, integer: bool, name: str, sms: float) -> Run | None:
    """What the exact solver of a kind found; None where none takes the problem."""
    problem = posed(kind, integer, name, sms)
    reference = next((s for s in registered(kind) if s.name == EXACT.get((kind, integer))), None)
    if reference is None:
        return None
    return check(problem, reference, LIMITS, Outcome(reference.solve(problem, LIMITS), 0.0))


@pytest.mark.parametrize(("solver", "kind", "integer", "name"), CASES)
def test_every_solver_on_free_work(solver: Solver[Any], kind: str, integer: bool, name: str) -> None:
    for sms in BUDGETS:
        problem, best = posed(kind, integer, name, sms), proven(kind, integer, name, sms)
        run = check(problem, solver, LIMITS, Outcome(solver.solve(problem, LIMITS), 0.0))
        assert run.refuted == ()
        assert run.violations == ()
        if best is None:
            continue
        if best.objective is None:
            assert run.decision is None
            continue
        if run.objective is not None:
            assert not beats(problem, run.objective, best.objective, run.scale)
        if solver.guarantee is Guarantee.EXACT:
            if run.termination is Termination.NUMERICAL_ERROR and solver.name == "scip":
                assert "tolerances" in run.message  # an objective near zero
            else:
                assert run.termination is Termination.OPTIMAL
            assert run.objective == pytest.approx(best.objective, rel=1e-6, abs=1e-9)
        if kind == "allocation" and name not in ("delay only", "no power and delay"):
            assert by_formula(problem) == best.objective == 0.0


@pytest.mark.parametrize(
    "solver", [s for s in registered("steps") if s.guarantee is not Guarantee.LEARNED], ids=lambda solver: solver.name
)
@pytest.mark.parametrize("quality", [0.0, 1.0])
def test_every_solver_of_steps_where_nothing_is_paid_for(solver: Solver[Any], quality: float) -> None:
    instance = PRESETS["icc"].with_users(3).replace(max_clusters=2).sample(0)
    limits = StepLimits(total=4, common_max=2, edge_max=2, device_min=0)  # y is in no row, and costs nothing
    weights = Weights(quality=quality, delay=0, energy=0)
    problem = problem_of("steps", instance.replace(steps=limits, weights=weights, clusters=[0, 1, 0]))
    run = check(problem, solver, LIMITS, Outcome(solver.solve(problem, LIMITS), 0.0))
    assert run.refuted == ()
    assert run.violations == ()
    assert run.decision is not None
    plain = [problem.evaluate(Decision.of_steps(4, np.full(3, x), np.ones(3, dtype=int))).objective for x in range(3)]
    assert run.objective is not None
    assert all(value is not None and run.objective >= value - 1e-9 for value in plain)


def test_free_work_gets_a_sliver_and_the_others_lose_nothing() -> None:
    cost, busy = np.array([4.0, 0.0, 1.0, 0.0, 0.0]), np.array([True, True, True, True, False])
    sms = optimal_sms(cost, 30.0, busy)
    assert (sms[busy] > 0).all()
    assert sms[4] == 0
    assert sms.sum() <= 30 * (1 + 1e-15)
    np.testing.assert_allclose(sms[[0, 2]], [20, 10], rtol=1e-11)
    np.testing.assert_allclose(sms[[1, 3]], 1.5e-11, rtol=1e-9)
    assert (optimal_sms(cost, 30.0)[[1, 3, 4]] == 0).all()
    np.testing.assert_allclose(optimal_sms(np.zeros(3), 30.0, np.array([True, False, True])), [15, 0, 15])
    assert (with_slivers(np.array([0.25, 0.75]), np.array([True, True])) == [0.25, 0.75]).all()


def test_a_cluster_with_free_work_needs_an_sm() -> None:
    given = instance("quality only", 10.0)
    assert given.given_common is not None
    assert given.given_edge is not None
    sms = steps_sms(given, given.given_common, given.given_edge)
    problem = Allocation(given)
    from hisopt import Decision

    assert problem.evaluate(Decision(sms=sms)).feasible
    busy = int(np.argmax(sms))
    assert sms[busy] > 0
    sms[busy] = 0
    assert any("no SM" in fault for fault in problem.evaluate(Decision(sms=sms)).violations)


def test_subsets_does_not_walk_through_ties() -> None:
    """Nothing counts: all partitions of equal users tie, and the first proves the optimum."""
    rng = np.random.default_rng(0)
    drawn = draw_instance(rng, 9, 4)
    assert isinstance(drawn, Instance)
    tied = drawn.replace(
        weights={"quality": 0, "delay": 0, "energy": 0}, given_common=None, given_edge=None,
        cluster_size_min=1, cluster_size_max=None,
    )  # fmt: skip
    found = Subsets().solve(Full(tied), LIMITS)
    assert found.termination is Termination.OPTIMAL
    assert found.details["partitions_solved"] < 10
    assert found.bound == pytest.approx(0.0, abs=1e-9)


def test_subsets_out_of_time_keeps_decision_and_bound() -> None:
    rng = np.random.default_rng(5)
    drawn = draw_instance(rng, 9, 4)
    assert isinstance(drawn, Instance)
    problem = Full(drawn.replace(given_common=None, given_edge=None, cluster_size_min=1, cluster_size_max=None))
    late, done = Subsets().solve(problem, Limits(time_s=0.0)), Subsets().solve(problem, LIMITS)
    assert done.termination is Termination.OPTIMAL
    assert late.decision is not None
    assert problem.evaluate(late.decision).feasible
    assert late.bound is not None
    assert done.bound is not None
    assert late.bound >= done.bound - 1e-9 * abs(done.bound)
    assert late.termination in (Termination.TIME_LIMIT, Termination.OPTIMAL)
