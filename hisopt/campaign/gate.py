"""A campaign held against a baseline: which of its solves got worse, by a rule."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hisopt.campaign.rules import Change
from hisopt.result import relative_gap

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hisopt.campaign.rules import Rule

_SAME = ("problem", "instance", "solver", "seed", "time_limit", "memory_limit", "threads", "repetition")


@dataclass(frozen=True)
class Verdict:
    """What a comparison with a baseline found.

    Attributes
    ----------
    worse
        Pairs (baseline's record, this record) for which the rule holds.
    judged, new, gone
        Solves with a counterpart, without one in the baseline, and of the baseline without one here.
    timings
        Why seconds are not comparable, or "".
    """

    worse: tuple[tuple[dict[str, Any], dict[str, Any]], ...]
    judged: int
    new: int
    gone: int
    timings: str = ""


def solve_of(record: dict[str, Any]) -> tuple[Any, ...]:
    """Return what makes two records counterparts: the same task, whatever the versions."""
    return tuple(record.get(name) for name in _SAME)


def change(base: dict[str, Any], now: dict[str, Any]) -> Change:
    """Return what became of a solve."""
    words = set()
    if base.get("feasible") and not now.get("feasible"):
        words.add("unsolved")
    if base.get("termination") == "optimal" and now.get("termination") != "optimal":
        words.add("unproven")
    if now.get("refuted"):
        words.add("refuted")
    sign = 1 if now.get("maximise", True) else -1
    values = [r.get("objective") if r.get("feasible") else None for r in (base, now)]
    measures: dict[str, float | None] = {
        "gap": _lost(values[0], values[1], sign, now),
        "bound": _lost(base.get("bound"), now.get("bound"), -sign, now),
        "time": now.get("seconds"), "time x": base.get("seconds"),
        "memory": _gigabytes(now), "memory x": _gigabytes(base),
    }  # fmt: skip
    return Change(measures, frozenset(words))


def judge(baseline: Iterable[dict[str, Any]], records: Iterable[dict[str, Any]], rule: Rule) -> Verdict:
    """Hold records against those of a baseline; of several that are counterparts, the first counts."""
    known: dict[tuple[Any, ...], dict[str, Any]] = {}
    for record in baseline:
        known.setdefault(solve_of(record), record)
    worse, judged, new = [], set(), 0
    machines, shared = set(), set()
    for record in records:
        place = solve_of(record)
        base = known.get(place)
        if base is None:
            new += 1
        elif place not in judged:
            judged.add(place)
            for each in (base, record):
                machines.add(each.get("machine"))
                shared.add(bool(each.get("shared")))
            if rule.holds(change(base, record)):
                worse.append((base, record))
    reasons = ["other machines"] * (len(machines) > 1) + ["some solves shared their machine"] * (shared != {False})
    return Verdict(tuple(worse), len(judged), new, len(known.keys() - judged), "; ".join(reasons) if judged else "")


def _lost(base: float | None, now: float | None, sign: int, record: dict[str, Any]) -> float:
    """How far ``now`` falls short of ``base``, relative, where larger is better if ``sign`` is 1."""
    if base is None:
        return 0.0
    if now is None:
        return math.inf
    return relative_gap(now, base, float(record.get("scale") or 0.0)) if sign * (base - now) > 0 else 0.0


def _gigabytes(record: dict[str, Any]) -> float | None:
    peak = record.get("peak_memory")
    return None if peak is None else peak / 1e9
