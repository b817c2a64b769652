"""Seeded instances at the edges of the model: one family for each edge, small enough to enumerate or just beyond."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from hisopt.instances import Gpu, IccInstance, Instance, Latent, PublicPrompt, QualityTable, Radio, StepLimits, Weights
from hisopt.problems import CRITERIA, Clustering, Criterion, Full, Problem, Steps, problem_of
from hisopt.text.corpus import shipped, unit_rows

if TYPE_CHECKING:
    from hisopt.arrays import FloatArray, IntArray

LARGEST = {"clustering": 7, "allocation": 8, "joint": 5, "full": 4, "steps": 5}  # users, where optima are enumerated
_BEYOND = {"clustering": 13, "allocation": 40, "joint": 30, "full": 7, "steps": 40}
_SHARE_BEYOND = 0.15


@dataclass
class Draft:
    """An instance in the making, in units in which a server step on one SM takes one second.

    ``device`` is the delay d_n of a device step, so a device has 1 / d_n SMs; ``budget`` is V.
    """

    rng: np.random.Generator
    kind: str
    whole: bool
    users: int
    clusters: int
    labels: IntArray
    device: FloatArray
    budget: float
    limits: dict[str, int]
    vectors: FloatArray
    similarity: FloatArray | None
    weights: dict[str, float]
    power: tuple[float, float] = (0.0, 0.0)  # mu1, mu2
    unit: float = 1.0  # FLOP of a step, on server and devices
    sizes: tuple[int, int | None] = (1, None)
    prompt: dict[str, Any] = field(default_factory=dict)
    table: QualityTable = field(default_factory=QualityTable.published)

    def build(self) -> Instance | IccInstance:
        """Return the instance."""
        steps = StepLimits(**self.limits)
        shared: dict[str, Any] = {
            "users": self.users, "max_clusters": self.clusters, "clusters": self.labels, "embeddings": self.vectors,
            "similarity": self.similarity, "steps": steps, "weights": Weights(**self.weights), "quality": self.table,
            "public_prompt": PublicPrompt(**self.prompt), "cluster_size_min": self.sizes[0],
            "cluster_size_max": self.sizes[1], "latent": Latent(height=1, width=1, channels=1, bits=1),
            "radio": Radio(bandwidth_hz=np.asarray(1e9), power_w=np.asarray(1.0), gain=np.asarray(1e9)),
        }  # fmt: skip
        one = np.asarray(1.0)
        if self.kind == Steps.kind:
            return IccInstance(
                device_frequency_hz=1 / self.device, group_frequency_hz=self.budget / self.clusters,
                edge_frequency_hz=np.asarray(self.budget / self.users), cycles_edge=self.unit, cycles_device=self.unit,
                energy_coefficient_edge=self.power[0], energy_coefficient_device=self.power[1], **shared,
            )  # fmt: skip
        gpu: dict[str, Any] = {
            "frequency_hz": one, "flop_per_cycle": one, "utilisation": one, "energy_coefficient": one,
            "power_per_sm": np.asarray(self.power[0]), "power_static": np.asarray(self.power[1]),
        }  # fmt: skip
        pairs = steps.pairs()
        given = pairs[self.rng.integers(0, len(pairs), self.users)]
        return Instance(
            edge=Gpu(sms=np.asarray(self.budget), **gpu), devices=Gpu(sms=1 / self.device, **gpu),
            flop_edge=self.unit, flop_device=self.unit, given_common=given[:, 0], given_edge=given[:, 1], **shared,
        )  # fmt: skip


def draft(rng: np.random.Generator, kind: str, whole: bool, users: int, clusters: int) -> Draft:
    """Return a random draft in which server and devices cost about the same, so that something is to be decided."""
    total = int(rng.integers(1, 7))
    common, edge_max = int(rng.integers(0, min(3, total) + 1)), int(rng.integers(0, 3))
    budget = float(rng.integers(clusters, 3 * clusters + 3)) if whole else float(10 ** rng.uniform(0, 3))
    scale = users / budget * 10 ** rng.uniform(-1, 0.5)
    low = max(total - common - edge_max, 0)
    energy = rng.random() < 0.5
    return Draft(
        rng, kind, whole, users, clusters,
        labels=_labels(rng, users, clusters),
        device=scale * 10 ** rng.uniform(-0.5, 0.5, users),
        budget=budget,
        limits={"total": total, "common_max": common, "edge_max": edge_max, "device_min": 0,
                "device_max": int(rng.integers(low, total + 1)) if rng.random() < 0.3 else total},
        vectors=_vectors(rng, users),
        similarity=rng.uniform(0.1, 0.8, users) if rng.random() < 0.4 and kind != Full.kind else None,
        weights={"quality": float(rng.random() < 0.8) * scale * 10 ** rng.uniform(0, 2), "delay": 1.0,
                 "energy": float(energy) * scale * 10 ** rng.uniform(-2, 0)},
        power=(float(rng.uniform(0, 1)), float(rng.uniform(0, 2))),
        prompt=_prompt(rng),
        table=_table(rng),
    )  # fmt: skip


def _labels(rng: np.random.Generator, users: int, clusters: int) -> IntArray:
    """Random labels; in half of the draws every cluster has a user."""
    labels = rng.integers(0, clusters, users)
    if rng.random() < 0.5:
        labels[rng.permutation(users)[:clusters]] = np.arange(clusters)
    return labels


def _vectors(rng: np.random.Generator, users: int) -> FloatArray:
    if rng.random() < 0.5:
        corpus = shipped().embeddings
        return np.asarray(corpus[rng.choice(len(corpus), users, replace=False)])
    return unit_rows(rng.normal(size=(users, int(rng.integers(2, 6)))) + rng.uniform(0, 2))


def _prompt(rng: np.random.Generator) -> dict[str, Any]:
    rule = str(rng.choice(["ideal", "affine", "medoid"], p=[0.6, 0.3, 0.1]))
    return {"rule": rule, "slope": 0.8, "intercept": 0.15} if rule == "affine" else {"rule": rule}


def _table(rng: np.random.Generator) -> QualityTable:
    """The published table, or one whose middle lies within the few steps of these instances."""
    if rng.random() < 0.4:
        return QualityTable.published(modules=bool(rng.random() < 0.5))
    bins = int(rng.integers(2, 5))
    coefficients = np.stack(
        [rng.uniform(0, 1, bins), rng.uniform(-2, 2, bins), rng.uniform(0, 3, bins), rng.uniform(0, 0.3, bins)], axis=1
    )
    return QualityTable(similarity=np.sort(rng.choice(20, bins, replace=False)) / 20, coefficients=coefficients)


def plain(d: Draft) -> None:
    """No edge: what the other families are compared with."""


def zero_weights(d: Draft) -> None:
    """Weights of zero, one, two or all three, and energy without a static part: then a server's step may cost nothing."""
    d.weights = {name: value * int(d.rng.integers(0, 2)) for name, value in d.weights.items()}
    if d.rng.random() < 0.3:
        d.weights |= {"delay": 0.0, "energy": 1.0}
        d.power = (d.power[0], 0.0)


