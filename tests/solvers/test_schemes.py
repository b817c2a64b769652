from __future__ import annotations

import numpy as np
import pytest

from hisopt.errors import InputError
from hisopt.instances.scenario import PRESETS
from hisopt.problems import Joint
from hisopt.result import Limits
from hisopt.solvers.joint.exact import JointExact
from hisopt.solvers.schemes.schemes import SCHEMES, member_similarity, scheme_instance, solve_scheme
from hisopt.text.entities import main_entity


@pytest.mark.parametrize("name", SCHEMES)
def test_decisions_pass_evaluate_also_under_the_limits_of_the_instance(name: str) -> None:
    instance = PRESETS["small"].sample(1)
    found = solve_scheme(instance, name)
    assert found.proven and found.evaluation.feasible
    own = found.problem.instance
    given = Joint(own.replace(steps=instance.steps))
    assert given.evaluate(found.decision).objective == pytest.approx(found.evaluation.objective, rel=1e-12)


def test_executed_steps_count_a_common_phase_once() -> None:
    instance = PRESETS["paper"].sample(0)
    assert solve_scheme(instance, "iis").steps == 1400
    found = solve_scheme(instance, "his")
    d, labels = found.decision, found.problem.instance.clusters
    expected = sum(max(d.steps_common[labels == m]) for m in set(labels)) + d.steps_edge.sum() + d.steps_device.sum()
    assert found.steps == expected < 1400
    assert found.tflop == pytest.approx(12 * found.steps)


@pytest.mark.parametrize("seed", range(3))
def test_sharing_is_worth_no_less_than_none_at_the_same_clusters_similarities_and_table(seed: int) -> None:
    shared = scheme_instance(PRESETS["small"].sample(seed), "his")
    alone = Joint(shared.replace(steps=shared.steps.replace(common_max=0)))
    best = Joint(shared)
    values = [p.evaluate(JointExact().solve(p, Limits(60.0)).decision).objective for p in (best, alone)]
    assert values[0] >= values[1] - 1e-9


def test_members_are_random_members() -> None:
    vectors = np.eye(4)
    found = {tuple(member_similarity(vectors, np.array([0, 0, 1, 1]), seed)) for seed in range(40)}
    assert found == {(1, 0, 1, 0), (1, 0, 0, 1), (0, 1, 1, 0), (0, 1, 0, 1)}


@pytest.mark.parametrize(
    ("prompt", "noun"),
    [
        ("a black cat watching rain run down a kitchen window", "cat"),
        ("two tabby cats sharing a sunny windowsill", "cat"),
        ("a steaming bowl of ramen with an egg", "ramen"),
        ("a wooden sailing ship fighting high waves", "ship"),
        ("fireworks over the river", "firework"),
        ("a siamese cat curled around a warm teapot", "cat"),
        ("", ""),
    ],
)
def test_main_entities(prompt: str, noun: str) -> None:
    assert main_entity(prompt) == noun


def test_bad_input() -> None:
    with pytest.raises(InputError, match="scheme 'x': unknown"):
        scheme_instance(PRESETS["small"].sample(0), "x")
    with pytest.raises(InputError, match="prompts: missing"):
        scheme_instance(PRESETS["small"].sample(0).replace(prompts=None), "ppgfis")
