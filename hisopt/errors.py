"""What goes wrong through no fault of the program."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
