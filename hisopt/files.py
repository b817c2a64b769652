"""Output files: written to a temporary name and renamed, and known to be writable before long work begins."""

from __future__ import annotations

import os
import tempfile
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from hisopt.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def require_writable(option: str, path: str | Path) -> None:
    """Raise `InputError` where a file cannot be written."""
    if not os.access(Path(path).resolve().parent, os.W_OK):
        raise InputError(f"{option}: {path}: its folder does not exist or cannot be written")
    if Path(path).is_dir():
        raise InputError(f"{option}: {path}: is a folder")


def write_atomically(path: Path, text: str) -> None:
    """Write text to a temporary file beside ``path`` and rename it; raise `InputError` where that cannot be."""
    write_bytes_atomically(path, text.encode("utf-8"))


def write_bytes_atomically(path: Path, data: bytes) -> None:
    """Write bytes like `write_atomically`."""
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            umask = os.umask(0)
            os.umask(umask)
            os.chmod(name, 0o666 & ~umask)
            os.replace(name, path)
        except BaseException:
            os.unlink(name)
            raise
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None


def save_svg(figure: Figure, path: Path) -> None:
    """Write a figure as SVG that is the same for the same content; raise `InputError` where that cannot be."""
    import matplotlib as mpl

    data = BytesIO()
    with mpl.rc_context({"svg.hashsalt": "hisopt"}):
        figure.savefig(data, format="svg", metadata={"Date": None})
    write_bytes_atomically(path, data.getvalue())
