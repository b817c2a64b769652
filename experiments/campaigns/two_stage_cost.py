"""``python -m hisopt.experiments.campaigns.two_stage_cost``: what it costs to choose the clusters first.

Each way to clusters is followed by the exact joint solver, and held to the best decision known of the full problem and to
a proven bound on it: the optimum up to 20 users (`set-partition`), the bound by types of clusters beyond. The papers'
schemes stand beside them with the utility that each has in its own terms (its groups, public prompts and quality); where
they form no more than M groups, their decisions are also judged by the full problem and held to the bound.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np
import pandas as pd

from hisopt import Decision
from hisopt.experiments.campaigns.random_instances import paper_preset
from hisopt.files import write_atomically
from hisopt.problems import Clustering, Full, Joint
from hisopt.result import Limits
from hisopt.solvers.full.set_partition import MAX_USERS
from hisopt.solvers.full.type_bound import MAX_USERS as MOST_BOUNDED
from hisopt.solvers.registry import select
from hisopt.solvers.run import runner as in_processes
from hisopt.solvers.schemes.schemes import SchemeResult, solve_scheme

if TYPE_CHECKING:
    from collections.abc import Hashable

    from hisopt.problems import Criterion, Problem
    from hisopt.solvers.run.runner import Run, Runner

CLUSTERINGS: dict[str, tuple[Criterion, str]] = {
    "HAC": ("mean", "hac"),
    "refined, mean": ("mean", "hac-refined"),
    "refined, centroid": ("centroid", "hac-refined"),
    "k-means": ("mean", "kmeans"),
    "random": ("mean", "random"),
    "all in one": ("sum", "hac-refined"),  # the optimum of `sum`: similarities are positive for the most part
}
_SEARCHES = 3  # seeds of the local search; one alone can end 0.3 % below another
SCHEMES = ("hid", "ppgfis", "cfis", "iis", "uniform")


class Refuted(Exception):
    """A decision beyond a bound."""


def row(users: int, seed: int, time_limit: float, runner: Runner) -> dict[Hashable, Any]:
    """Return the utilities and the bound of one instance of the preset ``paper``."""

    def run(problem: Problem, name: str, seed: int = seed) -> Run:
        (solver,) = select(problem.kind, [name])
        return runner.run(problem, solver, Limits(time_limit, seed=seed))

    instance = paper_preset(users, seed)
    found: dict[Hashable, Any] = {"users": users, "seed": seed}
    for name, (criterion, solver) in CLUSTERINGS.items():
        clustering = run(Clustering.of(instance, criterion), solver)
        if clustering.decision is None or clustering.decision.clusters is None:
            raise Refuted(f"N = {users}, seed {seed}, {name}: {clustering.message or 'no clusters'}")
        given = Joint(instance.with_clusters(np.asarray(clustering.decision.clusters)))
        found[name] = float(run(given, "exact").objective or np.nan)
    problem = Full(instance)
    searched = [run(problem, "local-search", seed + k) for k in range(_SEARCHES)]
    bounded = run(problem, "set-partition" if users <= MAX_USERS else "type-bound")
    known = [one.objective for one in (*searched, bounded) if one.objective is not None]
    if len(known) <= _SEARCHES or bounded.bound is None:
        raise Refuted(f"N = {users}, seed {seed}: {searched[0].message} {bounded.message or 'no bound in time'}")
    found["best known"] = max(*known, *(found[name] for name in CLUSTERINGS))
    for name in SCHEMES:
        scheme = solve_scheme(instance, name, seed, Limits(time_limit))
        found[f"scheme {name}"] = scheme.utility
        found[f"judged {name}"] = judged = _judged(problem, scheme)
        found["best known"] = max(found["best known"], judged or -np.inf)
    found["bound"], found["termination"] = bounded.bound, str(bounded.termination)
    if found["best known"] > bounded.bound * (1 + 1e-6):
        raise Refuted(f"N = {users}, seed {seed}: {found['best known']} exceeds the bound {bounded.bound}")
    return found


def _judged(problem: Full, result: SchemeResult) -> float | None:
    """What the full problem says of a scheme's groups, steps and SMs; None where it forms more than M groups."""
    groups, decision = result.problem.instance, result.decision
    spare = problem.max_clusters - groups.max_clusters
    if spare < 0:
        return None
    sms = np.append(decision.cluster_sms, np.zeros(spare))
    common, steps_edge = decision.server_steps
    scored = problem.evaluate(
        Decision(
            clusters=groups.labels,
            steps_common=common,
            steps_edge=steps_edge,
            steps_device=decision.device_steps,
            sms=sms,
        )
    )
    if not scored.feasible:
        raise Refuted(f"{result.scheme.name}: {'; '.join(scored.violations)}")
    return scored.objective


