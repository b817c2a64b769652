"""Every public equation against the papers' formulas for one user or cluster at a time, where every parameter counts."""

from __future__ import annotations

import math

import numpy as np
import pytest
from plain_instances import LABELS, odd, odd_icc, unit_rows

from hisopt import Decision, equations
from hisopt.experiments.campaigns import plain_formulas as plain
from hisopt.instances import IccInstance, Instance, PublicPrompt, QualityTable

USERS, CLUSTERS = len(LABELS), 5
LABELLED = np.array(LABELS)
X, Y = np.array([5, 0, 2, 3, 1, 0, 4]), np.array([1, 0, 3, 4, 2, 0, 1])
SMS = np.array([11.5, 2.25, 6.75, 3.5, 0.0])
RULES = [PublicPrompt(), PublicPrompt(rule="affine", slope=0.7, intercept=0.13), PublicPrompt(rule="medoid")]


def each(found: np.ndarray, expected: list[float]) -> None:
    assert found.shape == (len(expected),)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-300)


def decided(total: int = 11, sms: np.ndarray = SMS) -> Decision:
    return Decision.of_steps(total, X, Y, sms, LABELLED)


# quality and similarity


def test_quality_at_the_similarities_of_the_table_and_between_them() -> None:
    table = odd().quality
    knots, steps = np.asarray(table.similarity), np.arange(6)
    at_bins = equations.quality_at_bins(table, steps)
    for b, (scale, slope, middle, floor) in enumerate(table.coefficients):
        each(at_bins[b], [scale / (1 + math.exp(slope * (x - middle))) + floor for x in steps])
    np.testing.assert_allclose(equations.quality_table(table, knots, 5), at_bins, rtol=1e-13)
    below = [-0.6 - 1e-3, -7.0]
    np.testing.assert_array_equal(equations.quality_table(table, np.array(below), 5), at_bins[[0, 0]])
    np.testing.assert_allclose(
        equations.quality_table(table, np.array([0.9 + 1e-3, 8.0]), 5), at_bins[[3, 3]], rtol=1e-13
    )
    for phi, b, weight in [(-0.225, 0, 0.5), (0.2, 1, 0.2), (0.8, 2, 0.8), (0.9 - 1e-9, 2, 1 - 2e-9)]:
        expected = (1 - weight) * at_bins[b] + weight * at_bins[b + 1]
        np.testing.assert_allclose(equations.quality_table(table, np.array([phi]), 5)[0], expected, rtol=1e-13)


def test_bins_and_weights_at_and_around_a_border() -> None:
    table = odd().quality
    phi = np.array([-0.7, -0.6, 0.15 - 1e-12, 0.15, 0.275, 0.4, 0.9, 0.95])
    below, weight = equations.similarity_bins(table, phi)
    assert below.tolist() == [0, 0, 0, 1, 1, 2, 2, 2]
    np.testing.assert_allclose(weight, [0, 0, 1, 0, 0.5, 0, 1, 1], atol=2e-12)
    two = QualityTable(similarity=[0.3, 0.5], coefficients=[[1, 2, 3, 4], [2, 3, 4, 5]])
    assert [part.tolist() for part in equations.similarity_bins(two, np.array([0.2, 0.9]))] == [[0, 0], [0, 1]]


@pytest.mark.parametrize("prompt", RULES, ids=lambda prompt: prompt.rule)
@pytest.mark.parametrize("seed", range(4))
def test_similarity_and_quality_by_every_rule(prompt: PublicPrompt, seed: int) -> None:
    instance = odd(seed, prompt)
    phi = plain.similarities(instance, LABELLED)
    each(equations.rule_similarity(instance, LABELLED), phi.tolist())
    each(equations.public_similarity(instance, LABELLED), phi.tolist())
    table = plain.qualities(instance, phi)
    np.testing.assert_allclose(equations.quality_table(instance.quality, phi, 5), table, rtol=1e-12)
    each(equations.quality(instance.quality, phi, X), [table[n, X[n]] for n in range(USERS)])
    np.testing.assert_allclose(equations.given_quality(instance), 0.8 * table, rtol=1e-12)
    assert len(equations.quality(instance.quality, np.zeros(0), np.zeros(0, dtype=np.int64))) == 0


def test_a_given_similarity_goes_before_the_rule() -> None:
    phi = np.linspace(-0.9, 1.0, USERS)
    instance = odd(similarity=phi)
    assert equations.public_similarity(instance, LABELLED).tolist() == phi.tolist()
    assert equations.rule_similarity(instance, LABELLED).tolist() != phi.tolist()
    np.testing.assert_allclose(equations.given_quality(instance), 0.8 * plain.qualities(instance, phi), rtol=1e-12)


