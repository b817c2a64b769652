"""``python -m hisopt.experiments.benchmarks.joint_rivals``: the exact joint solver against others, in one run."""

from __future__ import annotations

from pathlib import Path

import click

from hisopt import Limits
from hisopt.experiments.campaigns.random_instances import paper_preset
from hisopt.experiments.campaigns.records import Store
from hisopt.problems import problem_of
from hisopt.solvers.clustering.hac import clustered
from hisopt.solvers.registry import registered
from hisopt.solvers.run.runner import Runner

RIVALS = ("exact", "milp-highs", "scip", "alternating", "local-search")


@click.command()
@click.option("--users", multiple=True, type=int, default=(6, 10, 20, 50, 200), show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("--time-limit", default=60.0, show_default=True, help="Seconds a solve.")
@click.option("--records", type=click.Path(path_type=Path), help="Folder that keeps every run.")
def main(users: tuple[int, ...], seed: int, time_limit: float, records: Path | None) -> None:
    """Print a Markdown table: seconds to proven optimality, or the gap left; for heuristics the gap to the optimum."""
    solvers = [solver for name in RIVALS for solver in registered("joint") if solver.name == name]
    tasks = [(problem_of("joint", clustered(paper_preset(n, seed))), solver) for n in users for solver in solvers]
    print("| N | " + " | ".join(RIVALS) + " |")
    print("|---|" + "---|" * len(RIVALS))
    with Runner(Limits(time_s=time_limit)) as runner:
        found = Store(records).run_all(runner, tasks)
        for n in users:
            group = [next(found) for _ in solvers]
            optimum, cells = group[0]["bound"], []
            for run in group:
                distance = abs(run["objective"] - optimum) / abs(optimum) if run["objective"] is not None else None
                if run["guarantee"] != "exact":
                    cells.append(
                        "none" if distance is None else f"{100 * distance:.2f} % off, {1000 * run['seconds']:.0f} ms"
                    )
                elif run["termination"] == "optimal":
                    cells.append(f"{run['seconds']:.4f} s" if run["seconds"] < 0.1 else f"{run['seconds']:.1f} s")
                else:
                    gap = "no solution" if run["gap"] is None else f"{100 * run['gap']:.1f} % gap"
                    cells.append(f"{gap} at {time_limit:g} s")
            print(f"| {n} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
