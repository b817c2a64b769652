"""The equations against a scalar reimplementation in exact fractions and plain loops."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from hisopt import Decision
from hisopt.equations import breakdown, optimal_sms, quality_table
from hisopt.experiments.campaigns.random_instances import draw_decision, draw_instance
from hisopt.instances import Gpu, Instance, QualityTable
from hisopt.problems import Clustering, Full, Joint, Steps


def number(array: np.ndarray, n: int) -> Fraction:
    return Fraction(float(array if np.ndim(array) == 0 else array[n]))


def scalar_quality(table: QualityTable, phi: float, x: int) -> float:
    knots = [float(s) for s in table.similarity]

    def at(bin_: int) -> float:
        scale, slope, middle, floor = (float(c) for c in table.coefficients[bin_])
        return scale / (1 + math.exp(slope * (x - middle))) + floor

    if phi <= knots[0]:
        return at(0)
    for b in range(len(knots) - 1):
        if phi <= knots[b + 1]:
            weight = (phi - knots[b]) / (knots[b + 1] - knots[b])
            return (1 - weight) * at(b) + weight * at(b + 1)
    return at(len(knots) - 1)


def scalar_phi(instance: Instance, labels: np.ndarray, n: int) -> float:
    e = instance.embeddings
    assert e is not None
    members = [i for i in range(len(labels)) if labels[i] == labels[n]]
    dots = [sum(float(a) * float(b) for a, b in zip(e[n], e[i], strict=True)) for i in members]
    rule = instance.public_prompt
    if rule.rule == "affine":
        return rule.slope * sum(dots) / len(members) + rule.intercept
    gram = {(i, j): float(np.dot(e[i], e[j])) for i in members for j in members}
    if rule.rule == "medoid":
        sums = [round(sum(gram[i, j] for j in members), 9) for i in members]
        return dots[sums.index(max(sums))]
    return sum(dots) / math.sqrt(sum(gram.values()))


def step_energy(gpu: Gpu, flop: Fraction, sms: Fraction, n: int) -> Fraction:
    frequency = number(gpu.frequency_hz, n)
    time = flop / (sms * frequency * number(gpu.flop_per_cycle, n) * number(gpu.utilisation, n))
    power = number(gpu.energy_coefficient, n) * (number(gpu.power_per_sm, n) * sms + number(gpu.power_static, n))
    return power * frequency**3 * time  # P t, from (9) and (10), not from (11)


def scalar_utility(instance: Instance, decision: Decision) -> float:
    x, y, z = decision.steps_common, decision.steps_edge, decision.steps_device
    labels, sms, radio = decision.clusters, decision.sms, instance.radio
    assert x is not None
    assert y is not None
    assert z is not None
    assert labels is not None
    assert sms is not None
    total_quality, delay, energy = 0.0, Fraction(0), Fraction(0)
    flop_edge, flop_device = Fraction(instance.flop_edge), Fraction(instance.flop_device)
    work = {}
    for m in set(labels.tolist()):
        members = [n for n in range(instance.users) if labels[n] == m]
        work[m] = max(int(x[n]) for n in members) + sum(int(y[n]) for n in members)
        if work[m]:
            energy += work[m] * step_energy(instance.edge, flop_edge, Fraction(float(sms[m])), 0)
    for n in range(instance.users):
        total_quality += scalar_quality(instance.quality, scalar_phi(instance, labels, n), int(x[n]))
        m = int(labels[n])
        if work[m]:
            edge = instance.edge
            speed = Fraction(float(sms[m])) * number(edge.frequency_hz, 0) * number(edge.flop_per_cycle, 0)
            delay += work[m] * flop_edge / (speed * number(edge.utilisation, 0))
        device = instance.devices
        speed = number(device.sms, n) * number(device.frequency_hz, n) * number(device.flop_per_cycle, n)
        delay += int(z[n]) * flop_device / (speed * number(device.utilisation, n))
        energy += int(z[n]) * step_energy(device, flop_device, number(device.sms, n), n)
        snr = number(radio.power_w, n) * number(radio.gain, n)
        snr /= Fraction(radio.noise_w_per_hz) * number(radio.bandwidth_hz, n)
        rate = number(radio.bandwidth_hz, n) * Fraction(math.log2(1 + float(snr)))
        latent = instance.latent
        sent = Fraction(latent.height * latent.width * latent.channels * latent.bits) / Fraction(latent.compression)
        delay += sent / rate
        energy += number(radio.power_w, n) * sent / rate
    w = instance.weights
    return w.quality * total_quality - w.delay * float(delay) - w.energy * float(energy)


@pytest.mark.parametrize("seed", range(40))
def test_utility_equals_a_scalar_reimplementation(seed: int) -> None:
    rng = np.random.default_rng(seed)
    instance = draw_instance(rng, int(rng.integers(1, 9)), 1)
    instance = instance.replace(max_clusters=int(rng.integers(1, instance.users + 1)), cluster_size_min=1)
    problem = Full(instance)
    decision = draw_decision(rng, problem)
    found = problem.evaluate(decision)
    assert isinstance(instance, Instance)
    assert found.objective == pytest.approx(scalar_utility(instance, decision), rel=1e-11, abs=1e-12)


def test_parts_sum_to_the_utility_per_user_and_per_cluster(small: Instance) -> None:
    decision = draw_decision(np.random.default_rng(1), Joint(small))
    costs = breakdown(small, decision)
    w = small.weights
    utility = w.quality * costs.quality.sum() - w.delay * costs.delay.sum()
    energy = costs.energy_device.sum() + costs.energy_transmission.sum()
    energy += costs.energy_common.sum() + costs.energy_personal.sum()
    assert costs.utility(small) == pytest.approx(utility - w.energy * energy, rel=1e-12)
    assert costs.delay.shape == (small.users,)
    assert costs.energy_common.shape == (small.max_clusters,)


@pytest.mark.parametrize("seed", range(20))
def test_icc_utility_equals_plain_loops(seed: int) -> None:
    rng = np.random.default_rng(seed)
    users = int(rng.integers(1, 8))
    instance = draw_instance(rng, users, int(rng.integers(1, users + 1)), icc=True)
    problem = Steps(instance)
    decision = draw_decision(rng, problem)
    icc = problem.instance
    x, y, z = decision.steps_common, decision.steps_edge, decision.steps_device
    assert x is not None
    assert y is not None
    assert z is not None
    assert icc.clusters is not None
    utility = 0.0
    for n in range(users):
        group = [i for i in range(users) if icc.clusters[i] == icc.clusters[n]]
        longest = max(int(x[i]) for i in group)
        f_ue, f_es = float(number(icc.device_frequency_hz, n)), float(number(icc.edge_frequency_hz, n))
        delay = longest * icc.cycles_edge / icc.group_frequency_hz
        delay += y[n] * icc.cycles_edge / f_es + z[n] * icc.cycles_device / f_ue
        energy = icc.energy_coefficient_edge * y[n] * icc.cycles_edge * f_es**2
        energy += icc.energy_coefficient_device * z[n] * icc.cycles_device * f_ue**2
        if n == group[0]:
            energy += icc.energy_coefficient_edge * longest * icc.cycles_edge * icc.group_frequency_hz**2
        b, p, g = (float(number(v, n)) for v in (icc.radio.bandwidth_hz, icc.radio.power_w, icc.radio.gain))
        rate = b * math.log2(1 + p * g / (icc.radio.noise_w_per_hz * b))
        sent = icc.latent.payload_bits / rate
        quality = scalar_quality(icc.quality, scalar_phi(instance, icc.clusters, n), int(x[n]))  # type: ignore[arg-type]
        w = icc.weights
        utility += w.quality * quality - w.delay * (delay + sent) - w.energy * (energy + p * sent)
    assert problem.evaluate(decision).objective == pytest.approx(utility, rel=1e-11, abs=1e-12)


def test_quality_is_clamped_outside_the_published_similarities() -> None:
    table = QualityTable.published()
    values = quality_table(table, np.array([-0.5, 0.2, 0.7, 1.0]), 16)
    assert (values[0] == values[1]).all()
    assert (values[2] == values[3]).all()


def test_modules_raise_the_quality_from_2_to_21_common_steps_and_lower_it_from_24() -> None:
    with_modules, without = (QualityTable.published(modules=m) for m in (True, False))
    phi = np.asarray(with_modules.similarity)
    gain = quality_table(with_modules, phi, 27) - quality_table(without, phi, 27)
    assert (gain[:, 2:22] > 0).all()
    assert (gain[:, 24:] < 0).all()


def test_optimal_sms_of_no_work_are_zero() -> None:
    assert (optimal_sms(np.zeros(3), 100.0) == 0).all()


@pytest.mark.parametrize("criterion", ["sum", "mean", "centroid"])
def test_clustering_values_equal_double_sums(criterion: str, small: Instance) -> None:
    labels = np.random.default_rng(3).integers(0, 3, small.users)
    expected = 0.0
    for m in range(3):
        members = np.flatnonzero(labels == m)
        total = sum(float(small.similarity_matrix[i, j]) for i in members for j in members)
        expected += {"sum": total, "mean": total / max(len(members), 1), "centroid": math.sqrt(total)}[criterion]
    found = Clustering.of(small, criterion).evaluate(Decision(clusters=labels))  # type: ignore[arg-type]
    assert found.objective == pytest.approx(expected, rel=1e-12)
