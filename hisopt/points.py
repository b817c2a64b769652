"""Points that a user brings for clustering: CSV, NPY or Parquet, and constraints on who may share a cluster."""

from __future__ import annotations

import csv
import json
import warnings
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from hisopt.errors import InputError
from hisopt.problems import Sizes
from hisopt.text.files import delimiter_of, read_text
from hisopt.text.vectors import read_npy

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from hisopt.arrays import FloatArray, IntArray

SUFFIXES = (".csv", ".tsv", ".npy", ".parquet", ".pq")
_MISSING = ("", "na", "nan", "null", "none", "n/a", "?")


@dataclass(frozen=True, eq=False)
class PointSet:
    """Points to be clustered, and what is asked of the clusters: the data that several problems are stated on.

    Attributes
    ----------
    points
        Shape (N, d).
    max_clusters
        M.
    constraints
        Limits on sizes, and pairs.
    """

    model: ClassVar[str] = "points"

    points: FloatArray
    max_clusters: int
    constraints: Constraints

    @property
    def users(self) -> int:
        """N."""
        return len(self.points)

    @property
    def size(self) -> str:
        """N, d and M in words."""
        clusters = f"M = {self.max_clusters:,} cluster{'s' if self.max_clusters > 1 else ''}"
        return f"N = {len(self.points):,} points of {self.points.shape[1]:,} features, {clusters}"

    @cached_property
    def content_hash(self) -> str:
        """First 16 hex digits of SHA-256 over all data."""
        digest = sha256(f"points {self.points.shape} {self.max_clusters} {self.constraints}".encode())
        digest.update(np.ascontiguousarray(self.points).tobytes())
        return digest.hexdigest()[:16]


@dataclass(frozen=True)
class Constraints:
    """Limits on sizes, and pairs of points, numbered from 0, that share a cluster or do not."""

    sizes: Sizes = Sizes()  # noqa: RUF009  # frozen
    must_link: tuple[tuple[int, int], ...] = ()
    cannot_link: tuple[tuple[int, int], ...] = ()

    @property
    def pairs(self) -> tuple[IntArray | None, IntArray | None]:
        """``must_link`` and ``cannot_link`` as arrays (p, 2), None where there are none."""
        links = (self.must_link, self.cannot_link)
        found = [np.array(pairs, dtype=np.int64) if pairs else None for pairs in links]
        return found[0], found[1]


def is_points(path: str) -> bool:
    """Whether a file's suffix says that it holds points, not an instance."""
    return Path(path).suffix.lower() in SUFFIXES


