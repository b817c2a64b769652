from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pytest
from click.testing import CliRunner

from hisopt.errors import InputError
from hisopt.experiments.papers import table
from hisopt.experiments.papers.__main__ import EXPERIMENTS, command
from hisopt.experiments.papers.experiment import Experiment, measured
from hisopt.experiments.papers.gains import Gains
from hisopt.experiments.papers.items import ITEMS, item
from hisopt.experiments.papers.quality_curves import QualityCurves
from hisopt.experiments.papers.verdicts import Finding, Item, Verdict, interval, judged, numeric

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pandas as pd

README = table.HERE.parents[1] / "README.md"


REVIEW = {  # what a reading of the five documents found to check, in their order, and the rows that answer
    "journal: headline gains": "journal-headline",
    "journal: guidance, Table I": "journal-3 journal-table-1-clip journal-table-1-brisque journal-table-1-speed journal-table-1-npi",
    "journal: NPI": "journal-4-npi",
    "journal: quality curve": "journal-5-shape journal-5-up journal-5-flat",
    "journal: similarities": "journal-8-ideal journal-8-medoid journal-8-extracted journal-8-generated",
    "journal: clustering": "journal-algorithm-1 journal-26",
    "journal: learner": "journal-settings journal-15",
    "journal: schemes": "journal-schemes journal-iis-clusters",
    "journal: gains": "journal-10-ppgfis journal-10-cfis journal-10-iis journal-12",
    "journal: SM ranges": "journal-11a-his journal-11a-ppgfis journal-11a-cfis journal-11a-iis journal-11b-his journal-11b-ppgfis "
    "journal-11b-cfis journal-11b-iis journal-11-order",
    "journal: number of clusters": "journal-13-interior journal-13-best",
    "journal: groupings": "journal-14-semantic journal-14-order",
    "journal: allocation": "journal-16-paper journal-16-imbalanced journal-16-utility journal-footnote-6",
    "journal: weights": "journal-17-quality journal-17-delay_s journal-17-energy_j",
    "journal: case study": "journal-18-third journal-18-mismatch journal-18-images",
    "journal: Table II": "journal-table-2-xi journal-table-2-power journal-distance",
    "journal: misprints": "journal-28 journal-33 journal-34 journal-37 journal-table-1-latency",
    "conference: model": "conference-preset conference-groups conference-settings",
    "conference: quality curve": "conference-3-start conference-3-floor",
    "conference: learner": "conference-4b",
    "conference: weights": "conference-4a-quality conference-4a-delay_s conference-4a-energy_j",
    "conference: gains": "conference-5-ppgfis conference-5-gfis conference-5-iis",
    "magazine: figures": "magazine-3 magazine-4 magazine-5-sfif magazine-5-cfif magazine-5-clif",
    "magazine: work": "magazine-table-1-semct magazine-table-1-sfif magazine-table-1-cfif magazine-table-1-clif",
    "magazine: taxonomy, energy": "magazine-uniform magazine-cached magazine-energy",
    "code": "code-intermediate code-grid code-scores",
    "abstract": "abstract-problem abstract-centralised abstract-saving abstract-cvpo abstract-learners abstract-units",
    "card": "card-full-whole card-devices",
    "parameters": "provenance",
    "all together": "calibration-all calibration-rest calibration-gains calibration-ranges calibration-iis-pair calibration-iis-gain "
    "calibration-parameters calibrated-10-ppgfis calibrated-10-cfis calibrated-10-iis",
    "ours": "dominance-clusters dominance-similarities dominance-optimum energy-order trees-exact trees-large abstract-cvpo-corrected",
}


def test_every_point_of_the_review_has_rows_and_every_row_a_point() -> None:
    answered = [key for keys in REVIEW.values() for key in keys.split()]
    assert len(set(answered)) == len(answered)
    assert set(answered) == {one.key for one in ITEMS}


def test_every_item_has_one_judge() -> None:
    assert len({one.key for one in ITEMS}) == len(ITEMS)
    names = {experiment.name for experiment in EXPERIMENTS}
    assert len(names) == len(EXPERIMENTS)
    for one in ITEMS:
        assert (one.by in names) != (one.verdict is not None and bool(one.reason)), one.key
    assert names == {one.by for one in ITEMS} - {""}


@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=lambda one: one.name)
def test_an_experiment_judges_its_items_and_draws(experiment: type[Experiment], tmp_path: Path) -> None:
    quick = experiment.quick()
    rows = measured(quick, tmp_path)
    found = list(quick.findings(rows))
    assert sorted(one.item for one in found) == sorted(one.key for one in ITEMS if one.by == experiment.name)
    assert all(one.ours and one.reason for one in found)
    quick.figure(rows)
    assert (quick.report(rows) or "# ").startswith("# ")


def test_the_table_has_every_item_and_says_what_was_found() -> None:
    findings = table.read(table.HERE / "verdicts.json")
    lacking = [one.key for one in ITEMS if one.by and one.key not in findings]
    assert not lacking, "run python -m hisopt.experiments.papers --publish"
    assert (table.HERE / "VERDICTS.md").read_text() == table.markdown(findings)
    assert table.markdown(findings).count("\n| ") == len(ITEMS) + 1


