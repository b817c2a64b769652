"""How to run a record again: a campaign of one solve, in TOML."""

from __future__ import annotations

import json
from typing import Any


def campaign_of(record: dict[str, Any]) -> str:
    """Return the campaign of a record as TOML, all but its lines ``seeds`` and ``solvers`` (`lines_of`)."""
    kind, _, detail = str(record["problem"]).partition(", ")
    whole = detail == "integer SMs"
    lines = [f"{'presets' if record['preset'] else 'files'} = {_list(record['source'])}", f"problems = {_list(kind)}"]
    if detail and not whole:
        lines.append(f"criteria = {_list(detail)}")
    if whole:
        lines.append('sms = "integer"')
    lines.append(f"time_limits = [{float(record['time_limit'])!r}]")
    if record.get("memory_limit"):
        lines.append(f"memory_limit = {float(record['memory_limit'])!r}")
    lines += [f"threads = {int(record['threads'])}"] if record.get("threads", 1) != 1 else []
    lines += [f"repetitions = {int(record['repetition']) + 1}"] if record.get("repetition") else []
    if record["swept"]:
        fields = ", ".join(f"{json.dumps(name)} = [{json.dumps(value)}]" for name, value in record["swept"].items())
        lines.append(f"sweep = {{ {fields} }}")
    return "\n".join(lines)


def lines_of(seed: int, solver: str) -> str:
    """Return the two lines that name one record of its campaign."""
    return f"seeds = [{seed}]\nsolvers = {_list(solver)}"


def _list(word: str) -> str:
    return f"[{json.dumps(word, ensure_ascii=False)}]"
