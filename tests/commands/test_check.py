"""hisopt check: anyone's decision as JSON, its claims, and bad input."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from hisopt import PRESETS, Limits
from hisopt.commands.check import CheckOptions, _check
from hisopt.errors import InputError
from hisopt.instances.files import save
from hisopt.problems import Joint
from hisopt.solvers.clustering.hac import clustered
from hisopt.solvers.joint.exact import JointExact

if TYPE_CHECKING:
    from pathlib import Path

INSTANCE = clustered(PRESETS["small"].sample(0))
PROBLEM = Joint(INSTANCE)
BEST = JointExact().solve(PROBLEM, Limits()).decision


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save(INSTANCE, tmp_path / "i.json")
    return tmp_path


def check(
    folder: Path, document: Any, capsys: pytest.CaptureFixture[str], **options: Any
) -> tuple[int, dict[str, Any]]:
    (folder / "d.json").write_text(document if isinstance(document, str) else json.dumps(document))
    code = _check(CheckOptions(str(folder / "i.json"), str(folder / "d.json"), style="json", **options))
    return code, json.loads(capsys.readouterr().out)


def fields(*left_out: str, **changed: Any) -> dict[str, Any]:
    assert BEST is not None
    return {name: value for name, value in BEST.to_dict().items() if name not in ("clusters", *left_out)} | changed


def test_a_decision_is_evaluated(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert BEST is not None
    code, told = check(folder, fields(), capsys)
    assert (code, told["label"], told["feasible"], told["gap"]) == (0, "joint", True, None)
    assert told["objective"] == PROBLEM.evaluate(BEST).objective
    assert check(folder, fields("steps_device"), capsys)[1]["objective"] == told["objective"]
    code, judged = check(folder, fields(), capsys, solvers=("exact",))
    assert code == 0 and judged["gap"] < 1e-6 and judged["solvers"][0]["termination"] == "optimal"


def test_records_name_their_problem(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert BEST is not None
    record = {"problem": "joint", "decision": BEST.to_dict(), "objective": PROBLEM.evaluate(BEST).objective}
    code, told = check(folder, record, capsys)
    assert (code, told["label"], told["wrong"]) == (0, "joint", [])
    assert check(folder, BEST.to_dict(), capsys)[1]["label"] == "full", (
        "clusters are decided, too, where nothing else is said"
    )
    assert check(folder, BEST.to_dict(), capsys, kinds=("joint",))[1]["label"] == "joint"
    code, told = check(folder, {"clusters": [0] * 10}, capsys, criteria=("mean",), kinds=("clustering",))
    assert (code, told["label"]) == (0, "clustering, mean")


def test_lies_and_broken_constraints_end_with_1(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert BEST is not None
    value = PROBLEM.evaluate(BEST).objective
    assert value is not None
    code, told = check(folder, {"decision": fields(), "objective": value * 1.001}, capsys)
    assert code == 1 and "is claimed, its decision has" in told["wrong"][0]
    code, told = check(folder, {"decision": fields(), "bound": value * 0.9}, capsys)
    assert code == 1 and "lies beyond its own bound" in told["wrong"][0]
    code, told = check(folder, fields(sms=[1e9, 1, 1]), capsys)
    assert code == 1 and not told["feasible"] and any("(28e)" in line for line in told["wrong"])
    code, told = check(folder, fields(sms=[1, 1]), capsys)
    assert (code, told["objective"]) == (1, None)


BAD = {
    "{": "not JSON",
    "{}": "is empty; a decision has clusters",
    '{"steps": [1]}': "steps: unknown field",
    '{"runs": []}': "holds the runs of a whole comparison",
    '{"decision": 3}': "decision: is 3, must be an object",
    '{"clusters": [0.5]}': "clusters: must be a list of whole numbers",
    '{"clusters": [[1], [1, 2]]}': "clusters: must be a list of whole numbers",
    '{"clusters": "abc"}': "clusters: must be a list of whole numbers",
    '{"steps_common": [1]}': "which no problem on this instance decides",
    '{"problem": "knapsack", "decision": {"clusters": [0]}}': "unknown 'knapsack'",
    '{"decision": {"sms": [1, 1, 1], "steps_common": [1], "steps_edge": [1]}, "objective": "x"}': "objective: is 'x'",
}  # fmt: skip


@pytest.mark.parametrize("text", BAD)
def test_what_is_wrong_is_said_in_one_line(text: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError) as caught:
        check(
            folder,
            text,
            capsys,
            criteria=("mean",) if "clusters" in text and "knap" not in text else (),
            kinds=("clustering",) if "clusters" in text and "knap" not in text else (),
        )
    assert BAD[text] in str(caught.value) and "\n" not in str(caught.value)


def test_a_solution_file_needs_its_map(folder: Path) -> None:
    (folder / "s.sol").write_text("# Objective value = 1\nx 1\n")
    with pytest.raises(InputError, match="needs its model's map, and none lies beside it"):
        _check(CheckOptions(str(folder / "i.json"), str(folder / "s.sol")))
    with pytest.raises(InputError, match="No such file"):
        _check(CheckOptions(str(folder / "i.json"), str(folder / "none.json")))
