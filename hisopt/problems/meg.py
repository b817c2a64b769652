"""Mobile edge generation: a policy for denoising steps and merging ratio, under limits on average latency and energy."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from typing_extensions import override

from hisopt.cmdp import Cmdp
from hisopt.decision import malformed
from hisopt.meg_equations import tables, visits
from hisopt.problems.base import Evaluation, InstanceProblem

if TYPE_CHECKING:
    from hisopt.arrays import BoolArray, FloatArray
    from hisopt.decision import Decision, Shapes
    from hisopt.instances import MegInstance
    from hisopt.meg_equations import MegTables

_SUM = 1e-9  # what a bin's probabilities may miss one by
_LIMIT = 1e-9  # relative, what a mean may exceed its limit by: as for budgets of real SMs


@dataclass(frozen=True, eq=False)
class Meg(InstanceProblem):
    """Maximise the mean reward -ln MSE over randomised policies pi(n, beta | channel) within the limits of an instance.

    The limits are those on mean latency and energy, and where the instance has them, on chances (`Chance`) and on every
    slot. As actions do not move the channel, nothing is gained by looking further than its present bin.
    """

    kind: ClassVar[str] = "meg"
    model: ClassVar[str] = "meg"

    instance: MegInstance

    @property
    @override
    def shapes(self) -> Shapes:
        return {"policy": (self.instance.channel.bins, self.instance.actions)}

    @cached_property
    def tables(self) -> MegTables:
        """Reward, latency and energy of every bin and action."""
        return tables(self.instance)

    @cached_property
    def limit_names(self) -> tuple[str, ...]:
        """What each limit of `process` is on: ``latency``, ``energy``, then chances where there are any."""
        instance = self.instance
        chances = (("latency_chance", instance.latency_chance), ("energy_chance", instance.energy_chance))
        return ("latency", "energy", *(name for name, chance in chances if chance is not None))

    @cached_property
    def allowed(self) -> BoolArray:
        """Whether an action keeps the limits of every slot, shape (H, A)."""
        kept = np.ones(self.tables.latency.shape, dtype=bool)
        if self.instance.latency_cap_s is not None:
            kept &= self.tables.latency <= self.instance.latency_cap_s
        if self.instance.energy_cap_j is not None:
            kept &= self.tables.energy <= self.instance.energy_cap_j
        return kept

    @cached_property
    def process(self) -> Cmdp:
        """The same as arrays; costs and limits in the order of `limit_names`."""
        instance, found = self.instance, self.tables
        costs, limits = [found.latency, found.energy], [instance.latency_limit_s, instance.energy_limit_j]
        for values, chance in ((found.latency, instance.latency_chance), (found.energy, instance.energy_chance)):
            if chance is not None:
                costs.append((values > chance.level).astype(np.float64))
                limits.append(chance.probability)
        return Cmdp(visits(instance), found.reward, np.stack(costs), np.array(limits), self.allowed)

    @property
    def blocked(self) -> int | None:
        """The first bin that occurs and in which no action keeps the limits of every slot; None where there is none."""
        bins = np.flatnonzero(~self.allowed.any(axis=1) & (self.process.probability > 0))
        return int(bins[0]) if len(bins) else None

    def _score(self, decision: Decision) -> Evaluation:
        policy = decision.policy
        if policy is None:
            return Evaluation(None, violations=(malformed("policy", *self.shapes["policy"]),))
        process = self.process
        reward, costs = process.mean(policy)
        parts = {"reward": reward, **dict(zip(self.limit_names, map(float, costs), strict=True))}
        faults = [*self._no_distribution(policy), *self._beyond(costs)]
        taken = (policy > 0) & ~self.allowed & (process.probability[:, None] > 0)
        if taken.any():
            h, a = np.argwhere(taken)[0]
            faults.append(
                f"policy: bin {h} takes {self.instance.action_name(int(a))}, at {self.tables.latency[h, a]:.6g} s and "
                f"{self.tables.energy[h, a]:.6g} J beyond the limits of a slot"
            )
        scale = float(process.probability @ (policy * np.abs(process.reward)).sum(axis=1))
        return Evaluation(reward, parts, tuple(faults), scale)

    def _no_distribution(self, policy: FloatArray) -> list[str]:
        found = []
        if (policy < 0).any():
            h, a = np.argwhere(policy < 0)[0]
            found.append(f"policy: bin {h}, {self.instance.action_name(int(a))} has {policy[h, a]:.6g}, must be >= 0")
        sums = policy.sum(axis=1)
        bad = np.flatnonzero(np.abs(sums - 1) > _SUM)
        if len(bad):
            found.append(f"policy: bin {bad[0]} sums to {sums[bad[0]]:.12g}, must be 1")
        return found

    def _beyond(self, costs: FloatArray) -> list[str]:
        """Say which mean costs exceed their limits."""
        words = {
            "latency": "mean latency {:.10g} s exceeds the limit {:.10g} s",
            "energy": "mean energy {:.10g} J exceeds the limit {:.10g} J",
            "latency_chance": "a slot is too late with probability {:.10g}, at most {:.10g} allowed",
            "energy_chance": "a slot takes too much energy with probability {:.10g}, at most {:.10g} allowed",
        }
        process = self.process
        return [
            f"{name}: " + words[name].format(cost, limit)
            for name, cost, limit, scale in zip(self.limit_names, costs, process.limits, process.scale, strict=True)
            if cost > limit + _LIMIT * scale
        ]
