"""What goes wrong through no fault of the program."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from pydantic import ValidationError


class InputError(ValueError):
    """Bad input, told in one line that names the place and the reason."""


def first_error(error: ValidationError) -> str:
    """Return the first of pydantic's errors as 'field: reason', with the number of the others."""
    found = all_errors(error)
    return found[0] + (f" (and {len(found) - 1} more)" if len(found) > 1 else "")


def all_errors(error: ValidationError) -> list[str]:
    """Return each of pydantic's errors as 'field: reason'."""
    lines = []
    for each in error.errors(include_url=False, include_input=True):
        place = ".".join(str(part) for part in each["loc"])
        message = "unknown field" if each["type"] == "extra_forbidden" else each["msg"].removeprefix("Value error, ")
        message = message[0].lower() + message[1:]
        if each["type"] not in ("value_error", "missing", "extra_forbidden"):
            message += f", is {each['input']!r}"[:60]
        lines.append((f"{place}: " if place else "") + message)
    return lines


def missing_package(program: str, error: ImportError) -> NoReturn:
    """End a program with exit code 2 and one line that names the package it lacks."""
    name = (error.name or "").partition(".")[0]
    if isinstance(error, ModuleNotFoundError) and name and name != "hisopt":
        reason = f"this needs {name}, which is not installed: pip install hisopt (or 'pip install .' in a checkout)"
    else:
        reason = " ".join(str(error).split())
    print(f"{program}: {reason}", file=sys.stderr)
    raise SystemExit(2) from None
