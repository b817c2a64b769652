"""What a user is rewarded with, given everyone's integer steps (B, N); shapes as in `hisopt.solvers.policy.step_game`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from hisopt.solvers.policy.step_game import StepGame


def team(game: StepGame, common: Tensor, steps_edge: Tensor) -> Tensor:
    """(20): the utility, as everyone's reward."""
    return game.utility(common, steps_edge).unsqueeze(1).expand_as(common)


def individual(game: StepGame, common: Tensor, steps_edge: Tensor) -> Tensor:
    """(33): own utility less waiting for the cluster and a share of its energy: of common steps by x_n, own ones in full."""
    common_max, edge_sum = game.max_of(common).clamp(min=0), game.sum_of(steps_edge)
    work = game.work(common_max, edge_sum)
    per_sm = torch.ones_like(work)
    if game.shared_sms:  # 1 / v_m by Theorem 1, where there is work
        load = (game.work_cost() * work).sqrt()
        ratio = load.sum(dim=1, keepdim=True) / (game.budget[:, None] * load)
        per_sm = torch.where(load > 0, ratio, torch.zeros_like(load))
    common_sum = game.sum_of(common)
    share = game.of_users(torch.where(common_sum > 0, common_max / common_sum.clamp(min=1), 0.0)) * common
    if game.shared_sms:
        share = share + steps_edge
    energy = game.of_users(game.step + game.power * per_sm) * share
    return game.own_value(common, steps_edge) - game.of_users(game.wait * work * per_sm) - energy


def marginal(game: StepGame, common: Tensor, steps_edge: Tensor) -> Tensor:
    """U minus U with the user's server steps absent: what he gains by moving alone is what U gains, a potential game."""
    top = game.max_of(common).clamp(min=0)
    is_top = common == game.of_users(top)
    alone = game.of_users(game.sum_of(is_top.to(common.dtype))) == 1
    second = game.max_of(torch.where(is_top, -torch.inf, common)).clamp(min=0)
    top_without = torch.where(is_top & alone, game.of_users(second), game.of_users(top))
    edge_sum = game.sum_of(steps_edge)
    work = game.work(top, edge_sum)
    without = game.work(top_without, game.of_users(edge_sum) - steps_edge)
    own = game.own_value(common, steps_edge) - game.own_value(torch.zeros_like(common), torch.zeros_like(steps_edge))
    cost = game.work_cost()
    own = own - game.of_users(game.step) * (game.of_users(work) - without)
    if not game.shared_sms:
        return own - game.of_users(cost) * (game.of_users(work) - without)
    load = (cost * work).sqrt()
    total = load.sum(dim=1, keepdim=True)
    total_without = total - game.of_users(load) + (game.of_users(cost) * without).sqrt()
    return own - (total**2 - total_without**2) / game.budget[:, None]


def coalition(game: StepGame, common: Tensor, steps_edge: Tensor) -> Tensor:
    """U minus U with the server steps of the user's whole cluster absent; a potential game as well."""
    work = game.work(game.max_of(common).clamp(min=0), game.sum_of(steps_edge))
    own = game.own_value(common, steps_edge) - game.own_value(torch.zeros_like(common), torch.zeros_like(steps_edge))
    value = game.sum_of(own) - game.step * work
    if game.shared_sms:
        load = (game.work_cost() * work).sqrt()
        total = load.sum(dim=1, keepdim=True)
        value = value - (total**2 - (total - load) ** 2) / game.budget[:, None]
    else:
        value = value - game.work_cost() * work
    return game.of_users(value)


REWARDS: dict[str, Callable[[StepGame, Tensor, Tensor], Tensor]] = {
    "individual": individual, "team": team, "marginal": marginal, "coalition": coalition,
}  # fmt: skip
