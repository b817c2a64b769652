"""The equations of the scheme, each written once and vectorised. Shapes: N users, M clusters, X = x_max + 1.

Equation numbers are those of the journal paper; per-cluster sums take labels 0 .. M-1.

Work that costs nothing (c_m = 0: delay without weight, and no weighted energy that SMs change) adds nothing to the
objective whatever its SMs, yet it needs some: a cluster with steps on the server is feasible only with v_m > 0, at least
one where SMs are whole. Real SMs: such clusters get a sliver of the budget (`optimal_sms`), so that the others' infimum
is attained within rounding. Whole SMs: each takes one from the budget.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from hisopt.arrays import BoolArray, FloatArray, IntArray
    from hisopt.decision import Decision
    from hisopt.instances import Gpu, IccInstance, Instance, PublicPrompt, QualityTable, Radio

_SLIVER = 1e-12  # of the budget, for all work that costs nothing
_NO_DIRECTION = 1e-6  # length of a cluster's mean below which it points nowhere


def quality_at_bins(table: QualityTable, steps_common: IntArray) -> FloatArray:
    """HIQM, (7), at the table's similarities: L / (1 + exp(K (x - B))) + G, shape (bins, len(steps_common))."""
    scale, slope, middle, floor = (column[:, None] for column in table.coefficients.T)
    return np.asarray(scale / (1 + np.exp(slope * (np.asarray(steps_common)[None, :] - middle))) + floor)


def similarity_bins(table: QualityTable, similarity: FloatArray) -> tuple[IntArray, FloatArray]:
    """Return for each phi_n the bin below it and the weight in [0, 1] of the bin above, clamped to the table."""
    knots = table.similarity
    clamped = np.clip(similarity, knots[0], knots[-1])
    below = np.minimum(np.searchsorted(knots, clamped, side="right") - 1, len(knots) - 2)
    return below, (clamped - knots[below]) / (knots[below + 1] - knots[below])


def quality_table(table: QualityTable, similarity: FloatArray, common_max: int) -> FloatArray:
    """Q_n(x) for x = 0 .. x_max, values interpolated linearly in phi_n; shape (N, X)."""
    at_bins = quality_at_bins(table, np.arange(common_max + 1))
    below, weight = similarity_bins(table, similarity)
    return at_bins[below] + weight[:, None] * (at_bins[below + 1] - at_bins[below])


def quality(table: QualityTable, similarity: FloatArray, steps_common: IntArray) -> FloatArray:
    """Q_n = HIQM(phi_n, x_n), shape (N,)."""
    at_bins = quality_at_bins(table, np.arange(int(np.max(steps_common, initial=0)) + 1))
    below, weight = similarity_bins(table, similarity)
    low = at_bins[below, steps_common]
    return low + weight * (at_bins[below + 1, steps_common] - low)


def gpu_speed(gpu: Gpu, sms: FloatArray) -> FloatArray:
    """f = v F D rho in FLOP/s, (9) and (16)."""
    return np.asarray(sms * gpu.frequency_hz * gpu.flop_per_cycle * gpu.utilisation)


def gpu_step_energy(gpu: Gpu, flop: float, sms: FloatArray) -> FloatArray:
    """Energy of one step in J: kappa xi F^2 / (D rho) (mu1 + mu2 / v), (11), (13) and (18)."""
    per_sm = gpu.energy_coefficient * flop * gpu.frequency_hz**2 / (gpu.flop_per_cycle * gpu.utilisation)
    return np.asarray(per_sm * (gpu.power_per_sm + gpu.power_static / sms))


def downlink_rate(radio: Radio) -> FloatArray:
    """r_n = b_n log2(1 + p_n g_n / (sigma0^2 b_n)) in bit/s, (15)."""
    snr = radio.power_w * radio.gain / (radio.noise_w_per_hz * radio.bandwidth_hz)
    return np.asarray(radio.bandwidth_hz * np.log1p(snr) / np.log(2))


