"""HIQM's coefficients: planted ones are found again, the shipped table from the published scores."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hisopt.errors import InputError
from hisopt.fit import BINS, fit, fit_bin, hiqm, read

PUBLISHED = Path(__file__).resolve().parents[2] / "shared" / "data"


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
    shipped = json.loads((Path(__file__).parents[1] / "hisopt" / "data" / "hiqm.json").read_text())
    for name in ("with_modules", "without_modules"):
        np.testing.assert_allclose([row["coefficients"] for row in found[name]], shipped[name], atol=1e-4)


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="the published scores are not beside the checkout")
def test_single_scores_and_a_similarity_matrix() -> None:
    table = read(str(PUBLISHED / "clip_scores.csv.gz"), str(PUBLISHED / "prompt_similarity.csv"))
    assert len(table) == 27_104
    rows = fit(table)["with_modules"]
    assert [row["similarity"] for row in rows] == list(BINS)
    assert all(np.isfinite(row["standard_errors"]).all() for row in rows)


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hisopt.fit", *arguments], capture_output=True, text=True, cwd=cwd, check=False
    )


def test_the_command_writes_a_table_and_a_figure(tmp_path: Path) -> None:
    planted(0.002).to_csv(tmp_path / "scores.csv", index=False)
    done = run("scores.csv", "--output", "hiqm.json", "--figure", "residuals.svg", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "with modules" in done.stdout
    from hisopt.instance import QualityTable

    written = json.loads((tmp_path / "hiqm.json").read_text())
    QualityTable(similarity=written["similarity"], coefficients=written["with_modules"])
    assert (tmp_path / "residuals.svg").read_text().startswith("<?xml")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not a CSV"),
        ("a,b\n1,2\n", "common_steps"),
        ("similarity,common_steps,clip_score\n0.2,1,x\n", "line 2: clip_score: 'x'"),
        ("similarity,common_steps,clip_score\n0.2,1,0.3\n", "similarity 0.2, with modules: fewer than five"),
        ("public,personal,common_steps,clip_score\n0,0,1,0.3\n", "give --similarity"),
    ],
)
def test_bad_input_is_one_line(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "scores.csv").write_text(text)
    done = run("scores.csv", cwd=tmp_path)
    assert done.returncode == 2
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


def test_prompts_outside_the_matrix(tmp_path: Path) -> None:
    (tmp_path / "scores.csv").write_text("public,personal,common_steps,clip_score\n0,5,1,0.3\n")
    (tmp_path / "matrix.csv").write_text("1,0.5\n0.5,1\n")
    with pytest.raises(InputError, match="line 2: prompt outside the 2 x 2"):
        read(str(tmp_path / "scores.csv"), str(tmp_path / "matrix.csv"))
