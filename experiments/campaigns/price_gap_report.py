"""Gaps of the policy for every size: what the campaign of that name runs.

Draws of the preset `paper` with N users (V scales along), M clusters by HAC and prompts of the judgement subjects, which
neither training nor the choice of a policy saw. Each of the three weights is multiplied by 1/2, 1 and 2 on its own; of the
27 ways 19 differ by more than a factor of the utility. Gaps are to the bound of `exact`, by `hisopt.result.relative_gap`,
and the policy's objective is that of `Joint.evaluate`. Beside the policy stand the two searches whose better it takes, in
the order of the network's likelihoods and in that of what replies lose at lambda, and both without any combination tried.
"""

from __future__ import annotations

import hashlib
import itertools
import sys
from importlib import resources
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from hisopt import PRESETS
from hisopt.analysis import intervals
from hisopt.files import write_atomically
from hisopt.instances import Instance, Weights
from hisopt.problems import Joint
from hisopt.result import relative_gap
from hisopt.solvers.clustering.hac import clustered
from hisopt.solvers.joint import scalar_coupling, step_tables
from hisopt.solvers.joint.coupling_search import choice_value
from hisopt.solvers.joint.exact import rounding_margin, with_optimal_sms
from hisopt.solvers.policy.doubts import settle
from hisopt.solvers.policy.policy_gap import HELD_OUT
from hisopt.solvers.policy.price_training import enlarged
from hisopt.solvers.policy.prices import PricePolicy, likelihoods, read, reply_of
from hisopt.solvers.policy.replies import Replies, lost_at_price, replies
from hisopt.text.corpus import shipped

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from hisopt.arrays import FloatArray
    from hisopt.solvers.joint.step_tables import StepTables
    from hisopt.text.corpus import Corpus

WAYS = ("policy", "network, combinations", "network alone", "pass, combinations", "pass alone")
FACTORS = (0.5, 1.0, 2.0)
_BLOCK = 5  # draws a file
_SAMPLES = 200  # of the bootstrap


def weightings() -> list[tuple[float, float, float]]:
    """Return factors of quality, delay and energy, of each ratio the triple that changes the fewest."""
    ratios: dict[tuple[float, float], tuple[float, float, float]] = {}
    for q, d, e in sorted(itertools.product(FACTORS, repeat=3), key=lambda factors: sum(f != 1 for f in factors)):
        ratios.setdefault((d / q, e / q), (q, d, e))
    return list(ratios.values())


def gaps(instance: Instance, tables: StepTables, seen: Replies, likely: FloatArray, doubts: int) -> dict[str, float]:
    """Return the relative gap of each of `WAYS` to the optimum's bound."""
    problem, budget = Joint(instance), instance.sm_budget
    best = scalar_coupling.maximise(
        tables.gain, tables.load, tables.offsets, budget, constant=tables.constant, tolerance=1e-9, enough=1e-6
    )
    bound = tables.constant + best.bound + rounding_margin(instance, tables.constant + best.value)
    rows, orders = np.arange(len(seen.own)), (likely, -lost_at_price(seen))
    chosen = [reply_of(seen, likely, doubts), *(settle(seen, order, n) for order in orders for n in (doubts, 0))]
    options = [seen.option[rows, reply] for reply in chosen]
    values = [tables.constant + choice_value(tables.gain, tables.load, budget, option) for option in options]
    judged = problem.evaluate(with_optimal_sms(instance, *tables.steps(options[0])))
    if not judged.feasible or judged.objective is None:
        raise ValueError(f"not feasible: {'; '.join(judged.violations)}")
    if abs(judged.objective - values[0]) > 1e-9 * judged.scale or judged.objective > bound:
        raise ValueError(f"objective {judged.objective}, by the tables {values[0]}, bound {bound}")
    found = {way: relative_gap(value, bound, judged.scale) for way, value in zip(WAYS, values, strict=True)}
    return found


def block(policy: PricePolicy, corpus: Corpus, users: int, clusters: int, seeds: range, doubts: int) -> pd.DataFrame:
    """Return the gaps of some draws of a size under all weightings, one row each."""
    scenario = PRESETS["paper"].with_users(users).replace(max_clusters=clusters)
    rows: list[dict[str, Any]] = []
    for seed in seeds:
        drawn = clustered(scenario.sample(HELD_OUT + seed, corpus))
        assert isinstance(drawn, Instance)
        usual = drawn.weights
        weighted = [
            drawn.replace(weights=Weights(quality=usual.quality * q, delay=usual.delay * d, energy=usual.energy * e))
            for q, d, e in weightings()
        ]
        tables = [step_tables.for_instance(one) for one in weighted]
        seen = [replies(table, one.sm_budget) for table, one in zip(tables, weighted, strict=True)]
        likely = likelihoods(policy, seen)
        for k, factors in enumerate(weightings()):
            cell = {"users": users, "clusters": clusters, "seed": seed, "weights": " ".join(f"{f:g}" for f in factors)}
            rows.append(cell | gaps(weighted[k], tables[k], seen[k], likely[k], doubts))
    return pd.DataFrame(rows)