def device_step_cost(instance: Instance) -> FloatArray:
    """d_n: what the utility loses when user n's device runs one step (delay and energy), shape (N,)."""
    w, gpu, flop = instance.weights, instance.devices, instance.flop_device
    cost = w.delay * flop / gpu_speed(gpu, gpu.sms) + w.energy * gpu_step_energy(gpu, flop, gpu.sms)
    return np.broadcast_to(cost, (instance.users,))


def edge_step_energy_cost(instance: Instance) -> float:
    """e = w3 kappa xi F^2 mu1 / (D rho): the part of a server step's cost that no SM changes."""
    gpu = instance.edge
    per_sm = gpu.energy_coefficient * instance.flop_edge * gpu.frequency_hz**2 / (gpu.flop_per_cycle * gpu.utilisation)
    return float(instance.weights.energy * per_sm * gpu.power_per_sm)


def edge_work_cost(instance: Instance, sizes: IntArray) -> FloatArray:
    """c_m, so that W_m server steps on v_m SMs cost c_m W_m / v_m (and e W_m), for cluster sizes of any shape."""
    w, gpu, flop = instance.weights, instance.edge, instance.flop_edge
    speed = gpu.frequency_hz * gpu.flop_per_cycle * gpu.utilisation
    power = (
        gpu.energy_coefficient * flop * gpu.frequency_hz**2 * gpu.power_static / (gpu.flop_per_cycle * gpu.utilisation)
    )
    return np.asarray(w.delay * np.asarray(sizes) * flop / speed + w.energy * power)


def cluster_sizes(clusters: IntArray, count: int) -> IntArray:
    """|N_m| for m = 0 .. count-1."""
    return np.bincount(clusters, minlength=count)


def cluster_work(clusters: IntArray, count: int, common: IntArray, steps_edge: IntArray) -> tuple[IntArray, IntArray]:
    """X_m = max x_n and Y_m = sum y_n of each cluster; W_m = X_m + Y_m."""
    common_max = np.zeros(count, dtype=np.int64)
    np.maximum.at(common_max, clusters, common)
    return common_max, np.bincount(clusters, weights=steps_edge, minlength=count).astype(np.int64)


def work_costs(instance: Instance, common: IntArray, steps_edge: IntArray) -> FloatArray:
    """A_m = c_m W_m of steps x_n and y_n on the given clusters, shape (M,): what the SMs divide."""
    count = instance.max_clusters
    common_max, edge_sum = cluster_work(instance.labels, count, common, steps_edge)
    return edge_work_cost(instance, cluster_sizes(instance.labels, count)) * (common_max + edge_sum)


def given_work_costs(instance: Instance) -> FloatArray:
    """A_m of the given clusters and steps of ``allocation``, shape (M,)."""
    return work_costs(instance, *instance.given_steps)


def given_busy(instance: Instance) -> BoolArray:
    """Whether each given cluster has steps on the server in ``allocation``, W_m > 0, shape (M,)."""
    return busy_clusters(instance, *instance.given_steps)


def busy_clusters(instance: Instance, common: IntArray, steps_edge: IntArray) -> BoolArray:
    """Whether each given cluster has steps on the server, W_m > 0, shape (M,); A_m may be zero all the same."""
    common_max, edge_sum = cluster_work(instance.labels, instance.max_clusters, common, steps_edge)
    return np.asarray(common_max + edge_sum > 0)


def optimal_sms(work_cost: FloatArray, budget: float, busy: BoolArray | None = None) -> FloatArray:
    """Theorem 1, (39): v_m = V sqrt(A_m) / sum sqrt(A), shape (M,); minimises sum A_m / v_m.

    ``busy`` marks the clusters with work (by default those with A_m > 0); others get nothing. Busy clusters with
    A_m = 0 share 1e-12 of the budget, or, where no work costs anything, all of it.
    """
    root = np.sqrt(work_cost)
    total = root.sum()
    share = root / total if total > 0 else np.zeros_like(root)
    return budget * (share if busy is None else with_slivers(share, busy))


