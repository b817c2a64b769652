"""Output files: written to a temporary name and renamed, and known to be writable before long work begins.

What is no regular file (a device, a pipe, a socket) is written through, and a link's target is written, not the link.
"""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from hisopt.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def require_writable(option: str, path: str | Path) -> None:
    """Raise `InputError` where a file cannot be written."""
    try:
        if Path(path).is_dir():
            raise InputError(f"{option}: {path}: is a folder")
        target = Path(os.path.realpath(path))
        if written_through(Path(path)):
            if not os.access(path, os.W_OK):
                raise InputError(f"{option}: {path}: cannot be written")
            return
        if not target.parent.is_dir() or not os.access(target.parent, os.W_OK):
            raise InputError(f"{option}: {path}: its folder does not exist or cannot be written")
        if target.exists() and not os.access(target, os.W_OK):
            raise InputError(f"{option}: {path}: the file there cannot be written")
    except (OSError, ValueError) as error:
        raise InputError(f"{option}: {str(path)!r}: {getattr(error, 'strerror', None) or error}") from None


def require_file(path: str | Path) -> None:
    """Raise `InputError` where there is no file to read; a path that is empty stands for none asked for."""
    if str(path) and not Path(path).is_file():
        raise InputError(f"{path}: no such file")


def write_atomically(path: str | Path, text: str) -> None:
    """Write text to a temporary file beside ``path`` and rename it; raise `InputError` where that cannot be."""
    write_bytes_atomically(path, text.encode("utf-8"))


def write_bytes_atomically(path: str | Path, data: bytes) -> None:
    """Write bytes like `write_atomically`."""
    path = Path(path)
    try:
        if written_through(path):
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_APPEND), "wb") as file:  # /dev/stdout of "cmd >> file"
                file.write(data)
            return
        target = Path(os.path.realpath(path))
        mode = _mode(target)
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:40]}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            os.chmod(name, mode)
            os.replace(name, target)
        except BaseException:
            os.unlink(name)
            raise
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None


def deliver(text: str, target: str | None, suffix: str) -> None:
    """Write a program's results to a file, or to standard output where ``target`` is None, and lose nothing.

    Where they cannot be written (a full disk, a closed standard output), they go to a file with this suffix in the
    temporary folder, and `InputError` names it. Characters that standard output cannot show are escaped.
    """
    try:
        if target is not None:
            write_atomically(target, text)
            return
        if sys.stdout is None:
            raise InputError("standard output: is closed")
        try:
            shown = text.encode(sys.stdout.encoding or "utf-8", errors="backslashreplace")
            sys.stdout.write(shown.decode(sys.stdout.encoding or "utf-8"))
            sys.stdout.flush()
        except OSError as error:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what is buffered is not tried again at exit
            raise InputError(f"standard output: {error.strerror}") from None
    except InputError as error:
        raise InputError(f"{error}; {_kept(text, suffix)}") from None


def reserve_standard_streams() -> None:
    """Put the null device where standard input, output or error are closed, so that no other file takes their place.

    ``sys.stdout`` stays None there, which is how `deliver` knows.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - open for as long as the program


def _kept(text: str, suffix: str) -> str:
    try:
        handle, name = tempfile.mkstemp(prefix="hisopt-results-", suffix=suffix)
        with os.fdopen(handle, "wb") as file:
            file.write(text.encode("utf-8"))
    except OSError as error:
        return f"nor could the results be kept in the temporary folder: {error.strerror}"
    return f"the results are in {name}"


def written_through(path: str | Path) -> bool:
    """Return whether a path is no regular file, or names one by a descriptor that is open elsewhere (``/dev/stdout``)."""
    absolute = os.path.abspath(path)
    if absolute.startswith(("/dev/std", "/dev/fd/", "/proc/")):
        return True
    try:
        return not stat.S_ISREG(os.stat(path).st_mode)
    except OSError:
        return False


def _mode(path: Path) -> int:
    """The permissions of the file that is there, or those of a new one."""
    try:
        return stat.S_IMODE(os.stat(path).st_mode)
    except OSError:
        umask = os.umask(0)
        os.umask(umask)
        return 0o666 & ~umask


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as SVG and PDF, the same for the same content, under a path without suffix."""
    save_svg(figure, path.with_name(f"{path.name}.svg"))
    data = BytesIO()
    figure.savefig(data, format="pdf", metadata={"CreationDate": None})
    write_bytes_atomically(path.with_name(f"{path.name}.pdf"), data.getvalue())


def save_svg(figure: Figure, path: Path) -> None:
    """Write a figure as SVG that is the same for the same content; raise `InputError` where that cannot be."""
    import matplotlib as mpl

    data = BytesIO()
    with mpl.rc_context({"svg.hashsalt": "hisopt"}):
        figure.savefig(data, format="svg", metadata={"Date": None})
    write_bytes_atomically(path, data.getvalue())
