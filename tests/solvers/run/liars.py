"""Solvers that lie in one way each: their answers must become rows, and never reach the process that asks."""

from __future__ import annotations

import contextlib
import os
import struct
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from hisopt import Decision, Limits, SolverResult, Termination
from hisopt.problems import Joint
from hisopt.result import Guarantee
from hisopt.solvers.base import Solver
from hisopt.solvers.joint.exact import JointExact

Lie = Callable[[SolverResult], Any]


class Textless:
    def __str__(self) -> str:
        raise RuntimeError("no text")


class Reduced:
    def __reduce__(self) -> Any:
        return open, (os.environ["HISOPT_TEST_MARKER"], "w")


class Agreeable(np.ndarray[Any, Any]):
    """Is never below and never above anything."""

    def __lt__(self, other: Any) -> Any:
        return np.zeros(self.shape, bool)

    def __gt__(self, other: Any) -> Any:
        return np.zeros(self.shape, bool)


class AgreeableFloat(float):
    def __sub__(self, other: Any) -> float:
        return 0.0

    def __rsub__(self, other: Any) -> float:
        return 0.0


def decision(**fields: Callable[[Any], Any]) -> Lie:
    """A lie that changes fields of the decision."""

    def lie(honest: SolverResult) -> SolverResult:
        changed = {name: change(getattr(honest.decision, name)) for name, change in fields.items()}
        return replace(honest, decision=replace(honest.decision, **changed))  # type: ignore[type-var]

    return lie


def part(**fields: Any) -> Lie:
    """A lie in other parts of the result."""
    return lambda honest: replace(honest, **fields)


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def splash_and_answer(honest: SolverResult) -> SolverResult:
    """Write into whatever is open."""
    for number in range(3, 64):
        with contextlib.suppress(OSError):
            os.write(number, struct.pack("<q", 1) + b"\n")
    return honest


def splash(honest: SolverResult) -> Any:
    """Write into whatever is open, then end without a result."""
    splash_and_answer(honest)
    os._exit(0)


def no_clock(honest: SolverResult) -> SolverResult:
    time.perf_counter = lambda: 0.0
    end = time.monotonic() + 0.3
    while time.monotonic() < end:
        pass
    return honest


def forge(write: Callable[[Path], Any]) -> Lie:
    """Put something else where the answer is read, and end without one."""

    def lie(honest: SolverResult) -> Any:
        write(Path(tempfile.gettempdir()).parent / "answer")
        os._exit(0)

    return lie


def endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


