"""``python -m hisopt.experiments.campaigns.meg_tiny``: tiny constrained Markov decision processes, solved in five ways.

Random processes whose actions move the state, discounted and on average, with one or two limits: the occupancy program, policy
iteration and value iteration on the Lagrangian, and brute force over all deterministic policies with mixing; where actions do not
move the state, the sifted program and the dual as well. Prints the largest differences of optima and of least violations.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import click
import numpy as np
from scipy.optimize import linprog

from hisopt.cmdp import Cmdp
from hisopt.commands.common import run_command
from hisopt.solvers.meg import dual, occupancy, policy_iteration
from hisopt.solvers.meg.columns import Column, cutting_planes
from hisopt.solvers.meg.policy_iteration import MovingCmdp, visits

if TYPE_CHECKING:
    from hisopt.arrays import FloatArray, IntArray

AGREED = 1e-8
Answer = tuple[float | None, float]  # the optimum, None where there is none; and the least violation


def draw(seed: int) -> MovingCmdp:
    """Return a process of at most four states and four actions; every third one's actions do not move the state."""
    rng = np.random.default_rng(seed)
    states, actions, limits = rng.integers(2, 5), rng.integers(2, 5), rng.integers(1, 3)
    still = seed % 3 == 0
    transition = rng.dirichlet(np.ones(states), states if still else (states, actions))
    return MovingCmdp(
        rng.uniform(-1, 1, (states, actions)), rng.uniform(0, 1, (limits, states, actions)), rng.uniform(0.15, 0.7, limits),
        np.ones((states, actions), dtype=bool), transition, rng.dirichlet(np.ones(states)),
        None if seed % 2 else float(rng.uniform(0, 0.95)),
    )  # fmt: skip


def brute_force(process: MovingCmdp) -> Answer:
    """Enumerate the deterministic policies and mix them."""
    states, actions = process.reward.shape
    rows, rewards, costs = np.arange(states), [], []
    for choice in product(range(actions), repeat=int(states)):
        pick = np.array(choice)
        seen = visits(process, pick)
        rewards.append(seen @ process.reward[rows, pick])
        costs.append(process.costs[:, rows, pick] @ seen / process.scale)
    ones = np.ones((1, len(rewards)))
    return _answer(np.array(rewards), np.array(costs).T, process.limits / process.scale, ones, np.ones(1))


def occupancy_program(process: MovingCmdp) -> Answer:
    """State the flow balance of occupancies as a linear program."""
    states, actions = process.reward.shape
    moves = (
        process.transition if process.transition.ndim == 3 else np.repeat(process.transition[:, None], actions, axis=1)
    )
    gamma = 1.0 if process.discount is None else process.discount
    balance = (np.eye(states)[:, None, :] - gamma * moves).reshape(-1, states).T
    entering = (1 - gamma) * process.start
    if process.discount is None:
        balance, entering = np.vstack([balance, np.ones(states * actions)]), np.append(entering, 1.0)
    costs = process.costs.reshape(len(process.limits), -1) / process.scale[:, None]
    return _answer(process.reward.ravel(), costs, process.limits / process.scale, balance, entering)


def _answer(rewards: FloatArray, costs: FloatArray, limits: FloatArray, rows: FloatArray, sides: FloatArray) -> Answer:
    count = len(rewards)
    elastic = np.hstack([costs, -np.ones((len(costs), 1))])
    wider = np.hstack([rows, np.zeros((len(rows), 1))])
    least = _program(np.append(np.zeros(count), 1.0), elastic, limits, wider, sides)
    if least > 1e-9:
        return None, least
    return -_program(-rewards, costs, limits, rows, sides), 0.0


def _program(gain: FloatArray, costs: FloatArray, limits: FloatArray, rows: FloatArray, sides: FloatArray) -> float:
    found = linprog(
        gain, costs, limits, rows, sides, method="highs-ds",
        options={"dual_feasibility_tolerance": 1e-10, "primal_feasibility_tolerance": 1e-10},
    )  # fmt: skip
    if found.fun is None:
        raise ArithmeticError(f"HiGHS: {found.message}")
    return float(found.fun)


def value_iteration(process: MovingCmdp, worth: FloatArray, tolerance: float = 1e-14) -> IntArray:
    """Return the best deterministic policy by value iteration, of relative values where there is no discount."""
    gamma = 1.0 if process.discount is None else process.discount
    values = np.zeros(len(worth))
    for _ in range(100_000):
        after = (worth + gamma * process.ahead(values)).max(axis=1)
        after = after - after[0] if process.discount is None else after
        moved, values = np.abs(after - values).max(), after
        if moved <= tolerance * max(1.0, np.abs(values).max()):
            break
    return np.asarray((worth + gamma * process.ahead(values)).argmax(axis=1))