def summary(rows: pd.DataFrame) -> str:
    """Return a Markdown table: how far each way is below the best known, and that below the bound, in per cent."""
    sizes = sorted(rows["users"].unique())
    parts = [rows[rows["users"] == users] for users in sizes]
    ways = [(f"{name}, exact steps", name) for name in CLUSTERINGS]
    ways += [(f"scheme {name}, in its own terms", f"scheme {name}") for name in SCHEMES]
    ways += [(f"scheme {name}, judged by the full problem", f"judged {name}") for name in SCHEMES]
    lines = [
        "| below the best known, %: mean, worst | " + " | ".join(f"N = {users}" for users in sizes) + " |",
        "|" + "---|" * (len(sizes) + 1),
    ]
    for title, name in ways:
        lost = [(100 * (1 - part[name].astype(float) / part["best known"])).dropna() for part in parts]
        if any(len(loss) for loss in lost):
            cells = [_mean_and_worst(loss) + (f" ({len(loss)})" if len(loss) < len(part) else "")
                     for loss, part in zip(lost, parts, strict=True)]  # fmt: skip
            lines.append(f"| {title} | " + " | ".join(cells) + " |")
    gaps = [100 * (part["bound"] / part["best known"] - 1) for part in parts]
    lines.append("| bound above the best known | " + " | ".join(map(_mean_and_worst, gaps)) + " |")
    proven = [f"{(part['termination'] == 'optimal').sum()} of {len(part)}" for part in parts]
    lines.append("| proven optimal | " + " | ".join(proven) + " |")
    return "\n".join([*lines, ""])


def _mean_and_worst(values: pd.Series[float]) -> str:
    return f"{values.mean():.2f}, {values.max():.2f}" if len(values) else "-"


@click.command()
@click.option("--users", default="8,12,20,30,50", show_default=True, help="Sizes N, with commas.")
@click.option("--seeds", default=50, show_default=True, help="Draws of each size.")
@click.option("--time-limit", default=120.0, show_default=True, help="Seconds a solve.")
@click.option(
    "--output", type=click.Path(dir_okay=False, path_type=Path), help="CSV of all draws; a run goes on from it."
)
def main(users: str, seeds: int, time_limit: float, output: Path | None) -> None:
    """Measure what clustering first costs, in per cent of the best utility known: mean, worst."""
    try:
        sizes = [int(part) for part in users.split(",")]
    except ValueError:
        raise click.BadParameter(f"{users!r} is not a list of whole numbers", param_hint="--users") from None
    if not all(1 <= size <= MOST_BOUNDED for size in sizes) or seeds < 1:
        raise click.UsageError(f"sizes from 1 to {MOST_BOUNDED}, and at least one draw")
    known = pd.read_csv(output) if output is not None and output.exists() else pd.DataFrame(columns=["users", "seed"])
    done = {(int(n), int(s)) for n, s in zip(known["users"], known["seed"], strict=True)}
    rows = known.to_dict("records")
    with in_processes.Runner() as runner:
        for seed in range(seeds):
            for size in sizes:
                if (size, seed) in done:
                    continue
                try:
                    rows.append(row(size, seed, time_limit, runner))
                except Refuted as error:
                    print(error, file=sys.stderr)
                    sys.exit(1)
                if output is not None:
                    write_atomically(output, pd.DataFrame(rows).to_csv(index=False))
                ratio = rows[-1]["bound"] / rows[-1]["best known"]
                print(f"N = {size}, seed {seed}: bound / best known = {ratio:.5f}", file=sys.stderr)
    print(summary(pd.DataFrame([r for r in rows if r["users"] in sizes])))


if __name__ == "__main__":
    main()
