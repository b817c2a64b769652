"""Embeddings that a user brings: files of numbers, and rows scaled to norm 1."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hisopt.errors import InputError
from hisopt.instances import norm_fault
from hisopt.text.files import delimiter_of, read_text

if TYPE_CHECKING:
    from hisopt.arrays import FloatArray


def read(path: str | Path, *, normalise: bool = False) -> FloatArray:
    """Read embeddings, shape (N, d), from .npy, or from CSV or TSV with a row of numbers each and perhaps a header.

    ``normalise`` scales the rows to norm 1. Raises `InputError` for anything else, and for rows not of norm 1.
    """
    path = Path(path)
    try:
        vectors = read_npy(path) if path.suffix.lower() == ".npy" else _read_csv(path)
        if normalise:
            vectors = scaled(vectors)
        if fault := norm_fault(vectors):
            raise InputError(fault)
    except InputError as error:
        text = str(error)
        raise InputError(text if text.startswith(f"{path}: ") else f"{path}: {text}") from None
    return vectors


def read_npy(path: Path) -> FloatArray:
    """Read a matrix of finite numbers from a .npy file, shape (N, d); raise `InputError` if it is not one."""
    try:
        found = np.load(path, allow_pickle=False)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or 'not a NumPy file'}") from None
    except (ValueError, EOFError, SyntaxError):
        raise InputError(f"{path}: not a NumPy file of numbers") from None
    if not isinstance(found, np.ndarray) or found.dtype.kind not in "iuf":
        raise InputError(f"{path}: not a NumPy file of numbers")
    return _matrix(found, path)


def scaled(vectors: Any) -> FloatArray:
    """Return rows scaled to norm 1, float64; raise `InputError` for a row of zeros or what is no matrix."""
    try:
        rows = np.asarray(vectors, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError("must be a regular array of numbers") from None
    if rows.ndim != 2:
        raise InputError(f"must have 2 dimensions, has {rows.ndim}")
    largest = np.abs(rows).max(axis=1, keepdims=True, initial=0)
    zero = np.flatnonzero(~(largest[:, 0] > 0))
    if len(zero):
        raise InputError(f"row {zero[0]} is zero or not a number, and cannot be scaled to norm 1")
    rows = rows / largest  # so that squares neither overflow nor vanish
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def _read_csv(path: Path) -> FloatArray:
    text = read_text(path)
    first = text.partition("\n")[0]
    rows: list[list[float]] = []
    for number, cells in enumerate(csv.reader(text.splitlines(), delimiter=delimiter_of(first)), start=1):
        if not any(cell.strip() for cell in cells):
            continue
        try:
            rows.append([float(cell) for cell in cells])
        except ValueError:
            if number == 1:
                continue  # a header
            bad = next(cell for cell in cells if not _is_number(cell))
            raise InputError(f"line {number}: {bad[:40]!r} is not a number") from None
        if len(rows[-1]) != len(rows[0]):
            raise InputError(f"line {number}: {len(cells)} numbers, the first row has {len(rows[0])}")
    if not rows:
        raise InputError("holds no row of numbers")
    return _matrix(np.array(rows), path)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _matrix(found: np.ndarray[Any, Any], path: Path) -> FloatArray:
    if found.ndim != 2 or 0 in found.shape:
        raise InputError(f"{path}: shape {found.shape}, must be (N, d)")
    matrix = np.asarray(found, dtype=np.float64)
    bad = np.argwhere(~np.isfinite(matrix))
    if len(bad):
        raise InputError(f"{path}: row {bad[0][0]}, column {bad[0][1]} is {matrix[tuple(bad[0])]}, must be finite")
    return matrix