def test_the_readme_says_what_the_verdicts_say() -> None:
    text = README.read_text()
    said = table.sentence(table.read(table.HERE / "verdicts.json"))
    assert table.with_sentence(text, said) == text, "run python -m hisopt.experiments.papers --publish"
    with pytest.raises(InputError, match="lacks the markers"):
        table.with_sentence("no markers", said)


def test_publishing_changes_the_sentence_and_keeps_other_findings(tmp_path: Path) -> None:
    (tmp_path / "experiments" / "papers").mkdir(parents=True)
    (tmp_path / "README.md").write_text(f"before\n{table.BEGIN}\nstale\n{table.END}\nafter\n")
    first, second = (one for one in ITEMS if one.by == "gains" and "10" in one.key and one.key != "journal-10-iis")
    for one in (first, second):
        table.publish(
            {one.key: Finding(one.key, "1", "0", Verdict.REPRODUCED, "for a test")}, {"A.md": "# A\n"}, tmp_path
        )
    assert list(table.read(tmp_path / "experiments" / "papers" / "verdicts.json")) == [first.key, second.key]
    text = (tmp_path / "README.md").read_text()
    assert "2 reproduced" in text
    assert (tmp_path / "experiments" / "papers" / "A.md").read_text() == "# A\n"
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "stale" not in text
    with pytest.raises(InputError, match="no checkout"):
        table.publish({}, {}, tmp_path / "experiments")


def test_words_of_verdicts() -> None:
    assert [judged(mean, 1.0, 10.0) for mean in (10.9, 9.1, 10.1, 12.0, -3.0)] == [
        "reproduced", "reproduced", "reproduced", "direction only", "refuted",
    ]  # fmt: skip
    assert [judged(mean, 1.0, 900.0, 1400.0) for mean in (1300.0, 1450.0)] == ["direction only", "refuted"]
    mean, half = interval([1.0, 2.0, 3.0, 4.0])
    assert (mean, half) == (2.5, pytest.approx(3.182 * np.sqrt(5 / 3) / 2, rel=1e-3))
    found = numeric(Item("a", "journal", "of a thing", 4.0, " %"), [1.0, 2.0, 3.0], "for a test")
    assert (found.ours, found.difference, found.verdict) == ("2.0 ± 2.5 %", "-2.0", Verdict.REPRODUCED)


class Counting(Experiment):
    name: ClassVar[str] = "counting"
    measured: ClassVar[list[int]] = []
    stop_at: ClassVar[int] = 99

    def cells(self) -> list[dict[str, Any]]:
        return [{"seed": seed} for seed in range(4)]

    def measure(self, cell: dict[str, Any]) -> dict[str, Any]:
        if cell["seed"] == self.stop_at:
            raise KeyboardInterrupt
        self.measured.append(cell["seed"])
        return {"value": 10 * cell["seed"]}

    def findings(self, rows: pd.DataFrame) -> Iterator[Finding]:
        yield from ()


def test_what_was_measured_before_a_kill_is_not_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Counting.measured.clear()
    monkeypatch.setattr(Counting, "stop_at", 2)
    with pytest.raises(KeyboardInterrupt):
        measured(Counting(), tmp_path)
    (segment,) = tmp_path.glob("*.jsonl")
    segment.write_bytes(segment.read_bytes() + b'{"key": "half')  # as if killed while writing
    monkeypatch.setattr(Counting, "stop_at", 99)
    rows = measured(Counting(), tmp_path)
    assert Counting.measured == [0, 1, 2, 3]
    assert rows["value"].tolist() == [0, 10, 20, 30]
    assert rows["seed"].tolist() == [0, 1, 2, 3]


def test_two_processes_measure_what_one_does(tmp_path: Path) -> None:
    columns = ["modules", "curves"]
    alone = measured(QualityCurves(), tmp_path / "one")[columns]
    assert measured(QualityCurves(), tmp_path / "two", jobs=2)[columns].equals(alone)


def test_the_command_writes_records_figures_and_the_table(tmp_path: Path) -> None:
    run = CliRunner().invoke(command, ["--only", "quality-curves", "--quick", "--records", str(tmp_path)])
    assert run.exit_code == 0, run.output
    assert (tmp_path / "VERDICTS.md").read_text() in run.output
    for suffix, start in (("svg", b"<?xml"), ("pdf", b"%PDF")):
        assert (tmp_path / "figures" / f"quality-curves.{suffix}").read_bytes().startswith(start)
    rows = json.loads((tmp_path / "verdicts.json").read_text())
    assert {row["item"] for row in rows} == {one.key for one in ITEMS if one.by == "quality-curves"}
    assert item("journal-5-up").claim in run.output


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--only", "nothing"], "no experiment 'nothing'"),
        (["--jobs", "0"], "--jobs: is 0"),
        (["--quick", "--publish"], "takes a full run"),
    ],
)
def test_bad_input_is_refused(options: list[str], said: str, tmp_path: Path) -> None:
    run = CliRunner().invoke(command, [*options, "--records", str(tmp_path / "records")])
    assert isinstance(run.exception, InputError)
    assert said in str(run.exception)


def test_no_sharing_runs_every_step_and_records_are_the_same_again() -> None:
    quick = Gains.quick()
    first = quick.measure({"seed": 0})
    assert first["steps_iis"] == 1400
    assert quick.measure({"seed": 0}) == first
    with pytest.raises(InputError, match="draws"):
        Gains(draws=1)
