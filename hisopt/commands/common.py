"""What every command line does with errors and signals: one clear line, an exit code, and nothing lost."""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
import time
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from hisopt.errors import InputError
from hisopt.files import reserve_standard_streams

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

T = TypeVar("T")

_PATIENCE_S = 10.0  # after the first signal, or once results are being written
_deaf_until = -float("inf")


def taking(options: type[T]) -> Callable[[Callable[[T], None]], Callable[..., None]]:
    """Hand a command its options as one object, of a frozen dataclass whose fields are named as click's parameters are."""

    def decorate(function: Callable[[T], None]) -> Callable[..., None]:
        @wraps(function)
        def command(**given: Any) -> None:
            function(options(**given))

        return command

    return decorate


def require_at_least(least: int, options: object, *names: str) -> None:
    """Raise `InputError` for the first of these options that is given and smaller."""
    for name in names:
        value = getattr(options, name)
        if value is not None and value < least:
            raise InputError(f"{flag(name)}: is {value}, must be >= {least}")


def flag(name: str) -> str:
    """Return how the command line spells an option."""
    return f"--{name.replace('_', '-')}"


def run_command(command: click.Command, program: str, extra: str = "", hint: str = "") -> None:
    """Run a command: exit 2 with one line after bad input or where the disk is full, 130 after an interruption.

    SIGTERM and SIGHUP interrupt like Ctrl-C: by a KeyboardInterrupt, once. ``extra`` is the optional dependency group that
    the command needs, ``hint`` what follows "interrupted".
    """
    reserve_standard_streams()
    _listen()
    try:
        command.main(prog_name=program, standalone_mode=False)
        if sys.stdout is not None:
            sys.stdout.flush()
    except (click.UsageError, click.BadParameter) as error:
        _fail(program, error.format_message())
    except ModuleNotFoundError as error:
        if not extra:
            raise
        _fail(program, f"this needs {error.name}: install the extra '{extra}' (pip install 'hisopt[{extra}]')")
    except InputError as error:
        _fail(program, str(error))
    except (click.Abort, KeyboardInterrupt):
        print(f"{program}: interrupted{hint}", file=sys.stderr)
        raise SystemExit(130) from None
    except BrokenPipeError:  # the reader of our output went away
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(0) from None
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        if error.filename is None:  # what is buffered is not tried again at exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        _fail(program, f"{error.filename or 'standard output'}: {error.strerror}")


@contextmanager
def deferred_interrupt() -> Iterator[Callable[[], bool]]:
    """Let the work under way end before an interruption takes effect; yields whether one came. A second one is not deferred."""
    came = False

    def note(*_: object) -> None:
        nonlocal came
        came = True
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield lambda: came
    finally:
        signal.signal(signal.SIGINT, before)


def finishing() -> None:
    """Let no signal interrupt the next seconds: what is done is being written."""
    global _deaf_until
    _deaf_until = time.monotonic() + _PATIENCE_S


def _listen() -> None:
    if threading.current_thread() is not threading.main_thread():
        return
    terminals = [number for number in (0, 1, 2) if os.isatty(number)]

    def interrupt(number: int, _: FrameType | None) -> None:
        if number == signal.SIGHUP:  # the terminal is gone: whatever writes to it would fail
            nothing = os.open(os.devnull, os.O_RDWR)
            for terminal in terminals:
                os.dup2(nothing, terminal)
        if time.monotonic() < _deaf_until:
            return
        finishing()
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup, or a shell's background job
            signal.signal(number, interrupt)


def _fail(program: str, message: str) -> NoReturn:
    print(f"{program}: {' '.join(message.split())}", file=sys.stderr)
    raise SystemExit(2) from None