def none(*_: np.ndarray) -> np.ndarray:
    raise AssertionError("the rule asks for no similarity of two members")


def test_a_cluster_points_somewhere_where_its_mean_is_longer_than_a_millionth() -> None:
    """Three clusters of 2, 3 and 5: |s_m| at, just above and just below 1e-6 N_m."""
    for size in (2, 3, 5):
        labels = np.repeat([0, 1], size)
        limit = (1e-6 * size) ** 2
        for factor, directed in [(0.99, False), (1.0, False), (1.01, True)]:
            own = np.zeros(size)
            own[0] = limit * factor
            found = equations.similarity_from_sums(RULES[0], labels, np.append(own, [0.5] * size), none)
            assert found[size:] == pytest.approx([0.5 / math.sqrt(0.5 * size)] * size)
            assert found[:size] == pytest.approx([math.sqrt(limit * factor) if directed else 0.0] + [0.0] * (size - 1))


def test_similarity_to_the_ideal_prompt_is_a_cosine() -> None:
    """Embeddings may be 1e-6 off norm 1; phi stays within -1 and 1, and reaches both."""
    vectors = np.array([[1 + 8e-7, 0.0], [-1.0 - 8e-7, 0.0], [-1.0, 0.0], [1 - 5e-7, 0.0]])
    instance = odd().replace(users=4, max_clusters=2, embeddings=vectors, clusters=[0, 0, 0, 1], given_common=None,
                             given_edge=None, radio=odd_icc().radio.replace(bandwidth_hz=2.0, power_w=2.0, gain=2.0),
                             devices=odd().edge)  # fmt: skip
    assert equations.rule_similarity(instance, np.array([0, 0, 0, 1])).tolist() == [-1.0, 1.0, 1.0, 1 - 5e-7]


def test_opposite_embeddings_have_no_direction() -> None:
    vectors = np.array([[0.6, 0.8], [-0.6, -0.8], [0.0, 1.0]])
    instance = odd().replace(users=3, max_clusters=2, embeddings=vectors, clusters=[1, 1, 0], given_common=None,
                             given_edge=None, radio=odd_icc().radio.replace(bandwidth_hz=2.0, power_w=2.0, gain=2.0),
                             devices=odd().edge)  # fmt: skip
    assert equations.rule_similarity(instance, np.array([1, 1, 0])).tolist() == [0.0, 0.0, 1.0]


def picked(to_sum: list[float], labels: list[int]) -> list[int]:
    """The medoid that each member is compared with."""
    found: list[int] = []

    def dot(one: np.ndarray, other: np.ndarray) -> np.ndarray:
        assert one.tolist() == list(range(len(to_sum)))
        found.extend(other.tolist())
        return other / 100

    phi = equations.similarity_from_sums(RULES[2], np.array(labels), np.array(to_sum), dot)
    assert phi.tolist() == [m / 100 for m in found]
    return found


def test_the_first_of_members_that_tie_within_nine_digits_is_the_medoid() -> None:
    assert picked([1.0, 1.0 + 4e-10], [0, 0]) == [0, 0]
    assert picked([1.0, 1.0 + 6e-10], [0, 0]) == [1, 1]
    assert picked([1.0, 1.0 + 2e-9], [0, 0]) == [1, 1]
    assert picked([0.7, 0.9, 0.8, -0.3, 0.4, -0.2], [3, 0, 0, 3, 3, 1]) == [0, 1, 1, 0, 0, 5]


# speeds, energies and costs


def test_what_one_step_takes() -> None:
    instance = odd()
    gpu = instance.edge
    for v in (2.25, 37.5):
        assert float(equations.gpu_speed(gpu, np.asarray(v))) == pytest.approx(v * 3.1 * 2.3 * 0.6, rel=1e-13)
        energy = 0.71 * (1.9 * v + 5.3) * 3.1**3 * 4.4 / (v * 3.1 * 2.3 * 0.6)  # P t, (10) and (9)
        assert float(equations.gpu_step_energy(gpu, 4.4, np.asarray(v))) == pytest.approx(energy, rel=1e-13)
    cost = [1.7 * plain.device_delay(instance, n) + 0.45 * plain.device_energy(instance, n) for n in range(USERS)]
    each(equations.device_step_cost(instance), cost)
    assert equations.edge_step_energy_cost(instance) == pytest.approx(plain.step_energy(instance), rel=1e-13)
    expected = plain.work_costs(instance, LABELLED)
    each(equations.edge_work_cost(instance, np.array([3, 0, 3, 1, 0])), expected)
    one = instance.replace(devices=instance.edge)
    each(
        equations.device_step_cost(one), [1.7 * plain.device_delay(one, 0) + 0.45 * plain.device_energy(one, 0)] * USERS
    )


