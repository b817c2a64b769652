"""The journal's published numbers as a function of what it leaves open, fast enough to be searched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from hisopt.equations import device_step_cost, public_similarity
from hisopt.experiments.papers.draws import paper
from hisopt.instances import Instance, QualityTable, Weights
from hisopt.instances.scenario import PRESETS
from hisopt.result import Limits
from hisopt.solvers.base import Deadline
from hisopt.solvers.joint import scalar_coupling, step_tables

if TYPE_CHECKING:
    from hisopt.arrays import FloatArray, IntArray

ACCURACY = 1e-4  # relative; how well each optimum is known
_SPREAD = 0.1  # similarities are spread evenly within so much of their mean
_LEAST = 1e-9  # utility below which a percentage of it means nothing
_HUGE = 999.0  # per cent, in its place
_V = PRESETS["paper"].edge_sms
_DEVICES = PRESETS["paper"].device_sms


class Parameter(NamedTuple):
    """One open parameter: its bounds, and whether they are powers of ten."""

    name: str
    low: float
    high: float
    logarithmic: bool

    def shown(self, value: float) -> str:
        """Return a value in the parameter's own unit, as text."""
        return f"{10**value if self.logarithmic else value:.3g}"


PARAMETERS = (
    Parameter("delay weight", -4, 0, True),
    Parameter("energy weight", -9, -3, True),
    Parameter("bandwidth, Hz", 3, 8, True),
    Parameter("server utilisation", -1.5, 0, True),
    Parameter("device utilisation", -1.5, 0, True),
    Parameter("similarity HIS", 0.3, 0.7, False),
    Parameter("similarity PPGFIS", 0.2, 0.7, False),
    Parameter("similarity CFIS", 0.2, 0.7, False),
    Parameter("clusters PPGFIS", 1, 15, False),
    Parameter("clusters IIS", 0, 1.7, True),
)
NAMES = tuple(one.name for one in PARAMETERS)
BOUNDS = tuple((one.low, one.high) for one in PARAMETERS)

PUBLISHED: dict[str, float] = {
    "10 PPGFIS": 36.8, "10 CFIS": 51.0, "10 IIS": 94.3,
    "11a HIS": 18.7, "11a PPGFIS": 23.1, "11a CFIS": 29.0, "11a IIS": 74.1,
    "11b HIS": 9.0, "11b PPGFIS": 11.6, "11b CFIS": 15.3, "11b IIS": 14.9,
    "12": 19.1, "14": 0.65, "steps HIS": 816.0, "steps PPGFIS": 943.0, "steps CFIS": 1039.0,
}  # fmt: skip
TOLERANCE = 0.1  # relative; a number within it counts as matched, and it is the unit of residuals
_SCHEMES = ("HIS", "PPGFIS", "CFIS", "IIS")


@dataclass(frozen=True)
class Solved:
    """Optimal utility, and the steps that are executed at it."""

    utility: float
    steps: int


