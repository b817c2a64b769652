from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
from click.testing import CliRunner

from hisopt.experiments.campaigns import two_stage_cost

if TYPE_CHECKING:
    from pathlib import Path


def test_ways_to_clusters_are_held_to_the_optimum_and_a_run_goes_on(tmp_path: Path, solved_here: None) -> None:
    output = tmp_path / "draws.csv"
    arguments = ["--users", "6", "--seeds", "1", "--time-limit", "60", "--output", str(output)]
    first = CliRunner().invoke(two_stage_cost.main, arguments)
    assert first.exit_code == 0, first.output
    (row,) = pd.read_csv(output).to_dict("records")
    assert row["termination"] == "optimal"
    for name in two_stage_cost.CLUSTERINGS:
        assert row[name] <= row["best known"] <= row["bound"] * (1 + 1e-6)
    for name in two_stage_cost.SCHEMES:
        assert not row[f"judged {name}"] > row["bound"] * (1 + 1e-6)  # NaN: more groups than clusters
    before = output.read_text()
    again = CliRunner().invoke(two_stage_cost.main, arguments)
    assert again.exit_code == 0
    assert output.read_text() == before
    assert "| HAC, exact steps |" in again.output
    assert "| proven optimal | 1 of 1 |" in again.output


def test_sizes_that_cannot_be_are_refused() -> None:
    for users in ("x", "0", "1000"):
        assert CliRunner().invoke(two_stage_cost.main, ["--users", users]).exit_code == 2
