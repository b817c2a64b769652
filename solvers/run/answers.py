"""Results as files between a solver's process and the runner: JSON and plain arrays, with limits on what is read.

A file is the length of its header (8 bytes, little-endian), the header as JSON, and the arrays of the decision that the
header names, int64 or (SMs, policy) float64, little-endian, rows first, one after the other. Nothing in it is ever executed.
"""

from __future__ import annotations

import json
import math
import os
import stat
from dataclasses import dataclass, fields
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np

from hisopt.decision import REAL, Decision, plain
from hisopt.result import SolverResult, Termination

if TYPE_CHECKING:
    from pathlib import Path

    from hisopt.problems import Problem

MESSAGE_LENGTH = 500
_DETAILS_BYTES = 1 << 20
_HEADER_BYTES = 1 << 21
_DEPTH = 20  # of nested details
_ARRAYS = tuple(field.name for field in fields(Decision))


@dataclass(frozen=True)
class Answer:
    """A result as it was read, the seconds its writer counted, and what was refused of its decision."""

    result: SolverResult
    seconds: float | None = None
    refused: tuple[str, ...] = ()


def one_line(text: str, length: int = MESSAGE_LENGTH) -> str:
    """Return text as one printable line of limited length."""
    text = "".join(c if c.isprintable() else " " for c in text[: 4 * length])
    return " ".join(text.split())[:length]


def nonsense(reason: str) -> SolverResult:
    """Return the result of a solver whose answer is none."""
    return SolverResult(Termination.CRASHED, message=one_line(reason))


def packed(problem: Problem, result: Any, seconds: float | None = None) -> bytes:
    """Return the file of what a solver returned; where that is no result, the file of a crash that says why."""
    try:
        header, decision = _header(problem, result)
    except Exception as error:  # attributes that raise, texts that have none
        header, decision = _header(problem, nonsense(f"its result cannot be sent: {told(error)}"))
    header["seconds"] = seconds
    arrays = [(name, value) for name in _ARRAYS if (value := getattr(decision, name)) is not None]
    header["arrays"] = [[name, value.size] for name, value in arrays]
    text = json.dumps(header, allow_nan=False).encode()
    body = [value.astype("<f8" if name in REAL else "<i8", copy=False).tobytes() for name, value in arrays]
    return len(text).to_bytes(8, "little") + text + b"".join(body)


def told(error: BaseException) -> str:
    """Return an error as text, even one whose text raises."""
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:
        return type(error).__name__


def _header(problem: Problem, result: Any) -> tuple[dict[str, Any], Decision]:
    if not isinstance(result, SolverResult):
        return _header(problem, nonsense(f"returned {type(result).__name__}, not a SolverResult"))
    decision = Decision()
    refused: tuple[str, ...] = ()
    if not isinstance(result.termination, Termination):
        return _header(problem, nonsense(f"its termination is {result.termination!r}, not a Termination"))
    if result.decision is not None:
        if not isinstance(result.decision, Decision):
            return _header(problem, nonsense(f"its decision is a {type(result.decision).__name__}, not a Decision"))
        decision, refused = plain(result.decision, problem.shapes)
    try:
        bound = bound_of(problem, result.bound)
    except ValueError as error:
        return _header(problem, nonsense(f"its bound {error}"))
    try:
        details = _limited_json(result.details)
    except (TypeError, ValueError, RecursionError) as error:
        return _header(problem, nonsense(f"its details are not JSON values: {error}"))
    try:
        message = one_line(str(result.message))
    except Exception as error:
        return _header(problem, nonsense(f"its message is no text: {type(error).__name__}"))
    return {
        "termination": result.termination.value,
        "decided": result.decision is not None,
        "refused": list(refused),
        "bound": bound,
        "message": message,
        "details": details,
    }, decision


def number(bound: Any) -> float | None:
    """Return a bound as a float, None if it is None; raise ValueError if it is nan or beyond the range of floats."""
    if bound is None:
        return None
    if not isinstance(bound, Real) or isinstance(bound, bool):
        raise ValueError(f"is a {type(bound).__name__}, not a number")
    try:
        value = float(bound)
    except (OverflowError, TypeError, ValueError):
        raise ValueError("is a number beyond the range of floats") from None
    if math.isnan(value):
        raise ValueError("is nan, not a number")
    return value