class Model:
    """The numbers at any parameters, on the users of one draw of the preset ``paper`` with V in the middle of its range."""

    def __init__(self) -> None:
        drawn = paper(0)
        self._base: Instance = drawn.model_copy(
            update={"embeddings": None, "prompts": None, "max_clusters": drawn.users}
        )
        self._tables = {modules: QualityTable.published(modules=modules) for modules in (True, False)}
        order = np.random.default_rng(0).permutation(drawn.users)
        self._deviation = np.linspace(-_SPREAD, _SPREAD, drawn.users)[order]

    def numbers(self, point: FloatArray, wanted: tuple[str, ...] = tuple(PUBLISHED)) -> dict[str, float]:
        """Return the wanted numbers, in the units of `PUBLISHED`, at a point within `BOUNDS`."""
        at = dict(zip(NAMES, point, strict=True))
        found: dict[str, float] = {}
        base = self._instance(at)
        schemes = [
            s for s in _SCHEMES if any(s in name or (s == "HIS" and name[:2] in ("10", "12")) for name in wanted)
        ]
        utility = {}
        for scheme in schemes:
            instance, labels = self._scheme(base, scheme, at)
            own = solve(instance, labels)
            utility[scheme] = own.utility
            found[f"steps {scheme}"] = float(own.steps)
            if f"11a {scheme}" in wanted:
                found[f"11a {scheme}"] = _drop(instance, labels, "edge", _V)
            if f"11b {scheme}" in wanted:
                found[f"11b {scheme}"] = _drop(instance, labels, "devices", _DEVICES)
            if scheme == "HIS" and "12" in wanted:
                plain = instance.model_copy(update={"quality": self._tables[False]})
                found["12"] = _percent(own.utility, solve(plain, labels).utility)
        found["14"] = at["similarity HIS"]
        if "HIS" in utility:
            found |= {f"10 {s}": _percent(utility["HIS"], utility[s]) for s in schemes if s != "HIS"}
        return {name: found[name] for name in wanted}

    def loss(self, point: FloatArray, wanted: tuple[str, ...] = tuple(PUBLISHED)) -> float:
        """Return the sum of squared residuals, in units of the tolerance."""
        return sum(residual(name, value) ** 2 for name, value in self.numbers(point, wanted).items())

    def _instance(self, at: dict[str, float]) -> Instance:
        base = self._base
        return base.model_copy(update={
            "weights": Weights.model_construct(quality=1.0, delay=10 ** at["delay weight"], energy=10 ** at["energy weight"]),
            "radio": base.radio.model_copy(update={"bandwidth_hz": np.float64(10 ** at["bandwidth, Hz"])}),
            "edge": base.edge.model_copy(update={
                "utilisation": np.float64(10 ** at["server utilisation"]), "sms": np.float64(sum(_V) / 2)}),
            "devices": base.devices.model_copy(update={"utilisation": np.float64(10 ** at["device utilisation"])}),
        })  # fmt: skip

    def _scheme(self, base: Instance, scheme: str, at: dict[str, float]) -> tuple[Instance, IntArray]:
        users = np.arange(base.users)
        if scheme == "IIS":
            steps = base.steps.model_copy(update={"common_max": 0})
            changes = {"steps": steps, "similarity": np.ones(base.users), "quality": self._tables[False]}
            return base.model_copy(update=changes), users % round(10 ** at["clusters IIS"])
        count = {"HIS": 3, "PPGFIS": round(at["clusters PPGFIS"]), "CFIS": 1}[scheme]
        similarity = np.clip(at[f"similarity {scheme}"] + self._deviation, -1, 1)
        changes = {"similarity": similarity, "quality": self._tables[scheme == "HIS"]}
        return base.model_copy(update=changes), users % count


def solve(instance: Instance, labels: IntArray) -> Solved:
    """Return the optimum of given clusters, within `ACCURACY`."""
    count = int(labels.max()) + 1
    similarity = public_similarity(instance, labels)
    members = step_tables.Members(instance, labels, count, similarity, device_step_cost(instance))
    tables = step_tables.build(members)
    found = scalar_coupling.maximise(
        tables.gain, tables.load, tables.offsets, instance.sm_budget, Deadline(Limits(1.0)),
        constant=tables.constant, tolerance=ACCURACY, enough=ACCURACY,
    )  # fmt: skip
    common, steps_edge = tables.steps(found.choice)
    executed = int(tables.work[found.choice].sum()) + int((instance.steps.total - common - steps_edge).sum())
    return Solved(tables.constant + found.value, executed)


def residual(name: str, value: float) -> float:
    """Return how far a number is from the published one, in units of the tolerance."""
    return (value - PUBLISHED[name]) / (TOLERANCE * PUBLISHED[name])


def _drop(instance: Instance, labels: IntArray, part: str, ends: tuple[int, int]) -> float:
    low, high = (
        solve(
            instance.model_copy(update={part: getattr(instance, part).model_copy(update={"sms": np.float64(sms)})}),
            labels,
        )
        for sms in ends
    )
    return 100 * (1 - low.utility / high.utility) if high.utility > _LEAST else _HUGE


def _percent(one: float, other: float) -> float:
    return min(100 * (one / other - 1), _HUGE) if other > _LEAST else _HUGE
