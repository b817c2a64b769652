"""The measuring program, whole, on models of a few thousand random parameters."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
import torch
from tiny_models import save_tiny_clip, tiny_sd3

from hisopt.commands.fit import fit, read
from hisopt.errors import InputError
from hisopt.experiments.campaigns import quality
from hisopt.experiments.campaigns.quality import (
    COLUMNS,
    Conditions,
    Group,
    clip_judge,
    measure,
    pairs_by_similarity,
    to_csv,
)
from hisopt.experiments.campaigns.records import Store
from hisopt.text import corpus
from hisopt.text.corpus import Corpus, unit_rows

if TYPE_CHECKING:
    from pathlib import Path

CORPUS = Corpus(
    ("a red cat", "the blue dog", "some bird"),
    ("", "", ""),
    ("blur", "", ""),
    unit_rows(np.array([[3, 1], [2, 2], [1, 3.0]])),
)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    (folder / "words").mkdir()
    tiny_sd3(folder / "words").save_pretrained(folder / "sd3")
    save_tiny_clip(folder / "clip")
    return folder


@pytest.fixture(autouse=True)
def stand_in_for_piq(monkeypatch: pytest.MonkeyPatch) -> None:
    """BRISQUE's weights are not on a machine without a network; what it is given is checked here."""

    def brisque(pixels: torch.Tensor, data_range: float) -> torch.Tensor:
        assert pixels.shape[:2] == (1, 3) and pixels.dtype == torch.float32
        assert pixels.min() >= 0 and pixels.max() <= data_range == 1.0
        assert pixels.var() > 0, "an image of one colour"
        return 100 * pixels.mean()

    piq = ModuleType("piq")
    piq.brisque = brisque  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "piq", piq)


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["quality", *arguments])
    quality.main()


def arguments(models: Path, tmp_path: Path) -> list[str]:
    return [
        "--model", str(models / "sd3"), "--clip", str(models / "clip"), "--pairs", "1", "--bins", "0.2,0.6", "--steps", "5",
        "--every", "2", "--seeds", "2", "--device", "cpu", "--dtype", "float32", "--records", str(tmp_path / "records"),
        "--output", str(tmp_path / "scores.csv"),
    ]  # fmt: skip


def test_scores_are_measured_resumed_and_read_by_fit(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, *arguments(models, tmp_path), "--images", str(tmp_path / "images"))
    printed = capsys.readouterr()
    assert "24 scores, 24 of them new" in printed.out
    assert "image 24 of 24" in printed.err and "s left" in printed.err
    whole = (tmp_path / "scores.csv").read_text()
    table = read(str(tmp_path / "scores.csv"), None)
    assert tuple(table.columns) == COLUMNS
    assert set(table["common_steps"]) == {0, 2, 4} and set(table["sim_npi"]) == {0, 1} and set(table["seed"]) == {0, 1}
    assert table["clip_score"].between(-1, 1).all() and table["clip_score"].nunique() > 12
    assert table["brisque"].between(0, 100).all()
    assert (table.groupby(["public", "personal"])["similarity"].nunique() == 1).all()
    assert (np.abs(table["similarity"].to_numpy()[:, None] - [0.2, 0.6]).min(axis=1) <= 0.2).all()
    assert len(list((tmp_path / "images").glob("*.png"))) == 24

    for file in sorted((tmp_path / "records").glob("*.json"))[::3]:
        file.unlink()
    run(monkeypatch, *arguments(models, tmp_path))
    assert "24 scores, 8 of them new" in capsys.readouterr().out
    again = pd.read_csv(tmp_path / "scores.csv")
    pd.testing.assert_frame_equal(again, pd.read_csv(tmp_path / "scores.csv"))
    assert (tmp_path / "scores.csv").read_text() == whole


def test_a_kill_loses_no_scored_image(models: Path, tmp_path: Path) -> None:
    store = Store(tmp_path)
    groups = [Group(0, 1, 0, True, (0, 1, 2, 3))]
    conditions = Conditions("m", "c", 5, None, "float32", 7.0)

    def pipe() -> Any:
        return quality.hybrid_pipeline(str(models / "sd3"), "cpu", "float32")

    killed = measure(CORPUS, groups, conditions, store, pipe, lambda: clip_judge(str(models / "clip"), "cpu"))
    seen = [next(killed), next(killed)]
    killed.close()
    assert len(list(tmp_path.glob("*.json"))) == 2

    scored: list[str] = []

    def count(image: Any, prompt: str) -> dict[str, float | None]:
        scored.append(prompt)
        return {"clip_score": 0.0, "brisque": None}

    rows = list(measure(CORPUS, groups, conditions, store, pipe, lambda: count))
    assert scored == [CORPUS.prompts[1]] * 2
    assert sorted(row["common_steps"] for row in rows) == [0, 1, 2, 3]
    assert {row["common_steps"]: row["clip_score"] for row in rows if not row["new"]} == {
        row["common_steps"]: row["clip_score"] for row in seen
    }


