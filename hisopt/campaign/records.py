"""Records in a folder of segments: each process appends lines of JSON to a file of its own.

A segment of another machine that is copied into the folder joins the others. A line cut short, as by a full disk or a
kill, is passed over: its solve counts as not done. A record's ``key`` is the hash of what was solved; of two records with
one key the first counts.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import socket
from typing import TYPE_CHECKING, Any, Self

import pandas as pd

from hisopt.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

SUFFIX = ".jsonl"


class Segment:
    """This process's part of a folder of records; a context manager that keeps other campaigns on this machine out.

    ``alone`` is False for the processes of a campaign that another process leads.
    """

    def __init__(self, folder: Path, *, alone: bool = True) -> None:
        self._folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise InputError(f"{folder}: {error.strerror}") from None
        try:
            if alone:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            raise InputError(f"{folder}: another campaign is writing there") from None
        name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}{SUFFIX}"
        self._path = folder / name
        self._file: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._file is not None:
            os.close(self._file)
        os.close(self._lock)

    def append(self, record: dict[str, Any]) -> None:
        """Keep a record: once this returns, it outlives the process. Raises `InputError` where it cannot be written."""
        data = json.dumps(record, allow_nan=False).encode() + b"\n"
        try:
            if self._file is None:
                self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
            start = os.fstat(self._file).st_size
            written = 0
            try:
                while written < len(data):
                    written += os.write(self._file, data[written:])
            except OSError:
                os.ftruncate(self._file, start)
                raise
        except OSError as error:
            raise InputError(f"{self._path}: {error.strerror}; every record before is kept") from None


def read(folders: Iterable[Path]) -> Iterator[dict[str, Any]]:
    """Yield each record of folders or segments once. Raises `InputError` where one is missing or cannot be read."""
    seen: set[str] = set()
    for folder in folders:
        if not folder.exists():
            raise InputError(f"{folder}: no such file or folder")
        for path in sorted(folder.glob(f"*{SUFFIX}")) if folder.is_dir() else [folder]:
            try:
                with open(path, "rb") as file:
                    for line in file:
                        record = _parsed(line)
                        if record is not None and record["key"] not in seen:
                            seen.add(record["key"])
                            yield record
            except OSError as error:
                raise InputError(f"{path}: {error.strerror}") from None


class Follower:
    """Reads a folder to which others append: each record once, as it comes. ``keys`` are those that it has seen."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._places: dict[str, int] = {}
        self.keys: set[str] = set()

    def skip(self) -> None:
        """Take what is there for known."""
        for _ in self.new():
            pass

    def new(self) -> Iterator[dict[str, Any]]:
        """Yield the records that were completed since."""
        for path in sorted(self._folder.glob(f"*{SUFFIX}")):
            try:
                with open(path, "rb") as file:
                    file.seek(self._places.get(path.name, 0))
                    for line in file:
                        if not line.endswith(b"\n"):  # being written
                            break
                        self._places[path.name] = self._places.get(path.name, 0) + len(line)
                        record = _parsed(line)
                        if record is not None and record["key"] not in self.keys:
                            self.keys.add(record["key"])
                            yield record
            except OSError as error:
                raise InputError(f"{path}: {error.strerror}") from None


def _parsed(line: bytes) -> dict[str, Any] | None:
    if not line.endswith(b"\n"):
        return None
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) and isinstance(record.get("key"), str) else None


def frame(records: Iterable[dict[str, Any]]) -> pd.DataFrame:
    """Return records as a table for `hisopt.analysis`, one row a solve."""
    return pd.DataFrame.from_records(list(records))
