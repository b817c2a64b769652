"""Embeddings of any model, from files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from hisopt.errors import InputError
from hisopt.text.vectors import read, scaled

if TYPE_CHECKING:
    from pathlib import Path

ROWS = np.random.default_rng(0).normal(size=(5, 12))
UNIT = ROWS / np.linalg.norm(ROWS, axis=1, keepdims=True)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("header", ["", "a,b\n"])
def test_csv_and_npy_hold_the_same(delimiter: str, header: str, tmp_path: Path) -> None:
    lines = [delimiter.join(f"{value!r}" for value in row) for row in UNIT.tolist()]
    head = delimiter.join(f"d{k}" for k in range(12)) + "\r\n" if header else ""
    (tmp_path / "v.csv").write_bytes(b"\xef\xbb\xbf" + (head + "\r\n".join(lines)).encode())
    np.save(tmp_path / "v.npy", UNIT)
    np.testing.assert_array_equal(read(tmp_path / "v.csv"), UNIT)
    np.testing.assert_array_equal(read(tmp_path / "v.npy"), UNIT)


def test_rows_are_scaled_on_request_alone(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", ROWS.astype(np.float32))
    with pytest.raises(InputError, match=r"v\.npy: row 0 has norm .*, must be 1: --normalise scales every row"):
        read(tmp_path / "v.npy")
    np.testing.assert_allclose(read(tmp_path / "v.npy", normalise=True), UNIT, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(scaled(ROWS * 1e200), axis=1), 1)
    np.testing.assert_allclose(np.linalg.norm(scaled(ROWS * 1e-300), axis=1), 1)


def test_four_digits_get_a_hint(tmp_path: Path) -> None:
    np.savetxt(tmp_path / "v.csv", UNIT.round(4), fmt="%.4f", delimiter=",")
    with pytest.raises(InputError, match=r"\(rounded to a few digits\?\): --normalise"):
        read(tmp_path / "v.csv")
    np.testing.assert_allclose(read(tmp_path / "v.csv", normalise=True), UNIT, atol=1e-3)


BAD = [
    ("v.csv", b"1,0\n1\n", "line 2: 1 numbers, the first row has 2"),
    ("v.csv", b"1,0\n1,x\n", "line 2: 'x' is not a number"),
    ("v.csv", b"a,b\n", "holds no row of numbers"),
    ("v.csv", b"1,nan\n", "row 0, column 1 is nan, must be finite"),
    ("v.csv", b"\xff1,0\n", "line 1: not a UTF-8 text file"),
    ("v.npy", b"1,0\n", "not a NumPy file"),
    ("v.npy", b"", "not a NumPy file"),
]


@pytest.mark.parametrize(("name", "content", "message"), BAD, ids=[f"{k}-{row[0]}" for k, row in enumerate(BAD)])
def test_bad_files_are_named(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as caught:
        read(tmp_path / name)
    assert str(caught.value).startswith(f"{tmp_path / name}: ")
    assert message in str(caught.value)


def test_arrays_that_are_no_embeddings_are_refused(tmp_path: Path) -> None:
    for array, message in (
        (np.array([{}], dtype=object), "not a NumPy file of numbers"),
        (np.ones(3), r"shape \(3,\)"),
        (np.ones((0, 3)), r"shape \(0, 3\)"),
        (np.array([[1.0, 0.0], [0.0, 0.0]]), "row 1 is zero"),
        (np.array([["a"]]), "not a NumPy file of numbers"),
    ):
        np.save(tmp_path / "v.npy", array, allow_pickle=True)
        with pytest.raises(InputError, match=message):
            read(tmp_path / "v.npy", normalise=True)
