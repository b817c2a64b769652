"""When a solve counts as worse than its counterpart in a baseline: a condition such as ``gap > 1e-6 or time > 2x``.

    rule    = all ("or" all)*
    all     = one ("and" one)*
    one     = "not" one | "(" rule ")" | word | measure (">" | ">=" | "<" | "<=") number [unit]
    word    = "unsolved" | "unproven" | "refuted"
    measure = "gap" | "bound" | "time" | "memory"

``gap`` is how far the objective falls short of the baseline's, relative, ``bound`` how far the bound does: both 0 where
nothing was lost, infinite where the baseline has one and this solve none; ``%`` divides a number by 100. ``time`` is in
seconds (``s`` may follow) and ``memory`` in GB, or with ``x`` in multiples of the baseline's. ``unsolved``: the baseline
is feasible and this is not; ``unproven``: the baseline is optimal and this is not; ``refuted``: a claim of this solve was.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from hisopt.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

WORDS = ("unsolved", "unproven", "refuted")
MEASURES = {"gap": ("", "%"), "bound": ("", "%"), "time": ("", "s", "x"), "memory": ("", "gb", "x")}
_TOKEN = re.compile(r"\s*(?:(\d+\.?\d*(?:e[-+]?\d+)?|\.\d+(?:e[-+]?\d+)?)([a-z%]*)|(>=|<=|>|<)|([a-z]+)|(\S))")
_DEPTH = 50
_COMPARE: dict[str, Callable[[float, float], bool]] = {
    ">": lambda a, b: a > b, ">=": lambda a, b: a >= b, "<": lambda a, b: a < b, "<=": lambda a, b: a <= b,
}  # fmt: skip


@dataclass(frozen=True)
class Change:
    """What became of a solve: each measure, the baseline's seconds and bytes as ``time x`` and ``memory x``, and words.

    A measure that is not there (a solve that crashed has no time) is None, and compares as false.
    """

    measures: Mapping[str, float | None]
    words: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Comparison:
    """``measure sign limit``; ``multiple``: of the baseline's."""

    measure: str
    sign: str
    limit: float
    multiple: bool = False

    def holds(self, change: Change) -> bool:
        """Whether it is so for a solve."""
        value, limit = change.measures.get(self.measure), self.limit
        if self.multiple:
            base = change.measures.get(f"{self.measure} x")
            limit = math.nan if base is None else limit * base
        return value is not None and _COMPARE[self.sign](value, limit)


@dataclass(frozen=True)
class Word:
    """A word alone."""

    word: str

    def holds(self, change: Change) -> bool:
        """Whether it is so for a solve."""
        return self.word in change.words


@dataclass(frozen=True)
class Junction:
    """Several rules joined by "and" or "or"; "not" joins one."""

    by: str
    parts: tuple[Rule, ...]

    def holds(self, change: Change) -> bool:
        """Whether it is so for a solve."""
        found = (part.holds(change) for part in self.parts)
        return all(found) if self.by == "and" else any(found) if self.by == "or" else not any(found)


Rule = Comparison | Word | Junction


def parse(text: str) -> Rule:
    """Return a rule; raise `InputError` that names the place where the text is none."""
    tokens = [(m.start() + len(m[0]) - len(m[0].lstrip()) + 1, m) for m in _TOKEN.finditer(text.lower())]
    reader = _Reader(text, tokens)
    rule = reader.rule(0)
    if reader.left:
        reader.refuse("'and', 'or' or the end")
    return rule


class _Reader:
    def __init__(self, text: str, tokens: list[tuple[int, re.Match[str]]]) -> None:
        self._text, self._tokens, self._next = text, tokens, 0

    @property
    def left(self) -> bool:
        return self._next < len(self._tokens)

    @property
    def _token(self) -> str:
        return self._tokens[self._next][1][0].strip() if self.left else ""

    def refuse(self, wanted: str) -> NoReturn:
        where = f"at character {self._tokens[self._next][0]}" if self.left else "at the end"
        found = repr(self._token) if self.left else "nothing"
        raise InputError(f"--fail-if: {self._text!r}: {where}: {found}, must be {wanted}")

    def _take(self) -> re.Match[str]:
        self._next += 1
        return self._tokens[self._next - 1][1]

    def rule(self, depth: int) -> Rule:
        return self._joined("or", lambda: self._joined("and", lambda: self._one(depth)))

    def _joined(self, by: str, part: Callable[[], Rule]) -> Rule:
        parts = [part()]
        while self._token == by:
            self._take()
            parts.append(part())
        return parts[0] if len(parts) == 1 else Junction(by, tuple(parts))

    def _one(self, depth: int) -> Rule:
        if depth > _DEPTH:
            raise InputError(f"--fail-if: is nested more than {_DEPTH} deep")
        token = self._token
        if token == "not":
            self._take()
            return Junction("not", (self._one(depth + 1),))
        if token == "(":
            self._take()
            inner = self.rule(depth + 1)
            if self._token != ")":
                self.refuse("')'")
            self._take()
            return inner
        if token in WORDS:
            self._take()
            return Word(token)
        if token not in MEASURES:
            self.refuse(f"one of {', '.join((*MEASURES, *WORDS))}, 'not' or '('")
        self._take()
        return self._comparison(token)

    def _comparison(self, measure: str) -> Comparison:
        if self._token not in _COMPARE:
            self.refuse(f"one of {' '.join(_COMPARE)} after {measure}")
        sign = self._take()[0].strip()
        units = MEASURES[measure]
        if not self.left or self._tokens[self._next][1][1] is None:
            self.refuse("a number")
        if self._tokens[self._next][1][2] not in units:
            self.refuse(f"a number, alone or with {' or '.join(filter(None, units))}")
        token = self._take()
        number, unit = float(token[1]), token[2]
        return Comparison(measure, sign, number / 100 if unit == "%" else number, unit == "x")
