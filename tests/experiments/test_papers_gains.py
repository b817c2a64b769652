from __future__ import annotations

import pytest

from hisopt.experiments.papers.gains import Config, Verdict, verdicts


def test_words_of_verdicts() -> None:
    words = [Verdict("", 10.0, mean, 1.0, "").word for mean in (10.9, 9.1, 12.0, -3.0)]
    assert words == ["reproduced", "reproduced", "direction only", "refuted"]


def test_no_sharing_runs_every_step_and_rows_are_the_same_again() -> None:
    rows = verdicts(Config(2, 1))
    found = {row.item: row for row in rows}
    assert len(found) == 11
    row = found["magazine, Table 1: steps of iis"]
    assert (row.mean, row.half, row.word) == (pytest.approx(1400), 0.0, "reproduced")
    assert verdicts(Config(2, 1)) == rows


def test_steps_that_are_not_fewer_refute_a_saving() -> None:
    assert [Verdict("", 900.0, mean, 1.0, "", 1400.0).word for mean in (1300.0, 1450.0)] == [
        "direction only",
        "refuted",
    ]
