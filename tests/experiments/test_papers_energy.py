from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from hisopt.diffusion.calibration import calibrated, load_profile, shipped_profiles
from hisopt.equations import gpu_speed, gpu_step_energy
from hisopt.errors import InputError
from hisopt.experiments.papers import energy, energy_profiles
from hisopt.instances.scenario import PRESETS

PUBLISHED = Path(__file__).resolve().parents[3] / "shared" / "data" / "diffusion_energy.csv"


@pytest.mark.parametrize("card", energy_profiles.CARDS, ids=lambda card: card.name)
def test_shipped_profiles_are_those_that_the_program_makes(card: energy_profiles.Card) -> None:
    if not PUBLISHED.exists():
        pytest.skip("the published measurements are not here")
    document = energy_profiles.profile(energy_profiles.read(PUBLISHED), card)
    shipped = (energy_profiles.FOLDER / f"{card.name}.json").read_text(encoding="utf-8")
    assert shipped == energy_profiles.text(document)


@pytest.mark.parametrize(
    ("name", "seconds", "joules"), [("a100-mlenergy", 3.7812, 1457.98), ("h100-mlenergy", 1.903, 1256.96)]
)
def test_a_profile_gives_back_the_measured_step(name: str, seconds: float, joules: float) -> None:
    """25 steps on all SMs of one card take what was measured, but for the 3 % of the FLOP that are not steps."""
    document = json.loads((energy_profiles.FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    instance, notes = calibrated(PRESETS["small"].sample(0), load_profile(name))
    sms, flop = np.array(float(document["conditions"]["sms"])), instance.flop_edge
    share = 25 * 17.808675 / (25 * 17.808675 + 2 * 2.508 + 10.472)
    assert 25 * flop / gpu_speed(instance.edge, sms) == pytest.approx(share * seconds, rel=1e-6)
    assert 25 * gpu_step_energy(instance.edge, flop, sms) == pytest.approx(share * joules, rel=1e-6)
    assert "not told from mu2" in notes[0]
    assert document["source"].startswith("ML.ENERGY")


def test_devices_of_a_profile_are_as_fast_as_before_and_take_less() -> None:
    before = PRESETS["small"].sample(0)
    after, _ = calibrated(before, load_profile("a100-mlenergy"))
    old, new = before.devices, after.devices
    time = [i.flop_device / gpu_speed(i.devices, i.devices.sms) for i in (before, after)]
    np.testing.assert_allclose(time[0], time[1])
    took = [gpu_step_energy(i.devices, i.flop_device, i.devices.sms) for i in (before, after)]
    np.testing.assert_allclose(took[1] / took[0], new.energy_coefficient / old.energy_coefficient)
    assert new.energy_coefficient / old.energy_coefficient == pytest.approx(385.587 / 1589.43, rel=1e-4)


def test_profiles_by_name_and_others() -> None:
    assert shipped_profiles() == ("a100-mlenergy", "h100-mlenergy")
    with pytest.raises(
        InputError, match="b100: no such file, and no shipped profile; those are a100-mlenergy, h100-mlenergy"
    ):
        load_profile("b100")


def test_files_that_are_no_measurements(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("model,gpu\na,b\n")
    with pytest.raises(InputError, match="columns missing: batch"):
        energy_profiles.read(tmp_path / "x.csv")
    table = "model,gpu,batch,steps,latency_s,energy_j_per_image,source\na,b,1,25,1,1,c\n"
    (tmp_path / "y.csv").write_text(table)
    with pytest.raises(InputError, match="A100-SXM4-40GB: no row"):
        energy_profiles.profile(energy_profiles.read(tmp_path / "y.csv"), energy_profiles.CARDS[0])


def test_the_report_of_two_instances() -> None:
    records = [record for seed in range(2) for record in energy.measure(seed, 1)]
    of = {(r["seed"], r["variant"], r["scheme"]): r for r in records}
    for seed in range(2):
        assert of[seed, "papers", "his"]["loss"] == pytest.approx(0, abs=1e-9)
        assert of[seed, "a100", "his"]["loss"] > 0.1
        assert of[seed, "a100", "iis"]["energy_j"] < 0.3 * of[seed, "papers", "iis"]["energy_j"]
    text = energy.report(records, 2, 1)
    assert "4,968 J" in text and "1589 W for one A100; ML.ENERGY measured 386 W, 4.1 times less" in text
    with pytest.raises(InputError, match="draws: must be >= 2"):
        energy.Energy(1, 1)
