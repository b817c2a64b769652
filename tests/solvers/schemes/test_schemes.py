from __future__ import annotations

import itertools

import numpy as np
import pytest

from hisopt.decision import Decision
from hisopt.equations import breakdown, cluster_work, edge_work_cost, optimal_sms
from hisopt.errors import InputError
from hisopt.instances import StepLimits
from hisopt.instances.scenario import PRESETS
from hisopt.problems import Joint
from hisopt.problems.kept import KeptJoint
from hisopt.result import Limits
from hisopt.solvers.joint.exact import JointExact
from hisopt.solvers.schemes.groups import group, member_similarity
from hisopt.solvers.schemes.phases import solve_kept, solve_split
from hisopt.solvers.schemes.schemes import SCHEMES, Scheme, scheme_instance, scheme_problem, solve_scheme

LIMITS = Limits(60.0)


@pytest.mark.parametrize("name", SCHEMES)
def test_decisions_pass_evaluate_also_under_the_limits_of_the_instance(name: str) -> None:
    instance = PRESETS["small"].sample(1)
    found = solve_scheme(instance, name)
    assert found.proven and found.evaluation.feasible
    assert found.utility <= found.bound
    own = found.problem.instance
    given = type(found.problem)(own.replace(steps=instance.steps))
    assert given.evaluate(found.decision).objective == pytest.approx(found.utility, rel=1e-12)


@pytest.mark.parametrize("name", ["his", "hid", "ppgfis", "cfis", "iis", "iis-alone"])
def test_the_earlier_model_has_the_schemes_too(name: str) -> None:
    found = solve_scheme(PRESETS["icc"].sample(0), name)
    assert found.proven and found.evaluation.feasible
    assert found.tflop == 0


def test_executed_steps_count_a_common_phase_once_and_a_kept_one_never() -> None:
    instance = PRESETS["paper"].sample(0)
    assert solve_scheme(instance, "iis").steps == 1400
    found = solve_scheme(instance, "his")
    d, labels = found.decision, found.problem.instance.clusters
    personal = d.steps_edge.sum() + d.steps_device.sum()
    assert found.steps == sum(max(d.steps_common[labels == m]) for m in set(labels)) + personal < 1400
    assert found.tflop == pytest.approx(12 * found.steps)
    kept = solve_scheme(instance, "cached")
    assert kept.steps == kept.decision.steps_edge.sum() + kept.decision.steps_device.sum()


@pytest.mark.parametrize("seed", range(3))
def test_at_the_same_clusters_similarities_and_table_no_restriction_pays(seed: int) -> None:
    """None, and a fixed split of every size, restrict the steps of HIS; a kept phase frees them."""
    instance = PRESETS["small"].sample(seed)
    own = scheme_instance(instance, "his")
    best = Joint(own).evaluate(JointExact().solve(Joint(own), LIMITS).decision).objective
    alone = Joint(own.replace(steps=own.steps.replace(common_max=0)))
    rest = [alone.evaluate(JointExact().solve(alone, LIMITS).decision).objective]
    rest += [Joint(own).evaluate(solve_split(own, split, LIMITS).decision).objective for split in range(17)]
    assert best >= max(rest) - 1e-9
    assert rest[1] == pytest.approx(rest[0], rel=1e-12)
    assert KeptJoint(own).evaluate(solve_kept(own, LIMITS).decision).objective >= best - 1e-9


def _brute_force(problem: Joint | KeptJoint, common: range) -> float:
    """The best objective over all steps, with SMs by Theorem 1 on the work that is run."""
    own, best = problem.instance, -np.inf
    pairs = [(x, y) for x, y in own.steps.pairs().tolist() if x in common]
    cost = edge_work_cost(own, np.bincount(own.labels, minlength=own.max_clusters))
    for steps in itertools.product(pairs, repeat=own.users):
        x, y = np.array(steps).T
        top, steps_edge = cluster_work(own.labels, own.max_clusters, x, y)
        work = steps_edge if isinstance(problem, KeptJoint) else top + steps_edge
        sms = optimal_sms(cost * work, own.sm_budget, work > 0)
        found = problem.evaluate(Decision.of_steps(own.steps.total, x, y, sms, own.labels))
        assert found.feasible
        best = max(best, found.objective)
    return best


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("device_min", [0, 3])  # with 3 the bounds on z bind
def test_fixed_splits_and_kept_phases_against_enumeration(seed: int, device_min: int) -> None:
    rng = np.random.default_rng(seed)
    base = PRESETS["small"].replace(users=3, max_clusters=2, edge_sms=(40, 90), weights=PRESETS["small"].weights.replace(
        delay=float(rng.choice([0.01, 0.05, 0.2])))).sample(seed)  # fmt: skip
    limits = StepLimits(total=6, common_max=3, edge_min=0, edge_max=2, device_min=device_min, device_max=5)
    own = base.replace(steps=limits, clusters=[0, 0, 1], similarity=rng.uniform(0.2, 0.8, 3))
    for problem, result, common in (
        (KeptJoint(own), solve_kept(own, LIMITS), range(4)),
        *((Joint(own), solve_split(own, k, LIMITS), range(k, k + 1)) for k in (1, 3)),
    ):
        found = problem.evaluate(result.decision)
        assert found.feasible
        assert found.objective == pytest.approx(_brute_force(problem, common), rel=1e-12)
        assert found.objective <= result.bound <= found.objective + 1e-9


