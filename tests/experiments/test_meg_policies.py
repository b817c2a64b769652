"""The campaign of learned policies for MEG: records, tables and figure of a run of seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

pytest.importorskip("torch")

from hisopt import Meg, MegInstance
from hisopt.experiments.campaigns import meg_judging, meg_policies, meg_report, meg_training
from hisopt.experiments.papers.experiment import measured
from hisopt.instances import MegChannel
from hisopt.solvers.meg import occupancy
from hisopt.solvers.meg.baselines import thriftiest

if TYPE_CHECKING:
    from pathlib import Path


def test_a_policy_is_judged_by_the_optimum() -> None:
    problem = meg_judging.judging()
    optimum = meg_judging.optimum_of(problem)
    best = occupancy.solve(problem.process)
    assert best is not None and best.policy is not None
    found = meg_judging.exact(problem, best.policy, optimum)
    assert [found[key] for key in ("gap", "violation", "repaired")] == pytest.approx([0, 0, 0], abs=1e-9)
    cheap = meg_judging.exact(problem, thriftiest(problem), optimum)
    assert cheap["gap"] == cheap["repaired"] > 0.1 and cheap["violation"] < -0.1
    dear = np.zeros(problem.shapes["policy"])
    dear[:, -13] = 1.0  # most steps, no merging
    found = meg_judging.exact(problem, dear, optimum)
    assert found["gap"] < 0 < found["repaired"] and found["violation"] == pytest.approx(found["energy"] / 1800 - 1)
    told = meg_judging.simulated(problem, best.policy, seed=1)
    for name, mean in (("latency", 3.0), ("energy", 1800.0)):
        assert abs(told[f"simulated_{name}"] - mean) < 2 * told[f"interval_{name}"] < 0.01 * mean


def test_settings_are_chosen_elsewhere_than_judged() -> None:
    choosing, judging = meg_judging.choosing(), meg_judging.judging()
    assert choosing.instance != judging.instance
    assert meg_training.CHOOSING_SEED not in {cell["seed"] for cell in meg_training.Policies().cells()}
    found = occupancy.solve(choosing.process)
    assert found is not None and (found.multipliers > 0).all()  # both limits bind where settings are chosen
    for name, other in meg_judging.elsewhere().items():
        assert meg_judging.optimum_of(other) > 0, name


def test_records_report_and_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = Meg(
        MegInstance(channel=MegChannel.uniform_distance(4), steps=np.array([4.0, 12.0]), ratios=np.array([0.0, 0.5]))
    )
    monkeypatch.setattr(meg_training, "judging", lambda: small)
    monkeypatch.setattr(meg_training, "elsewhere", lambda: {"same": small})
    methods = ("PPO-Lagrangian", "MEG-CVPO, as published, gamma .97")
    experiment = meg_training.Policies(seeds=2, iterations=6, methods=methods)
    rows = measured(experiment, tmp_path)
    again = experiment.measure({"method": methods[0], "seed": 1})
    row = rows[(rows["method"] == methods[0]) & (rows["seed"] == 1)].iloc[0]
    assert again["reward"] == row["reward"] and again["curve"] == row["curve"]
    assert row["elsewhere"]["same, relative"] == [row["gap"], row["violation"], row["repaired"]]
    assert [point[0] for point in row["curve"]] == [0, 5 * 2048]
    report = meg_report.text(rows, meg_policies.fixed_policies(small), None)
    assert f"| {methods[1]} | " in report and "| same, absolute |" in report and "nan" not in report
    pytest.importorskip("matplotlib")
    assert len(meg_report.drawn(rows).axes[0].lines) == 3
