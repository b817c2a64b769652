"""What a comparison with a baseline found, as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hisopt.campaign.gate import change

if TYPE_CHECKING:
    from hisopt.campaign.gate import Verdict

_HEAD = ("problem", "instance", "N", "M", "seed", "solver", "ended", "objective", "was", "seconds", "was", "what")


def table(found: Verdict, rule: str) -> str:
    """Return the rows that got worse under a line that says how many of how many, by which rule, and what to mind."""
    lines = [f"{len(found.worse)} of {found.judged} solves got worse than the baseline: {rule}"]
    if found.new:
        lines.append(f"{found.new} have no counterpart in the baseline and are not judged")
    if found.gone:
        lines.append(f"{found.gone} of the baseline were not run here")
    if found.timings:
        lines.append(f"mind the times: {found.timings}")
    if found.worse:
        rows = [_HEAD, *(_row(base, now) for base, now in found.worse)]
        widths = [max(len(row[i]) for row in rows) for i in range(len(_HEAD))]
        lines += [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
        ]
    return "\n".join(lines)


def _row(base: dict[str, Any], now: dict[str, Any]) -> tuple[str, ...]:
    what = change(base, now)
    lost = [f"{name} {value:.2g}" for name in ("gap", "bound") if (value := what.measures[name])]
    return (
        str(now.get("problem")), str(now.get("instance"))[:8], str(now.get("users")), str(now.get("clusters")),
        str(now.get("seed")), str(now.get("solver")), str(now.get("termination")), _number(now.get("objective")),
        _number(base.get("objective")), _number(now.get("seconds"), 3), _number(base.get("seconds"), 3),
        ", ".join([*sorted(what.words), *lost]) or "-",
    )  # fmt: skip


def _number(value: float | None, digits: int = 9) -> str:
    return "-" if value is None else f"{value:.{digits}g}"
