"""Similarity inside clusters and to public prompts, and how grouping moves it: the journal's Fig. 8 and 14."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from typing_extensions import override

from hisopt.equations import rule_similarity
from hisopt.experiments.papers.draws import paper
from hisopt.experiments.papers.experiment import Cell, Experiment, Record
from hisopt.experiments.papers.items import item
from hisopt.experiments.papers.verdicts import Finding, Verdict, interval, numeric, stated
from hisopt.instances import PublicPrompt
from hisopt.solvers.clustering.hac import average_linkage
from hisopt.solvers.schemes.groups import extracted_similarity
from hisopt.text.corpus import embed
from hisopt.text.entities import main_entities

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pandas as pd
    from matplotlib.figure import Figure

    from hisopt.arrays import FloatArray, IntArray
    from hisopt.instances import Instance

RULES = ("ideal", "medoid", "extracted")
GROUPS = ("semantic", "entities", "random", "one")
_LINEAR = 0.8  # share of variance that a line must explain
_BENT = 0.05  # ... and that a parabola may explain besides
_RISING = 0.25  # share from which the two similarities rise together


@dataclass(frozen=True)
class PublicSimilarity(Experiment):
    """``draws`` instances, HAC's clusters; public prompts are extracted in the first ``extracted`` of them."""

    name: ClassVar[str] = "public-similarity"
    quick_fields: ClassVar[dict[str, Any]] = {"draws": 3, "extracted": 0}

    draws: int = 40
    extracted: int = 3

    @override
    def cells(self) -> Sequence[Cell]:
        return [{"seed": seed, "extract": seed < self.extracted} for seed in range(self.draws)]

    @override
    def measure(self, cell: Cell) -> Record:
        instance = paper(cell["seed"])
        clusters = average_linkage(instance.vectors, instance.max_clusters)
        record: Record = {"intra": intra_similarity(instance, clusters).tolist()}
        for rule in ("ideal", "medoid"):
            own = instance.replace(public_prompt=PublicPrompt(rule=rule))
            record[rule] = rule_similarity(own, clusters).tolist()
        found = extracted_similarity(instance.prompts, instance.vectors, clusters).tolist() if cell["extract"] else None
        record["extracted"] = found
        random = np.random.default_rng(cell["seed"]).integers(instance.max_clusters, size=instance.users)
        groups = {"semantic": clusters, "entities": entity_clusters(instance), "random": random,
                  "one": np.zeros(instance.users, dtype=np.int64)}  # fmt: skip
        return record | {f"phi_{name}": float(rule_similarity(instance, g).mean()) for name, g in groups.items()}

    @override
    def findings(self, rows: pd.DataFrame) -> Iterator[Finding]:
        for rule in RULES:
            intra, public = points(rows, rule)
            if not len(intra):
                yield stated(
                    item(f"journal-8-{rule}"), "no draws", Verdict.NOT_RUN, "no prompts were extracted in this run"
                )
                continue
            slope, intercept, line, parabola = fitted(intra, public)
            yield stated(
                item(f"journal-8-{rule}"), f"slope {slope:.2f}, intercept {intercept:.2f}, R² {line:.2f}",
                linear(line, parabola),
                f"{len(intra)} users; linear where a line explains {_LINEAR:g} of the variance and a parabola at most {_BENT:g} "
                f"more (here {parabola - line:.2f}), of one direction where it explains {_RISING:g}",
            )  # fmt: skip
        yield numeric(
            item("journal-14-semantic"), rows["phi_semantic"].to_numpy(),
            "shipped prompts and the ideal public prompt, the best of all; the papers' prompts are unpublished", digits=3,
        )  # fmt: skip
        means = {name: interval(rows[f"phi_{name}"].to_numpy())[0] for name in GROUPS}
        yield stated(
            item("journal-14-order"), ", ".join(f"{name} {mean:.2f}" for name, mean in means.items()),
            max(means, key=lambda name: means[name]) == "semantic",
            "ideal public prompts; for the paper's knowledge graph stand M clusters of embedded main entities",
        )  # fmt: skip

    @override
    def figure(self, rows: pd.DataFrame) -> Figure:
        from matplotlib.figure import Figure

        figure = Figure(figsize=(9, 4), layout="constrained")
        left, right = figure.subplots(1, 2)
        for rule in RULES:
            intra, public = points(rows, rule)
            if len(intra):
                slope, intercept, _, _ = fitted(intra, public)
                dots = left.scatter(intra, public, s=4, alpha=0.4, label=rule)
                left.plot(intra, slope * intra + intercept, color=dots.get_facecolor()[0], linewidth=1)
        left.set(xlabel="mean similarity to the own cluster", ylabel="similarity to the public prompt")
        left.legend(fontsize="small")
        found = [interval(rows[f"phi_{name}"].to_numpy()) for name in GROUPS]
        right.bar(GROUPS, [mean for mean, _ in found], yerr=[half for _, half in found], capsize=3)
        right.set_ylabel("mean public-personal similarity")
        return figure


def linear(line: float, parabola: float) -> Verdict:
    """Judge that two similarities are linear in each other, from the R² of a line and a parabola."""
    if line >= _LINEAR and parabola - line <= _BENT:
        return Verdict.REPRODUCED
    return Verdict.DIRECTION if line >= _RISING else Verdict.REFUTED


def intra_similarity(instance: Instance, clusters: IntArray) -> FloatArray:
    """Return each user's mean similarity to the members of its cluster, itself included, shape (N,)."""
    same = clusters[:, None] == clusters[None, :]
    return np.asarray((instance.similarity_matrix * same).sum(axis=1) / same.sum(axis=1))


def entity_clusters(instance: Instance) -> IntArray:
    """Return M clusters of the prompts' main entities by average linkage on the entities' own embeddings."""
    return average_linkage(embed(main_entities(instance.prompts or ())), instance.max_clusters)


def points(rows: pd.DataFrame, rule: str) -> tuple[FloatArray, FloatArray]:
    """Return all users' similarity to their cluster and, by a rule, to its public prompt."""
    kept = rows[rows[rule].notna()]
    if not len(kept):
        return np.zeros(0), np.zeros(0)
    return np.concatenate(kept["intra"].tolist()), np.concatenate(kept[rule].tolist())


def fitted(x: FloatArray, y: FloatArray) -> tuple[float, float, float, float]:
    """Return slope and intercept of the least-squares line, its R², and that of the parabola."""
    line, parabola = np.polyfit(x, y, 1), np.polyfit(x, y, 2)
    explained = [1 - float(np.var(y - np.polyval(p, x)) / np.var(y)) for p in (line, parabola)]
    return float(line[0]), float(line[1]), explained[0], explained[1]