LIES: dict[str, Lie] = {
    "nan-sms": decision(sms=lambda v: v * np.nan),
    "tiny-sms": decision(sms=lambda v: v * 0 + 1e-320),
    "complex-sms": decision(sms=lambda v: v * (1 + 5j)),
    "string-sms": decision(sms=lambda v: np.array([repr(float(x)) for x in v])),
    "many-sms": decision(sms=lambda v: np.zeros(120_000_000)),
    "boolean-steps": decision(steps_edge=lambda v: v > 0),
    "object-steps": decision(steps_common=lambda v: v.astype(object)),
    "float-steps": decision(steps_common=lambda v: v.astype(float)),
    "masked-steps": decision(steps_common=lambda v: np.ma.masked_array(v, mask=True)),
    "narrow-steps": decision(**dict.fromkeys(("steps_common", "steps_edge", "steps_device"), lambda v: np.full(len(v), 95, np.uint8))),
    "masked-all": decision(**dict.fromkeys(("steps_common", "steps_edge", "steps_device"), lambda v: np.ma.masked_array(v, mask=True))),
    "wide-steps": decision(steps_common=lambda v: v.astype(np.uint64)),
    "listed-decision": decision(**dict.fromkeys(("steps_common", "steps_edge", "steps_device", "sms"), lambda v: v.tolist())),
    "short-steps": decision(steps_common=lambda v: v[:-1]),
    "negative-sms": decision(sms=lambda v: v - v.max()),
    "sms-beyond": decision(sms=lambda v: v * (1 + 1e-8)),
    "sms-within": decision(sms=lambda v: v * (1 + 9e-10)),
    "huge-steps": decision(steps_common=lambda v: v + 2**40),
    "agreeable-steps": decision(steps_device=lambda v: np.zeros(len(v), int).view(Agreeable)),
    "flat-steps": decision(steps_common=lambda v: v[:, None]),
    "foreign-clusters": decision(clusters=lambda v: np.full(3, 99)),
    "infeasible-yet-solved": part(termination=Termination.INFEASIBLE),
    "proof-of-nothing": part(bound=float("inf")),
    "impossible-bound": part(bound=float("-inf")),
    "bound-up": lambda honest: replace(honest, bound=honest.bound + 1e-5 * abs(honest.bound)),
    "bound-down": lambda honest: replace(honest, bound=honest.bound - 1e-5 * abs(honest.bound)),
    "bound-within": lambda honest: replace(honest, bound=honest.bound - 9e-7 * abs(honest.bound)),
    "short-float-bound": lambda honest: replace(honest, bound=np.float32(honest.bound)),
    "array-bound": lambda honest: replace(honest, bound=np.array([honest.bound])),
    "word-bound": part(bound="1"),
    "huge-bound": part(bound=10**400),
    "huge-fraction": part(bound=Fraction(10**400)),
    "complex-bound": part(bound=1j),
    "agreeable-bound": part(bound=AgreeableFloat(1.0)),
    "no-text": part(message=Textless()),
    "long-message": part(message="x\x1b[2J" * 10**6),
    "half-a-character": part(details={"a": "\ud800"}),
    "deep-details": part(details={"a": nested(900)}),
    "long-details": lambda honest: replace(honest, details={"a": list(range(3_000_000))}),  # not made by the other liars
    "huge-number-in-details": part(details={"n": 10**5000}),
    "nan-details": part(details={"a": float("nan")}),
    "list-of-details": part(details=[1, 2]),
    "reduced": part(message=Reduced(), details={"a": Reduced()}),
    "a-word": part(termination="optimal"),
    "a-dict": part(decision={"sms": 1}),
    "splash": splash,
    "splash-and-answer": splash_and_answer,
    "no-clock": no_clock,
    "forged-pipe": forge(os.mkfifo),
    "forged-link": forge(endless),
    "forged-folder": forge(Path.mkdir),
    "forged-bytes": forge(lambda path: path.write_bytes(b"\x80\x04" + bytes(100))),
    "forged-size": forge(lambda path: os.truncate(os.open(path, os.O_CREAT | os.O_RDWR), 1 << 40)),
    "forged-arrays": forge(
        lambda path: path.write_bytes(struct.pack("<Q", 40) + b'{"arrays": [["sms", 1000000000000]]}    ')
    ),
}  # fmt: skip


@dataclass(frozen=True)
class SelfProof(Solver[Joint]):
    """Nothing on the server, called optimal, with what it is worth as its bound."""

    name = "self-proof"
    problems = (Joint,)
    guarantee = Guarantee.EXACT

    def solve(self, problem: Joint, limits: Limits) -> SolverResult:
        none = np.zeros(problem.users, dtype=np.int64)
        idle = Decision.of_steps(problem.instance.steps.total, none, none, np.zeros(problem.max_clusters))
        return SolverResult(Termination.OPTIMAL, idle, problem.evaluate(idle).objective)


@dataclass(frozen=True)
class Liar(Solver[Joint]):
    problems = (Joint,)
    guarantee = Guarantee.EXACT

    lie: str = ""

    def solve(self, problem: Joint, limits: Limits) -> SolverResult:
        told: SolverResult = LIES[self.name](JointExact().solve(problem, limits))
        return told


for _lie in LIES:
    _name = "".join(map(str.capitalize, _lie.split("-")))
    globals()[_name] = type(_name, (Liar,), {"name": _lie, "__module__": __name__})
