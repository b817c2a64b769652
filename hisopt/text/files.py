"""Text that others wrote: its encoding, its line ends, and the delimiter of its columns."""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING

from hisopt.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path


def read_text(path: Path) -> str:
    r"""Return a file's text with lines ending in ``\n``, without a byte-order mark; raise `InputError` if it is none.

    UTF-8, or UTF-16 where a byte-order mark says so.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = data.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise InputError(f"{path}: line {line}: not a UTF-8 text file") from None
    if "\0" in text:
        raise InputError(f"{path}: not a UTF-8 text file: it holds null characters")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def delimiter_of(header: str) -> str:
    """Return what separates the columns of a first line: a tab, a semicolon where no comma is, or a comma."""
    if "\t" in header:
        return "\t"
    return ";" if ";" in header and "," not in header else ","
