"""The report as one HTML file that asks nothing of the network."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from hisopt import __version__, analysis
from hisopt.reporting import curves, rows, summary
from hisopt.reporting.figure import Figure, styles
from hisopt.reporting.records import timing_note
from hisopt.reporting.recordtable import columns_of, first_rows
from hisopt.reporting.reruns import campaign_of, lines_of
from hisopt.reporting.summary import Table, totals

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hisopt.reporting.records import Records

_ASSETS = Path(__file__).parent / "assets"


@dataclass(frozen=True)
class Section:
    """One problem of the report."""

    key: str
    problem: str
    sense: str
    about: str
    figures: tuple[Figure, ...]
    summary: Table
    matrix: Table
    details: tuple[Table, ...]
    hac: Table | None = None


@dataclass(frozen=True)
class Extra:
    """What a report holds besides records.

    Attributes
    ----------
    command
        The call that made it.
    residuals
        Residuals of the optimality conditions: problem, solver, condition, residual (`rows.residuals`).
    residuals_note
        Which records have none, and why.
    verdicts
        A Markdown page of verdicts on papers, "" for none.
    """

    command: str = "hisopt report RECORDS"
    residuals: pd.DataFrame = field(
        default_factory=lambda: pd.DataFrame(columns=["problem", "solver", "condition", "residual"])
    )
    residuals_note: str = ""
    verdicts: str = ""


def page(records: Records, extra: Extra | None = None) -> str:
    """Return the report; the same records give the same page."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    extra = extra or Extra()
    known = styles(records.solvers)
    sections = [_section(records.of(name), known, i, extra) for i, name in enumerate(records.problems)]
    columns = columns_of(records)
    script, sheet = ((_ASSETS / name).read_text(encoding="utf-8") for name in ("page.js", "page.css"))
    environment = Environment(
        loader=FileSystemLoader(_ASSETS),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found = analysis.contradictions(records.table)
    example: Any = records.table.iloc[0].to_dict()
    again = f"{campaign_of(example)}\n{lines_of(example['instance_seed'], example['solver'])}"
    html = environment.get_template("page.html").render(
        title=_title(records), lead=_lead(records), facts=_facts(records), sections=sections,
        contradictions=found.to_dict("records"), note=timing_note(records.table), version=__version__,
        style=sheet, style_hash=_hash(sheet), script=script, script_hash=_hash(script),
        columns=_json({"columns": columns, "profiles": _profiles(records, known)}),
        heads=[c for c in columns if c["shown"]], first=first_rows(columns), count=len(records.table),
        machines=_machines(records.table), command=extra.command, verdicts=_verdicts(extra.verdicts),
        residuals_note=extra.residuals_note, example=again,
        digest=hashlib.sha256("".join(sorted(records.table["key"].astype(str))).encode()).hexdigest()[:16],
    )  # fmt: skip
    return html.lstrip() + "\n"


def _section(records: Records, known: Mapping[str, str], index: int, extra: Extra) -> Section:
    table, key = records.table, f"p{index}"
    own = {name: known[name] for name in records.solvers}
    seconds, gaps = analysis.costs(table), analysis.costs(table, "gap")
    note, drawn = timing_note(table), []
    solved = bool(seconds.notna().to_numpy().any())
    if solved:
        drawn += [curves.performance(seconds, own, f"{key}-profile").noted(note),
                  curves.data_profile(seconds, own, f"{key}-data", float(table["time_limit"].max())).noted(note)]  # fmt: skip
    if gaps.notna().to_numpy().any():
        drawn.append(curves.by_gap(gaps, own, f"{key}-quality"))
        drawn.append(curves.gap_over_time(records, own, f"{key}-time").noted(note))
    box = rows.boxes(records, table["to_best"], records.solvers, own, {
        "key": f"{key}-seeds", "title": "Gaps over seeds", "made": "analysis.relative_gaps(records)",
        "read": "A box holds the middle half of the gaps to the best known objective over seeds, its bar the median, the lines "
                "reach to 1.5 box lengths, dots lie beyond; gaps below 10⁻⁷ are drawn there.",
    })  # fmt: skip
    converged = curves.convergence(records, own, f"{key}-way")
    drawn += [figure for figure in (box, converged) if figure is not None]
    if gaps.notna().to_numpy().any():
        drawn.append(rows.integrals(records, own, f"{key}-integrals").noted(note))
    residuals = rows.residuals(extra.residuals[extra.residuals["problem"] == records.problems[0]], own, f"{key}-kkt")
    drawn += [f for f in (residuals, rows.policies(records, own, f"{key}-policies")) if f is not None]
    columns, cells = summary.summary_cells(summary.summary(records))
    sense = "larger is better" if bool(table["maximise"].iloc[0]) else "smaller is better"
    return Section(
        key, records.problems[0], sense, _about(records), tuple(drawn),
        Table(f"{key}-summary", "What each solver reached, and the time it took.", columns, cells, note, words=2),
        summary.gap_matrix(records, f"{key}-matrix"),
        (summary.against(records, f"{key}-wins"), summary.signed_ranks(records, f"{key}-tests"),
         summary.over_seeds(records, f"{key}-variation")),
        summary.hac_gaps(records, f"{key}-hac") if records.problems[0].startswith("clustering") else None,
    )  # fmt: skip


def _about(records: Records) -> str:
    table = records.table
    proven = table.loc[table["optimum"].notna(), "instance"].nunique()
    count = table["instance"].nunique()
    told = "all" if proven == count else f"{proven:,}"
    return f"{len(table):,} solves of {count:,} instances; an optimum is proven on {told} of them."


def _title(records: Records) -> str:
    kinds = totals(records.problems) if len(records.problems) <= 3 else f"{len(records.problems)} problems"
    return f"{_counted(len(records.solvers), 'solver')} compared: {kinds}"


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _lead(records: Records) -> str:
    table = records.table
    optimal = int((table["feasible"] & (table["termination"] == "optimal")).sum())
    failed = int((~table["feasible"]).sum())
    return (
        f"{_counted(len(table), 'solve')} of {_counted(table['instance'].nunique(), 'instance')}: "
        f"{optimal:,} ended with a proven optimum, {failed:,} without a feasible solution."
    )


def _facts(records: Records) -> list[tuple[str, str]]:
    """What was compared and how, as terms and words."""
    table = records.table

    def said(name: str, unit: str = "") -> str:
        values = sorted(table[name].dropna().unique().tolist())
        words = [f"{v:g}{unit}" if isinstance(v, float) else f"{v:,}" if isinstance(v, int) else str(v) for v in values]
        return ", ".join(words) if len(words) <= 8 else f"{words[0]} to {words[-1]} ({len(words)} values)"

    fields: dict[str, set[str]] = {}
    for swept in {json.dumps(s, sort_keys=True) for s in table["swept"]}:
        for name, value in json.loads(swept).items():
            if name not in ("users", "clusters"):
                fields.setdefault(name, set()).add(json.dumps(value))
    guarantee = dict(zip(table["solver"], table["guarantee"], strict=True))
    shared, count = int(table["shared"].astype(bool).sum()), len(table)
    how = "each alone on its machine" if not shared else "sharing the machine with others" if shared == count else (
        f"{shared:,} sharing the machine, {count - shared:,} alone")  # fmt: skip
    solvers = [f"{n} ({guarantee[n]})" if guarantee[n] else n for n in records.solvers]
    facts = [
        ("Solvers", ", ".join(solvers)), ("Problems", ", ".join(records.problems)),
        ("Instances", f"{table['instance'].nunique():,}, from {said('source') or 'unnamed sources'}"),
        ("Users N", said("users")), ("Clusters M", said("clusters")), ("Seeds", said("seed")),
        *((name, ", ".join(sorted(values))) for name, values in sorted(fields.items())),
        ("Limits", f"{said('time_limit', ' s')}; memory {said('memory_limit', ' GB') or 'unsaid'}; threads {said('threads')}"),
        ("Solves ran", f"{how}; engine {said('engine')}"),
    ]  # fmt: skip
    return [(term, words) for term, words in facts if words]


def _machines(table: pd.DataFrame) -> list[tuple[str, str, int]]:
    """Each machine, its packages' versions, and how many records it made."""
    words = table["versions"].map(lambda found: ", ".join(f"{k} {v}" for k, v in found.items()))
    packages = words.groupby([table["machine"]]).agg(
        lambda c: ", ".join(dict.fromkeys(", ".join(c.unique()).split(", ")))
    )
    counts = table.groupby("machine").size()
    return [(str(name) or "unsaid", str(packages[name]), int(counts[name])) for name in counts.index]


def _profiles(records: Records, known: Mapping[str, str]) -> dict[str, Any]:
    """Costs from which the page draws performance profiles for the solvers shown; null where a solver failed."""
    found = {}
    for i, problem in enumerate(records.problems):
        own = records.of(problem)
        values = analysis.costs(own.table)[list(own.solvers)]
        costs = [[float(f"{v:.7g}") if np.isfinite(v) else None for v in column] for column in values.to_numpy(float).T]
        if values.notna().to_numpy().any():
            found[f"p{i}-profile"] = {
                "solvers": own.solvers, "styles": [known[n] for n in own.solvers], "costs": costs,
                "high": curves.highest(values), "x": [curves.LEFT, curves.RIGHT], "y": [curves.BOTTOM, curves.TOP],
            }  # fmt: skip
    return found


def _json(value: Any) -> str:
    """JSON that can stand in a script element."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _verdicts(markdown: str) -> list[Table | str]:
    """Paragraphs and tables of a Markdown page."""
    found: list[Table | str] = []
    for block in markdown.strip().split("\n\n"):
        lines = [line.strip() for line in block.splitlines()]
        if len(lines) > 2 and all(line.startswith("|") for line in lines):
            cells = [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines]
            body = tuple((*row, *("",) * (len(cells[0]) - len(row)))[: len(cells[0])] for row in cells[2:])
            found.append(Table(f"verdicts-{len(found)}", "Published numbers and ours.", cells[0], body, prose=True))
        elif lines != [""]:
            found.append(" ".join(line.lstrip("# ") for line in lines).replace("`", "").replace("*", ""))
    return found
