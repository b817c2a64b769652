"""Records that no solver made: known gaps, failures, trajectories, shared and exclusive machines."""

from __future__ import annotations

import random
from typing import Any

GUARANTEES = {"exact": "exact", "milp": "exact", "greedy": "heuristic", "ippo": "learned"}


def made(
    seeds: int = 4, users: tuple[int, ...] = (10, 50), problem: str = "joint", **changed: Any
) -> list[dict[str, Any]]:
    """Four solvers on each size and seed; `milp` fails on odd seeds, `greedy` is 2 % off, `ippo` 1 % or more."""
    rng, found = random.Random(7), []
    for size in users:
        for seed in range(seeds):
            best = 1.0 + seed / 10
            for solver, guarantee in GUARANTEES.items():
                failed = solver == "milp" and seed % 2 == 1
                value = best * {"greedy": 0.98, "ippo": 0.99 - 0.001 * seed}.get(solver, 1.0)
                way = [[0.2, 0.5 * best, 2 * best], [1.0, best, 1.5 * best]] if solver == "milp" and not failed else []
                found.append({
                    "key": f"{problem}-{size}-{seed}-{solver}", "problem": problem, "maximise": True,
                    "instance": f"i{size}-{seed}", "source": "paper", "preset": True, "instance_seed": seed, "users": size,
                    "clusters": 3, "swept": {"users": size}, "repetition": 0, "seed": seed, "solver": solver,
                    "feasible": not failed, "solution_status": "none" if failed else "feasible", "guarantee": guarantee,
                    "termination": "time_limit" if failed else "optimal" if guarantee == "exact" else "completed",
                    "objective": None if failed else value, "bound": best if guarantee == "exact" and not failed else None,
                    "gap": None, "seconds": {"exact": 0.01, "milp": 2.0, "greedy": 0.002, "ippo": 0.05}[solver] * rng.uniform(1, 2),
                    "message": "", "violations": [], "details": {}, "decision": None, "refuted": [], "trajectory": way,
                    "versions": {"hisopt": "0.1.0", "numpy": "2"}, "time_limit": 3.0, "memory_limit": 8.0, "threads": 1,
                    "shared": False, "machine": "one, x86_64, Python 3.11",
                } | changed)  # fmt: skip
    return found


def many(count: int) -> list[dict[str, Any]]:
    """So many records of four solvers on three sizes."""
    found = made(-(-count // 12), (10, 50, 200))
    return found[:count]