def test_sending() -> None:
    instance = odd()
    radio = instance.radio
    rates = [
        radio.bandwidth_hz[n] * math.log2(1 + radio.power_w[n] * radio.gain[n] / (0.37 * radio.bandwidth_hz[n]))
        for n in range(USERS)
    ]
    bits = 3 * 2 * 5 * 7 / 1.6
    each(equations.downlink_rate(radio), rates)
    delay, energy = equations.transmission(instance)
    each(delay, [bits / rate for rate in rates])
    each(energy, [radio.power_w[n] * bits / rates[n] for n in range(USERS)])
    assert equations.transmission_cost(instance) == pytest.approx(plain.sending(instance), rel=1e-13)
    devices = [1.7 * plain.device_delay(instance, n) + 0.45 * plain.device_energy(instance, n) for n in range(USERS)]
    assert equations.device_only_utility(instance) == pytest.approx(
        -plain.sending(instance) - 11 * sum(devices), rel=1e-13
    )
    same = instance.replace(radio=radio.replace(bandwidth_hz=2.5, power_w=4.5, gain=1.5))
    assert equations.transmission(same)[0].shape == equations.transmission(same)[1].shape == (USERS,)


def test_work_of_the_clusters() -> None:
    common_max, edge_sum = equations.cluster_work(LABELLED, CLUSTERS, X, Y)
    assert (common_max.tolist(), edge_sum.tolist()) == ([3, 0, 5, 0, 0], [6, 0, 5, 0, 0])
    assert equations.cluster_sizes(LABELLED, CLUSTERS).tolist() == [3, 0, 3, 1, 0]
    instance = odd()
    assert plain.cluster_work(LABELLED, CLUSTERS, X, Y) == [9, 0, 10, 0, 0]
    expected = [c * w for c, w in zip(plain.work_costs(instance, LABELLED), [9, 0, 10, 0, 0], strict=True)]
    each(equations.work_costs(instance, X, Y), expected)
    each(equations.given_work_costs(instance), expected)
    assert equations.given_busy(instance).tolist() == [True, False, True, False, False]
    alone = np.array([0, 0, 0, 0, 0, 1, 0])
    assert equations.busy_clusters(instance, alone, 0 * Y).tolist() == [False, False, False, True, False]
    assert equations.busy_clusters(instance, 0 * X, alone).tolist() == [False, False, False, True, False]


# SMs


def test_sms_by_theorem_1() -> None:
    each(equations.optimal_sms(np.array([4.0, 0.0, 9.0]), 30.0), [12.0, 0.0, 18.0])
    assert equations.optimal_sms(np.zeros(2), 30.0).tolist() == [0.0, 0.0]
    instance = odd()
    root = [math.sqrt(c * w) for c, w in zip(plain.work_costs(instance, LABELLED), [9, 0, 10, 0, 0], strict=True)]
    each(equations.steps_sms(instance, X, Y), [37.5 * r / math.fsum(root) for r in root])


def test_free_work_gets_a_sliver_of_a_millionth_millionth() -> None:
    busy = np.array([True, True, True, True, False])
    found = equations.with_slivers(np.array([0.25, 0.0, 0.75, 0.0, 0.0]), busy)
    each(found[[1, 3]], [5e-13, 5e-13])
    assert found[4] == 0
    np.testing.assert_allclose(found[[0, 2]] / np.array([0.25, 0.75]) - 1, -1e-12, rtol=2e-3)
    assert equations.with_slivers(np.zeros(5), busy).tolist() == [0.25, 0.25, 0.25, 0.25, 0.0]
    share = np.array([0.25, 0.75])
    assert equations.with_slivers(share, np.array([True, True])).tolist() == [0.25, 0.75]
    assert equations.with_slivers(share, np.array([False, False])).tolist() == [0.25, 0.75]
    free = odd(weights={"quality": 0.8, "delay": 0.0, "energy": 0.0})
    assert equations.steps_sms(free, X, Y).tolist() == [18.75, 0.0, 18.75, 0.0, 0.0]
    sms = equations.optimal_sms(np.array([4.0, 0.0]), 30.0, np.array([True, True]))
    each(sms, [30.0 * (1 - 1e-12), 30e-12])


# breakdowns


