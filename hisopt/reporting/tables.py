"""The summary of a campaign for papers: LaTeX (booktabs), Markdown, or CSV with numbers in full."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from hisopt.analysis import contradictions
from hisopt.reporting.records import timing_note
from hisopt.reporting.summary import SHIFT, summary, summary_cells

if TYPE_CHECKING:
    from hisopt.reporting.records import Records

_SPECIAL = {"%": r"\%", "_": r"\_", "&": r"\&", "#": r"\#", "$": r"\$", "–": "--", "{": r"\{", "}": r"\}",
            "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}"}  # fmt: skip
_LEGEND = (
    "best: within 1e-6 of the best known objective; time to best: shifted geometric mean (shift {shift:g} s), failures at the "
    "limit; interval: 95 % bootstrap of the mean gap."
)


def to_csv(records: Records) -> str:
    """Return one line a problem and solver, numbers in full."""
    parts = [summary(records.of(problem)).assign(problem=problem) for problem in records.problems]
    table = pd.concat(parts)
    return str(table[["problem", *table.columns.drop("problem")]].to_csv(index=False, lineterminator="\n"))


def to_markdown(records: Records) -> str:
    """Return a table a problem, under its name, with what refutes a claim first."""
    parts = [f"**{line}**\n" for line in _refuted(records)]
    for problem in records.problems:
        columns, rows = summary_cells(summary(records.of(problem)))
        lines = [columns, ("---", "---", *("---:" for _ in columns[2:])), *rows]
        body = "\n".join("| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |" for line in lines)
        parts.append(f"### {problem}\n\n{body}\n")
    return "\n".join([*parts, *_notes(records)]) + "\n"


def to_latex(records: Records) -> str:
    """Return a booktabs table a problem, under comments that say what it is."""
    parts = [f"% CONTRADICTION: {line}" for line in _refuted(records)]
    for problem in records.problems:
        columns, rows = summary_cells(summary(records.of(problem)))
        body = [" & ".join(_escaped(cell) for cell in row) + r" \\" for row in (columns, *rows)]
        parts.append("\n".join([
            f"% {problem}", f"\\begin{{tabular}}{{ll{'r' * (len(columns) - 2)}}}", r"\toprule", body[0], r"\midrule",
            *body[1:], r"\bottomrule", r"\end{tabular}",
        ]))  # fmt: skip
    return "\n\n".join([*parts, *(f"% {note}" for note in _notes(records))]) + "\n"


def _escaped(words: str) -> str:
    return "".join(_SPECIAL.get(c, c) for c in words)


def _refuted(records: Records) -> list[str]:
    found = contradictions(records.table).to_dict("records")
    return [f"{r['problem']}, instance {r['instance']}: {r['solver']}: {r['claim']}" for r in found]


def _notes(records: Records) -> list[str]:
    return [_LEGEND.format(shift=SHIFT), *([note] if (note := timing_note(records.table)) else [])]
