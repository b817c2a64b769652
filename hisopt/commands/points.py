"""What a call of `hisopt.solve` asks of a file of points."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hisopt.commands.common import flag
from hisopt.errors import InputError
from hisopt.points import Constraints, PointSet, read_constraints, read_points, standardised
from hisopt.problems import CRITERIA, Clustering, SumOfSquares
from hisopt.text.vectors import scaled

if TYPE_CHECKING:
    from hisopt.commands.solve_options import SolveOptions
    from hisopt.problems import Criterion, Problem

_NOT_FOR_POINTS = (
    "preset", "users", "prompts", "embeddings", "profile", "quality", "weights", "modules", "public_prompt", "schemes",
    "save_instance",
)  # fmt: skip


def posed(options: SolveOptions) -> tuple[PointSet, tuple[Problem, ...], tuple[str, ...]]:
    """Return the points, the problems asked for on them, and notes; raise `InputError` for what cannot be."""
    path = str(options.instance)
    for name in _NOT_FOR_POINTS:
        if getattr(options, name) not in (None, (), False):
            raise InputError(f"{flag(name)}: means nothing to points; {path} holds points")
    for kind in options.kinds:
        if kind != Clustering.kind:
            raise InputError(f"problem {kind}: not defined for points; {path} holds points")
    if options.clusters is None:
        raise InputError(f"--clusters: missing, and {path} holds points; how many clusters at most?")
    if options.normalise and options.standardise:
        raise InputError("--standardise: scales features and --normalise rows; give one of them")
    columns = [name.strip() for name in options.columns.split(",")] if options.columns else []
    points, names = read_points(path, columns)
    notes = [
        f"{len(points):,} points of {len(names)} features: {', '.join(names[:8])}{', ...' if len(names) > 8 else ''}"
    ]
    notes += [
        f"column {names[k]!r} counts the rows; if it is no feature, name the others with --columns"
        for k in range(len(names)) if len(points) > 2 and (np.diff(points[:, k]) == 1).all()
    ]  # fmt: skip
    if options.standardise:
        points, told = standardised(points, names)
        notes += told
    if options.normalise:
        try:
            points = scaled(points)
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
    if not 1 <= options.clusters <= len(points):
        raise InputError(f"--clusters: is {options.clusters}, must be 1 to {len(points)}, the number of points")
    constraints = read_constraints(options.constraints, len(points)) if options.constraints else Constraints()
    points_set = PointSet(points, options.clusters, constraints)
    known: dict[str, Criterion] = {name: name for name in CRITERIA}
    problems: list[Problem] = []
    for name in dict.fromkeys(options.criteria or (SumOfSquares.criterion,)):
        if name == SumOfSquares.criterion:
            problems.append(SumOfSquares(points, options.clusters, constraints.sizes, *constraints.pairs))
            continue
        if constraints.must_link or constraints.cannot_link:
            raise InputError(f"--constraints: pairs are for the criterion {SumOfSquares.criterion}, not for {name}")
        problems.append(Clustering(points, options.clusters, known[name], constraints.sizes))
    if not options.solvers:
        notes += _too_large(problems)
    return points_set, tuple(problems), tuple(notes)


def _too_large(problems: list[Problem]) -> list[str]:
    """Return a note on every solver that does not begin on so many points."""
    from hisopt.solvers.registry import registered

    reasons = [solver.too_large(p) for p in problems for solver in registered(p.kind)]
    return [f"left out: {reason}" for reason in dict.fromkeys(reasons) if reason]
