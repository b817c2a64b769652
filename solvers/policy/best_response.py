"""Best-response dynamics: pure Nash equilibria of the users' steps under a reward."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from typing_extensions import override

from hisopt.decision import Decision
from hisopt.equations import steps_sms
from hisopt.problems import Joint
from hisopt.result import Guarantee, Limits, SolverResult, Termination
from hisopt.solvers.base import Deadline, Solver

if TYPE_CHECKING:
    from torch import Tensor

    from hisopt.solvers.policy.step_game import StepGame

_ROUNDS = 1000
_LEAST = 1e-9  # smallest gain, relative, for which a user moves


@dataclass(frozen=True)
class Play:
    """Where the dynamics ended: steps of shape (N,), rounds over all users, and whether nobody gains by moving."""

    common: Tensor
    steps_edge: Tensor
    rounds: int
    equilibrium: bool
    cycled: bool


def play(game: StepGame, reward: str, common: Tensor, steps_edge: Tensor, deadline: Deadline | None = None) -> Play:
    """Let one user after the other take its best reply until nobody gains, a state returns, or time is up.

    ``game`` holds one instance, ``common`` and ``steps_edge`` the start, shapes (N,). With the reward ``marginal`` the
    dynamics always end: a move's gain is the utility's, which has finitely many values. With (33) they may go round
    for ever, as there need not be an equilibrium (the tests have three users without); a state that returns is reported.
    """
    import torch

    x, y = _actions(game)
    common, steps_edge = common.clone(), steps_edge.clone()
    many = game.take(torch.zeros(len(x), dtype=torch.int64))
    seen: set[bytes] = set()
    for rounds in range(1, _ROUNDS + 1):
        moved = False
        for user in range(game.users):
            if deadline is not None and deadline.passed:
                return Play(common, steps_edge, rounds, equilibrium=False, cycled=False)
            all_common, all_edge = common.repeat(len(x), 1), steps_edge.repeat(len(x), 1)
            all_common[:, user], all_edge[:, user] = x, y
            worth = many.reward(reward, all_common, all_edge)[:, user]
            now = worth[(x == common[user]) & (y == steps_edge[user])].item()
            best = int(worth.argmax())
            if worth[best].item() > now + _LEAST * max(1.0, abs(now)):
                common[user], steps_edge[user] = x[best], y[best]
                moved = True
        if not moved:
            return Play(common, steps_edge, rounds, equilibrium=True, cycled=False)
        state = torch.stack([common, steps_edge]).numpy().tobytes()
        if state in seen:
            return Play(common, steps_edge, rounds, equilibrium=False, cycled=True)
        seen.add(state)
    return Play(common, steps_edge, _ROUNDS, equilibrium=False, cycled=False)


def regret(game: StepGame, reward: str, common: Tensor, steps_edge: Tensor) -> float:
    """Return the most that any user gains by another action alone: 0 at an equilibrium."""
    import torch

    x, y = _actions(game)
    many, most = game.take(torch.zeros(len(x), dtype=torch.int64)), 0.0
    now = game.reward(reward, common[None], steps_edge[None])[0]
    for user in range(game.users):
        all_common, all_edge = common.repeat(len(x), 1), steps_edge.repeat(len(x), 1)
        all_common[:, user], all_edge[:, user] = x, y
        most = max(most, float(many.reward(reward, all_common, all_edge)[:, user].max() - now[user]))
    return most


def _actions(game: StepGame) -> tuple[Tensor, Tensor]:
    """All (x, y) within (28b-d, f), as two vectors."""
    import torch

    x, y = torch.from_numpy(game.limits.pairs()).T
    return x, y


@dataclass(frozen=True)
class BestResponse(Solver[Joint]):
    """A pure Nash equilibrium of the papers' reward (33), by best replies from the fewest server steps; not an optimum."""

    name = "best-response"
    problems = (Joint,)
    guarantee = Guarantee.HEURISTIC
    packages = ("torch",)
    requires = ("torch",)

    reward: str = "individual"

    def prepare(self) -> None:
        """Import torch."""
        import hisopt.solvers.policy.step_game  # noqa: F401

    @override
    def solve(self, problem: Joint, limits: Limits) -> SolverResult:
        import torch

        from hisopt.solvers.policy.step_game import StepGame

        instance = problem.instance
        game = StepGame.of([instance])
        x, y = _actions(game)
        common, steps_edge = x[0].repeat(instance.users), y[0].repeat(instance.users)
        with torch.no_grad():
            found = play(game, self.reward, common, steps_edge, Deadline(limits))
        steps = found.common.numpy(), found.steps_edge.numpy()
        decision = Decision.of_steps(instance.steps.total, *steps, steps_sms(instance, *steps), instance.labels)
        details = {"equilibrium": found.equilibrium, "rounds": found.rounds, "cycled": found.cycled}
        if found.equilibrium:
            return SolverResult(Termination.COMPLETED, decision, message="an equilibrium", details=details)
        stopped = Termination.ITERATION_LIMIT if found.cycled or found.rounds == _ROUNDS else Termination.TIME_LIMIT
        return SolverResult(stopped, decision, message="no equilibrium reached", details=details)
