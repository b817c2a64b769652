"""The table of verdicts and the sentence on it: findings in, Markdown out."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from hisopt.errors import InputError
from hisopt.experiments.papers.items import ITEMS, OURS
from hisopt.experiments.papers.verdicts import Finding, Verdict
from hisopt.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterable

HERE = Path(__file__).resolve().parent
BEGIN, END = "<!-- reproduction: begin -->", "<!-- reproduction: end -->"

_HEAD = """# The papers' numbers and claims, with verdicts

Made by `python -m hisopt.experiments.papers`. Decisions are proven optima unless a row says otherwise, so a number that is not
reproduced is not so for want of a better solver. Intervals: 95 % over draws. *Reproduced*: inside the interval or within 2 %;
*direction only*: on the same side of no effect; *refuted*: on the other, or the claim does not hold; *not identifiable*: what is
published does not determine it; *cannot be run here*: with what it would take; *misprint*: with how it is
read; *provided* and *open* are of things to have.

"""
_COLUMNS = ("document", "claim", "published", "ours", "difference", "verdict", "reason")


def read(path: Path) -> dict[str, Finding]:
    """Return the findings of a file that `write` made, none if it is not there; by item."""
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        return {row["item"]: Finding(**row | {"verdict": Verdict(row["verdict"])}) for row in rows}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(f"{path}: no findings: {error}") from None


def write(path: Path, findings: dict[str, Finding]) -> None:
    """Write findings as JSON, in the order of the items; those of items that are no more are left out."""
    rows = [asdict(findings[one.key]) for one in ITEMS if one.key in findings]
    write_atomically(path, json.dumps(rows, indent=1, ensure_ascii=False) + "\n")


def complete(findings: dict[str, Finding]) -> list[Finding]:
    """Return one finding an item: what was found, or what the item says of itself, or that it was not run yet."""
    rows = []
    for one in ITEMS:
        if one.key in findings:
            rows.append(findings[one.key])
        elif one.verdict is not None:
            rows.append(Finding(one.key, "-", "", one.verdict, one.reason))
        else:
            rows.append(Finding(one.key, "-", "", Verdict.OPEN, f"run `--only {one.by}`"))
    return rows


def markdown(findings: dict[str, Finding]) -> str:
    """Return the table of all items."""
    lines = [f"| {' | '.join(_COLUMNS)} |", f"|{'---|' * len(_COLUMNS)}"]
    for one, found in zip(ITEMS, complete(findings), strict=True):
        published = "-" if one.published is None else f"{one.published:.4g}{one.unit}"
        cells = (one.document, one.claim, published, found.ours, found.difference or "-", found.verdict, found.reason)
        lines.append(f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |")
    return _HEAD + "\n".join(lines) + "\n"


def sentence(findings: dict[str, Finding]) -> str:
    """Return what the verdicts come to, in one sentence for the README."""
    rows = zip(ITEMS, complete(findings), strict=True)
    count = Counter(found.verdict for one, found in rows if one.document != OURS)
    judged = (Verdict.REPRODUCED, Verdict.DIRECTION, Verdict.REFUTED, Verdict.NOT_IDENTIFIABLE, Verdict.NOT_RUN)
    words = [f"{count[verdict]} {verdict}" for verdict in judged if count[verdict]]
    return (
        f"Of the {sum(count[v] for v in judged)} published numbers and claims, checked against proven optima: "
        f"{_joined(words)} ([every verdict](experiments/papers/VERDICTS.md))."
    )


def _joined(words: Iterable[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def with_sentence(text: str, said: str) -> str:
    """Return a document with the sentence between its two markers; raise `InputError` where they are missing."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise InputError(f"README.md: lacks the markers {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{said}\n{END}{after}"


def publish(findings: dict[str, Finding], reports: dict[str, str], root: Path = HERE.parents[1]) -> None:
    """Write findings, table, reports and the README's sentence into a checkout; its findings of other items stay."""
    readme, folder = root / "README.md", root / "experiments" / "papers"
    if not readme.is_file() or not folder.is_dir():
        raise InputError(f"--publish: {root} is no checkout of the project")
    merged = read(folder / "verdicts.json") | findings
    text = with_sentence(readme.read_text(encoding="utf-8"), sentence(merged))
    write(folder / "verdicts.json", merged)
    write_atomically(folder / "VERDICTS.md", markdown(merged))
    for name, report in reports.items():
        write_atomically(folder / name, report)
    write_atomically(readme, text)