def test_a_kept_phase_costs_the_server_nothing_and_nothing_else_changes() -> None:
    instance = scheme_instance(PRESETS["small"].sample(2), "his")
    decision = solve_scheme(PRESETS["small"].sample(2), "his").decision
    run, kept = breakdown(instance, decision), breakdown(instance, decision, kept=True)
    personal = Decision.of_steps(
        instance.steps.total, 0 * decision.steps_common, *decision.server_steps[1:], decision.sms
    )
    without = breakdown(instance, Decision(instance.labels, *(getattr(personal, name) for name in (
        "steps_common", "steps_edge", "steps_device", "sms"))))  # fmt: skip
    assert kept.parts["energy_common"] == 0 < run.parts["energy_common"]
    np.testing.assert_array_equal(kept.delay_edge, without.delay_edge)
    for same in ("quality", "delay_transmission", "delay_device", "energy_personal", "energy_device"):
        np.testing.assert_array_equal(getattr(kept, same), getattr(run, same))


def test_members_are_random_members() -> None:
    vectors = np.eye(4)
    found = {tuple(member_similarity(vectors, np.array([0, 0, 1, 1]), seed)) for seed in range(40)}
    assert found == {(1, 0, 1, 0), (1, 0, 0, 1), (0, 1, 1, 0), (0, 1, 0, 1)}


def test_groups() -> None:
    instance = PRESETS["small"].sample(0)
    assert set(group(instance, "one")) == {0}
    assert set(group(instance, "own")) == set(range(10))
    assert set(group(instance, "hac")) == {0, 1, 2}
    given = instance.with_clusters(np.array([2] * 5 + [0] * 5))
    np.testing.assert_array_equal(group(given, "given"), [1] * 5 + [0] * 5)


def test_similarities_can_be_the_same_for_all() -> None:
    instance, same = PRESETS["small"].sample(0), np.linspace(0.2, 0.8, 10)
    for name in ("his", "ppgfis", "cfis"):
        np.testing.assert_array_equal(scheme_problem(instance, name, similarity=same).instance.similarity, same)


def test_other_solvers_serve_schemes() -> None:
    instance = PRESETS["small"].sample(0)
    assert solve_scheme(instance, "ppgfis", solver="greedy").utility <= solve_scheme(instance, "ppgfis").utility
    with pytest.raises(InputError, match="scheme his: no solver 'hac'"):
        solve_scheme(instance, "his", solver="hac")
    with pytest.raises(InputError, match="scheme cached: has the exact solver alone"):
        solve_scheme(instance, "cached", solver="greedy")


def test_bad_input() -> None:
    instance = PRESETS["small"].sample(0)
    with pytest.raises(InputError, match="scheme 'x': unknown"):
        scheme_instance(instance, "x")
    with pytest.raises(InputError, match="scheme ppgfis: prompts: missing"):
        scheme_instance(instance.replace(prompts=None), "ppgfis")
    with pytest.raises(InputError, match="embeddings: missing"):
        scheme_instance(PRESETS["large"].with_users(20).replace(max_clusters=3).sample(0), "his")
    with pytest.raises(InputError, match="split: is 17"):
        solve_scheme(instance, SCHEMES["uniform"].replace(split=17))
    with pytest.raises(InputError, match="uniform: is not defined for the ICC model"):
        solve_scheme(PRESETS["icc"].sample(0), "uniform")
    custom = Scheme("mine", "", "given", "medoid", True)
    with pytest.raises(InputError, match="scheme mine: clusters: missing"):
        solve_scheme(instance, custom)
