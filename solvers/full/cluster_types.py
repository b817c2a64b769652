"""What a cluster of k users can be worth at most, from its size, its common steps and its users served in full alone.

A cluster's type is (X, k, J): X_m, its size, and how many members get y_max (the others y_min; see
`hisopt.solvers.joint.step_tables`). Its members are any k users. Quality depends on phi_n, which the type does not know:
piecewise linear functions sum_h beta_h (phi - t_h)_+ above it turn it into excesses, which `direction` bounds for each
cluster (K_h) and for all together (T_h, at prices mu_h a unit).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy  # its parts load when they are first named, not when solvers are listed

from hisopt.equations import device_step_cost, edge_step_energy_cost, edge_work_cost, quality_table, transmission_cost
from hisopt.solvers.full.direction import ExcessBound, largest_excess

if TYPE_CHECKING:
    from hisopt.arrays import FloatArray
    from hisopt.instances import Instance
    from hisopt.solvers.base import Deadline

_LEVELS = 7  # of the price at which members are served in full
_SIZES = 5  # for which slopes beta are fitted


@dataclass(frozen=True)
class Excess:
    """Thresholds t_h, and bounds on the excess above them: ``one`` cluster's and that of ``all`` together, each (H,).

    ``proofs`` has what proves both at each threshold.
    """

    threshold: FloatArray
    one: FloatArray
    all: FloatArray
    proofs: tuple[tuple[ExcessBound, ExcessBound], ...] = ()


def excess_of(instance: Instance, deadline: Deadline) -> Excess:
    """Bound the excesses above the quality table's similarities and their midpoints; none but for the rule ``ideal``."""
    knots = np.asarray(instance.quality.similarity, dtype=np.float64)
    thresholds = np.unique(np.concatenate([knots, (knots[1:] + knots[:-1]) / 2]))
    thresholds = thresholds[(thresholds >= 0) & (thresholds < min(float(knots[-1]), 1.0))]
    if instance.public_prompt.rule != "ideal":
        thresholds = thresholds[:0]
    gram, most = instance.similarity_matrix, instance.max_clusters
    one = [largest_excess(gram, t, 1, deadline) for t in thresholds.tolist()]
    every = [
        largest_excess(gram, t, most, deadline) if most > 1 else own
        for t, own in zip(thresholds.tolist(), one, strict=True)
    ]
    own = np.array([found.value for found in one])
    together = np.minimum(most * own, [found.value for found in every])
    return Excess(thresholds, own, together, tuple(zip(one, every, strict=True)))


@dataclass(frozen=True)
class ClusterTypes:
    """Bounds on what clusters are worth: ``gain`` less coupling, and load, both of shape (X, N + 1, N + 1) by (X, k, J).

    A partition is worth at most ``constant + sum gain - (sum load)^2 / V``. Types that cannot be have a gain of -inf; the
    empty cluster is (0, 0, 0).
    """

    gain: FloatArray
    load: FloatArray
    constant: float


