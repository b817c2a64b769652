"""The only place where a decision is scored and its feasibility judged."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from hisopt.arrays import FloatArray, IntArray
from hisopt.decision import Decision, malformed, plain
from hisopt.equations import (
    breakdown,
    cluster_sizes,
    cluster_work,
    clustering_value,
    edge_work_cost,
    icc_breakdown,
)
from hisopt.instances import IccInstance, Instance, StepLimits
from hisopt.problem import Problem

FEASIBILITY_TOLERANCE = 1e-9  # relative, on the budget of real SMs; everything else is exact


@dataclass(frozen=True)
class Evaluation:
    """Objective of a decision, the parts it is made of, and every constraint that it violates (none: feasible)."""

    objective: float | None
    parts: dict[str, float] = field(default_factory=dict)
    violations: tuple[str, ...] = ()

    @property
    def feasible(self) -> bool:
        """Whether no constraint is violated."""
        return not self.violations


def evaluate(problem: Problem, decision: Decision) -> Evaluation:
    """Score a decision for a problem.

    The objective is None where the decision is incomplete or malformed, or where its value is no finite number; where a
    well-formed decision violates a constraint, it is computed all the same. Fields that the problem does not decide are
    not read, but must be well-formed, too (`hisopt.decision.plain`).

    A cluster with steps on the server needs v_m > 0, even where they cost nothing. Whole SMs are whole without tolerance,
    and so is their sum.
    """
    decision, refused = plain(decision, problem.instance.users, problem.instance.max_clusters)
    if refused:
        return Evaluation(None, violations=refused)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # what overflows is told below
        found = _scored(problem, decision)
    if found.objective is None or np.isfinite(found.objective):
        return found
    return Evaluation(None, violations=(*found.violations, f"objective: is {found.objective}, must be finite"))


def _scored(problem: Problem, decision: Decision) -> Evaluation:
    instance = problem.instance
    if problem.kind in ("clustering", "full"):
        clusters, faults = _labels(problem, decision.clusters)
        if problem.kind == "full" and instance.similarity is not None:
            instance = instance.replace(similarity=None)  # the similarities of other clusters
    else:
        assert instance.clusters is not None
        clusters, faults = instance.clusters, []
    if clusters is None:
        return Evaluation(None, violations=tuple(faults))
    if problem.kind == "clustering":
        assert instance.embeddings is not None and problem.criterion is not None
        value = clustering_value(problem.criterion, instance.embeddings, clusters)
        return Evaluation(value, violations=tuple(faults))
    if problem.kind == "allocation":
        assert isinstance(instance, Instance)
        assert instance.given_common is not None and instance.given_edge is not None
        decision = replace(decision, steps_common=instance.given_common, steps_edge=instance.given_edge)
    else:
        incomplete = _unusable_steps(decision, instance)
        if incomplete:
            return Evaluation(None, violations=(*faults, incomplete))
        faults += _step_violations(instance.steps, decision)
    if not isinstance(instance, Instance):
        costs = icc_breakdown(instance, decision)
        return Evaluation(costs.utility(instance), costs.parts, tuple(faults))
    return _with_sms(problem, instance, replace(decision, clusters=clusters), faults)


def _with_sms(problem: Problem, instance: Instance, decision: Decision, faults: list[str]) -> Evaluation:
    clusters, sms = decision.clusters, decision.sms
    assert clusters is not None and decision.steps_common is not None and decision.steps_edge is not None
    count = instance.max_clusters
    if sms is None:
        return Evaluation(None, violations=(*faults, malformed("sms", instance.users, count)))
    common_max, edge_sum = cluster_work(clusters, count, decision.steps_common, decision.steps_edge)
    work = common_max + edge_sum
    faults += _sms_violations(problem, sms, work)
    if (sms[work > 0] <= 0).any():
        return Evaluation(None, violations=tuple(faults))
    if problem.kind == "allocation":
        cost = edge_work_cost(instance, cluster_sizes(clusters, count)) * work
        used = work > 0
        return Evaluation(float((cost[used] / sms[used]).sum()), violations=tuple(faults))
    costs = breakdown(instance, replace(decision, sms=sms))
    return Evaluation(costs.utility(instance), costs.parts, tuple(faults))


def _labels(problem: Problem, labels: IntArray | None) -> tuple[IntArray | None, list[str]]:
    instance = problem.instance
    if labels is None:
        return None, [malformed("clusters", instance.users, instance.max_clusters)]
    if labels.min() < 0 or labels.max() >= instance.max_clusters:
        return None, [f"clusters: labels must be 0 .. {instance.max_clusters - 1}"]
    sizes = cluster_sizes(labels, instance.max_clusters)
    sizes = sizes[sizes > 0]
    faults = []
    if sizes.min() < instance.cluster_size_min:
        faults.append(f"clusters: one has {sizes.min()} users, at least {instance.cluster_size_min} allowed")
    if instance.cluster_size_max is not None and sizes.max() > instance.cluster_size_max:
        faults.append(f"clusters: one has {sizes.max()} users, at most {instance.cluster_size_max} allowed")
    return labels, faults


def _unusable_steps(decision: Decision, instance: Instance | IccInstance) -> str | None:
    """Say why steps cannot be scored: one kind is missing, negative, or above all the steps that there are."""
    for name in ("steps_common", "steps_edge", "steps_device"):
        steps = getattr(decision, name)
        if steps is None:
            return malformed(name, instance.users, instance.max_clusters)
        if steps.min() < 0:
            return f"{name}: must be >= 0, is {steps.min()}"
        if steps.max() > max(instance.steps.total, instance.steps.common_max):  # a table up to there is made
            return f"{name}: user {int(steps.argmax())} has {steps.max()} of {instance.steps.total} steps"
    return None


def _step_violations(limits: StepLimits, decision: Decision) -> list[str]:
    x, y, z = decision.steps_common, decision.steps_edge, decision.steps_device
    assert x is not None and y is not None and z is not None
    faults = []
    for name, steps, low, high in (
        ("steps_common (28b)", x, 0, limits.common_max),
        ("steps_edge (28c)", y, limits.edge_min, limits.edge_max),
        ("steps_device (28d)", z, limits.device_min, limits.device_max),
        ("steps_common + steps_edge + steps_device (28f)", x + y + z, limits.total, limits.total),
    ):
        bad = np.flatnonzero((steps < low) | (steps > high))
        if len(bad):
            faults.append(f"{name}: user {bad[0]} has {steps[bad[0]]}, must be in {low} .. {high}")
    return faults


def _sms_violations(problem: Problem, sms: FloatArray, work: IntArray) -> list[str]:
    budget = float(problem.his.edge.sms)
    faults = []
    if (sms < 0).any():
        faults.append(f"sms: cluster {int(np.argmin(sms))} has {sms.min():.6g}, must be >= 0")
    if (sms[work > 0] <= 0).any():
        faults.append("sms: a cluster with steps on the server has no SM")
    tolerance = 0.0 if problem.integer_sms else FEASIBILITY_TOLERANCE
    if sms.sum() > budget * (1 + tolerance):
        faults.append(f"sms (28e): sum {sms.sum():.10g} exceeds the budget {budget:g}")
    if problem.integer_sms and (sms != np.round(sms)).any():
        faults.append("sms: must be whole numbers")
    return faults