def parts_of(instance: Instance, decision: Decision, kept: bool) -> dict[str, list[float]]:
    """Every part of (19) and of the energies, cluster by cluster and user by user."""
    x, y, z, sms = decision.server_steps[0], decision.server_steps[1], decision.device_steps, decision.cluster_sms
    labels, radio = decision.labels, instance.radio
    common = [
        0 if kept else max((int(x[n]) for n in range(USERS) if labels[n] == m), default=0) for m in range(CLUSTERS)
    ]
    personal = [sum(int(y[n]) for n in range(USERS) if labels[n] == m) for m in range(CLUSTERS)]

    def step(m: int) -> tuple[float, float]:
        if not common[m] + personal[m]:
            return 0.0, 0.0
        speed = sms[m] * 3.1 * 2.3 * 0.6
        return 4.4 / speed, 0.71 * (1.9 * sms[m] + 5.3) * 3.1**3 * 4.4 / speed

    table = plain.qualities(instance, plain.similarities(instance, labels))
    sent = []
    for n in range(USERS):
        snr = radio.power_w[n] * radio.gain[n] / (0.37 * radio.bandwidth_hz[n])
        sent.append(3 * 2 * 5 * 7 / 1.6 / (radio.bandwidth_hz[n] * math.log2(1 + snr)))
    return {
        "quality": [table[n, x[n]] for n in range(USERS)],
        "delay_edge": [(common[m] + personal[m]) * step(m)[0] for m in labels],
        "delay_transmission": sent,
        "delay_device": [z[n] * plain.device_delay(instance, n) for n in range(USERS)],
        "energy_transmission": [sent[n] * radio.power_w[n] for n in range(USERS)],
        "energy_device": [z[n] * plain.device_energy(instance, n) for n in range(USERS)],
        "energy_common": [common[m] * step(m)[1] for m in range(CLUSTERS)],
        "energy_personal": [personal[m] * step(m)[1] for m in range(CLUSTERS)],
    }


def check(found: equations.Breakdown, expected: dict[str, list[float]], instance: Instance | IccInstance) -> None:
    """Parts, T_n, (23) and the size of the terms."""
    total = {name: math.fsum(value) for name, value in expected.items()}
    assert found.parts.keys() == expected.keys()
    for name, value in expected.items():
        each(getattr(found, name), value)
        assert found.parts[name] == pytest.approx(total[name], rel=1e-12)
    rows = zip(expected["delay_edge"], expected["delay_transmission"], expected["delay_device"], strict=True)
    each(found.delay, [sum(row) for row in rows])
    delay = total["delay_edge"] + total["delay_transmission"] + total["delay_device"]
    energy = math.fsum(total[f"energy_{name}"] for name in ("transmission", "device", "common", "personal"))
    assert found.utility(instance) == pytest.approx(0.8 * total["quality"] - 1.7 * delay - 0.45 * energy, rel=1e-12)
    size = 0.8 * math.fsum(map(abs, expected["quality"])) + 1.7 * delay + 0.45 * energy
    assert found.scale(instance) == pytest.approx(size, rel=1e-12)


@pytest.mark.parametrize("prompt", RULES, ids=lambda prompt: prompt.rule)
@pytest.mark.parametrize("kept", [False, True])
def test_every_part_of_a_decision(prompt: PublicPrompt, kept: bool) -> None:
    instance, decision = odd(3, prompt), decided()
    expected = parts_of(instance, decision, kept)
    assert min(expected["quality"]) < 0 < max(expected["quality"])
    check(equations.breakdown(instance, decision, kept=kept), expected, instance)


def test_a_single_step_counts() -> None:
    x, y = np.eye(USERS, dtype=np.int64)[[0, 1]]
    instance, decision = odd(), Decision.of_steps(11, x, y, SMS, LABELLED)
    expected = parts_of(instance, decision, kept=False)
    assert [expected["energy_common"][2] > 0, expected["energy_personal"][0] > 0] == [True, True]
    check(equations.breakdown(instance, decision), expected, instance)


def test_work_without_an_sm_takes_for_ever_and_no_work_takes_nothing() -> None:
    found = equations.breakdown(odd(), decided(sms=np.array([0.0, 0.0, 6.75, 0.0, 0.0])))
    assert found.delay_edge[LABELLED == 0].tolist() == [np.inf] * 3
    assert found.delay_edge[LABELLED == 3].tolist() == [0.0]
    assert found.energy_common[[0, 1, 3, 4]].tolist() == [np.inf, 0.0, 0.0, 0.0]
    assert found.energy_personal[[0, 1, 3, 4]].tolist() == [np.inf, 0.0, 0.0, 0.0]
    only_common = Decision.of_steps(11, X, 0 * Y, np.zeros(CLUSTERS), LABELLED)
    found = equations.breakdown(odd(), only_common)
    assert found.energy_personal.tolist() == [0.0] * CLUSTERS
    assert found.energy_common.tolist() == [np.inf, 0.0, np.inf, 0.0, 0.0]
    found = equations.breakdown(odd(), only_common, kept=True)
    assert found.delay_edge.tolist() == [0.0] * USERS
    assert found.energy_common.tolist() == [0.0] * CLUSTERS


