"""``python -m hisopt.experiments.campaigns.validation``: HAC, public prompts, Theorem 1 and two stages, judged by optima."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np
import pandas as pd

from hisopt import Decision, Limits, Problem
from hisopt.equations import given_work_costs, optimal_sms, rule_similarity
from hisopt.experiments.campaigns.random_instances import paper_preset
from hisopt.experiments.campaigns.records import Store
from hisopt.files import write_atomically
from hisopt.problems import Allocation, Clustering, Full, Joint
from hisopt.solvers.allocation.closed_form import ClosedForm
from hisopt.solvers.allocation.whole import IntegerAllocation, RoundDown
from hisopt.solvers.clustering.branch_bound.search import BranchBound
from hisopt.solvers.clustering.hac import Hac
from hisopt.solvers.clustering.refined_hac import HacRefined
from hisopt.solvers.full.subsets import Subsets
from hisopt.solvers.full.two_stage import TwoStage
from hisopt.solvers.joint.exact import JointExact
from hisopt.solvers.run.runner import Runner

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hisopt.instances import Instance
    from hisopt.solvers.base import Solver

_CENTROID_UP_TO = 20  # users up to which ``centroid`` is solved itself


class Missing(Exception):
    """A cell without the decision or bound that the report needs: told, left out, and looked for again at the next run."""


class Campaign:
    """One instance after the other, every run kept in the store."""

    def __init__(self, runner: Runner, store: Store) -> None:
        self.runner, self.store = runner, store

    def solve(self, problem: Problem, *solvers: type[Solver[Any]]) -> list[dict[str, Any]]:
        """Return the records of some solvers on a problem; raise `Missing` for one without a feasible decision."""
        records = list(self.store.run_all(self.runner, [(problem, solver()) for solver in solvers]))
        for record in records:
            if record["solution_status"] != "feasible" or record["decision"] is None:
                reason = record["message"] or "no feasible decision"
                raise Missing(f"{problem.label}: {record['solver']}: {record['termination']}, {reason}")
        return records

    def row(self, users: int, seed: int) -> dict[str, Any]:
        """Return what one instance shows."""
        instance = paper_preset(users, seed)
        row: dict[str, Any] = {"users": users, "seed": seed}
        labels = {}
        for criterion in ("mean", "centroid"):
            problem = Clustering.of(instance, criterion)
            hac, refined = self.solve(problem, Hac, HacRefined)
            if criterion == "mean" or users <= _CENTROID_UP_TO:
                (best,) = self.solve(problem, BranchBound)
            else:  # Cauchy-Schwarz on the bound of ``mean``: distances are to a bound, so they are upper estimates
                if best["bound"] is None:
                    raise Missing(f"{problem.label}: no bound of mean")
                bound = float(np.sqrt(users * best["bound"]))
                best = refined | {"bound": bound, "objective": bound, "termination": "bound", "gap": None}
            row[f"{criterion}_proven"] = best["termination"] == "optimal"
            row[f"{criterion}_bound_gap"] = best["gap"]
            for name, run in (("hac", hac), ("refined", refined)):
                row[f"{criterion}_{name}_gap"] = 1 - run["objective"] / best["objective"]
            labels[criterion] = {
                "hac": np.array(hac["decision"]["clusters"]),
                "best": np.array(best["decision"]["clusters"]),
            }
        joint = {}
        for name, clusters in labels["mean"].items():
            given = instance.with_clusters(clusters)
            (run,) = self.solve(Joint(given), JointExact)
            joint[name] = run["objective"]
            same = clusters[:, None] == clusters[None, :]
            inner = np.asarray((instance.similarity_matrix * same).sum(axis=1) / same.sum(axis=1))
            public = rule_similarity(instance, clusters)
            if name == "hac":
                row["similarity_intra"], row["similarity_public"] = float(inner.mean()), float(public.mean())
                row["similarity_correlation"] = float(np.corrcoef(inner, public)[0, 1])
                steps = run["decision"]["steps_common"], run["decision"]["steps_edge"]
                row |= self.theorem_1(given, *map(np.array, steps))
        row["utility_hac"], row["utility_best_clusters"] = joint["hac"], joint["best"]
        if users <= 10:
            exact, two_stage = self.solve(Full(instance), Subsets, TwoStage)
            row["full_loss"] = (exact["objective"] - two_stage["objective"]) / abs(exact["objective"])
        return row

    def theorem_1(self, given: Instance, common: np.ndarray, steps_edge: np.ndarray) -> dict[str, float]:
        """KKT residuals of the closed form and what rounding down costs: at the optimal steps, or the middle ones if idle."""
        middle, labels = given.steps.middle(), given.labels
        busy = [m for m in range(given.max_clusters) if (labels == m).any()]
        if len(busy) < 2 or not all((common + steps_edge)[labels == m].any() for m in busy):
            common, steps_edge = np.full(given.users, middle[0]), np.full(given.users, middle[1])
        instance = given.replace(given_common=common, given_edge=steps_edge)
        problem, whole = Allocation(instance), Allocation(instance, whole_sms=True)
        (closed,) = self.solve(problem, ClosedForm)
        integer, down = self.solve(whole, IntegerAllocation, RoundDown)
        cost, budget = given_work_costs(instance), instance.sm_budget
        sms, price = np.array(closed["decision"]["sms"]), closed["details"]["price_of_an_sm"]
        used = cost > 0
        value = problem.evaluate(Decision(sms=optimal_sms(cost, budget))).objective or np.nan
        return {
            "kkt_stationarity": float(np.abs(cost[used] / sms[used] ** 2 / price - 1).max()),
            "kkt_budget": abs(float(sms.sum()) / budget - 1),
            "rounding_loss": down["objective"] / integer["objective"] - 1,
            "whole_sms_loss": integer["objective"] / value - 1,
        }


def summary(rows: pd.DataFrame, missing: Sequence[str] = ()) -> str:
    """Return the rows as a Markdown report, which names the instances that are missing."""
    lines = [
        "# Validation",
        "",
        f"{len(rows)} instances of the paper preset (M = 3), shipped prompts. Gaps are relative.",
    ]
    if missing:
        lines += ["", f"Left out, {len(missing)}:", "", *(f"- {line}" for line in missing)]
    for criterion in ("mean", "centroid"):
        lines += ["", f"## HAC against the optimum, `{criterion}`", ""]
        lines += ["Distances to the optimum where it is proven within 1e-6, else to the best partition known", ""]
        if criterion == "centroid":
            lines[-1:] = [
                f"(beyond N = {_CENTROID_UP_TO}: to the bound sqrt(N mean*), so the distances are overestimates).",
                "",
            ]
        else:
            lines[-2] += "."
        lines += ["| N | proven | HAC: optimal | mean | 95 % | worst | refined: mean | worst | of HAC's gap closed |"]
        lines += ["|---|---|---|---|---|---|---|---|---|"]
        for users, part in rows.groupby("users"):
            hac, refined = part[f"{criterion}_hac_gap"].clip(lower=0), part[f"{criterion}_refined_gap"].clip(lower=0)
            closed = 1 - refined.sum() / hac.sum() if hac.sum() > 0 else 1.0
            lines.append(
                f"| {users} | {int(part[f'{criterion}_proven'].sum())} of {len(part)} | {100 * (hac < 1e-6).mean():.0f} % "
                f"| {100 * hac.mean():.2f} % | {100 * hac.quantile(0.95):.2f} % | {100 * hac.max():.2f} % "
                f"| {100 * refined.mean():.3f} % | {100 * refined.max():.2f} % | {100 * closed:.0f} % |"
            )
    lines += ["", "## What the gap costs in utility", ""]
    lines += [
        "Joint optimum on HAC's clusters against that on the clusters best for `mean`: positive where HAC loses.",
        "",
    ]
    lines += ["| N | mean loss | worst | HAC better in |", "|---|---|---|---|"]
    for users, part in rows.groupby("users"):
        loss = (part["utility_best_clusters"] - part["utility_hac"]) / part["utility_best_clusters"].abs()
        lines.append(
            f"| {users} | {100 * loss.mean():.2f} % | {100 * loss.max():.2f} % | {100 * (loss < -1e-9).mean():.0f} % |"
        )
    correlation = rows["similarity_correlation"].dropna()
    means = rows["similarity_intra"], rows["similarity_public"]
    instances = float(np.corrcoef(*means)[0, 1]) if len(rows) > 1 else float("nan")
    lines += ["", "## Intra-cluster and public-personal similarity", ""]
    lines += [
        f"Ideal public prompt, HAC's clusters. Over users, correlation {correlation.mean():.3f} on average "
        f"(lowest {correlation.min():.3f}); over instances, of the means, {instances:.3f}. Mean similarity to the members "
        f"{rows['similarity_intra'].mean():.3f}, to the public prompt {rows['similarity_public'].mean():.3f}."
    ]
    lines += ["", "## Theorem 1", ""]
    lines += [
        f"Largest KKT residuals: stationarity {rows['kkt_stationarity'].max():.1e}, budget {rows['kkt_budget'].max():.1e} "
        f"(relative). Rounding down costs "
        f"{100 * rows['rounding_loss'].mean():.3f} % on average over the whole-number optimum, at "
        f"worst {100 * rows['rounding_loss'].max():.2f} %; whole SMs themselves cost {100 * rows['whole_sms_loss'].mean():.4f} %."
    ]
    if "full_loss" in rows and rows["full_loss"].notna().any():
        lines += [
            "",
            "## Two stages against the full optimum",
            "",
            "| N | mean loss | 95 % | worst | none lost in |",
            "|---|---|---|---|---|",
        ]
        for users, part in rows.dropna(subset=["full_loss"]).groupby("users"):
            loss = part["full_loss"].clip(lower=0)
            lines.append(
                f"| {users} | {100 * loss.mean():.2f} % | {100 * loss.quantile(0.95):.2f} % | {100 * loss.max():.2f} % "
                f"| {100 * (loss < 1e-9).mean():.0f} % |"
            )
    return "\n".join(lines) + "\n"


@click.command()
@click.option("--users", multiple=True, type=int, default=(8, 10, 15, 20, 30, 50), show_default=True)
@click.option("--instances", default=200, show_default=True, help="Instances of each size.")
@click.option("--time-limit", default=20.0, show_default=True, help="Seconds a solve.")
@click.option("--records", type=click.Path(path_type=Path), default=Path("records/validation"), show_default=True)
def main(users: tuple[int, ...], instances: int, time_limit: float, records: Path) -> None:
    """Run or resume the campaign; write the rows as CSV and the summary as Markdown beside the records."""
    store = Store(records / "runs")
    rows: list[dict[str, Any]] = []
    missing: list[str] = []
    with Runner(Limits(time_s=time_limit)) as runner:
        campaign = Campaign(runner, store)
        for n in users:
            for seed in range(instances):
                try:
                    rows.append(campaign.row(n, seed))
                except Missing as error:
                    missing.append(f"N = {n}, seed {seed}: {error}")
                    print(f"missing: {missing[-1]}", file=sys.stderr)
                if sys.stderr.isatty():
                    print(f"\rN = {n}: {seed + 1} of {instances}", end="", file=sys.stderr, flush=True)
            if not rows:
                continue
            table = pd.DataFrame(rows)
            write_atomically(records / "rows.csv", table.to_csv(index=False))
            write_atomically(records / "summary.md", summary(table, missing))
    if not rows:
        raise SystemExit("no instance has all its cells")
    print((records / "summary.md").read_text())


if __name__ == "__main__":
    main()
