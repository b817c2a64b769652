"""Batched perceptrons and categorical choices with gradients by hand: fewer passes over memory than one operation at a time.

Agents come first and rows last, (agents, features, rows): matrix products are quicker this way round on processors, and
sums over a few categories run along rows. Checked against plain operations in the tests.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def perceptrons(columns: Tensor, weights: tuple[Tensor, ...], biases: tuple[Tensor, ...]) -> Tensor:
    """Return the outputs of perceptrons with tanh between layers, shape (agents, outputs, rows).

    ``columns`` (agents, inputs, rows) get no gradient; weights are (agents, inputs, outputs), biases (agents, 1, outputs).
    """
    return _Perceptrons.apply(columns, *weights, *biases)  # type: ignore[no-any-return, no-untyped-call]


def choice(logits: Tensor, index: Tensor, rows: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return the log-probability of categories and the entropy, shapes (agents, R).

    Logits are (agents, K, D) and the categories ``index`` (agents, R); ``rows`` (R,) says which of the D distributions each
    is of, where these are not one for one. A logit of -inf is a category that cannot be.
    """
    return _Choice.apply(logits, index, rows)  # type: ignore[no-any-return, no-untyped-call]


def pick(logits: Tensor, numbers: Tensor | None, rows: Tensor | None = None) -> Tensor:
    """Return categories by inversion of uniform ``numbers`` in (0, 1], or the likeliest without; shape (agents, R)."""
    if numbers is None:
        found = logits.argmax(dim=1)
        return found if rows is None else found.index_select(1, rows)
    below = logits.softmax(dim=1).cumsum(dim=1)
    below = below if rows is None else below.index_select(2, rows)
    return (below < (numbers * below[:, -1])[:, None]).sum(dim=1)  # never one of probability zero


class _Perceptrons(torch.autograd.Function):
    """tanh z = 2 s - 1 with s = 1 / (1 + exp(-2 z)): layers keep s, and the 2 and the 1 are moved into weights and biases."""

    @staticmethod
    def forward(ctx: Any, columns: Tensor, *parameters: Tensor) -> Tensor:
        layers = len(parameters) // 2
        hidden = [columns]
        for i, (weight, bias) in enumerate(zip(parameters[:layers], parameters[layers:], strict=True)):
            if i:
                weight, bias = 2 * weight, bias - weight.sum(dim=1, keepdim=True)
            if i < layers - 1:
                weight, bias = 2 * weight, 2 * bias
            hidden.append(torch.baddbmm(bias.mT, weight.mT, hidden[-1]))
            if i < layers - 1:
                hidden[-1].sigmoid_()
        ctx.save_for_backward(*hidden[:-1], *parameters[:layers])
        return hidden[-1]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        layers = len(ctx.saved_tensors) // 2
        hidden, weights = ctx.saved_tensors[:layers], ctx.saved_tensors[layers:]
        of_weights: list[Tensor] = []
        of_biases: list[Tensor] = []
        for i in range(layers - 1, -1, -1):
            of_bias = gradient.sum(dim=2)[:, None]
            of_weight = hidden[i] @ gradient.mT
            of_weights.insert(0, 2 * of_weight - of_bias if i else of_weight)
            of_biases.insert(0, of_bias)
            if i:  # the derivative of tanh is 4 s (1 - s)
                gradient = (4 * weights[i]) @ gradient
                torch.ops.aten.sigmoid_backward.grad_input(gradient, hidden[i], grad_input=gradient)
        return None, *of_weights, *of_biases


class _Choice(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, index: Tensor, rows: Tensor | None) -> tuple[Tensor, Tensor]:
        logs = logits.log_softmax(dim=1).clamp(min=-1e9)
        chances = logs.exp()
        entropy = -(chances * logs).sum(dim=1)
        place = torch.arange(logits.shape[2], device=logits.device) if rows is None else rows
        flat = index * logits.shape[2] + place
        ctx.save_for_backward(logs, chances, entropy, flat, rows)
        return logs.flatten(1).gather(1, flat), entropy if rows is None else entropy.index_select(1, rows)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_log: Tensor, of_entropy: Tensor) -> tuple[Tensor, None, None]:
        logs, chances, entropy, flat, rows = ctx.saved_tensors
        total = [of_log, of_entropy]
        if rows is not None:
            total = [torch.zeros_like(entropy).index_add_(1, rows, part) for part in total]
        of_logits = (logs + entropy[:, None]).mul_(total[1][:, None]).add_(total[0][:, None]).mul_(chances).neg_()
        of_logits.flatten(1).scatter_add_(1, flat, of_log)
        return of_logits, None, None
