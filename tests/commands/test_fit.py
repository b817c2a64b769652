"""HIQM's coefficients: planted ones are found again, the shipped table from the published scores."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from hisopt.commands import solve
from hisopt.commands.fit import BINS, fit, fit_bin, hiqm, main, nearest_bin, read
from hisopt.diffusion.quality_table import load_quality
from hisopt.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    Call = Callable[..., subprocess.CompletedProcess[str]]

PUBLISHED = Path(__file__).resolve().parents[3] / "shared" / "data"


def planted(noise: float = 0.0) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows = []
    for flag, similarity in ((f, s) for f in (0, 1) for s in BINS):
        for steps in range(28):
            score = hiqm(
                np.array([float(steps)]), 0.3 - 0.2 * similarity, 0.2 + 0.05 * flag, 15.0 + flag, similarity / 5
            )
            rows.append((similarity, flag, steps, score[0] + noise * rng.normal()))
    return pd.DataFrame(rows, columns=["similarity", "sim_npi", "common_steps", "clip_score"])


def test_planted_coefficients_are_found() -> None:
    for name, flag in (("with_modules", 1), ("without_modules", 0)):
        for row in fit(planted())[name]:
            s = row["similarity"]
            np.testing.assert_allclose(
                row["coefficients"], [0.3 - 0.2 * s, 0.2 + 0.05 * flag, 15 + flag, s / 5], rtol=1e-6
            )
            assert row["rmse"] < 1e-9


def test_standard_errors_are_those_of_repeated_draws() -> None:
    steps, rng = np.repeat(np.arange(28.0), 4), np.random.default_rng(1)
    true, found, errors = (0.2, 0.3, 15.0, 0.1), [], []
    for _ in range(200):
        row = fit_bin(steps, hiqm(steps, *true) + 0.01 * rng.normal(size=len(steps)))
        found.append(row["coefficients"])
        errors.append(row["standard_errors"])
    np.testing.assert_allclose(np.std(found, axis=0), np.mean(errors, axis=0), rtol=0.2)


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="the published scores are not beside the checkout")
def test_the_shipped_table_comes_from_the_published_scores() -> None:
    found = fit(read(str(PUBLISHED / "hiqm_means.csv"), None))
    shipped = json.loads((Path(__file__).parents[2] / "hisopt" / "data" / "hiqm.json").read_text())
    for name in ("with_modules", "without_modules"):
        np.testing.assert_allclose([row["coefficients"] for row in found[name]], shipped[name], atol=1e-4)


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="the published scores are not beside the checkout")
def test_single_scores_and_a_similarity_matrix() -> None:
    table = read(str(PUBLISHED / "clip_scores.csv.gz"), str(PUBLISHED / "prompt_similarity.csv"), modules=False)
    assert len(table) == 27_104
    rows = fit(table)["without_modules"]
    assert [row["similarity"] for row in rows] == list(BINS)
    assert all(np.isfinite(row["standard_errors"]).all() for row in rows)
    near = nearest_bin(table["similarity"].to_numpy(), BINS) == 4
    here = table[near]
    pairs = here.groupby(["public", "personal"]).ngroup().to_numpy()
    steps, scores = here["common_steps"].to_numpy(float), here["clip_score"].to_numpy(float)
    assert rows[4]["pairs"] == len(np.unique(pairs)) == 114
    drawn = bootstrap(steps, scores, pairs, 60)
    np.testing.assert_allclose(rows[4]["standard_errors"], drawn, rtol=0.35)
    independent = fit_bin(steps, scores)["standard_errors"]
    assert drawn[3] > 2 * independent[3]  # what taking rows as independent would say


def bootstrap(
    steps: np.ndarray, scores: np.ndarray, pairs: np.ndarray, draws: int
) -> np.ndarray:  # of the coefficients, by drawing whole pairs
    rng, members = np.random.default_rng(0), [np.flatnonzero(pairs == pair) for pair in np.unique(pairs)]
    found = []
    for _ in range(draws):
        rows = np.concatenate([members[i] for i in rng.integers(len(members), size=len(members))])
        found.append(fit_bin(steps[rows], scores[rows])["coefficients"])
    return np.std(found, axis=0)


def correlated(seed: int, pairs: int = 40) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores of pairs whose whole curve is higher or lower, and drops earlier or later."""
    rng = np.random.default_rng(seed)
    steps, label = np.tile(np.repeat(np.arange(28.0), 2), pairs), np.repeat(np.arange(pairs), 56)
    up, later = 0.02 * rng.normal(size=pairs)[label], rng.normal(size=pairs)[label]
    scores = hiqm(steps - later, 0.2, 0.3, 15.0, 0.1) + up + 0.01 * rng.normal(size=len(steps))
    return steps, scores, label