def with_slivers(share: FloatArray, busy: BoolArray) -> FloatArray:
    """Give the busy clusters without a share of the SMs theirs, in all 1e-12, or everything where nobody has any."""
    needy = busy & ~(share > 0)
    if not needy.any():
        return share
    part = _SLIVER if (share > 0).any() else 1.0
    return np.where(needy, part / needy.sum(), (1 - part) * share)


def steps_sms(instance: Instance, common: IntArray, steps_edge: IntArray) -> FloatArray:
    """Theorem 1's SMs for steps x_n and y_n on the given clusters, shape (M,); see `optimal_sms`."""
    busy = busy_clusters(instance, common, steps_edge)
    return optimal_sms(work_costs(instance, common, steps_edge), instance.sm_budget, busy)


def public_similarity(instance: Instance | IccInstance, clusters: IntArray) -> FloatArray:
    """phi_n of each user for given clusters, shape (N,): from ``similarity`` if given, else by the public-prompt rule."""
    if instance.similarity is not None:
        return instance.similarity
    return rule_similarity(instance, clusters)


def rule_similarity(instance: Instance | IccInstance, clusters: IntArray) -> FloatArray:
    """phi_n by the instance's public-prompt rule, shape (N,); in O(N d) memory."""
    vectors, labels = instance.vectors, np.asarray(clusters)
    sums = np.zeros((int(labels.max()) + 1, vectors.shape[1]))
    np.add.at(sums, labels, vectors)
    to_sum = np.einsum("nd,nd->n", vectors, sums[labels])
    return similarity_from_sums(
        instance.public_prompt, labels, to_sum, lambda i, j: np.einsum("nd,nd->n", vectors[i], vectors[j])
    )


def similarity_from_sums(
    prompt: PublicPrompt, labels: IntArray, to_sum: FloatArray, dot: Callable[[IntArray, IntArray], FloatArray]
) -> FloatArray:
    """phi of members in clusters from ``to_sum``, each member's sum of S over its cluster; shape (members,).

    ``dot(i, j)`` is the similarity between members i and j, elementwise over index arrays. Embeddings that cancel have
    no direction: under the rule ``ideal`` phi is 0 in a cluster whose mean is shorter than 1e-6, to which embeddings are
    unit vectors.
    """
    if prompt.rule == "ideal":
        squared, sizes = np.bincount(labels, weights=to_sum), np.bincount(labels)
        directed = squared > (_NO_DIRECTION * sizes) ** 2
        norms = np.sqrt(np.where(directed, squared, 1.0))
        return np.where(directed[labels], np.clip(to_sum / norms[labels], -1.0, 1.0), 0.0)
    if prompt.rule == "affine":
        return np.asarray(prompt.slope * to_sum / np.bincount(labels)[labels] + prompt.intercept)
    order = np.lexsort((-np.round(to_sum, 9), labels))  # medoid: largest sum; ties, as in any pair, to the first
    clusters, first = np.unique(labels[order], return_index=True)
    medoid = np.zeros(int(labels.max()) + 1, dtype=np.int64)
    medoid[clusters] = order[first]
    return dot(np.arange(len(labels)), medoid[labels])


def given_quality(instance: Instance | IccInstance, similarity: FloatArray | None = None) -> FloatArray:
    """w1 Q_n(x) of each user for x = 0 .. x_max on the given clusters, shape (N, x_max + 1); phi_n where known already."""
    similarity = public_similarity(instance, instance.labels) if similarity is None else similarity
    return np.asarray(instance.weights.quality * quality_table(instance.quality, similarity, instance.steps.common_max))


