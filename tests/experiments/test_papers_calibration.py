from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from hisopt.equations import executed, public_similarity
from hisopt.errors import InputError
from hisopt.experiments.papers import calibration, calibration_search
from hisopt.experiments.papers.calibration_model import BOUNDS, NAMES, PUBLISHED, Model, residual, solve
from hisopt.experiments.papers.draws import optimum, paper, utility
from hisopt.experiments.papers.iis_bound import least_device_loss
from hisopt.instances.scenario import PRESETS
from hisopt.solvers.clustering.hac import clustered

if TYPE_CHECKING:
    from pathlib import Path

SERVER, DEVICES = PRESETS["paper"].edge_sms, PRESETS["paper"].device_sms
PAIR = calibration_search.TARGETS["the IIS pair"]


def in_the_middle() -> list[float]:
    return [(low + high) / 2 for low, high in BOUNDS]


@pytest.mark.parametrize("seed", range(3))
def test_the_fast_model_has_the_optima_of_the_exact_solver(seed: int) -> None:
    instance = clustered(paper(seed))
    instance = instance.replace(similarity=public_similarity(instance, instance.labels))
    found = solve(instance, instance.labels)
    decision, evaluation = optimum(instance)
    assert found.utility == pytest.approx(utility(evaluation), rel=2e-4)
    assert found.steps == pytest.approx(executed(instance, decision)[0], rel=0.02)


def test_residuals_are_in_units_of_a_tenth() -> None:
    assert residual("10 CFIS", 51.0) == 0
    assert residual("10 CFIS", 1.1 * 51.0) == pytest.approx(1)
    numbers = Model().numbers(np.array(in_the_middle()))
    assert set(numbers) == set(PUBLISHED)
    assert Model().loss(np.array(in_the_middle()), PAIR) == pytest.approx(
        sum(residual(n, numbers[n]) ** 2 for n in PAIR)
    )


def test_the_points_shipped_are_as_good_as_they_say() -> None:
    for one in calibration_search.read():
        loss = Model().loss(np.array(one["point"]), calibration_search.TARGETS[one["target"]])
        assert loss == pytest.approx(one["loss"], rel=1e-2, abs=1e-4), one["target"]
    assert {one["target"] for one in calibration_search.read()} == set(calibration_search.TARGETS)


def test_the_iis_pair_respects_its_bound_wherever_it_was_looked_for() -> None:
    """Random parameters and the points that a search found nearest to the pair: the devices' loss is never below the bound."""
    rng, model, seen = np.random.default_rng(0), Model(), 0
    points = [[rng.uniform(low, high) for low, high in BOUNDS] for _ in range(150)]
    points += [one["point"] for one in calibration_search.read()]
    for point in points:
        numbers = model.numbers(np.array(point), PAIR)
        server, devices = (numbers[name] / 100 for name in PAIR)
        if 0.01 < server < 1 and devices < 1:  # utility stays positive on both ranges
            seen += 1
            clusters = round(10 ** point[NAMES.index("clusters IIS")])
            assert devices >= least_device_loss(paper(0), server, SERVER, DEVICES, clusters) - 1e-3, point
    assert seen > 20


def test_the_bound_is_the_least_over_the_ratio_of_weights() -> None:
    """The minimum that `iis_bound` takes in closed form, looked for on a grid of r instead."""
    instance, clusters = paper(0), 3
    r = np.concatenate([[0.0], np.logspace(-3, 7, 20001)])
    mu1, mu2, v = 4.0, 135.0, SERVER[1]
    lever = (1860 / 1410) ** 3 * 50 * r + mu2 * clusters
    change = (1 / 64 - 1 / 84) * 50 * 17 * (r + mu2)
    most = 11 * 50 * ((r + mu2) / 64 + mu1) / (1 + mu1 * v / lever)
    least = 0.741 * (change / most).min() / (1674 / 1026 - 1)
    found = least_device_loss(instance, 0.741, SERVER, DEVICES, clusters)
    assert found == pytest.approx(least / (1 + least), rel=1e-6)
    assert calibration.pair_bound() < calibration.pair_bound(clusters=3) < 0.25
    assert calibration.pair_bound() > 0.149


def test_the_preset_carries_the_fit() -> None:
    found = min(
        (one for one in calibration_search.read() if one["target"] == "all but the IIS pair"), key=lambda o: o["loss"]
    )
    at, preset = dict(zip(NAMES, found["point"], strict=True)), PRESETS["calibrated"]
    carried = {
        "delay weight": preset.weights.delay, "energy weight": preset.weights.energy, "bandwidth, Hz": preset.bandwidth_hz,
        "server utilisation": preset.edge_utilisation, "device utilisation": preset.device_utilisation,
    }  # fmt: skip
    for name, value in carried.items():
        assert value == pytest.approx(10 ** at[name], rel=0.02), name


def test_a_search_starts_from_a_point_and_never_ends_behind_it(tmp_path: Path) -> None:
    known = min((one for one in calibration_search.read() if one["target"] == "gains"), key=lambda one: one["loss"])
    found = calibration_search.search("gains", 0, 130, known["point"])
    assert found["loss"] <= 1.01 * known["loss"] + 1e-3
    found["near"] = calibration_search.spread("gains", found["point"], 60, walkers=20)
    assert np.shape(found["near"]) == (80, len(BOUNDS))
    assert all(
        low <= value <= high for point in found["near"] for value, (low, high) in zip(point, BOUNDS, strict=True)
    )
    calibration_search.write(tmp_path / "points.json", [found])
    (read,) = calibration_search.read(tmp_path / "points.json")
    assert read["point"] == pytest.approx(found["point"], rel=1e-6)


@pytest.mark.parametrize("text", ["{", "[{}]", json.dumps([{"target": "x", "point": [0.0] * len(BOUNDS), "near": []}])])
def test_a_file_of_other_things_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "points.json").write_text(text)
    with pytest.raises(InputError, match=r"points\.json"):
        calibration_search.read(tmp_path / "points.json")