def test_modules_set_guidance_and_negative_prompts() -> None:
    given: list[Any] = []

    class Pipe:
        def stream(self, public: Any, prompts: Any, decision: Any, negative: Any, **options: Any) -> Any:
            given.append((public, prompts, decision.steps_common.tolist(), negative, options))
            return [SimpleNamespace(user=k, image=f"image {k}") for k in range(len(prompts))]

    conditions = Conditions("m", "c", 5, 64, "float32", 7.0)
    for group in (Group(1, 0, 3, True, (0, 2)), Group(0, 1, 3, True, (0,)), Group(1, 0, 3, False, (4,))):
        found = list(quality.images(Pipe(), CORPUS, group, conditions))
        assert [common for common, _ in found] == list(group.common)
    own, turned, without = given
    assert own[:4] == (["the blue dog"], ["a red cat"] * 2, [0, 2], ["blur"] * 2)
    assert own[4] == {"seed": 3, "max_batch": 1, "height": 64, "width": 64}
    assert turned[3] == ["the yellow dog"]  # as published: the prompt with its adjectives turned into antonyms
    assert without[3] == [""]
    assert without[4]["public_guidance"] == without[4]["personal_guidance"] == 7.0


def test_pairs_cover_the_bins() -> None:
    similarity = CORPUS.embeddings @ CORPUS.embeddings.T
    pairs = pairs_by_similarity(similarity, (0.6, 0.9), 2, seed=0)
    assert len(pairs) == 4 and all(a != b for a, b in pairs)
    assert [round(similarity[pair], 1) for pair in pairs] == [0.6, 0.6, 0.9, 0.9]
    with pytest.raises(InputError, match="no two prompts have a similarity of about"):
        pairs_by_similarity(similarity, (0.1, 0.2), 1, seed=0)


def test_bins_follow_from_the_prompts() -> None:
    shipped = corpus.shipped()
    similarity = shipped.embeddings @ shipped.embeddings.T
    bins = quality.reached_bins(similarity)
    assert bins == (0.2, 0.3, 0.4, 0.5, 0.6)  # no pair is near 0.7
    pairs = pairs_by_similarity(similarity, bins, 4, seed=0)
    assert len(pairs) == 20
    assert [round(similarity[pair], 1) for pair in pairs] == [centre for centre in bins for _ in range(4)]
    with pytest.raises(InputError, match="reach 0 of"):
        quality.reached_bins(np.eye(3))


def test_the_defaults_measure_what_the_prompts_reach_and_fit_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a stand-in that scores by the published curve and makes no images."""

    class Pipe:
        def stream(self, public: Any, prompts: Any, decision: Any, negative: Any, **options: Any) -> Any:
            return [SimpleNamespace(user=n, image=int(x)) for n, x in enumerate(decision.steps_common)]

    def score(image: int, prompt: str) -> dict[str, float | None]:
        noise = np.random.default_rng([image, *prompt.encode()]).normal()
        return {"clip_score": 0.2 / (1 + np.exp(0.3 * (image - 16))) + 0.1 + 0.003 * noise, "brisque": None}

    monkeypatch.setattr(quality, "hybrid_pipeline", lambda *_: Pipe())
    monkeypatch.setattr(quality, "clip_judge", lambda *_: score)
    run(
        monkeypatch, "--model", "m", "--device", "cpu", "--every", "3", "--records", str(tmp_path / "records"), "--output",
        str(tmp_path / "scores.csv"), "--pairs", "2", "--seeds", "1",
    )  # fmt: skip
    printed = capsys.readouterr()
    assert "no two prompts have a similarity of about 0.7: left out" in printed.err
    found = fit(read(str(tmp_path / "scores.csv"), None))
    assert [row["similarity"] for row in found["with_modules"]] == [0.2, 0.3, 0.4, 0.5, 0.6]
    assert [row["pairs"] for row in found["without_modules"]] == [2] * 5


def test_what_was_not_measured_stays_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    row = dict.fromkeys(COLUMNS, 1) | {"brisque": None, "new": True}
    assert to_csv([row]).splitlines() == [",".join(COLUMNS), "1,1,1,1,1,1,1,"]
    monkeypatch.setitem(sys.modules, "piq", None)
    assert quality._brisque() is None


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--steps", "0"], "--steps: is 0, must be >= 1"),
        (["--bins", "0.2,x"], "--bins: '0.2,x' are not numbers"),
        (["--bins", "0.5,0.2"], "do not increase"),
        (["--model", "/nowhere"], "--model: /nowhere cannot be loaded"),
        (["--clip", "/nowhere"], "--clip: /nowhere cannot be loaded"),
        (["--device", "tpu"], "--device: 'tpu' is not available"),
        (["--output", "/nowhere/x.csv"], "its folder does not exist"),
    ],
)
def test_bad_input(
    models: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    extra: list[str],
    message: str,
) -> None:
    with pytest.raises(SystemExit) as exit_:
        run(monkeypatch, *arguments(models, tmp_path), *extra)
    assert exit_.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.splitlines()[-1].startswith("hisopt.experiments.campaigns.quality: ")
    assert not (tmp_path / "scores.csv").exists()