def bound_of(problem: Problem, bound: Any) -> float | None:
    """Return a bound, None where it bounds nothing; raise ValueError for what is none, such as +inf from below."""
    value = number(bound)
    if value is None or math.isfinite(value):
        return value
    if (value > 0) != problem.maximise:
        raise ValueError(f"is {value}, which no decision meets")
    return None


def _limited_json(details: Any) -> Any:
    """Return details as what their JSON reads back as; stop at the limit, however much there is."""
    if not isinstance(details, dict):
        raise TypeError(f"they are a {type(details).__name__}, not a dict")
    pieces, size = [], 0
    for piece in json.JSONEncoder(allow_nan=False).iterencode(details):
        pieces.append(piece)
        size += len(piece)
        if size > _DETAILS_BYTES:
            raise ValueError(f"they are longer than {_DETAILS_BYTES} bytes")
    value = json.loads("".join(pieces))
    sound(value)
    return value


def sound(value: Any, depth: int = 0) -> None:
    """Raise ValueError for JSON values that are nested too deeply, infinite, or text that is no Unicode."""
    if depth > _DEPTH:
        raise ValueError(f"they are nested more than {_DEPTH} deep")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} is not finite")
    if isinstance(value, str):
        value.encode()
    elif isinstance(value, dict):
        for key, item in value.items():
            sound(key, depth)
            sound(item, depth + 1)
    elif isinstance(value, list):
        for item in value:
            sound(item, depth + 1)


def read_limited(path: Path, limit: int) -> bytes:
    """Return a regular file's bytes; raise ValueError where it is none or longer than ``limit``, OSError where missing."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("it is no regular file")
        if status.st_size > limit:
            raise ValueError(f"it has {status.st_size} bytes, more than {limit}")
        with os.fdopen(handle, "rb", closefd=False) as file:
            return file.read(limit)
    finally:
        os.close(handle)


def read(path: Path, problem: Problem) -> Answer:
    """Read a result; raise FileNotFoundError where there is none and ValueError where it is not what `packed` writes."""
    shapes = problem.shapes
    data = read_limited(path, 8 + _HEADER_BYTES + 8 * sum(map(math.prod, shapes.values())))
    size = int.from_bytes(data[:8], "little")
    if not 0 < size <= min(_HEADER_BYTES, len(data) - 8):
        raise ValueError("its header has a wrong length")
    header = parsed(data[8 : 8 + size])
    found: dict[str, Any] = {}
    start = 8 + size
    for name, length in header["arrays"]:
        if name not in shapes or name in found or length != math.prod(shapes[name]):
            raise ValueError("its arrays are not a decision's")
        if start + 8 * length > len(data):
            raise ValueError("its arrays are cut off")
        array = np.frombuffer(data, "<f8" if name in REAL else "<i8", length, start).reshape(shapes[name])
        found[name], start = array.astype(np.float64 if name in REAL else np.int64), start + 8 * length
    if start != len(data):
        raise ValueError("it is longer than its header says")
    decision, refused = plain(Decision(**found), shapes)
    refused += tuple(one_line(str(line)) for line in header["refused"][: len(_ARRAYS)])
    seconds = number(header["seconds"])
    if not isinstance(header["details"], dict):
        raise ValueError("its details are no object")
    return Answer(
        SolverResult(
            Termination(header["termination"]),
            decision if header["decided"] is True else None,
            bound_of(problem, header["bound"]),
            one_line(str(header["message"])),
            header["details"],
        ),
        seconds if seconds is not None and seconds >= 0 else None,
        refused,
    )


def parsed(text: bytes) -> Any:
    """Return JSON values; raise ValueError where they are none, or not finite, or nested too deeply."""
    try:
        value = json.loads(text)
        sound(value)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    return value


def write_whole(path: Path, data: bytes) -> None:
    """Write a file that is there whole or not at all."""
    part = f"{path}.part"
    with open(part, "wb") as file:
        file.write(data)
    os.replace(part, path)