def read_points(path: str | Path, columns: Sequence[str] = ()) -> tuple[FloatArray, list[str]]:
    """Return points (N, d) and the names of their features; raise `InputError` that names the place of what is no number.

    ``columns`` chooses features by name, or by number from 0 where the file names none.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix == ".npy":
        matrix = read_npy(path)
        names = [str(k) for k in range(matrix.shape[1])]
        return matrix[:, _chosen(names, columns, path)], [*columns] or names
    frame, first = (_parquet(path), 0) if suffix in (".parquet", ".pq") else _csv(path)
    names = [str(name) for name in frame.columns]
    chosen = _chosen(names, columns, path)
    if not len(frame) or not len(chosen):
        raise InputError(f"{path}: holds no row of numbers")
    matrix = np.empty((len(frame), len(chosen)))
    for k, column in enumerate(chosen):
        matrix[:, k] = _numbers(frame.iloc[:, column], f"{path}: column {names[column]!r}", first)
    return matrix, [names[column] for column in chosen]


def _chosen(names: list[str], columns: Sequence[str], path: Path) -> list[int]:
    if not columns:
        return list(range(len(names)))
    unknown = [name for name in columns if name not in names]
    if unknown:
        raise InputError(f"--columns: {path} has no {unknown[0]!r}; its columns are {', '.join(names[:20])}")
    return [names.index(name) for name in columns]


def _csv(path: Path) -> tuple[pd.DataFrame, int]:
    """Return a table of text and numbers, and the line of the file that its first row stands in."""
    import pandas as pd

    text = read_text(path)
    lines = text.split("\n", 1)
    if not text.strip():
        raise InputError(f"{path}: is empty")
    delimiter = delimiter_of(lines[0])
    cells = next(csv.reader([lines[0]], delimiter=delimiter))
    header = not all(_is_number(cell) for cell in cells)
    if (
        header
        and all(_is_number(cell) or cell.strip().lower() in _MISSING for cell in cells)
        and any(_is_number(cell) for cell in cells)
    ):
        header = False  # a first row with a missing value
    from io import StringIO

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # of cells that it would drop
            frame = pd.read_csv(
                StringIO(text), sep=delimiter, header=0 if header else None, skipinitialspace=True,
                skip_blank_lines=False, na_values=["?"], low_memory=False, index_col=False, on_bad_lines="error",
            )  # fmt: skip
    except pd.errors.ParserWarning:
        raise InputError(
            f"{path}: line 1 has {len(cells)} cells ({lines[0][:40]!r}), and other lines have more"
        ) from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        reason = " ".join(str(error).split()).removeprefix("Error tokenizing data. C error: ")
        raise InputError(f"{path}: {reason}") from None
    while len(frame) and frame.iloc[-1].isna().all():  # blank lines at the end
        frame = frame.iloc[:-1]
    return frame, 2 if header else 1


def _parquet(path: Path) -> pd.DataFrame:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        frame: pd.DataFrame = pq.read_table(path).to_pandas()
    except (OSError, pa.ArrowException) as error:
        reason = getattr(error, "strerror", None) or "not a Parquet file"
        raise InputError(f"{path}: {reason}") from None
    return frame


def _numbers(column: pd.Series, place: str, first: int) -> FloatArray:
    """Return a column as numbers; raise `InputError` at the first that is missing or none."""
    import pandas as pd

    numbers = pd.to_numeric(column, errors="coerce") if column.dtype.kind not in "biuf" else column
    found = np.asarray(numbers, dtype=np.float64)
    bad = np.flatnonzero(~np.isfinite(found))
    if not len(bad):
        return found
    text = np.flatnonzero(np.isnan(found) & column.notna().to_numpy())
    row = int(text[0]) if len(text) else int(bad[0])
    where = f"line {row + first}" if first else f"row {row}"
    value = column.iloc[row]
    if len(text):
        if _is_number(str(value).replace(",", ".")):
            raise InputError(f"{place}: {str(value)[:40]!r} in {where} has a decimal comma; write it as a point")
        if all(_is_number(part) for part in str(value).split()):
            raise InputError(
                f"{place}: {str(value)[:40]!r} in {where}: columns are separated by commas, semicolons or tabs"
            )
        most = "text" if len(text) > len(found) // 2 else "not a number"
        raise InputError(
            f"{place}: {str(value)[:40]!r} in {where} is {most}; leave the column out, with --columns NAMES of the others"
        )
    if np.isinf(found[row]):
        raise InputError(f"{place}: {where} is {found[row]}, must be finite")
    raise InputError(f"{place}: {where} is missing, one of {len(bad)}; fill or drop such rows first")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def standardised(points: FloatArray, names: Sequence[str]) -> tuple[FloatArray, list[str]]:
    """Return features of mean 0 and variance 1 (over N), and a note on those that are constant, which stay 0."""
    shifted = points - points.mean(axis=0)
    shifted -= shifted.mean(axis=0)
    spread = np.sqrt(np.square(shifted).mean(axis=0))
    constant = np.ptp(points, axis=0) == 0
    scaled = shifted / np.where(constant | (spread == 0), 1.0, spread)
    scaled[:, constant] = 0.0
    told = ", ".join(name for name, same in zip(names, constant, strict=True) if same)
    return scaled, [f"constant, so left at 0: {told}"] if told else []


def read_constraints(path: str | Path, size: int) -> Constraints:
    """Read limits and pairs of ``size`` points.

    JSON: an object with any of ``must_link``, ``cannot_link`` (lists of pairs of row numbers from 0), ``size_min`` and
    ``size_max``. CSV: columns of two row numbers and the word must-link or cannot-link.
    """
    path = Path(path)
    text = read_text(path)
    found = _from_json(text, path) if path.suffix.lower() == ".json" else _from_csv(text, path)
    for name in ("must_link", "cannot_link"):
        for k, pair in enumerate(found[name]):
            for point in pair:
                if not 0 <= point < size:
                    raise InputError(f"{path}: {name}, pair {k}: {list(pair)}, row numbers go from 0 to {size - 1}")
    try:
        sizes = Sizes(found["size_min"], found["size_max"])
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return Constraints(sizes, tuple(found["must_link"]), tuple(found["cannot_link"]))


def _from_json(text: str, path: Path) -> dict[str, Any]:
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"{path}: line {error.lineno}: not JSON: {error.msg}") from None
    known = {"must_link": [], "cannot_link": [], "size_min": 1, "size_max": None}
    if not isinstance(data, dict) or set(data) - set(known):
        raise InputError(f"{path}: must be an object with some of {', '.join(known)}")
    for name in ("must_link", "cannot_link"):
        pairs = data.get(name, [])
        for k, pair in enumerate(pairs if isinstance(pairs, list) else [pairs]):
            if not isinstance(pair, list) or len(pair) != 2 or not all(type(point) is int for point in pair):
                raise InputError(f"{path}: {name}, pair {k}: {str(pair)[:40]}, must be two row numbers")
        data[name] = [tuple(pair) for pair in pairs]
    for name in ("size_min", "size_max"):
        value = data.get(name, known[name])
        if value is not None and (type(value) is not int or value < 1):
            raise InputError(f"{path}: {name}: is {value!r}, must be a whole number >= 1")
    return {**known, **data}


def _from_csv(text: str, path: Path) -> dict[str, Any]:
    found: dict[str, Any] = {"must_link": [], "cannot_link": [], "size_min": 1, "size_max": None}
    delimiter = delimiter_of(text.partition("\n")[0])
    for number, cells in enumerate(csv.reader(text.splitlines(), delimiter=delimiter), start=1):
        row = [cell.strip() for cell in cells]
        if not any(row):
            continue
        word = row[-1].lower().replace("-", "_").replace(" ", "_")
        try:
            if len(row) != 3 or word not in ("must_link", "cannot_link"):
                raise ValueError
            found[word].append((int(row[0]), int(row[1])))
        except ValueError:
            if number == 1:
                continue  # a header
            told = ",".join(row)[:40]
            raise InputError(
                f"{path}: line {number}: {told!r}, must be two row numbers and must-link or cannot-link"
            ) from None
    return found