def huge_weights(d: Draft) -> None:
    """One weight larger or smaller than the others by up to twelve orders."""
    name = str(d.rng.choice(list(d.weights)))
    d.weights[name] = max(d.weights[name], 0.1) * 10 ** d.rng.uniform(-12, 12)


def equal_users(d: Draft) -> None:
    """All users alike, and clusters of equal size as far as they go."""
    d.device = np.full(d.users, d.device[0])
    d.vectors = np.repeat(d.vectors[:1], d.users, axis=0)
    d.labels = np.arange(d.users) % d.clusters
    if d.similarity is not None:
        d.similarity = np.full(d.users, d.similarity[0])


def duplicates(d: Draft) -> None:
    """A few prompts, each several times."""
    d.vectors = d.vectors[d.rng.integers(0, max(1, d.users // 2), d.users)]


def near_duplicates(d: Draft) -> None:
    """A few prompts, each several times up to rounding or a little more."""
    noise = float(10 ** d.rng.uniform(-16, -6))
    wide = unit_rows(d.rng.normal(size=(max(1, d.users // 3), 48)))
    rows = wide[d.rng.integers(0, len(wide), d.users)]
    d.vectors = unit_rows(rows + noise * d.rng.normal(size=rows.shape))


def antipodal(d: Draft) -> None:
    """Embeddings that cancel: opposite pairs, or the corners of regular polygons and crosses, turned at random."""
    if d.rng.random() < 0.5:
        half = unit_rows(d.rng.normal(size=(max(1, d.users // 3), 3)))
        d.vectors = np.concatenate([half, -half])[d.rng.integers(0, 2 * len(half), d.users)]
    else:
        angle = 2 * np.pi * d.rng.integers(0, int(d.rng.integers(2, 7)), d.users) / int(d.rng.integers(2, 7))
        d.vectors = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    d.similarity = None


def zero_mean(d: Draft) -> None:
    """All embeddings together sum to zero: a regular polygon."""
    angle = 2 * np.pi * np.arange(d.users) / d.users + d.rng.uniform(0, 1)
    d.vectors = unit_rows(np.stack([np.cos(angle), np.sin(angle)], axis=1))
    d.similarity = None


def few_sms(d: Draft) -> None:
    """Fewer SMs than clusters."""
    d.labels[: d.clusters] = np.arange(d.clusters)
    d.budget = float(d.rng.integers(1, max(d.clusters, 2)))
    if not d.whole:
        d.budget *= float(10 ** d.rng.uniform(-3, 0))
    d.device = d.device * float(10 ** d.rng.uniform(-0.5, 1))


def forced_work(d: Draft) -> None:
    """Every user must have steps on the server, y_min > 0 or z_max < T; with whole SMs often too few of them."""
    edge_max = int(d.rng.integers(1, 3))
    common_max = int(d.rng.integers(0, 3))
    total = int(d.rng.integers(edge_max, edge_max + common_max + 3))
    edge_min = int(d.rng.integers(0, edge_max + 1))
    device_max = int(d.rng.integers(max(total - common_max - edge_max, 0), max(total, 1)))
    d.limits = {"total": total, "common_max": common_max, "edge_min": edge_min, "edge_max": edge_max,
                "device_min": 0, "device_max": device_max}  # fmt: skip
    d.limits["edge_min"] = min(d.limits["edge_min"], total)
    if d.whole and d.rng.random() < 0.5:
        d.labels[: d.clusters] = np.arange(d.clusters)
        d.budget = float(d.rng.integers(1, d.clusters + 1))


def binding_z(d: Draft) -> None:
    """Bounds on z that cut off some (x, y) of the box, from above, below or both."""
    common, edge_max = int(d.rng.integers(1, 4)), int(d.rng.integers(1, 3))
    total = int(d.rng.integers(2, common + edge_max + 2))
    device_min = int(d.rng.integers(max(total - common - edge_max + 1, 0), total + 1))
    d.limits = {"total": total, "common_max": common, "edge_max": edge_max, "device_min": device_min,
                "device_max": int(d.rng.integers(device_min, total + 1))}  # fmt: skip


def distinct_devices(d: Draft) -> None:
    """Every device another, over four orders."""
    d.device = d.device[0] * np.sort(10 ** d.rng.uniform(-2, 2, d.users))[d.rng.permutation(d.users)]


def one_giant(d: Draft) -> None:
    """One cluster of nearly all users, the others of one user each, or none."""
    d.labels = np.zeros(d.users, dtype=np.int64)
    singles = min(d.clusters - 1, d.users - 1, int(d.rng.integers(0, d.clusters)))
    d.labels[:singles] = np.arange(1, singles + 1)


def scales(d: Draft) -> None:
    """Work, SMs, powers and weights from 1e-12 to 1e12 times the usual."""
    d.unit = float(10 ** d.rng.uniform(-12, 12))
    if not d.whole:
        factor = float(10 ** d.rng.uniform(-6, 6))
        d.budget, d.device = d.budget * factor, d.device / factor
    if d.rng.random() < 0.5:
        balance = float(10 ** d.rng.uniform(-12, 12))
        d.weights = {name: value * balance for name, value in d.weights.items()}
    else:
        d.weights["delay"] /= d.unit
        d.weights["energy"] /= d.unit


def tight_sizes(d: Draft) -> None:
    """Limits on sizes that bind, that leave one partition, or that none can meet."""
    least = int(d.rng.integers(1, d.users + 1))
    if d.rng.random() < 0.5:  # about the mean size: all clusters, or one fewer, or none that fit
        least = min(max(d.users // d.clusters + int(d.rng.integers(-1, 2)), 1), d.users)
        d.sizes = (least, least + int(d.rng.integers(0, 3)) if d.rng.random() < 0.5 else None)
        return
    most = max(least, -(-d.users // d.clusters), int(d.rng.integers(1, d.users + 1)))
    d.sizes = (least, most if d.rng.random() < 0.7 else None)


def near_ties(d: Draft) -> None:
    """Each cluster's one common step gains what it costs at about half of the load: nearly all subsets tie."""
    d.limits = {"total": 2, "common_max": 1, "edge_max": 0, "device_min": 0, "device_max": 2}
    d.weights = {"quality": 0.0, "delay": 1.0, "energy": 1.0}
    static = float(10 ** d.rng.uniform(0, 4))
    d.power = (0.0, static)
    sizes = np.bincount(d.labels, minlength=d.clusters)
    used = sizes > 0
    load = np.sqrt(sizes + static)
    mean = load[used].mean()
    spread = mean * float(10 ** d.rng.uniform(-3, 0)) / 2
    level = int(used.sum()) // 2 * mean + spread
    gain = 2 * level * load / d.budget - 2 * spread * (load - mean) / d.budget
    gain = gain * (1 + d.rng.choice([0.0, 1e-12, 1e-9, 1e-6]) * d.rng.normal(size=d.clusters))
    per_user = np.maximum(gain, 1e-9)[d.labels] / sizes[d.labels]
    d.device = per_user / (1 + static)  # a device step takes w2 / v + w3 mu2 / v
    d.similarity = np.full(d.users, 0.5)


def scarce_sms(d: Draft) -> None:
    """Between M and 2 M + 1 SMs: whole ones force splits far from those of real ones."""
    d.labels[: d.clusters] = np.arange(d.clusters)
    d.budget = float(d.rng.integers(d.clusters, 2 * d.clusters + 2))
    d.device = d.users / d.budget * 10 ** d.rng.uniform(-1, 1, d.users)
    if d.rng.random() < 0.5:
        d.weights = {"quality": 0.0, "delay": 1.0, "energy": 0.0}


def one_sm_each(d: Draft) -> None:
    """A large cluster whose common step gains less than it costs on one SM, beside small ones that gain much."""
    small = int(d.rng.integers(1, 4))
    large = int(d.rng.integers(4, 17))
    d.users, d.clusters = large + small, small + 1
    d.labels = np.concatenate([np.zeros(large, dtype=np.int64), np.arange(1, small + 1)])
    d.budget = float(d.rng.integers(d.clusters, 2 * d.clusters + 2))
    gain = d.rng.uniform(0.6, 1.1) / d.rng.choice([1, 1, 1, 2])
    d.device = np.where(d.labels == 0, gain * d.rng.uniform(0.98, 1.0, d.users), d.rng.uniform(0.5, 6, d.users))
    d.limits = {"total": 1, "common_max": 1, "edge_max": 0, "device_min": 0, "device_max": 1}
    d.weights = {"quality": 0.0, "delay": 1.0, "energy": 0.0}
    d.similarity, d.vectors = np.full(d.users, 0.5), _vectors(d.rng, d.users)


def useless_devices(d: Draft) -> None:
    """Users whose device is slower by up to twelve orders; where z_min = 0, the server can do all their steps."""
    d.limits = {"total": 2, "common_max": 2, "edge_max": 2, "device_min": int(d.rng.random() < 0.1), "device_max": 2}
    bad = d.rng.random(d.users) < 0.4
    bad[0] = True
    d.device = np.where(bad, float(10 ** d.rng.uniform(6, 12)), d.device)


def one_cluster(d: Draft) -> None:
    """M = 1."""
    d.clusters, d.labels = 1, np.zeros(d.users, dtype=np.int64)


def all_clusters(d: Draft) -> None:
    """M = N, each user a cluster."""
    d.clusters, d.labels = d.users, d.rng.permutation(d.users)
    if d.whole:
        d.budget = max(d.budget, float(d.users))


def one_user(d: Draft) -> None:
    """N = 1."""
    d.users, d.clusters, d.labels = 1, 1, np.zeros(1, dtype=np.int64)
    d.device, d.vectors = d.device[:1], d.vectors[:1]
    d.similarity = None if d.similarity is None else d.similarity[:1]


Family = Callable[[Draft], None]
_WITH_SMS = ("allocation", "joint", "full")
_WITH_STEPS = ("joint", "full", "steps")
_WITH_VECTORS = ("clustering", "full")
FAMILIES: dict[Family, tuple[str, ...]] = {
    plain: tuple(LARGEST),
    zero_weights: (*_WITH_SMS, "steps"),
    huge_weights: (*_WITH_SMS, "steps"),
    equal_users: tuple(LARGEST),
    duplicates: ("clustering", "full", "joint"),
    near_duplicates: ("clustering", "full", "joint"),
    antipodal: ("clustering", "full", "joint"),
    zero_mean: ("clustering", "full", "joint", "steps"),
    few_sms: _WITH_SMS,
    forced_work: (*_WITH_STEPS, "allocation"),
    binding_z: _WITH_STEPS,
    distinct_devices: _WITH_STEPS,
    one_giant: ("allocation", "joint", "steps"),
    scales: (*_WITH_SMS, "steps"),
    tight_sizes: _WITH_VECTORS,
    near_ties: ("joint",),
    scarce_sms: _WITH_SMS,
    one_sm_each: ("joint",),
    useless_devices: _WITH_STEPS,
    one_cluster: tuple(LARGEST),
    all_clusters: tuple(LARGEST),
    one_user: tuple(LARGEST),
}


def families(kind: str) -> list[str]:
    """Return the names of the families of a problem."""
    return [family.__name__ for family, kinds in FAMILIES.items() if kind in kinds]


def variants(kind: str) -> list[tuple[Criterion | None, bool]]:
    """Return the criteria and kinds of SMs of a problem."""
    if kind == Clustering.kind:
        return [(criterion, False) for criterion in CRITERIA]
    return [(None, False), (None, True)] if kind in _WITH_SMS else [(None, False)]


def draw(kind: str, criterion: Criterion | None, whole: bool, family: str, seed: int) -> Problem:
    """Return one instance of a family as a problem; the same arguments always give the same one."""
    return draw_with_instance(kind, criterion, whole, family, seed)[1]


def draw_with_instance(
    kind: str, criterion: Criterion | None, whole: bool, family: str, seed: int
) -> tuple[Instance | IccInstance, Problem]:
    """Return what `draw` does with the instance that it is made from."""
    make = next(f for f in FAMILIES if f.__name__ == family)
    place = zlib.crc32(f"{kind} {whole} {family}".encode())
    rng = np.random.default_rng([place, seed])
    beyond = rng.random() < _SHARE_BEYOND
    users = int(rng.integers(LARGEST[kind] + 1, _BEYOND[kind] + 1) if beyond else rng.integers(1, LARGEST[kind] + 1))
    clusters = int(rng.integers(1, min(users, 4) + 1))
    while True:
        d = draft(rng, kind, whole, users, clusters)
        make(d)
        try:
            instance = d.build()
            return instance, problem_of(kind, instance, criterion, whole_sms=whole)
        except ValueError:
            continue  # bounds that no steps meet, or limits on sizes that the instance itself refuses