def summary(rows: pd.DataFrame) -> str:
    """Return the gap matrices and intervals as Markdown, in per cent."""
    cells = rows.groupby(["users", "clusters", "weights"])["policy"]
    found = pd.DataFrame({"mean": cells.mean(), "tail": cells.quantile(0.99), "worst": cells.max()})
    met = (found["mean"] <= 0.01) & (found["tail"] <= 0.03)
    fewest, kept = int(cells.size().min()), int(met.sum())
    lines = [
        f"{len(rows)} decisions, {fewest} draws or more in each of {len(found)} cells. Mean gap at most 1 % and 99th",
        f"percentile at most 3 %: in {kept} of {len(found)} cells.", "",
        "Policy: largest mean, largest 99th percentile and worst gap over the weights, %", "",
        *_matrix(found, "users", "clusters"), "",
        "Policy: the same over M, by the factors of quality, delay and energy", "",
        *_matrix(found, "weights", "users"), "",
        "Interquartile mean and mean of all gaps, % (95 % intervals, bootstrap stratified by cell), and the cells that meet",
        "both", "",
        "| N | way | interquartile mean | mean | cells |", "|---|---|---|---|---|",
    ]  # fmt: skip
    for users, part in rows.groupby("users"):
        strata = part["clusters"].astype(str) + " " + part["weights"]
        values = part[list(WAYS)]
        tables = [intervals(values, strata, statistic, samples=_SAMPLES) for statistic in ("iqm", "mean")]
        for way in WAYS:
            numbers = [[100 * float(t.loc[way].iloc[k]) for k in range(3)] for t in tables]  # type: ignore[arg-type]
            each = part.groupby(["clusters", "weights"])[way]
            good = int(((each.mean() <= 0.01) & (each.quantile(0.99) <= 0.03)).sum())
            texts = [f"{value:.4f} ({low:.4f} to {high:.4f})" for value, low, high in numbers]
            lines.append(f"| {users} | {way} | {' | '.join(texts)} | {good} of {each.ngroups} |")
    return "\n".join([*lines, ""])


def _matrix(found: pd.DataFrame, row: str, column: str) -> list[str]:
    letters = {"users": "N", "clusters": "M", "weights": "weights"}
    worst, columns = found.groupby([row, column]).max(), sorted(found.index.unique(column))
    lines = [f"| {letters[row]} | {' | '.join(f'{letters[column]} = {value}' for value in columns)} |"]
    lines.append("|" + "---|" * (len(columns) + 1))
    for value in worst.index.unique(row):
        texts = [
            ", ".join(f"{100 * v:.2f}" for v in worst.loc[(value, c)]) if (value, c) in worst.index else "-"
            for c in columns
        ]
        lines.append(f"| {value} | {' | '.join(texts)} |")
    return lines


def blocks(sizes: Iterable[int], counts: Iterable[int], draws: int) -> Iterator[tuple[int, int, range]]:
    """Yield sizes, clusters and draws, a part of every cell's draws before the next part of any."""
    for first in range(0, draws, _BLOCK):
        for users, clusters in itertools.product(sizes, counts):
            if clusters <= users:
                yield users, clusters, range(first, min(first + _BLOCK, draws))


def run(file: Path | None, parts: list[tuple[int, int, range]], doubts: int, records: Path) -> str:
    """Measure the blocks that ``records`` lacks, with the policy of a file or the shipped one; return the summary."""
    torch.set_num_threads(1)
    with resources.as_file(resources.files("hisopt") / "data" / "prices.safetensors") as shipped_file:
        path = file or shipped_file
        policy, mark = read(path), hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    judgement = shipped().part("judgement")
    corpora = {users: enlarged(judgement, users) for users in {users for users, _, _ in parts}}
    rows = []
    for users, clusters, seeds in parts:
        name = f"{mark}_doubts{doubts}_users{users}_clusters{clusters}_draws{seeds.start}-{seeds.stop}.csv"
        if not (records / name).exists():
            done = block(policy, corpora[users], users, clusters, seeds, doubts)
            write_atomically(records / name, done.to_csv(index=False))
            print(f"{name}: worst {100 * done['policy'].max():.3f} %", file=sys.stderr)
        rows.append(pd.read_csv(records / name))
    return summary(pd.concat(rows, ignore_index=True))