class TypeBounds:
    """Makes `ClusterTypes` of an instance for prices of users and of excess."""

    def __init__(self, instance: Instance, excess: Excess) -> None:
        self.instance, self.excess = instance, excess
        self._slopes_for: tuple[FloatArray, list[list[FloatArray]]] | None = None
        self.saved = np.array(device_step_cost(instance))
        limits = instance.steps
        steps = np.arange(limits.common_max + 1)
        knots = np.asarray(instance.quality.similarity, dtype=np.float64)
        self._knots = np.unique(np.concatenate([[-1.0], knots, excess.threshold, [1.0]]))
        quality = instance.weights.quality * quality_table(instance.quality, self._knots, limits.common_max)
        late = steps - limits.common_max
        self._value = np.maximum.accumulate(quality[:, :, None] + late[None, :, None] * self.saved, axis=1)
        self._mean = np.maximum.accumulate(quality + late * self.saved.mean(), axis=1)
        self._above = np.maximum(self._knots[:, None] - excess.threshold, 0.0)
        users = np.arange(instance.users + 1)
        span = limits.edge_max - limits.edge_min
        self._work = (
            steps[:, None, None] + limits.edge_min * users[None, :, None] + span * users[None, None, :]
        ).astype(np.float64)
        self.load = np.sqrt(edge_work_cost(instance, users)[None, :, None] * self._work)
        most = limits.common_max + limits.edge_max
        self.constant = -transmission_cost(instance) - (limits.total - most) * float(self.saved.sum())
        self.scale = transmission_cost(instance) + (limits.total + most) * float(np.abs(self.saved).sum())
        self._possible = users[None, :] <= users[:, None]
        least, largest = instance.cluster_size_min, instance.cluster_size_max or instance.users
        self._possible[(users > 0) & ((users < least) | (users > largest))] = False

    @property
    def steepness(self) -> float:
        """How steeply the value of a user rises with phi, the median over X: the scale of prices of excess."""
        slope = np.diff(self._mean, axis=0) / np.diff(self._knots)[:, None]
        return float(np.median(slope.max(axis=0)))

    def types(self, price: FloatArray, excess_price: FloatArray) -> ClusterTypes:
        """Return the types at prices pi_n of users, any of shape (N,), and mu_h >= 0 of excess, shape (H,)."""
        gain = self._most(price, excess_price) - edge_step_energy_cost(self.instance) * self._work
        gain[:, ~self._possible] = -np.inf
        gain[:, 0, :] = -np.inf
        gain[0, 0, 0] = 0.0
        constant = self.constant + float(price.sum()) + float(excess_price @ self.excess.all)
        return ClusterTypes(gain, self.load, constant)

    def _most(self, price: FloatArray, excess_price: FloatArray) -> FloatArray:
        """What a type's members are worth less their prices and before the server's cost, shape (X, N + 1, N + 1)."""
        limits, users = self.instance.steps, np.arange(self.instance.users + 1)
        span = limits.edge_max - limits.edge_min
        levels = np.unique(np.quantile(span * self.saved, np.linspace(0, 1, _LEVELS)))
        gain = np.full(self.load.shape, np.inf)
        for common in range(limits.common_max + 1):
            for slopes in self.slopes_at(common, excess_price):
                once = float(np.maximum(slopes - excess_price, 0.0) @ self.excess.one)
                alone = (self._value[:, common] - (self._above @ slopes)[:, None]).max(axis=0) - price
                alone = alone - span * self.saved
                for level in levels:
                    best = np.sort(alone + np.maximum(span * self.saved - level, 0.0))[::-1]
                    total = np.concatenate([[0.0], np.cumsum(best)])
                    np.minimum(gain[common], once + total[:, None] + level * users, out=gain[common])
        return gain

    def slopes_at(self, common: int, excess_price: FloatArray) -> list[FloatArray]:
        """The slopes beta_h that are tried at X for prices of excess; kept for the last ones."""
        if self._slopes_for is None or not np.array_equal(self._slopes_for[0], excess_price):
            self._slopes_for = excess_price.copy(), self._slopes(excess_price)
        return self._slopes_for[1][common]

    def _slopes(self, excess_price: FloatArray) -> list[list[FloatArray]]:
        """Slopes beta_h >= 0 by X that make the bound of clusters of several sizes least; any are sound.

        One linear program a size and an X, all of them solved as one.
        """
        hinges, knots = len(excess_price), len(self._knots)
        commons = self.instance.steps.common_max + 1
        if not hinges:
            return [[np.zeros(0)]] * commons
        matrix = np.block(
            [
                [-np.ones((knots, 1)), -self._above, np.zeros((knots, hinges))],
                [np.zeros((hinges, 1)), np.eye(hinges), -np.eye(hinges)],
            ]
        )
        sizes = np.unique(np.geomspace(3, self.instance.users, _SIZES).astype(int))
        programs = commons * len(sizes)
        cost = np.concatenate([[size, *np.zeros(hinges), *self.excess.one] for size in sizes] * commons)
        right = [np.concatenate([-self._mean[:, x], excess_price]) for x in range(commons) for _ in sizes]
        bounds = ([(None, None)] + [(0, None)] * (2 * hinges)) * programs
        blocks: Any = scipy.sparse.kron(scipy.sparse.eye(programs), scipy.sparse.csr_array(matrix))
        solved = scipy.optimize.linprog(cost, A_ub=blocks, b_ub=np.concatenate(right), bounds=bounds)
        found = [{(0.0,) * hinges} for _ in range(commons)]
        if solved.x is not None:
            slopes = np.maximum(np.round(solved.x.reshape(programs, -1)[:, 1 : 1 + hinges], 6), 0.0)
            for program, own in enumerate(slopes.tolist()):
                found[program // len(sizes)].add(tuple(own))
        return [[np.array(slopes) for slopes in sorted(own)] for own in found]