def test_standard_errors_of_correlated_scores_are_those_of_repeated_draws() -> None:
    found, errors, independent = [], [], []
    for seed in range(120):
        steps, scores, pairs = correlated(seed)
        row = fit_bin(steps, scores, pairs)
        found.append(row["coefficients"])
        errors.append(row["standard_errors"])
        independent.append(fit_bin(steps, scores)["standard_errors"])
    true = np.std(found, axis=0)
    np.testing.assert_allclose(np.mean(errors, axis=0)[2:], true[2:], rtol=0.2)  # B and G, which pairs differ in
    assert (true[2:] > 1.3 * np.mean(independent, axis=0)[2:]).all()


def test_a_bootstrap_over_pairs_agrees() -> None:
    steps, scores, pairs = correlated(0)
    np.testing.assert_allclose(
        fit_bin(steps, scores, pairs)["standard_errors"], bootstrap(steps, scores, pairs, 150), rtol=0.3
    )


def test_the_columns_of_prompts_make_the_pairs() -> None:
    steps, scores, pairs = correlated(1, pairs=6)
    table = pd.DataFrame(
        {
            "similarity": 0.4,
            "sim_npi": 1,
            "common_steps": steps,
            "clip_score": scores,
            "public": pairs // 3,
            "personal": pairs % 3,
        }
    )
    (row,) = fit(table)["with_modules"]
    assert row["pairs"] == 6
    assert row["standard_errors"] == fit_bin(steps, scores, pairs)["standard_errors"]
    one = table[table["public"] + table["personal"] == 0]
    with pytest.raises(InputError, match=r"similarity 0\.4, with modules: fewer than two pairs"):
        fit(one)