@dataclass(frozen=True)
class Breakdown:
    """Quality, delays (s) and energies (J) of a decision, per user (N,) or per cluster (M,).

    ``delay_edge`` is each user's wait for the server, ``energy_common`` and ``energy_personal`` the server's energy
    for a cluster's common and personalised steps, (11) and (13).
    """

    quality: FloatArray
    delay_edge: FloatArray
    delay_transmission: FloatArray
    delay_device: FloatArray
    energy_transmission: FloatArray
    energy_device: FloatArray
    energy_common: FloatArray
    energy_personal: FloatArray

    @property
    def delay(self) -> FloatArray:
        """T_n, (19), shape (N,)."""
        return self.delay_edge + self.delay_transmission + self.delay_device

    @property
    def parts(self) -> dict[str, float]:
        """Each part, summed over users or clusters."""
        return {name: float(np.sum(value)) for name, value in vars(self).items()}

    def utility(self, instance: Instance | IccInstance) -> float:
        """U = w1 sum Q - w2 sum T - w3 (sum E_m + sum E_n), (23)."""
        return instance.weights.quality * self.parts["quality"] - self._cost(instance)

    def scale(self, instance: Instance | IccInstance) -> float:
        """w1 sum |Q| + w2 sum T + w3 (sum E_m + sum E_n): the size of the terms of which U is a difference."""
        return instance.weights.quality * float(np.abs(self.quality).sum()) + self._cost(instance)

    def _cost(self, instance: Instance | IccInstance) -> float:
        """w2 sum T + w3 (sum E_m + sum E_n)."""
        w, part = instance.weights, self.parts
        delay = part["delay_edge"] + part["delay_transmission"] + part["delay_device"]
        energy = part["energy_transmission"] + part["energy_device"] + part["energy_common"] + part["energy_personal"]
        return w.delay * delay + w.energy * energy


def transmission(instance: Instance | IccInstance) -> tuple[FloatArray, FloatArray]:
    """Delay (s) and energy (J) of sending the latent to each user, (14), shapes (N,)."""
    delay = np.broadcast_to(instance.latent.payload_bits / downlink_rate(instance.radio), (instance.users,))
    return delay, np.asarray(instance.radio.power_w * delay)


def transmission_cost(instance: Instance | IccInstance) -> float:
    """w2 and w3 times all users' delays (s) and energies (J) of receiving their latents."""
    delay, energy = transmission(instance)
    return float(instance.weights.delay * delay.sum() + instance.weights.energy * energy.sum())


def device_only_utility(instance: Instance) -> float:
    """The utility's constant: what sending the latents and running every step on the devices costs, quality aside."""
    return -transmission_cost(instance) - float(instance.steps.total * device_step_cost(instance).sum())


def icc_step_costs(instance: IccInstance) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """What one step costs in the ICC model, in utility.

    Returns a personalised step on the server and a step on the device, shapes (N,); and of a common step of a group the
    delay for each user who waits and the energy, scalars.
    """
    w = instance.weights

    def costs(cycles: float, kappa: float, frequency: FloatArray) -> tuple[FloatArray, FloatArray]:
        return np.asarray(w.delay * cycles / frequency), np.asarray(w.energy * kappa * cycles * frequency**2)

    edge_cost = sum(costs(instance.cycles_edge, instance.energy_coefficient_edge, instance.edge_frequency_hz))
    device = sum(costs(instance.cycles_device, instance.energy_coefficient_device, instance.device_frequency_hz))
    group = costs(instance.cycles_edge, instance.energy_coefficient_edge, np.asarray(instance.group_frequency_hz))
    return np.broadcast_to(edge_cost, (instance.users,)), np.broadcast_to(device, (instance.users,)), *group


def breakdown(instance: Instance, decision: Decision, *, kept: bool = False) -> Breakdown:
    """Equations (7)-(18) at a complete decision; clusters without work cost nothing, whatever their SMs.

    A cluster with work and no SM gets infinite delay. With ``kept``, common phases come from a store of earlier results:
    the server does not run them, X_m = 0 in every cost, and what users get is as if it had.
    """
    clusters, (common, steps_edge), device, sms = (
        decision.labels, decision.server_steps, decision.device_steps, decision.cluster_sms,
    )  # fmt: skip
    count = len(sms)
    common_max, edge_sum = cluster_work(clusters, count, np.zeros_like(common) if kept else common, steps_edge)
    work = common_max + edge_sum
    with np.errstate(divide="ignore", invalid="ignore"):
        delay = np.where(work > 0, work * instance.flop_edge / gpu_speed(instance.edge, sms), 0.0)
        step_energy = gpu_step_energy(instance.edge, instance.flop_edge, sms)
    gpu, flop = instance.devices, instance.flop_device
    sent_delay, sent_energy = transmission(instance)
    return Breakdown(
        quality=quality(instance.quality, public_similarity(instance, clusters), common),
        delay_edge=delay[clusters],
        delay_transmission=sent_delay,
        delay_device=device * flop / gpu_speed(gpu, gpu.sms),
        energy_transmission=sent_energy,
        energy_device=device * gpu_step_energy(gpu, flop, gpu.sms),
        energy_common=_times(common_max, step_energy),
        energy_personal=_times(edge_sum, step_energy),
    )


