"""What a campaign compares: a TOML file or options, checked and spread into combinations."""

from __future__ import annotations

import itertools
import tomllib
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from hisopt.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass(frozen=True)
class Plan:
    """A campaign; every combination of sources, sweeps, problems, solvers, time limits and repetitions is a solve.

    Attributes
    ----------
    presets, files
        Where instances come from.
    seeds
        Of the samples of presets, and of the solvers; a file is taken once for each.
    sweep
        Values for fields of the preset's scenario or of the instance: ``users``, ``clusters``, or a dotted field such as
        ``weights.delay`` or ``edge.sms``.
    zipped
        Whether the sweep's lists are walked together instead of crossed.
    problems, criteria, sms
        As in `hisopt solve`.
    solvers
        Names, with options as in ``kmeans:restarts=50``.
    time_limits, memory_limit, threads
        Of each solve.
    repetitions
        Solves of the same instance, with other seeds of the solver.
    """

    presets: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    seeds: tuple[int, ...] = (0,)
    sweep: tuple[tuple[str, tuple[Any, ...]], ...] = ()
    zipped: bool = False
    problems: tuple[str, ...] = ("joint",)
    criteria: tuple[str, ...] = ()
    sms: str = "real"
    solvers: tuple[str, ...] = ()
    time_limits: tuple[float, ...] = (3.0,)
    memory_limit: float = 8.0
    threads: int = 1
    repetitions: int = 1

    def __post_init__(self) -> None:
        if not (self.presets or self.files):
            raise InputError("presets, files: give at least one")
        if self.zipped and len({len(values) for _, values in self.sweep}) > 1:
            raise InputError("sweep: lists that are zipped must be of one length")
        for name, numbers in (
            ("time_limits", self.time_limits), ("memory_limit", (self.memory_limit,)), ("threads", (self.threads,)),
            ("repetitions", (self.repetitions,)),
        ):  # fmt: skip
            for number in numbers:
                if isinstance(number, bool) or not isinstance(number, (int, float)) or not 0 < number < float("inf"):
                    raise InputError(f"{name}: is {number!r}, must be a positive number")
        for seed in self.seeds:
            if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
                raise InputError(f"seeds: is {seed!r}, must be a whole number >= 0")
        if self.sms not in ("real", "integer", "both"):
            raise InputError(f"sms: is {self.sms!r}, must be real, integer or both")
        for name in ("threads", "repetitions"):
            if not isinstance(getattr(self, name), int):
                raise InputError(f"{name}: is {getattr(self, name)!r}, must be a whole number")
        for name, values in (*self.sweep, *((n, getattr(self, n)) for n in ("seeds", "problems", "time_limits"))):
            if not values:
                raise InputError(f"{name}: is empty")

    def settings(self) -> Iterator[tuple[str, bool, int, dict[str, Any]]]:
        """Yield (preset or file, whether a preset, seed, swept values) of each instance."""
        names = [name for name, _ in self.sweep]
        lists = [values for _, values in self.sweep]
        for source, preset in (*((p, True) for p in self.presets), *((f, False) for f in self.files)):
            walked = zip(*lists, strict=True) if self.zipped and lists else itertools.product(*lists)
            for values in walked:
                for seed in self.seeds:
                    yield source, preset, seed, dict(zip(names, values, strict=True))


def read_plan(path: Path) -> Plan:
    """Read a campaign from TOML; raise `InputError` that names the field where one is wrong."""
    try:
        with open(path, "rb") as file:
            document = tomllib.load(file)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not TOML: {error}") from None
    known = {field.name: field.default for field in fields(Plan)}
    values: dict[str, Any] = {}
    for name, value in document.items():
        if name not in known:
            raise InputError(f"{path}: {name}: unknown field; known are {', '.join(known)}")
        if name == "sweep":
            if not isinstance(value, dict):
                raise InputError(f"{path}: sweep: must be a table of lists")
            value = tuple((key, tuple(v) if isinstance(v, list) else (v,)) for key, v in _flat(value))
        elif name == "seeds" and isinstance(value, int):
            value = tuple(range(value))
        elif isinstance(known[name], tuple):
            value = tuple(value) if isinstance(value, list) else (value,)
            kind: Any = {"seeds": int, "time_limits": (int, float)}.get(name, str)
            if not all(isinstance(each, kind) for each in value):
                raise InputError(f"{path}: {name}: is {document[name]!r}, of the wrong type")
        elif not isinstance(value, (int, float) if name == "memory_limit" else type(known[name])):
            raise InputError(f"{path}: {name}: is {value!r}, of the wrong type")
        values[name] = value
    try:
        return Plan(**values)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _flat(table: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value
