"""The constraints on steps and SMs, each written once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hisopt.decision import malformed

if TYPE_CHECKING:
    from hisopt.arrays import FloatArray, IntArray
    from hisopt.decision import Decision
    from hisopt.instances import IccInstance, Instance

FEASIBILITY_TOLERANCE = 1e-9  # relative, on the budget of real SMs; everything else is exact


def steps_of(
    decision: Decision, instance: Instance | IccInstance
) -> tuple[tuple[IntArray, IntArray, IntArray] | None, list[str]]:
    """Return a decision's x, y and z with the bounds (28b-d, 28f) that they violate; None where they cannot be scored."""
    found = []
    for name in ("steps_common", "steps_edge", "steps_device"):
        steps: IntArray | None = getattr(decision, name)
        if steps is None:
            return None, [malformed(name, instance.users)]
        if steps.min() < 0:
            return None, [f"{name}: must be >= 0, is {steps.min()}"]
        if steps.max() > max(instance.steps.total, instance.steps.common_max):  # a table up to there is made
            user = int(steps.argmax())
            return None, [f"{name}: user {user} has {steps.max()} of {instance.steps.total} steps"]
        found.append(steps)
    x, y, z = found
    limits, faults = instance.steps, []
    for name, steps, low, high in (
        ("steps_common (28b)", x, 0, limits.common_max),
        ("steps_edge (28c)", y, limits.edge_min, limits.edge_max),
        ("steps_device (28d)", z, limits.device_min, limits.device_max),
        ("steps_common + steps_edge + steps_device (28f)", x + y + z, limits.total, limits.total),
    ):
        bad = np.flatnonzero((steps < low) | (steps > high))
        if len(bad):
            faults.append(f"{name}: user {bad[0]} has {steps[bad[0]]}, must be in {low} .. {high}")
    return (x, y, z), faults


def sms_faults(budget: float, sms: FloatArray, work: IntArray, *, whole: bool) -> list[str]:
    """Say which constraints SMs violate, (28e) among them; clusters with W_m > 0 need v_m > 0, even where work is free.

    Whole SMs are whole without tolerance, and so is their sum.
    """
    faults = []
    if (sms < 0).any():
        faults.append(f"sms: cluster {int(np.argmin(sms))} has {sms.min():.6g}, must be >= 0")
    if (sms[work > 0] <= 0).any():
        faults.append("sms: a cluster with steps on the server has no SM")
    if sms.sum() > budget * (1 + (0.0 if whole else FEASIBILITY_TOLERANCE)):
        faults.append(f"sms (28e): sum {sms.sum():.10g} exceeds the budget {budget:g}")
    if whole and (sms != np.round(sms)).any():
        faults.append("sms: must be whole numbers")
    return faults
