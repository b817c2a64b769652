"""The trade-offs of MEG: bins that enclose the optimum without bins, the front, and the saving over centralised generation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from click.testing import CliRunner

from hisopt.diffusion import flops
from hisopt.experiments.campaigns import meg_binning, meg_centralised, meg_front
from hisopt.experiments.campaigns.meg_tradeoffs import command
from hisopt.instances import MegInstance

if TYPE_CHECKING:
    from pathlib import Path


def test_bins_enclose_the_optimum_of_finer_ones() -> None:
    levels = list(meg_binning.refined(meg_binning.independent, 1e-5, 64, enclosed=True))
    finest = meg_binning.optimum(meg_binning.independent(512))
    moves = [level.move for level in levels[1:]]
    assert moves == sorted(moves, reverse=True) and moves[-1] < 1e-5
    for level in levels:
        assert level.low is not None and level.high is not None
        assert level.low < finest < level.high
    assert levels[-1].high - levels[-1].low < (levels[0].high - levels[0].low) / 3  # type: ignore[operator]


def test_a_discount_from_the_farthest_quarter_is_worse_than_the_average() -> None:
    values = [level.optimum for level in meg_binning.refined(meg_binning.discounted, 1e-12, 32)]
    assert len(values) == 3
    assert abs(values[2] - values[1]) < abs(values[1] - values[0])
    assert values[2] < meg_binning.optimum(meg_binning.independent(32)) - 0.01


def test_the_front_rises_with_both_limits_as_its_prices_say() -> None:
    values, prices = meg_front.front(np.array([0.5, 2.0, 2.001]), np.array([1400.0, 1400.5]))
    assert np.isnan(values[0]).all() and (np.diff(values[1:], axis=0) >= 0).all() and (np.diff(values[1:]) >= 0).all()
    assert values[2, 0] - values[1, 0] == pytest.approx(0.001 * prices[0, 1, 0], rel=0.02)


@pytest.mark.parametrize("ratio", [0.0, 0.75])
@pytest.mark.parametrize("steps", meg_centralised.STEPS)
def test_the_saving_is_forty_per_cent_at_the_bits_and_the_band_that_are_told(steps: float, ratio: float) -> None:
    instance = MegInstance(seconds_base=0.3)
    bits = meg_centralised.needed_bits(instance, steps, ratio)
    assert meg_centralised.saved(instance, steps, ratio, bits) == pytest.approx(0.4, abs=1e-12)
    assert meg_centralised.saved(instance, steps, ratio, 1.01 * bits) > 0.4
    for size in (24 * 1024**2, 3 * 1024**2):
        band = meg_centralised.widest_band_hz(instance, steps, ratio, size)
        wide = instance.replace(bandwidth_hz=band)
        assert meg_centralised.saved(wide, steps, ratio, size) == pytest.approx(0.4, abs=1e-12)
    assert meg_centralised.widest_band_hz(instance, steps, 0.0, 1024**2) == 0.0


def test_the_fastest_policy_of_a_quality() -> None:
    """At the quality of the best action nothing is faster; at that of another, mixing with other actions is."""
    instance = MegInstance()
    best = -np.log(instance.errors[-1, 0])
    assert meg_centralised.fastest(instance, best) == pytest.approx(
        meg_centralised.mean_latency(instance, 12.0, 0.0), rel=1e-9
    )
    middle = -np.log(instance.errors[4, 0])
    assert meg_centralised.fastest(instance, middle) < meg_centralised.mean_latency(instance, 8.0, 0.0) - 0.05


def test_other_resolutions_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A forward pass with and one without the prompt, at the resolution asked for; a token for 16 x 16 pixels."""
    monkeypatch.setattr(flops, "denoiser", lambda config, side, *rest: flops.Count(side, 0, 0, 1))
    monkeypatch.setattr(flops, "vae_decoder", lambda config, side, *rest: flops.Count(10 * side, 0, 0, 1))
    found = meg_centralised.at_resolution(512)
    assert (found.tokens, found.flop_step, found.flop_decode) == (1024, 2 * 512, 10 * 512)
    assert meg_centralised.at_resolution(1024) == MegInstance()


def test_the_command_writes_report_and_figure(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    done = CliRunner().invoke(
        command, ["--quick", "--output", str(tmp_path / "r.md"), "--figure", str(tmp_path / "front")]
    )
    assert done.exit_code == 0, done.exception
    assert (tmp_path / "r.md").read_text() == done.output
    assert "| 1024 | 12 | 13.52, 10.47 | 3.818 | 2.821 |" in done.output and "93.1%" in done.output
    assert (tmp_path / "front.svg").read_text().startswith("<?xml") and (tmp_path / "front.pdf").read_bytes()[
        :4
    ] == b"%PDF"
