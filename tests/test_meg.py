"""Data and equations of MEG against their definitions; bad input told in one line."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from hisopt.errors import first_error
from hisopt.instances.meg import MegChannel, MegInstance
from hisopt.meg_equations import merged_tokens, payload_bits, tables


def test_payload_counts_every_token() -> None:
    """16 channels of a kept token, one of a merged token, 16 bits each."""
    instance = MegInstance(ratios=np.array([0.0, 0.1, 0.3, 0.5, 0.75]))
    for beta, sent, merged in zip(instance.ratios, payload_bits(instance), merged_tokens(instance), strict=True):
        m = math.floor(4096 * beta)
        assert merged == m
        assert sent == sum([16 * 16] * (4096 - m) + [16] * m)
    assert merged_tokens(MegInstance(tokens=4000, ratios=np.array([0.3])))[0] == 1200  # not 1199 by rounding


def test_tables_by_hand() -> None:
    instance = MegInstance(channel=MegChannel.uniform_distance(3), seconds_base=0.25)
    found = tables(instance)
    for h, distance in enumerate((200 + 100 / 6, 250.0, 300 - 100 / 6)):
        snr = 10 ** ((30 - 35.3 - 37.6 * math.log10(distance) + 94) / 10)
        rate = 1e6 * math.log2(1 + snr)
        for i, n in enumerate(instance.steps):
            for j, beta in enumerate(instance.ratios):
                m = math.floor(4096 * beta)
                sent = 16 * (16 * (4096 - m) + m) / rate
                work, action = n * 13.52e12 + 0.222e12, i * len(instance.ratios) + j
                latency = sent + work / 76.4e12 + 2 * 10.47e12 / 76.4e12 + 0.25
                energy = 15e-12 * work + 1.25 * 15e-12 * 10.47e12 + 1.0 * sent
                assert found.latency[h, action] == pytest.approx(latency, rel=1e-12)
                assert found.energy[h, action] == pytest.approx(energy, rel=1e-12)
                assert found.reward[h, action] == pytest.approx(-math.log(instance.errors[i, j]), rel=1e-12)
        assert tables(instance.centralised()).latency[h, 0] == pytest.approx(
            1024 * 1024 * 24 / rate + (4 * 13.52 + 0.222 + 10.47) / 76.4 + 0.25, rel=1e-12
        )


def test_default_errors_fall_with_steps_and_rise_with_merging() -> None:
    errors = MegInstance().errors
    assert (np.diff(errors, axis=0) < 0).all() and (np.diff(errors, axis=1) > 0).all() and (errors > 0).all()


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.95])
def test_gauss_markov_keeps_the_distances(correlation: float) -> None:
    channel = MegChannel.gauss_markov(8, correlation)
    assert channel.transition is not None
    assert np.allclose(channel.transition.sum(axis=1), 1, atol=1e-9)
    assert np.allclose(channel.probability @ channel.transition, channel.probability, atol=1e-9)
    expected = MegChannel.uniform_distance(8)
    assert (channel.gain == expected.gain).all()
    stay = np.trace(channel.transition) / 8
    assert stay == pytest.approx(1 / 8, abs=1e-6) if correlation == 0 else stay > 1 / 8


HALF: dict[str, Any] = {"gain": np.ones(2), "probability": np.full(2, 0.5)}


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: MegChannel(**HALF, transition=[[0.5, 0.4], [0.5, 0.5]]), "transition: row 0 must be >= 0 and sum to 1, sums to 0.9"),
        (lambda: MegChannel(**HALF, transition=[[0.5, 0.5], [1.5, -0.5]]), "transition: row 1 must be >= 0"),
        (lambda: MegChannel(**HALF, transition=[[1.0]]), "transition: shape (1, 1), must be (2, 2)"),
        (lambda: MegChannel(**HALF, transition=[[0.9, 0.1], [0.5, 0.5]]), "is not the transition's stationary distribution"),
        (lambda: MegChannel(gain=[1.0, 0.0], probability=[0.5, 0.5]), "gain: bin 1 has 0, must be > 0"),
        (lambda: MegChannel(gain=[1.0], probability=[0.9]), "probability: must be >= 0 and sum to 1, sums to 0.9"),
        (lambda: MegInstance(steps=[4.0], ratios=[0.0, 0.5], distortion=[[0.1]]), "distortion: shape (1, 1), must be (1, 2)"),
        (lambda: MegInstance(steps=[4.0], ratios=[0.0, 0.5], distortion=[[0.1, 0.0]]), "beta = 0.5 has 0, must be > 0"),
        (lambda: MegInstance(steps=[4.0], ratios=[0.0], distortion=[[np.nan]]), "distortion"),
        (lambda: MegInstance(ratios=[0.5, 0.25]), "ratios: must be increasing numbers in [0, 1]"),
        (lambda: MegInstance(latency_limit_s=0.0), "latency_limit_s"),
    ],
)  # fmt: skip
def test_bad_input_in_one_line(make: Any, reason: str) -> None:
    with pytest.raises(ValidationError) as caught:
        make()
    assert reason in first_error(caught.value) and "\n" not in first_error(caught.value)


def test_the_hash_tells_instances_apart() -> None:
    one = MegInstance()
    assert one.content_hash == MegInstance().content_hash
    for change in ({"latency_limit_s": 2.9}, {"channel": MegChannel.uniform_distance(32)}, {"discount": 0.97}):
        assert one.replace(**change).content_hash != one.content_hash
