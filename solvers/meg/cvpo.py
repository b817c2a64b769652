"""Constrained variational policy optimisation for mobile edge generation (MEG-CVPO).

After Z. Liu et al., "Constrained Variational Policy Optimization for Safe Reinforcement Learning", ICML 2022, which the MEG
paper builds on; of the paper itself only the outline is known, so numbers that it leaves open are ours. An iteration:

1. Live through slots with the policy pi_i; fit critics Q_r and Q_c by temporal differences.
2. E-step. The best q with E sum_a q Q_c <= eps1 and E KL(q || pi_i) <= eps2 is q ~ pi_i exp((Q_r - lambda Q_c) / eta), where
   (eta, lambda) minimise the convex dual  lambda eps1 + eta eps2 + eta E log sum_a pi_i exp((Q_r - lambda Q_c) / eta).
3. M-step. Maximise E sum_a q log pi within E KL(pi_i || pi) <= eps.

``constraint`` chooses eps1. ``published``: the discounted limit L (1 - gamma^T) / (1 - gamma), on Q_c. That is one slot under q
and all later ones under pi_i, so q overcompensates what pi_i does wrong: with gamma = 0.97 the iteration need not settle.
``corrected``: E sum_a q A_c <= L - (1 - gamma) J_c(pi_i), with the mean cost that was measured: the change of one slot alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from scipy.optimize import minimize
from scipy.special import logsumexp, softmax

from hisopt.solvers.meg.learning import Slots, action_features, features, network, policy_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

    from hisopt.arrays import FloatArray
    from hisopt.problems import Meg
    from hisopt.solvers.meg.learning import Batch


_REFRESH = 10  # critic steps between two targets


@dataclass(frozen=True)
class CvpoSettings:
    """Hyperparameters; ``discount`` 0.97 and ``constraint`` published are the paper's, 0 and corrected suit independent slots."""

    discount: float = 0.0
    constraint: Literal["published", "corrected"] = "corrected"
    iterations: int = 40
    slots: int = 2048  # of each iteration
    kept: int = 40  # iterations that the replay buffer holds
    divergence: float = 0.1  # eps2 of the E-step
    trust: float = 0.1  # eps of the M-step
    hidden: int = 64
    critic_steps: int = 60
    critic_batch: int = 1024
    critic_rate: float = 3e-3
    actor_steps: int = 40
    actor_rate: float = 3e-3
    seed: int = 0


@dataclass(frozen=True)
class Dual:
    """Solution of the E-step's dual: temperature eta, multipliers lambda (K,), and q, shape (H, A)."""

    temperature: float
    multipliers: FloatArray
    target: FloatArray


def e_step(
    weight: FloatArray, policy: FloatArray, reward: FloatArray, costs: FloatArray, limits: FloatArray, divergence: float
) -> Dual:
    """Minimise the dual in (eta, lambda) over eta > 0, lambda >= 0; it is convex, and its gradient is written out.

    Shapes: ``weight`` (H,) of the bins, ``policy`` and ``reward`` (H, A), ``costs`` (K, H, A), ``limits`` (K,).
    """
    log_policy = np.log(np.maximum(policy, 1e-300))

    def scores(point: FloatArray) -> FloatArray:
        return np.asarray((reward - np.tensordot(point[1:], costs, axes=1)) / point[0] + log_policy)

    def dual(point: FloatArray) -> tuple[float, FloatArray]:
        score = scores(point)
        normaliser = logsumexp(score, axis=1)
        q = softmax(score, axis=1)
        eta, prices = point[0], point[1:]
        value = prices @ limits + eta * divergence + eta * (weight @ normaliser)
        by_eta = divergence + weight @ (normaliser - (q * (score - log_policy)).sum(axis=1))
        by_prices = limits - np.einsum("h,ha,kha->k", weight, q, costs)
        return float(value), np.append(by_eta, by_prices)

    start = np.append(1.0, np.zeros(len(limits)))
    bounds = [(1e-3, 1e3)] + [(0.0, 1e3)] * len(limits)
    found = minimize(dual, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 500, "ftol": 1e-13})
    return Dual(float(found.x[0]), found.x[1:], softmax(scores(found.x), axis=1))


def m_step(
    actor: nn.Module, seen: Tensor, weight: Tensor, old: Tensor, target: Tensor, settings: CvpoSettings
) -> float:
    """Fit the actor to the target q within the trust region around pi_i; return E KL(pi_i || pi)."""
    optimiser = torch.optim.Adam(actor.parameters(), lr=settings.actor_rate)
    moved = 0.0
    for _ in range(settings.actor_steps):
        before = {name: value.clone() for name, value in actor.state_dict().items()}
        loss = -(weight[:, None] * target * torch.log_softmax(actor(seen), dim=1)).sum()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        with torch.no_grad():
            log_new = torch.log_softmax(actor(seen), dim=1)
            divergence = float((weight[:, None] * old * (old.clamp_min(1e-30).log() - log_new)).sum())
        if divergence > settings.trust:
            actor.load_state_dict(before)
            break
        moved = divergence
    return moved