def executed(instance: Instance | IccInstance, decision: Decision, *, kept: bool = False) -> tuple[int, float]:
    """Return the denoising steps that are run, sum_m W_m + sum_n z_n, and their FLOP: a common phase counts once.

    ``kept`` common phases are not run. Clusters are the decision's, or the instance's where it has none. The ICC model
    counts cycles; its FLOP are 0.
    """
    common, steps_edge = decision.server_steps
    labels = instance.labels if decision.clusters is None else decision.clusters
    common_max, edge_sum = cluster_work(labels, instance.max_clusters, common, steps_edge)
    run = edge_sum if kept else common_max + edge_sum
    served, left = int(run.sum()), int(decision.device_steps.sum())
    flop_edge, flop_device = (float(getattr(instance, name, 0.0)) for name in ("flop_edge", "flop_device"))
    return served + left, served * flop_edge + left * flop_device


def _times(steps: IntArray, step_energy: FloatArray) -> FloatArray:
    """Energy of steps, 0 where there are none although one would take infinite energy."""
    return np.multiply(steps, step_energy, out=np.zeros(len(steps)), where=steps > 0)


def icc_breakdown(instance: IccInstance, decision: Decision) -> Breakdown:
    """The ICC model at a decision: each user waits for its own group's common phase and its own steps."""
    clusters, (common, steps_edge) = instance.labels, decision.server_steps
    device = decision.device_steps
    common_max, _ = cluster_work(clusters, instance.max_clusters, common, steps_edge)
    edge_energy = instance.energy_coefficient_edge * instance.cycles_edge
    personal = steps_edge * edge_energy * instance.edge_frequency_hz**2
    sent_delay, sent_energy = transmission(instance)
    return Breakdown(
        quality=quality(instance.quality, public_similarity(instance, clusters), common),
        delay_edge=common_max[clusters] * instance.cycles_edge / instance.group_frequency_hz
        + steps_edge * instance.cycles_edge / instance.edge_frequency_hz,
        delay_transmission=sent_delay,
        delay_device=device * instance.cycles_device / instance.device_frequency_hz,
        energy_transmission=sent_energy,
        energy_device=device
        * instance.energy_coefficient_device
        * instance.cycles_device
        * instance.device_frequency_hz**2,
        energy_common=np.asarray(common_max * edge_energy * instance.group_frequency_hz**2, dtype=np.float64),
        energy_personal=np.asarray(np.bincount(clusters, personal, instance.max_clusters), dtype=np.float64),
    )


def clustering_value(criterion: str, embeddings: FloatArray, clusters: IntArray) -> float:
    """Objective of P_I in O(N d): ``sum`` (25a), ``mean`` (sums of S over clusters by size) or ``centroid`` (24a).

    With e_n the rows of ``embeddings`` and s_m their sum over cluster m: sum_m |s_m|^2, sum_m |s_m|^2 / |N_m| and
    sum_m |s_m|.
    """
    labels = np.unique(clusters, return_inverse=True)[1]
    sums = np.zeros((int(labels.max()) + 1, embeddings.shape[1]))
    np.add.at(sums, labels, embeddings)
    squared = np.einsum("md,md->m", sums, sums)
    if criterion == "sum":
        return float(squared.sum())
    if criterion == "mean":
        return float((squared / np.bincount(labels)).sum())
    return float(np.sqrt(squared).sum())
