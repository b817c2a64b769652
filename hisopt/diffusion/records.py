"""Samples in a file of JSON lines, each written as it is made, so that a killed run keeps what it has and goes on from there."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from hisopt.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path


class Records:
    """Samples by key, kept in memory and, given a path, in a file.

    The first line says of what the samples are. Every other line is one sample, appended by a single write and flushed to
    the disk; a line that a kill cut short is dropped at the next start.

    Parameters
    ----------
    path
        The file; None keeps samples in memory only.
    about
        Of what the samples are: plain data. A file about anything else is refused with `InputError`.
    """

    def __init__(self, path: Path | None, about: dict[str, Any]) -> None:
        self.path = path
        self.samples: dict[str, dict[str, Any]] = {}
        if path is None:
            return
        about = json.loads(json.dumps(about))
        lines = self._whole_lines(path)
        if not lines:
            self._write(path, {"about": about})
            return
        try:
            first, *rest = (json.loads(line) for line in lines)
            found = first["about"]
            self.samples = {line["key"]: line["sample"] for line in rest}
        except (ValueError, KeyError, TypeError):
            raise InputError(f"{path}: not a file of samples; take another name") from None
        if not isinstance(found, dict) or found != about:
            found = found if isinstance(found, dict) else {}
            other = next((name for name in sorted({*found, *about}) if found.get(name) != about.get(name)), "about")
            raise InputError(
                f"{path}: holds samples with another {other} ({_short(found.get(other))}, now {_short(about.get(other))}): "
                "take another --output, or --fresh"
            )

    def add(self, key: str, sample: dict[str, Any]) -> None:
        """Keep a sample; raise `InputError` where the file cannot be written."""
        self.samples[key] = json.loads(json.dumps(sample, allow_nan=False))
        if self.path is not None:
            self._write(self.path, {"key": key, "sample": sample})

    def _write(self, path: Path, line: dict[str, Any]) -> None:
        try:
            handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
            try:
                data = (json.dumps(line, allow_nan=False) + "\n").encode()
                while data:
                    data = data[os.write(handle, data) :]
                os.fsync(handle)
            finally:
                os.close(handle)
        except OSError as error:
            raise InputError(f"{path}: {error.strerror}") from None

    @staticmethod
    def _whole_lines(path: Path) -> list[str]:
        """Return the lines that end, and cut off one that does not."""
        try:
            if not path.exists():
                return []
            data = path.read_bytes()
            kept = data[: data.rfind(b"\n") + 1]
            if data and not data.startswith(b'{"about"'[: len(data)]):
                raise InputError(f"{path}: not a file of samples; take another name")
            if len(kept) < len(data):
                os.truncate(path, len(kept))
            return kept.decode("utf-8").splitlines()
        except UnicodeDecodeError:
            raise InputError(f"{path}: not a file of samples; take another name") from None
        except OSError as error:
            raise InputError(f"{path}: {error.strerror}") from None


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
