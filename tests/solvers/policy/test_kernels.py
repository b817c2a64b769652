"""Gradients by hand against automatic ones of plain operations, and draws against the chances they are drawn from."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from hisopt.instances import StepLimits
from hisopt.solvers.policy.kernels import choice, perceptrons, pick
from hisopt.solvers.policy.networks import Policy
from hisopt.solvers.policy.settings import Settings


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("agents", [1, 3])
@pytest.mark.parametrize("sizes", [(4, 2), (4, 8, 2), (4, 8, 5, 2)])
def test_perceptrons_are_layers_with_tanh_between(agents: int, sizes: tuple[int, ...]) -> None:
    shapes = list(pairwise(sizes))
    weights = [normal(agents, *shape, seed=i).requires_grad_() for i, shape in enumerate(shapes)]
    biases = [normal(agents, 1, shape[1], seed=9 + i).requires_grad_() for i, shape in enumerate(shapes)]
    columns = normal(agents, sizes[0], 7)
    hidden = columns.mT
    for i, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        hidden = hidden @ weight + bias
        hidden = torch.tanh(hidden) if i < len(weights) - 1 else hidden
    found = perceptrons(columns, tuple(weights), tuple(biases))
    torch.testing.assert_close(found, hidden.mT)
    pull = normal(*found.shape, seed=5)
    parameters = weights + biases
    torch.testing.assert_close(
        torch.autograd.grad(found, parameters, pull), torch.autograd.grad(hidden.mT, parameters, pull)
    )


@pytest.mark.parametrize("repeated", [False, True])
def test_choices_have_the_log_probability_and_entropy_of_their_logits(repeated: bool) -> None:
    logits = normal(2, 5, 6)
    logits[0, 3], logits[1, 0, 2] = -torch.inf, -torch.inf
    logits.requires_grad_()
    rows = torch.tensor([4, 0, 0, 5, 2, 4, 4, 1]) if repeated else None
    each = logits if rows is None else logits[:, :, rows]
    index = torch.arange(2 * each.shape[2]).reshape(2, -1) % 3 + torch.tensor([[0], [2]])  # never an impossible one
    log_probability, entropy = choice(logits, index, rows)
    plain = torch.distributions.Categorical(logits=each.transpose(1, 2))
    torch.testing.assert_close(log_probability, plain.log_prob(index))
    torch.testing.assert_close(entropy, plain.entropy())
    pulls = normal(*entropy.shape, seed=1), normal(*entropy.shape, seed=2)
    (found,) = torch.autograd.grad((log_probability, entropy), logits, pulls)
    finite = each.clamp(min=-1e9).log_softmax(dim=1)  # automatic gradients at -inf are no numbers
    log = finite.gather(1, index[:, None])[:, 0]
    (expected,) = torch.autograd.grad((log, -(finite.exp() * finite).sum(dim=1)), logits, pulls)
    torch.testing.assert_close(found, expected)


def test_picks_come_as_often_as_they_should_and_impossible_ones_never() -> None:
    logits = torch.tensor([-torch.inf, 0.0, 1.0, -torch.inf, 0.5, -torch.inf])[None, :, None]
    numbers = 1 - torch.rand(1, 20_000, generator=torch.Generator().manual_seed(0))
    numbers[0, :2] = torch.tensor([1.0, 2.0**-24])  # the ends
    found = pick(logits, numbers, torch.zeros(20_000, dtype=torch.int64))
    share = torch.bincount(found[0], minlength=6) / 20_000
    torch.testing.assert_close(share, logits.softmax(dim=1)[0, :, 0], rtol=0, atol=0.02)
    assert set(found[0].tolist()) == {1, 2, 4}
    assert found[0, :2].tolist() == [4, 1]
    assert pick(logits, None).item() == 2


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("limits", [StepLimits(), StepLimits(total=8, common_max=5, edge_max=6, edge_min=1)])
def test_a_repeated_observation_is_judged_as_each_of_its_copies(shared: bool, limits: StepLimits) -> None:
    policy = Policy(Settings(shared=shared, hidden=(8,)), limits, 4).double()
    seen, places = normal(3, 4, 3), torch.tensor([2, 0, 2, 1, 2])
    common, steps_edge, log_probability = policy.act(seen, torch.Generator().manual_seed(0), places=places)
    again, entropy = policy.judge(seen, common, steps_edge, places)
    torch.testing.assert_close(again, log_probability)
    torch.testing.assert_close((again, entropy), policy.judge(seen[places], common, steps_edge))
    torch.testing.assert_close(policy.value(seen, places), policy.value(seen[places]))