def by_value_iteration(process: MovingCmdp) -> Answer:
    """Minimise the Lagrangian, its policies by value iteration."""
    states = np.arange(len(process.reward))

    def oracle(multipliers: FloatArray, *, with_reward: bool) -> Column:
        worth = -np.tensordot(multipliers, process.costs, axes=1) + (process.reward if with_reward else 0.0)
        pick = value_iteration(process, worth)
        seen = visits(process, pick)
        return Column(pick, float(seen @ process.reward[states, pick]), process.costs[:, states, pick] @ seen, seen)

    found = cutting_planes(oracle, process.limits, process.scale)
    assert found is not None
    return (None, found.violation) if not found.columns else (found.bound, 0.0)


def by_policy_iteration(process: MovingCmdp) -> Answer:
    """Minimise the Lagrangian, its policies by policy iteration; the policy is held to its bound by `worth_of`."""
    found = policy_iteration.solve(process)
    assert found is not None
    if found.policy is None:
        return None, found.violation
    reward, costs = worth_of(process, found.policy)
    if abs(reward - found.bound) > AGREED or (costs > process.limits + AGREED).any():
        raise ArithmeticError(f"a policy of {reward} and {costs} does not attain its bound {found.bound} within limits")
    return found.bound, 0.0


def worth_of(process: MovingCmdp, policy: FloatArray) -> tuple[float, FloatArray]:
    """Return mean reward and costs of a randomised policy, from its own chain."""
    moves = process.transition if process.transition.ndim == 3 else process.transition[:, None, :]
    chain = (policy[:, :, None] * moves).sum(axis=1)
    plain = MovingCmdp(
        process.reward, process.costs, process.limits, process.allowed, chain, process.start, process.discount
    )
    occupancy = visits(plain, np.zeros(len(policy), dtype=np.int64))[:, None] * policy
    return float((occupancy * process.reward).sum()), np.einsum("sa,ksa->k", occupancy, process.costs)


def still_answers(process: MovingCmdp) -> dict[str, Answer]:
    """Return the answers of the algorithms for actions that do not move the state; none where they do."""
    if process.transition.ndim == 3:
        return {}
    nu = visits(process, np.zeros(len(process.reward), dtype=np.int64))
    plain = Cmdp.of(nu, process.reward, process.costs, process.limits)
    found: dict[str, Answer] = {}
    for name, solve in (("sifting", occupancy.solve), ("dual", dual.solve)):
        solution = solve(plain)
        assert solution is not None
        found[name] = (None, solution.violation) if solution.policy is None else (solution.bound, 0.0)
    return found


def answers(process: MovingCmdp) -> dict[str, Answer]:
    """Return each way's answer."""
    return {
        "brute force": brute_force(process),
        "occupancy program": occupancy_program(process),
        "policy iteration": by_policy_iteration(process),
        "value iteration": by_value_iteration(process),
        **still_answers(process),
    }


def differences(found: dict[str, Answer]) -> dict[str, float]:
    """Return each way's distance from brute force; infinite where one has an optimum and the other none."""
    optimum, violation = found["brute force"]
    told = {}
    for name, (value, least) in found.items():
        if (value is None) != (optimum is None):
            told[name] = np.inf
        else:
            told[name] = abs(least - violation) if value is None or optimum is None else abs(value - optimum)
    return told


@click.command()
@click.option("--instances", default=200, show_default=True)
@click.option("--first", default=0, show_default=True, help="First seed.")
def command(instances: int, first: int) -> None:
    """Solve every instance in every way; exit code 1 where two differ."""
    largest: dict[str, float] = {}
    infeasible = 0
    for seed in range(first, first + instances):
        found = answers(draw(seed))
        infeasible += found["brute force"][0] is None
        for name, difference in differences(found).items():
            largest[name] = max(largest.get(name, 0.0), difference)
            if difference > AGREED:
                print(f"seed {seed}: {name} differs from brute force by {difference:.3g}")
    print(
        f"{instances} instances, {infeasible} of them without a policy within the limits; largest difference from brute force:"
    )
    for name, difference in largest.items():
        print(f"{name:20} {difference:.1e}")
    if max(largest.values()) > AGREED:
        raise SystemExit(1)


if __name__ == "__main__":
    run_command(command, "hisopt.experiments.campaigns.meg_tiny")