def test_steps_that_are_run() -> None:
    instance, decision = odd(), decided()
    left = int(decision.device_steps.sum())
    assert left == 77 - 26
    assert equations.executed(instance, decision) == (19 + left, pytest.approx(19 * 4.4 + left * 3.7, rel=1e-13))
    assert equations.executed(instance, decision, kept=True) == (
        11 + left,
        pytest.approx(11 * 4.4 + left * 3.7, rel=1e-13),
    )
    bare = Decision(steps_common=X, steps_edge=Y, steps_device=decision.device_steps)
    assert equations.executed(instance, bare) == equations.executed(instance, decision)
    one = Decision.of_steps(11, X, Y, SMS, np.zeros(USERS, dtype=np.int64))
    assert equations.executed(instance, one)[0] == 5 + 11 + left
    assert equations.executed(odd_icc(), bare) == (19 + left, 0.0)


# the ICC model


def test_icc_steps_and_parts() -> None:
    instance, decision = odd_icc(2), decided()
    z = decision.device_steps
    edge_cost, device, waiting, energy = equations.icc_step_costs(instance)
    each(edge_cost, [plain.icc_rates(instance, n)[0] for n in range(USERS)])
    each(device, [plain.icc_rates(instance, n)[1] for n in range(USERS)])
    assert float(waiting * 3 + energy) == pytest.approx(plain.icc_group(instance, 3), rel=1e-13)
    assert float(waiting) == pytest.approx(1.7 * 4.6 / 2.9, rel=1e-13)
    same = instance.replace(edge_frequency_hz=3.3, device_frequency_hz=1.4)
    assert [part.shape for part in equations.icc_step_costs(same)[:2]] == [(USERS,), (USERS,)]
    table = plain.qualities(instance, plain.similarities(instance, LABELLED))
    f, g, radio = instance.edge_frequency_hz, instance.device_frequency_hz, instance.radio
    longest = [max((int(X[n]) for n in range(USERS) if LABELS[n] == m), default=0) for m in range(CLUSTERS)]
    sent = []
    for n in range(USERS):
        snr = radio.power_w[n] * radio.gain[n] / (0.37 * radio.bandwidth_hz[n])
        sent.append(3 * 2 * 5 * 7 / 1.6 / (radio.bandwidth_hz[n] * math.log2(1 + snr)))
    expected = {
        "quality": [table[n, X[n]] for n in range(USERS)],
        "delay_edge": [longest[LABELS[n]] * 4.6 / 2.9 + Y[n] * 4.6 / f[n] for n in range(USERS)],
        "delay_transmission": sent,
        "delay_device": [z[n] * 3.8 / g[n] for n in range(USERS)],
        "energy_transmission": [sent[n] * radio.power_w[n] for n in range(USERS)],
        "energy_device": [z[n] * 0.43 * 3.8 * g[n] ** 2 for n in range(USERS)],
        "energy_common": [longest[m] * 0.31 * 4.6 * 2.9**2 for m in range(CLUSTERS)],
        "energy_personal": [
            math.fsum(Y[n] * 0.31 * 4.6 * f[n] ** 2 for n in range(USERS) if LABELS[n] == m) for m in range(CLUSTERS)
        ],
    }
    check(equations.icc_breakdown(instance, decision), expected, instance)


# clustering


@pytest.mark.parametrize("criterion", ["sum", "mean", "centroid"])
def test_values_of_a_partition_with_gaps_in_its_labels(criterion: str) -> None:
    vectors, labels = 1.7 * unit_rows(np.random.default_rng(8), 9), np.array([4, 0, 7, 4, 0, 4, 7, 7, 2])
    expected = 0.0
    for m in (0, 2, 4, 7):
        own = np.flatnonzero(labels == m)
        total = math.fsum(float(vectors[i] @ vectors[j]) for i in own for j in own)
        expected += {"sum": total, "mean": total / len(own), "centroid": math.sqrt(total)}[criterion]
    assert equations.clustering_value(criterion, vectors, labels) == pytest.approx(expected, rel=1e-12)
