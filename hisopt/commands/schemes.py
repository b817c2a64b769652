"""``python -m hisopt.solve --scheme NAME``: the papers' schemes on the same instance, end to end."""

from __future__ import annotations

import csv
import json
import textwrap
from dataclasses import dataclass, replace
from io import StringIO
from typing import TYPE_CHECKING, Any

import numpy as np

from hisopt.commands.common import flag
from hisopt.commands.solving import solve_all
from hisopt.commands.tables import framed
from hisopt.commands.variation import check_public, modules_of
from hisopt.equations import executed
from hisopt.errors import InputError
from hisopt.result import SolutionStatus, Termination
from hisopt.solvers.schemes.schemes import SCHEMES, Scheme, scheme_of, scheme_problem, scheme_solver

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hisopt.commands.request import Setting
    from hisopt.commands.solve_options import SolveOptions
    from hisopt.commands.solving import Tasks
    from hisopt.instances import IccInstance, Instance
    from hisopt.solvers.run.runner import Run


@dataclass(frozen=True)
class SchemeRow:
    """A scheme on an instance by one solver: means over its random members, and what was checked.

    ``clusters`` is how many groups share, ``draws`` how many draws of random members stand behind the means (1 where
    nothing is random), ``spread`` the deviation of utility over them; ``proven`` and ``checked`` hold for every draw.
    Numbers are None, and ``message`` says why, where a draw was left without a decision.
    """

    scheme: Scheme
    solver: str
    clusters: int
    draws: int
    spread: float | None = None
    proven: bool = False
    checked: bool = False
    utility: float | None = None
    quality: float | None = None
    delay_s: float | None = None
    energy_j: float | None = None
    steps: float | None = None
    tflop: float | None = None
    energy_per_image_j: float | None = None
    message: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        values = {name: value for name, value in vars(self).items() if name != "scheme"}
        names = ("groups", "public", "modules", "phase")
        return {"scheme": self.scheme.name, **{name: getattr(self.scheme, name) for name in names}, **values}


@dataclass(frozen=True)
class Part:
    """A scheme by one solver (None: the exact one), and the problems of its draws, each with its solver."""

    scheme: Scheme
    solver: str | None
    tasks: Tasks


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


def parts_of(
    instance: Instance | IccInstance, schemes: Sequence[Scheme], options: SolveOptions, seed: int
) -> list[Part]:
    """Return what is to be solved, schemes in the order asked for, solvers within them.

    A scheme that an instance cannot have (no prompts, the other model), or a solver that it cannot, raises `InputError`.
    """
    found = []
    for scheme in schemes:
        draws = range(options.members if scheme.random else 1)
        problems = [scheme_problem(instance, scheme, options.members * seed + k) for k in draws]
        for solver in options.solvers or (None,):
            found.append(Part(scheme, solver, [(one, scheme_solver(scheme, one, solver)) for one in problems]))
    return found


def row_of(part: Part, runs: Sequence[Run]) -> SchemeRow:
    """Return the means over a scheme's draws."""
    scheme = part.scheme
    row = SchemeRow(
        scheme,
        part.solver or "exact",
        runs[0].problem.max_clusters,
        len(runs),
        checked=not any(run.refuted for run in runs),
    )
    if lacking := [run for run in runs if run.objective is None or run.solution_status is not SolutionStatus.FEASIBLE]:
        why = lacking[0].message or "; ".join(lacking[0].violations) or lacking[0].termination.value
        return replace(row, message=why)
    found = [_numbers(run, kept=scheme.phase == "kept") for run in runs]
    utility, quality, delay, energy, steps, tflop = (float(np.mean(values)) for values in zip(*found, strict=True))
    return replace(
        row, spread=float(np.std([one[0] for one in found])), utility=utility, quality=quality, delay_s=delay,
        energy_j=energy, steps=steps, tflop=tflop, energy_per_image_j=energy / runs[0].problem.users,
        proven=all(run.termination is Termination.OPTIMAL for run in runs),
    )  # fmt: skip


def _numbers(run: Run, *, kept: bool) -> tuple[float, float, float, float, float, float]:
    """Return utility, quality, delay (s), energy (J), executed steps and their TFLOP."""
    if run.decision is None or run.objective is None:
        raise ValueError(f"{run.problem.label}: no decision")
    steps, flop = executed(run.problem.instance, run.decision, kept=kept)  # type: ignore[attr-defined]
    delay, energy = (sum(v for part, v in run.parts.items() if part.startswith(name)) for name in ("delay", "energy"))
    return run.objective, run.parts["quality"], delay, energy, float(steps), flop / 1e12


