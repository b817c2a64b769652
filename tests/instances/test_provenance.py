from __future__ import annotations

from dataclasses import fields

import pytest

from hisopt.commands import solve
from hisopt.instances import (
    Gpu,
    IccInstance,
    Instance,
    Latent,
    MegChannel,
    MegInstance,
    PublicPrompt,
    QualityTable,
    Radio,
    StepLimits,
    Weights,
)
from hisopt.instances.common import System
from hisopt.instances.provenance import PARAMETERS, explained
from hisopt.instances.scenario import Scenario

OF = {
    "Scenario": [field.name for field in fields(Scenario)],
    "Instance": list(Instance.model_fields),
    "Gpu (server)": list(Gpu.model_fields),
    "Gpu (device)": list(Gpu.model_fields),
    "IccInstance": [name for name in IccInstance.model_fields if name not in System.model_fields],
    **{
        part.__name__: list(part.model_fields)
        for part in (MegInstance, MegChannel, Radio, Latent, StepLimits, Weights, QualityTable, PublicPrompt)
    },
}


@pytest.mark.parametrize("part", OF)
def test_every_parameter_has_exactly_one_row(part: str) -> None:
    rows = [row.name for row in PARAMETERS if row.part == part]
    assert sorted(rows) == sorted(OF[part])


def test_rows_say_something_and_of_known_parts() -> None:
    assert {row.part for row in PARAMETERS} == set(OF)
    for row in PARAMETERS:
        assert row.whose in ("published", "derived", "ours", "data") and len(row.source) > 3
        if row.whose == "published":
            assert any(word in row.source for word in ("paper", "see ")), row


def test_the_program_prints_them_with_their_values(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["hisopt.solve", "--explain", "parameters"])
    solve.main()
    out = capsys.readouterr().out
    assert out == explained()
    line = next(line for line in out.splitlines() if "w2" in line)
    assert "0.01" in line and "ours" in line
    assert all(row.source in out for row in PARAMETERS)
