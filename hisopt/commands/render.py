"""Runs as rows, and rows as JSON, CSV and LaTeX."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from hisopt.equations import executed
from hisopt.points import PointSet
from hisopt.result import SolutionStatus, relative_gap

if TYPE_CHECKING:
    from hisopt.commands.request import Setting
    from hisopt.problems import Problem
    from hisopt.solvers.run.runner import Run

COLUMNS = ("solver", "guarantee", "termination", "objective", "bound", "gap", "to best bound", "seconds", "checked")


def best_bound(runs: Iterable[Run]) -> float | None:
    """Return the tightest bound that any of one problem's runs proved, but none that a feasible objective passes.

    Solvers with tolerances may state a bound a little beyond the optimum, within the tolerance on claims.
    """
    runs = list(runs)
    bounds = [run.bound for run in runs if run.bound is not None]
    if not bounds:
        return None
    found = [
        run.objective for run in runs if run.objective is not None and run.solution_status is SolutionStatus.FEASIBLE
    ]
    return max(min(bounds), *found, -math.inf) if runs[0].problem.maximise else min(max(bounds), *found, math.inf)


def gap_to(run: Run, bound: float | None) -> float | None:
    """Return the gap of a run's feasible objective to a bound."""
    if bound is None or run.objective is None or run.solution_status is not SolutionStatus.FEASIBLE:
        return None
    return relative_gap(run.objective, bound, run.scale)


def cells(run: Run, bound: float | None) -> list[str]:
    """Return one row, as text."""
    checked = {"feasible": "yes", "infeasible": "INFEASIBLE", "none": "-"}[run.solution_status.value]
    return [
        run.solver.label,
        run.solver.guarantee.value,
        run.termination.value,
        _number(run.objective),
        _number(run.bound),
        _percent(run.gap),
        _percent(gap_to(run, bound)),
        "-" if run.seconds is None else f"{run.seconds:.3f}",
        "REFUTED" if run.refuted else checked,
    ]


def rows(run: Run, bound: float | None) -> dict[str, Any]:
    """Return one row as values."""
    record = run.to_dict() | {"gap_to_best_bound": gap_to(run, bound)} | amounts(run)
    flat = ("decision", "parts", "violations", "details", "limits", "versions", "refuted")
    return {key: value for key, value in record.items() if key not in flat} | {"refuted": "; ".join(run.refuted)}


def amounts(run: Run) -> dict[str, float | None]:
    """Return quality, delay (s) and energy (J), summed over users and clusters, executed steps and their TFLOP.

    None where the problem has no steps, or the decision is not one to be scored.
    """
    names = ("quality", "delay_s", "energy_j", "steps", "tflop")
    instance, decision = getattr(run.problem, "instance", None), run.decision
    if instance is None or decision is None or decision.steps_common is None or not run.parts:
        return dict.fromkeys(names)
    delay, energy = (
        sum(value for part, value in run.parts.items() if part.startswith(name)) for name in ("delay", "energy")
    )
    steps, flop = executed(instance, decision)
    return dict(zip(names, (run.parts["quality"], delay, energy, float(steps), flop / 1e12), strict=True))


Results = Sequence[tuple["Setting", Sequence["Run"]]]  # the runs of each setting


def grouped(runs: Iterable[Run]) -> dict[Problem, list[Run]]:
    """Return the runs of each problem, in order."""
    groups: dict[Problem, list[Run]] = {}
    for run in runs:
        groups.setdefault(run.problem, []).append(run)
    return groups


def to_json(results: Results, contradictions: list[str], notes: list[str]) -> str:
    """Return everything as one JSON document: ``instance``, or ``instances`` where several seeds were run."""
    records = []
    for setting, runs in results:
        place = setting.place
        for group in grouped(runs).values():
            bound = best_bound(group)
            records += [
                place | run.to_dict() | {"gap_to_best_bound": gap_to(run, bound)} | amounts(run) for run in group
            ]
    about = [_described(setting) for setting, _ in results]
    instances = {"instance": about[0]} if len(about) == 1 else {"instances": about}
    document = instances | {"runs": records, "contradictions": contradictions, "notes": notes}
    return json.dumps(document, allow_nan=False) + "\n"


def _described(setting: Setting) -> dict[str, Any]:
    """Return where an instance comes from and, below 20,000 users, all its data, as a file of instances has them."""
    from hisopt.instances import SCHEMA_VERSION

    instance = setting.instance
    about = {"schema_version": SCHEMA_VERSION, "model": type(instance).model, "source": setting.source} | setting.place
    if isinstance(instance, PointSet) or instance.users >= 20_000:
        return about
    return about | instance.model_dump(mode="json", exclude_none=True)


def to_csv(results: Results) -> str:
    """Return one line a run, which begins with the instance: preset, users, max_clusters, seed, hash."""
    import csv
    from io import StringIO

    lines = [
        setting.place | rows(run, bound)
        for setting, runs in results
        for group in grouped(runs).values()
        for bound in [best_bound(group)]
        for run in group
    ]
    text = StringIO()
    writer = csv.DictWriter(text, fieldnames=list(lines[0]) if lines else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


def to_latex(results: Results) -> str:
    """Return one booktabs table a problem, under a comment that says which instance."""
    special = {c: "\\" + c for c in "%_&#$"}
    text = []
    for setting, runs in results:
        for problem, group in grouped(runs).items():
            bound = best_bound(group)
            body = [" & ".join("".join(special.get(c, c) for c in cell) for cell in cells(run, bound)) for run in group]
            text.append(
                "\n".join(
                    [f"% {setting.heading}", f"% {problem.label}", "\\begin{tabular}{lllrrrrrl}", "\\toprule"]
                    + [" & ".join(COLUMNS) + " \\\\", "\\midrule"]
                    + [f"{line} \\\\" for line in body]
                    + ["\\bottomrule", "\\end{tabular}"]
                )
            )
    return "\n\n".join(text) + "\n"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.8g}"


def _percent(value: float | None) -> str:
    if value is None:
        return "-"
    return "0" if value < 1e-12 else f"{100 * value:.2g} %" if value < 1e-4 else f"{100 * value:.3f} %"