def test_the_command_writes_a_table_and_a_figure(tmp_path: Path, call: Call) -> None:
    planted(0.002).to_csv(tmp_path / "scores.csv", index=False)
    command = [sys.executable, "-m", "hisopt.fit", "scores.csv", "--output", "hiqm.json", "--figure", "residuals.svg"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    assert "with modules" in done.stdout
    assert (tmp_path / "residuals.svg").read_text().startswith("<?xml")
    assert done.stderr == ""
    written = json.loads((tmp_path / "hiqm.json").read_text())
    for modules, name in ((True, "with_modules"), (False, "without_modules")):
        table, taken = load_quality(tmp_path / "hiqm.json", modules)
        assert taken is modules
        assert table.coefficients.tolist() == written[name]
    solved = call(solve.main, "--quality", "hiqm.json", "--problem", "joint", "--solver", "greedy", "--format", "json")
    assert solved.returncode == 0
    assert "quality with modules from hiqm.json" in solved.stderr
    assert json.loads(solved.stdout)["instance"]["quality"]["coefficients"] == written["with_modules"]


def test_a_file_with_one_kind_of_scores_gives_that(tmp_path: Path, call: Call) -> None:
    scores = planted(0.002)
    scores[(scores["sim_npi"] == 0) & (scores["similarity"] < 0.45)].drop(columns="sim_npi").to_csv(
        tmp_path / "scores.csv", index=False
    )
    done = call(main, "scores.csv", "--modules", "without", "--output", "hiqm.json")
    assert done.returncode == 0, done.stderr
    assert "without modules" in done.stdout and "\nwith modules" not in done.stdout
    assert "take scores as independent" in done.stdout
    table, taken = load_quality(tmp_path / "hiqm.json", modules=True)
    assert not taken
    assert table.similarity.tolist() == [0.2, 0.3, 0.4]


def test_scores_in_no_bin_are_counted(tmp_path: Path, call: Call) -> None:
    scores = planted(0.002)
    extra = scores.head(7).assign(similarity=0.9)
    pd.concat([scores, extra]).to_csv(tmp_path / "scores.csv", index=False)
    done = call(main, "scores.csv")
    assert done.returncode == 0
    assert done.stderr == (
        "note: 7 of 343 scores are left out: their similarity is in no bin of 0.2, 0.3, 0.4, 0.5, 0.6, 0.7\n"
    )
    assert call(main, "scores.csv", "--bins", "0.2,0.4,0.6,0.8,0.9").stderr.startswith("hisopt.fit: similarity 0.8")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not JSON"),
        ("{}", "no quality table; write one by hisopt.fit --output"),
        ('{"similarity": [0.2], "with_modules": [[1, 1, 1, 1]]}', "needs two or more increasing values"),
        ('{"similarity": [0.2, 0.3], "with_modules": [[1, 1, 1]]}', "with_modules: "),
        ('{"similarity": ["x", 0.3], "with_modules": [[1, 1, 1, 1], [1, 1, 1, 1]]}', "similarity: "),
    ],
)
def test_bad_quality_tables(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "q.json").write_text(text)
    with pytest.raises(InputError, match=words) as error:
        load_quality(tmp_path / "q.json")
    assert str(error.value).startswith(str(tmp_path / "q.json")) and "\n" not in str(error.value)
    with pytest.raises(InputError, match="No such file"):
        load_quality(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not a CSV"),
        ("a,b\n1,2\n", "common_steps"),
        ("similarity,common_steps,clip_score,sim_npi\n0.2,1,x,1\n", "line 2: clip_score: 'x'"),
        ("similarity,common_steps,clip_score,sim_npi\n0.2,1,0.3,1\n", "similarity 0.2, with modules: fewer than five"),
        ("similarity,common_steps,clip_score,sim_npi\n0.9,1,0.3,1\n", "no similarity is near 0.2, 0.3"),
        ("similarity,common_steps,clip_score,sim_npi\n0.2,1,0.3,2\n", "line 2: sim_npi: is 2, must be 0 or 1"),
        (
            "similarity,common_steps,clip_score\n0.2,1,0.3\n",
            "sim_npi: missing; give --modules with or --modules without",
        ),
        ("public,personal,common_steps,clip_score\n0,0,1,0.3\n", "give --similarity"),
    ],
)
def test_bad_input_is_one_line(tmp_path: Path, text: str, words: str, call: Call) -> None:
    (tmp_path / "scores.csv").write_text(text)
    done = call(main, "scores.csv")
    assert done.returncode == 2
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


def test_prompts_outside_the_matrix(tmp_path: Path) -> None:
    (tmp_path / "scores.csv").write_text("public,personal,common_steps,clip_score\n0,5,1,0.3\n")
    (tmp_path / "matrix.csv").write_text("1,0.5\n0.5,1\n")
    with pytest.raises(InputError, match="line 2: prompt outside the 2 x 2"):
        read(str(tmp_path / "scores.csv"), str(tmp_path / "matrix.csv"), modules=True)


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        (["--modules", "with"], "--modules: scores.csv has a column sim_npi"),
        (["--bins", "0.2,x"], "--bins: '0.2,x' are not numbers"),
        (["--bins", "0.5,0.2"], "--bins: 0.5,0.2 do not increase"),
        (["--bins", "0.4", "--output", "x.json"], "--output: a quality table has two bins or more"),
    ],
)
def test_bad_options_are_one_line(tmp_path: Path, extra: list[str], words: str, call: Call) -> None:
    planted(0.002).to_csv(tmp_path / "scores.csv", index=False)
    done = call(main, "scores.csv", *extra)
    assert done.returncode == 2
    assert words in done.stderr and done.stderr.count("\n") == 1
