"""Tables that fit where they are read."""

from __future__ import annotations

import pytest

from hisopt import PRESETS, Termination
from hisopt.commands.render import to_csv, to_latex
from hisopt.commands.request import Setting
from hisopt.commands.tables import to_table, width_and_charset
from hisopt.problems import Clustering
from hisopt.result import SolutionStatus
from hisopt.solvers.clustering.hac import Hac
from hisopt.solvers.clustering.pairs import PairsHighs
from hisopt.solvers.joint.local_search import LocalSearch
from hisopt.solvers.run.runner import Run

INSTANCE = PRESETS["paper"].sample(0)
PROBLEM = Clustering.of(INSTANCE, "mean")
RUNS = [
    Run(PROBLEM, Hac(), Termination.COMPLETED, SolutionStatus.FEASIBLE, 4.9830975, None, None, 0.003),
    Run(PROBLEM, PairsHighs(), Termination.NUMERICAL_ERROR, SolutionStatus.FEASIBLE, 5.0245256, 5.1, 0.0148, 1.525),
    Run(PROBLEM, LocalSearch(), Termination.CRASHED, message="broke [off]"),
    Run(PROBLEM, PairsHighs(), Termination.OPTIMAL, SolutionStatus.FEASIBLE, 5.2, 5.1, 0.02, 1.5, refuted=("wrong",)),
]
RESULTS = [(Setting(INSTANCE, "paper", True, 7), RUNS)]
HEADING = f"preset paper: N = 50 users, M = 3 clusters, seed 7, hash {INSTANCE.content_hash}"


@pytest.mark.parametrize("width", [80, 100, 109, 110, 200])
def test_no_line_is_longer_than_the_terminal(width: int) -> None:
    text = to_table(RESULTS, width, colour=False, ascii_only=False)
    assert max(map(len, text.splitlines())) <= width
    assert text.startswith(HEADING[:width])
    assert "…" not in text
    for word in ("hac", "pairs-highs", "numerical_error", "4.9830975", "REFUTED", "broke [off]", "to best bound"):
        assert word in text
    assert ("heuristic" in text) == (width >= 110)
    assert ("best bound 5.2" in text) == (width < 110)


def test_the_columns_are_explained() -> None:
    text = " ".join(to_table(RESULTS, 120, colour=False, ascii_only=False).split())
    for word in ("gap: ", "to best bound: ", "checked: "):
        assert word in text


def test_ascii_terminals_get_ascii() -> None:
    assert "─" in to_table(RESULTS, 80, colour=False, ascii_only=False)
    assert to_table(RESULTS, 80, colour=False, ascii_only=True).isascii()
    assert to_table(RESULTS, 120, colour=True, ascii_only=True).isascii()


@pytest.mark.parametrize(
    ("variables", "plain"),
    [
        ({"LANG": "C"}, True),
        ({"LANG": "en_US.UTF-8", "LC_ALL": "POSIX"}, True),
        ({"LANG": "en_US.UTF-8"}, False),
        ({}, False),
    ],
)
def test_the_c_locale_means_ascii(
    variables: dict[str, str], plain: bool, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for name in ("LANG", "LC_ALL", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert width_and_charset(to_file=False)[2] == plain
    assert width_and_charset(to_file=True) == (120, False, False)


def test_rows_say_which_instance() -> None:
    lines = to_csv(RESULTS).splitlines()
    assert lines[0].startswith("preset,users,max_clusters,seed,hash,problem,")
    assert len(lines) == 1 + len(RUNS)
    assert all(line.startswith(f"paper,50,3,7,{INSTANCE.content_hash},clustering,mean,") for line in lines[1:])
    assert to_csv([]) == "\n"
    assert HEADING in to_latex(RESULTS)
    given = Setting(INSTANCE, "mine.json", False, 0)
    assert given.place["preset"] is None
    assert given.heading.startswith("mine.json: N = 50 users")
