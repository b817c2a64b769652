"""What a decision may hold, and each constraint at its edge."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hisopt import Decision, Instance, Problem
from hisopt.decision import plain, shapes_of
from hisopt.problems import Clustering, Joint, problem_of

LIMITS = {"total": 20, "common_max": 8, "edge_min": 2, "edge_max": 6, "device_min": 9, "device_max": 15}


@pytest.fixture(scope="module")
def joint(small: Instance) -> Problem:
    return Joint(small.replace(steps=LIMITS, given_common=None, given_edge=None))


def steps(problem: Problem, x: int, y: int, z: int, **fields: Any) -> Decision:
    """The same steps for all, but 5, 4 and 11 for all but the first; SMs use the budget up."""
    users, count = problem.instance.users, problem.instance.max_clusters
    columns = [np.array([first] + [rest] * (users - 1)) for first, rest in ((x, 5), (y, 4), (z, 11))]
    decision = Decision(None, *columns, np.full(count, problem.instance.sm_budget / count))
    return replace(decision, **fields)


@pytest.mark.parametrize(
    ("x", "y", "z", "fault"),
    [
        (0, 5, 15, None), (8, 2, 10, None), (5, 6, 9, None), (3, 2, 15, None),
        (9, 2, 9, "(28b)"), (5, 1, 14, "(28c)"), (4, 7, 9, "(28c)"), (8, 4, 8, "(28d)"), (0, 4, 16, "(28d)"),
        (5, 4, 12, "(28f)"), (5, 4, 10, "(28f)"),
    ],
)  # fmt: skip
def test_steps_at_their_limits(joint: Problem, x: int, y: int, z: int, fault: str | None) -> None:
    found = joint.evaluate(steps(joint, x, y, z))
    assert found.objective is not None
    assert found.feasible == (fault is None), found.violations
    if fault is not None:
        assert len(found.violations) == 1
        assert fault in found.violations[0]
        assert "user 0" in found.violations[0]


@pytest.mark.parametrize(
    ("x", "y", "z"), [(-1, 6, 15), (10, -1, 11), (5, 16, -1), (21, 4, 11), (5, 21, 11), (5, 4, 2**62)]
)
def test_steps_that_cannot_be_scored(joint: Problem, x: int, y: int, z: int) -> None:
    found = joint.evaluate(steps(joint, x, y, z))
    assert found.objective is None
    assert not found.feasible


def test_the_budget_is_held_within_its_tolerance(joint: Problem) -> None:
    decision = steps(joint, 5, 4, 11)
    assert decision.sms is not None
    assert joint.evaluate(decision).feasible
    assert joint.evaluate(replace(decision, sms=decision.sms * (1 + 0.9e-9))).feasible
    found = joint.evaluate(replace(decision, sms=decision.sms * (1 + 1.1e-9)))
    assert len(found.violations) == 1
    assert "(28e)" in found.violations[0]


def test_a_cluster_with_work_needs_sms_and_none_has_fewer_than_none(joint: Problem) -> None:
    sms = np.ones(joint.instance.max_clusters)
    for value, faults in ((0.0, 1), (-1.0, 2)):
        sms[0] = value
        found = joint.evaluate(steps(joint, 5, 4, 11, sms=sms))
        assert found.objective is None
        assert len(found.violations) == faults


def test_an_idle_cluster_needs_no_sm_but_has_no_debt(small: Instance) -> None:
    problem = Joint(small)
    zero, count = np.zeros(small.users, dtype=np.int64), small.max_clusters
    idle = Decision.of_steps(small.steps.total, zero, zero, np.zeros(count))
    assert problem.evaluate(idle).feasible
    assert problem.evaluate(idle).objective is not None
    debt = problem.evaluate(replace(idle, sms=np.full(count, -1e-300)))
    assert not debt.feasible
    assert debt.objective == problem.evaluate(idle).objective


@pytest.mark.parametrize("kind", ["clustering", "full"])
def test_labels_and_sizes_at_their_limits(small: Instance, kind: Any) -> None:
    instance = small.replace(cluster_size_min=2, cluster_size_max=6, clusters=None)
    problem = problem_of(kind, instance, "mean" if kind == "clustering" else None)
    given = steps(Joint(small), 5, 4, 19)
    given = replace(given, steps_device=instance.steps.total - given.steps_common - given.steps_edge)  # type: ignore[operator]

    def faults(*sizes: int) -> tuple[str, ...]:
        return problem.evaluate(replace(given, clusters=np.repeat(np.arange(len(sizes)), sizes))).violations

    assert faults(2, 2, 6) == ()
    assert faults(6, 4) == ()
    assert "one has 1 users" in faults(1, 4, 5)[0]
    assert "one has 7 users" in faults(7, 3)[0]
    for sizes in ((2, 2, 2, 4), ()):
        assert faults(*sizes)[0].startswith("clusters: ")
    wrong = np.zeros(small.users, dtype=np.int64)
    wrong[3] = -1
    assert problem.evaluate(replace(given, clusters=wrong)).objective is None


@pytest.mark.parametrize("name", ["steps_common", "steps_edge", "steps_device", "sms"])
def test_nothing_is_left_out(joint: Problem, name: str) -> None:
    found = joint.evaluate(replace(steps(joint, 5, 4, 11), **{name: None}))
    assert found.objective is None
    assert found.violations[0].startswith(f"{name}: must be ")


def test_narrow_integers_do_not_wrap(joint: Problem) -> None:
    users = joint.instance.users
    wide = steps(joint, 5, 4, 11)
    narrow = replace(wide, **{k: np.asarray(getattr(wide, k), np.uint8) for k in ("steps_common", "steps_edge")})
    assert joint.evaluate(narrow) == joint.evaluate(wide)
    instance = joint.instance.replace(
        steps=LIMITS | {"total": 19, "common_max": 100, "edge_max": 100, "device_max": 100}
    )
    wrapped = replace(wide, **{k: np.full(users, v, np.uint8) for k, v in
                               (("steps_common", 95), ("steps_edge", 95), ("steps_device", 85))})  # fmt: skip
    assert "(28f)" in Joint(instance).evaluate(wrapped).violations[0]


BAD: list[tuple[str, Any]] = [
    ("sms", [1.0, np.nan, 1.0]), ("sms", [1.0, np.inf, 1.0]), ("sms", [1 + 0j] * 3), ("sms", ["1"] * 3), ("sms", [[1.0]] * 3),
    ("sms", [1.0, [2.0], 3.0]), ("sms", np.ones(2)), ("sms", np.ones(4)), ("sms", 1.0), ("sms", [True] * 3), ("sms", {1, 2, 3}),
    ("sms", np.ma.masked_array(np.ones(3), mask=[0, 1, 0])), ("sms", np.array([np.longdouble("1e400")] * 3)),
    ("steps_edge", [1.0] * 10), ("steps_edge", [True] * 10), ("steps_edge", [2**70] * 10), ("steps_edge", range(10)),
    ("steps_edge", np.full(10, 2**63, np.uint64)), ("steps_edge", np.array([1] * 10, object)), ("clusters", [0] * 9),
    ("clusters", np.ma.masked_array(np.zeros(10, int), mask=False)), ("clusters", np.zeros((10, 1), int)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), BAD)
def test_malformed_fields_are_refused_whether_they_are_decided_or_not(small: Instance, name: str, value: Any) -> None:
    kept, refused = plain(Decision(**{name: value}), shapes_of(10, 3))
    assert vars(kept) == vars(Decision())
    assert len(refused) == 1
    assert refused[0].startswith(f"{name}: must be ")
    clusters = Clustering.of(small, "mean")
    decision = replace(Decision(clusters=small.clusters), **{name: value})
    assert clusters.evaluate(decision).objective is None


class Loud(np.ndarray[Any, Any]):
    def __lt__(self, other: Any) -> Any:
        return np.zeros(self.shape, bool)


def test_what_passes_is_plain_and_a_copy() -> None:
    labels, sms = np.zeros(2, np.int8).view(Loud), np.ones(3, ">f4")
    decision, refused = plain(Decision(clusters=labels, steps_edge=[2, 3], sms=sms), shapes_of(2, 3))  # type: ignore[arg-type]
    assert refused == ()
    for array, kind in ((decision.clusters, np.int64), (decision.steps_edge, np.int64), (decision.sms, np.float64)):
        assert type(array) is np.ndarray
        assert array.dtype == kind
    same, _ = plain(decision, shapes_of(2, 3))
    assert same.sms is not decision.sms
    assert decision.steps_common is None


def test_a_value_without_end_is_no_objective(joint: Problem) -> None:
    found = joint.evaluate(steps(joint, 5, 4, 11, sms=np.full(3, 1e-320)))
    assert (found.objective, found.parts) == (None, {})
    assert found.violations == ("objective: is -inf, must be finite",)
