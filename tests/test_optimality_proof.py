"""Proofs of optimality are replayed from a certificate, and tampered certificates are refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from joint_plans import plans

from hisopt import Instance, Limits, optimality_proof
from hisopt.equations import rule_similarity
from hisopt.errors import InputError
from hisopt.experiments.campaigns import edge_instances
from hisopt.experiments.campaigns.random_instances import draw_instance, paper_preset
from hisopt.optimality_proof import prove
from hisopt.problems import Joint
from hisopt.solvers.clustering.hac import average_linkage
from hisopt.solvers.joint.exact import JointExact


def drawn(seed: int) -> Instance:
    rng = np.random.default_rng(seed)
    instance = draw_instance(rng, 3, 2)
    assert isinstance(instance, Instance)
    return instance.replace(
        steps=instance.steps.replace(
            total=5, common_max=2, edge_min=seed % 2, edge_max=2, device_min=seed % 3, device_max=3 + seed % 3
        ),
        given_common=None,
        given_edge=None,
    )


@pytest.mark.parametrize("seed", range(12))
def test_only_the_optimum_is_proven_whatever_the_multiplier(seed: int) -> None:
    instance = drawn(seed)
    ranked = plans(instance)
    best, decision = ranked[0]
    result = JointExact().solve(Joint(instance), Limits())
    multiplier = float(result.details["multiplier"])
    for price in (multiplier, 0.0, 0.5 * multiplier, 3 * multiplier + 1):
        proof = prove(instance, decision, price, bound=result.bound)
        assert proof.value == pytest.approx(best, rel=1e-13, abs=1e-13)
        assert proof.value <= proof.bound <= proof.value + 2e-15 * abs(best) + 1e-15
        worse = [plan for value, plan in ranked if value < best - 1e-7 * abs(best)]
        for plan in worse[:: max(len(worse) // 4, 1)]:
            with pytest.raises(InputError, match="decision: worth"):
                prove(instance, plan, price)


def test_tampered_certificates_are_refused() -> None:
    instance = drawn(3)
    result = JointExact().solve(Joint(instance), Limits())
    decision, multiplier = result.decision, float(result.details["multiplier"])
    assert decision is not None
    assert decision.steps_common is not None
    assert result.bound is not None
    with pytest.raises(InputError, match=r"bound .*: refuted"):
        prove(instance, decision, multiplier, bound=result.bound - 1e-9 * abs(result.bound))
    with pytest.raises(InputError, match="steps of user 0 are not allowed"):
        prove(instance, replace(decision, steps_common=decision.steps_common + np.array([9, 0, 0])), multiplier)
    with pytest.raises(InputError, match="steps of user 0 are not allowed"):
        prove(instance, replace(decision, steps_common=decision.steps_common + 0.5), multiplier)
    with pytest.raises(InputError, match="has no steps"):
        prove(instance, replace(decision, steps_common=None), multiplier)
    with pytest.raises(InputError, match="steps for 3 users"):
        prove(instance, replace(decision, steps_edge=decision.steps_common[:2]), multiplier)
    for bad in (-1.0, float("nan"), float("inf")):
        with pytest.raises(InputError, match="multiplier"):
            prove(instance, decision, bad)
    with pytest.raises(InputError, match="clusters"):
        prove(instance.replace(clusters=None, given_common=None, given_edge=None), decision, multiplier)


def test_a_bound_between_the_decision_and_the_optimum_is_not_proven() -> None:
    instance = drawn(5)
    (best, _), *rest = plans(instance)
    worth, second = next(plan for plan in rest if plan[0] < best - 1e-6 * abs(best))
    multiplier = float(JointExact().solve(Joint(instance), Limits()).details["multiplier"])
    with pytest.raises(InputError, match=r"bound .*: not proven"):
        prove(instance, second, multiplier, bound=(worth + best) / 2, tolerance=1.0)
    proof = prove(instance, second, multiplier, bound=best + 1e-12 * abs(best), tolerance=1.0)
    assert proof.bound == pytest.approx(best, rel=1e-13)


@pytest.mark.parametrize("seed", range(12))
def test_similarities_are_computed_from_the_embeddings(seed: int) -> None:
    rng = np.random.default_rng(seed)
    drawn = edge_instances.draw("joint", None, False, ("antipodal", "zero_mean", "plain")[seed % 3], seed).instance
    rule = ("ideal", "affine", "medoid")[int(rng.integers(0, 3))] if seed >= 3 else "ideal"
    prompt = drawn.public_prompt.replace(rule=rule, slope=0.7, intercept=0.1)
    instance = drawn.replace(similarity=None, public_prompt=prompt)
    told = rule_similarity(instance, instance.labels)
    np.testing.assert_allclose([float(phi) for phi in optimality_proof._similarities(instance)], told, atol=1e-14)


def test_a_claim_that_rests_on_another_similarity_is_no_proof() -> None:
    refuted = 0
    for seed in range(8):
        instance = drawn(seed)
        given = instance.replace(similarity=0.6 * rule_similarity(instance, instance.labels))
        true, other = (JointExact().solve(Joint(one), Limits()) for one in (instance, given))
        assert true.bound is not None
        assert other.bound is not None
        assert other.decision is not None
        prove(given, other.decision, other.details["multiplier"], bound=other.bound)
        if other.bound < true.bound - 1e-6 * abs(true.bound):
            refuted += 1
            with pytest.raises(InputError, match=r"refuted|not proven|is reached"):
                prove(instance, other.decision, other.details["multiplier"], bound=other.bound)
    assert refuted >= 2


def test_the_papers_size() -> None:
    instance = paper_preset(20, 0)
    assert instance.embeddings is not None
    instance = instance.replace(clusters=average_linkage(instance.embeddings, 3), given_common=None, given_edge=None)
    result = JointExact().solve(Joint(instance), Limits())
    assert result.decision is not None
    proof = prove(instance, result.decision, result.details["multiplier"], bound=result.bound)
    objective = Joint(instance).evaluate(result.decision).objective
    assert proof.value == pytest.approx(objective, rel=1e-13)