class Critics:
    """Q_r and every Q_c as one network of bin and action, in units of each one's own size, divided by 1 / (1 - gamma)."""

    def __init__(self, problem: Meg, settings: CvpoSettings) -> None:
        process = problem.process
        self.settings = settings
        self.scale = np.append(1.0, process.scale)
        bins, actions = problem.shapes["policy"]
        state, action = features(problem), action_features(problem)
        self.pairs = torch.cat([state.repeat_interleave(actions, 0), action.repeat(bins, 1)], dim=1)
        self.shape = (bins, actions)
        self.net = network(3, len(self.scale), settings.hidden)
        self._optimiser = torch.optim.Adam(self.net.parameters(), lr=settings.critic_rate)
        self._schedule = torch.optim.lr_scheduler.LinearLR(self._optimiser, 1.0, 0.05, settings.iterations)

    def values(self) -> FloatArray:
        """Return (1 - gamma) Q of every bin and action, shape (1 + K, H, A), in units."""
        with torch.no_grad():
            return np.asarray(self.net(self.pairs).double().numpy().T.reshape(-1, *self.shape))

    def fit(self, batch: Batch, policy: FloatArray, rng: np.random.Generator) -> None:
        """Move towards (1 - gamma) (r, c) + gamma E_pi Q of the next slot, which one network gives and learns."""
        gamma, actions = self.settings.discount, self.shape[1]
        gained = np.column_stack([batch.rewards, batch.costs]) / self.scale
        later = np.zeros((self.shape[0], len(self.scale)))
        for step in range(self.settings.critic_steps):
            if gamma and step % _REFRESH == 0:
                later = np.einsum("qha,ha->hq", self.values(), policy)
            pick = rng.integers(len(batch.bins), size=self.settings.critic_batch)
            target = (1 - gamma) * gained[pick]
            if gamma:
                target = target + gamma * later[batch.next_bins[pick]]
            rows = torch.from_numpy(batch.bins[pick] * actions + batch.actions[pick])
            loss = ((self.net(self.pairs[rows]) - torch.from_numpy(target).float()) ** 2).mean()
            self._optimiser.zero_grad()
            loss.backward()
            self._optimiser.step()
        self._schedule.step()


def train(problem: Meg, settings: CvpoSettings, tell: Callable[[int, FloatArray], None] = lambda *_: None) -> nn.Module:
    """Train an actor; ``tell`` gets the iteration and the policy (H, A) before each. The same seed gives the same actor."""
    torch.manual_seed(settings.seed)
    rng = np.random.default_rng(settings.seed)
    slots, critics = Slots(problem, settings.seed), Critics(problem, settings)
    seen = features(problem)
    actor = network(seen.shape[1], problem.shapes["policy"][1], settings.hidden)
    batches: list[Batch] = []
    limits = problem.process.limits / problem.process.scale
    gamma, horizon = settings.discount, problem.instance.horizon
    for iteration in range(settings.iterations):
        policy = policy_of(actor, problem)
        tell(iteration, policy)
        batches = [*batches, slots.live(policy, settings.slots)][-settings.kept :]
        critics.fit(_joined(batches), policy, rng)
        values, newest = critics.values(), batches[-1]
        lived = np.concatenate([batch.bins for batch in batches])
        weight = np.bincount(lived, minlength=len(policy)) / len(lived)
        mean = newest.costs.mean(axis=0) / problem.process.scale
        if gamma == 0:  # the critics know slots' costs: only what they miss needs measuring, which varies far less
            missed = mean - values[1:, newest.bins, newest.actions].mean(axis=1)
            mean = np.einsum("h,ha,kha->k", weight, policy, values[1:]) + missed
        costs, allowed = values[1:], limits
        if settings.constraint == "corrected":  # advantages; both sides are times (1 - gamma), as the critics are
            costs = costs - np.einsum("kha,ha->kh", costs, policy)[:, :, None]
            allowed = (1 - gamma) * (limits - mean)
        else:
            allowed = limits * (1 - gamma**horizon)
        dual = e_step(weight, policy, values[0], costs, allowed, settings.divergence)
        m_step(
            actor, seen, torch.from_numpy(weight).float(), torch.from_numpy(policy).float(),
            torch.from_numpy(dual.target).float(), settings,
        )  # fmt: skip
    return actor


def _joined(batches: list[Batch]) -> Batch:
    parts = [
        [getattr(batch, name) for batch in batches] for name in ("bins", "actions", "rewards", "costs", "next_bins")
    ]
    return type(batches[0])(*(np.concatenate(part) for part in parts))
