"""``python -m hisopt.solve --scheme NAME``: the papers' schemes on the same instance, end to end."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass, replace
from io import StringIO
from typing import TYPE_CHECKING, Any

import numpy as np

from hisopt.commands.common import flag
from hisopt.commands.variation import check_public, modules_of
from hisopt.errors import InputError
from hisopt.result import Limits
from hisopt.solvers.schemes.schemes import SCHEMES, Scheme, SchemeResult, scheme_of, solve_scheme

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hisopt.commands.request import Setting
    from hisopt.commands.solve_options import SolveOptions
    from hisopt.instances import IccInstance, Instance

_NUMBERS = ("utility", "quality", "delay_s", "energy_j", "steps", "tflop", "energy_per_image_j")


@dataclass(frozen=True)
class SchemeRow:
    """A scheme on an instance by one solver: means over its random members, and what was checked.

    ``clusters`` is how many groups share, ``draws`` how many draws of random members stand behind the means (1 where
    nothing is random), ``spread`` the deviation of utility over them; ``proven`` and ``checked`` hold for every draw.
    """

    scheme: Scheme
    solver: str
    clusters: int
    draws: int
    spread: float
    proven: bool
    checked: bool
    utility: float
    quality: float
    delay_s: float
    energy_j: float
    steps: float
    tflop: float
    energy_per_image_j: float

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        values = {name: value for name, value in vars(self).items() if name != "scheme"}
        names = ("groups", "public", "modules", "phase")
        return {"scheme": self.scheme.name, **{name: getattr(self.scheme, name) for name in names}, **values}


def asked(options: SolveOptions) -> list[Scheme]:
    """Return the schemes asked for, with what the command line changes of them; raise `InputError`."""
    for name in ("kinds", "criteria", "policy", "quality", "export"):
        if getattr(options, name):
            shown = {"kinds": "problem", "criteria": "criterion"}.get(name, name)
            raise InputError(f"{flag(shown)}: goes without --scheme")
    if options.members < 1:
        raise InputError(f"--members: is {options.members}, must be >= 1")
    names = tuple(SCHEMES) if "all" in options.schemes else tuple(dict.fromkeys(options.schemes))
    found = []
    for name in names:
        scheme = scheme_of(name)
        if options.modules is not None:
            scheme = scheme.replace(modules=modules_of(options.modules))
        if options.public_prompt is not None and scheme.phase != "none":
            scheme = scheme.replace(public=check_public(options.public_prompt))
        found.append(scheme)
    return found


def row(
    instance: Instance | IccInstance, scheme: Scheme, solver: str | None, options: SolveOptions, seed: int
) -> SchemeRow:
    """Solve a scheme once for each draw of its random members, and return the means."""
    limits = Limits(options.time_limit, options.memory_limit, options.threads, seed)
    draws = range(options.members if scheme.random else 1)
    found = [solve_scheme(instance, scheme, options.members * seed + k, limits, solver=solver) for k in draws]
    means = {name: float(np.mean([getattr(one, name) for one in found])) for name in _NUMBERS[:-1]}
    return SchemeRow(
        scheme, solver or "exact", found[0].problem.max_clusters, len(found),
        float(np.std([one.utility for one in found])), all(one.proven for one in found), all(map(_checked, found)),
        **means, energy_per_image_j=means["energy_j"] / instance.users,
    )  # fmt: skip


def _checked(found: SchemeResult) -> bool:
    """Whether a decision is feasible and, where a bound was claimed, not beyond it."""
    within = found.bound is None or found.utility <= found.bound + 1e-8 * max(1.0, abs(found.utility))
    return found.evaluation.feasible and within


def compare(settings: Sequence[Setting], schemes: Sequence[Scheme], options: SolveOptions) -> list[list[SchemeRow]]:
    """Return the rows of every setting, schemes in the order asked for, solvers within them.

    A scheme that an instance cannot have (no prompts, the other model) raises `InputError`.
    """
    solvers = options.solvers or (None,)
    return [
        [row(setting.system, scheme, solver, options, setting.seed) for scheme in schemes for solver in solvers]
        for setting in settings
    ]


def text_of(settings: Sequence[Setting], results: Sequence[Sequence[SchemeRow]], style: str, notes: list[str]) -> str:
    """Return the rows as ``json``, ``csv``, ``latex`` or ``table``."""
    if style == "json":
        records = [s.place | r.to_dict() for s, rows in zip(settings, results, strict=True) for r in rows]
        return json.dumps({"schemes": records, "notes": notes}, allow_nan=False) + "\n"
    if style == "csv":
        lines = [s.place | r.to_dict() for s, rows in zip(settings, results, strict=True) for r in rows]
        text = StringIO()
        writer = csv.DictWriter(text, fieldnames=list(lines[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)
        return text.getvalue()
    return "\n".join(_table(s.heading, rows, latex=style == "latex") for s, rows in zip(settings, results, strict=True))


_COLUMNS = ("scheme", "groups", "modules", "solver", "utility", "quality", "delay, s", "energy, kJ", "steps", "TFLOP",
            "J an image", "proven", "checked")  # fmt: skip
_LEGEND = (
    "Sums over users; means over {draws} draws of random members, where a scheme has them (with the deviation of utility). "
    "steps, TFLOP: what is executed, a common phase once; checked: feasible by the problem's own evaluation, and no better "
    "than the solver's bound. proven is said of steps and SMs, given a scheme's groups and public prompts."
)


def _cells(row: SchemeRow) -> list[str]:
    spread = f" ± {row.spread:.2g}" if row.draws > 1 else ""
    return [
        row.scheme.name, str(row.clusters), "sim,npi" if row.scheme.modules else "none", row.solver,
        f"{row.utility:.6g}{spread}", f"{row.quality:.4g}", f"{row.delay_s:.4g}", f"{row.energy_j / 1e3:.4g}",
        f"{row.steps:.6g}", f"{row.tflop:.6g}", f"{row.energy_per_image_j:.4g}", "yes" if row.proven else "-",
        "yes" if row.checked else "REFUTED",
    ]  # fmt: skip


def _table(heading: str, rows: Sequence[SchemeRow], *, latex: bool) -> str:
    cells = [_cells(row) for row in rows]
    if latex:
        body = [" & ".join(line).replace("±", "$\\pm$") + " \\\\" for line in cells]
        head = [f"% {heading}", "\\begin{tabular}{llllrrrrrrrll}", "\\toprule", " & ".join(_COLUMNS) + " \\\\"]
        return "\n".join([*head, "\\midrule", *body, "\\bottomrule", "\\end{tabular}"]) + "\n"
    widths = [max(map(len, column)) for column in zip(_COLUMNS, *cells, strict=True)]
    lines = []
    for line in (list(_COLUMNS), *cells):
        lines.append("  ".join(
            cell.rjust(width) if 4 <= k <= 10 else cell.ljust(width)
            for k, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip())  # fmt: skip
    lines.insert(1, "-" * len(lines[0]))
    return "\n".join([heading, "", *lines, "", _LEGEND.format(draws=max(row.draws for row in rows))]) + "\n"


def without_problems(settings: Sequence[Setting]) -> list[Setting]:
    """Return the settings with embeddings filled in, where an instance has prompts alone."""
    from hisopt.text.corpus import embed

    found = []
    for setting in settings:
        instance = setting.system
        if instance.embeddings is None and instance.prompts is not None:
            instance = instance.replace(embeddings=embed(instance.prompts))
        found.append(replace(setting, instance=instance))
    return found
