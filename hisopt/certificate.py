"""The joint problem's dual bound, computed anew from its multiplier alone, without the solver's tables or pruning.

This certifies the bound that it returns, not that a decision attains the optimum, from which the dual bound can stay a
few tenths of a per cent away; `hisopt.optimality_proof` replays the proof of optimality itself, for small instances.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hisopt.equations import (
    cluster_sizes,
    device_step_cost,
    edge_step_energy_cost,
    edge_work_cost,
    given_quality,
    transmission_cost,
)
from hisopt.errors import InputError

if TYPE_CHECKING:
    from hisopt.arrays import FloatArray
    from hisopt.instances import Instance


def dual_bound(instance: Instance, multiplier: float) -> tuple[float, FloatArray]:
    """Return h(lambda), an upper bound on P_II with real SMs for every lambda >= 0, and each cluster's maximum, (M,).

    h(lambda) = const + lambda^2 / V + sum_m max over the cluster's plans of its separable utility minus
    2 lambda sqrt(c_m W_m) / V, because -S^2 <= lambda^2 - 2 lambda S. For each X_m and each sum of y_n the best plan is
    built user by user, O(X Y N_m^2) a cluster: a check, not a solver. Raises `InputError` without clusters, or for a
    negative or infinite multiplier.
    """
    if instance.labels is None:
        raise InputError("clusters: missing, and the joint problem needs it")
    if not 0 <= multiplier < np.inf:
        raise InputError(f"multiplier: is {multiplier}, must be >= 0 and finite")
    limits, budget, count = instance.steps, instance.sm_budget, instance.max_clusters
    saved, step = device_step_cost(instance), edge_step_energy_cost(instance)
    cost = edge_work_cost(instance, cluster_sizes(instance.labels, count))
    quality = given_quality(instance)
    common = np.arange(limits.common_max + 1)
    steps_edge = np.arange(limits.edge_min, limits.edge_max + 1)
    served = common[:, None] + steps_edge[None, :]
    allowed = (limits.total - served >= limits.device_min) & (limits.total - served <= limits.device_max)
    most = limits.served_max  # users are measured against their fewest device steps, to keep the digits of small ones
    maxima = np.zeros(count)
    for cluster in range(count):
        members = np.flatnonzero(instance.labels == cluster)
        if not len(members):
            continue
        best = -np.inf
        for top in common:
            total = np.zeros(1)  # best separable value for each sum of y - y_min over the users so far
            for user in members:
                plans = np.where(allowed, quality[user][:, None] + saved[user] * (served - most), -np.inf)
                own = plans[: top + 1].max(axis=0)
                longer = np.full(len(total) + len(own) - 1, -np.inf)
                for extra, value in enumerate(own):
                    longer[extra : extra + len(total)] = np.maximum(longer[extra : extra + len(total)], total + value)
                total = longer
            work = top + limits.edge_min * len(members) + np.arange(len(total))
            priced = total - step * work - 2 * multiplier / budget * np.sqrt(cost[cluster] * work)
            best = max(best, float(priced.max()))
        maxima[cluster] = best
    constant = -transmission_cost(instance)
    if limits.total > most:
        constant -= (limits.total - most) * float(saved.sum())
    return constant + multiplier**2 / budget + float(maxima.sum()), maxima
