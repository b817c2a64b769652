"""What every command line does with errors: one clear line, and an exit code."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

import click

from hisopt.errors import InputError


def run_command(command: click.Command, program: str, extra: str = "", hint: str = "") -> None:
    """Run a command: exit 2 with one line after bad input, 130 after an interruption.

    ``extra`` is the optional dependency group that the command needs, ``hint`` what follows "interrupted".
    """
    try:
        command.main(prog_name=program, standalone_mode=False)
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


def _fail(program: str, message: str) -> NoReturn:
    print(f"{program}: {' '.join(message.split())}", file=sys.stderr)
    raise SystemExit(2) from None