def compare(
    settings: Sequence[Setting], schemes: Sequence[Scheme], options: SolveOptions
) -> tuple[list[list[SchemeRow]], bool]:
    """Return the rows of every setting, each solve in a process of its own, and whether an interrupt cut them short."""
    work = [parts_of(setting.system, schemes, options, setting.seed) for setting in settings]
    results, interrupted = solve_all(
        settings, [[task for part in parts for task in part.tasks] for parts in work], options
    )
    found = []
    for parts, (_, runs) in zip(work, results, strict=False):
        rows, at = [], 0
        for part in parts:
            own = runs[at : at + len(part.tasks)]
            at += len(part.tasks)
            if len(own) == len(part.tasks):
                rows.append(row_of(part, own))
        found.append(rows)
    return found, interrupted


def text_of(
    settings: Sequence[Setting], results: Sequence[Sequence[SchemeRow]], style: str, notes: list[str], width: int,
    *, colour: bool = False, ascii_only: bool = False,
) -> str:  # fmt: skip
    """Return the rows as ``json``, ``csv``, ``latex`` or ``table``."""
    done = list(zip(settings, results, strict=False))
    if style == "json":
        records = [s.place | r.to_dict() for s, rows in done for r in rows]
        return json.dumps({"schemes": records, "notes": notes}, allow_nan=False) + "\n"
    if style == "csv":
        lines = [s.place | r.to_dict() for s, rows in done for r in rows]
        text = StringIO()
        writer = csv.DictWriter(text, fieldnames=list(lines[0]) if lines else [], lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)
        return text.getvalue()
    if style == "latex":
        return "\n".join(_latex(setting.heading, rows) for setting, rows in done)
    parts = [_table(rows, width, colour, ascii_only, setting.heading) for setting, rows in done]
    draws = max((row.draws for _, rows in done for row in rows), default=1)
    return "\n".join([*parts, textwrap.fill(_LEGEND.format(draws=draws), width)]) + "\n"


_COLUMNS = ("scheme", "groups", "modules", "solver", "utility", "quality", "delay, s", "energy, kJ", "steps", "TFLOP",
            "J an image", "proven", "checked")  # fmt: skip
_MIDDLE = ("scheme", "solver", "utility", "quality", "delay, s", "steps", "TFLOP", "J an image", "proven", "checked")
_NARROW = ("scheme", "utility", "quality", "steps", "J an image", "proven", "checked")
_BETWEEN = 3  # characters between columns
_RIGHT = _COLUMNS[4:11]
_LEGEND = (
    "Sums over users; means over {draws} draws of random members, where a scheme has them (with the deviation of utility). "
    "steps, TFLOP: what is executed, a common phase once; checked: feasible by the problem's own evaluation, and no better "
    "than the solver's bound. proven is said of steps and SMs, given a scheme's groups and public prompts."
)


def _cells(row: SchemeRow) -> list[str]:
    spread = f" ± {row.spread:.1g}" if row.spread and row.utility and row.spread > 1e-12 * abs(row.utility) else ""
    energy = None if row.energy_j is None else row.energy_j / 1e3
    return [
        row.scheme.name, str(row.clusters), "sim,npi" if row.scheme.modules else "none", row.solver,
        _shown(row.utility, 6) + spread, _shown(row.quality), _shown(row.delay_s), _shown(energy),
        _shown(row.steps, 6), _shown(row.tflop, 6), _whole(row.energy_per_image_j), "yes" if row.proven else "-",
        "REFUTED" if not row.checked else "-" if row.utility is None else "yes",
    ]  # fmt: skip


def _shown(value: float | None, digits: int = 4) -> str:
    return "-" if value is None else f"{value:.{digits}g}"


def _whole(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"


def _table(rows: Sequence[SchemeRow], width: int, colour: bool, ascii_only: bool, heading: str) -> str:
    cells = [dict(zip(_COLUMNS, _cells(row), strict=True)) for row in rows]
    shown = next((names for names in (_COLUMNS, _MIDDLE) if _width(names, cells) <= width), _NARROW)
    if shown is _NARROW and len({row.solver for row in rows}) > 1:
        shown = ("scheme", "solver", "utility", *_NARROW[3:])
    body = [[cell[name] for name in shown] for cell in cells]
    below = [f"{row.scheme.name}: {row.solver}: {row.message}" for row in rows if row.message]
    table = framed("", shown, body, _RIGHT, width, colour=colour, ascii_only=ascii_only, below=below)
    return f"{textwrap.fill(heading, width, break_on_hyphens=False)}\n\n{table}"


def _width(names: Sequence[str], cells: Sequence[dict[str, str]]) -> int:
    return sum(max(len(name), *(len(cell[name]) for cell in cells)) + _BETWEEN for name in names)


def _latex(heading: str, rows: Sequence[SchemeRow]) -> str:
    body = [" & ".join(_cells(row)).replace("±", "$\\pm$") + " \\\\" for row in rows]
    head = [f"% {heading}", "\\begin{tabular}{llllrrrrrrrll}", "\\toprule", " & ".join(_COLUMNS) + " \\\\"]
    return "\n".join([*head, "\\midrule", *body, "\\bottomrule", "\\end{tabular}"]) + "\n"


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
