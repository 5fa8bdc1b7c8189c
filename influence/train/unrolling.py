"""Exact influence by unrolling: the derivative of the end of a training by the weight of each of its examples.

Every step of AdamW with clipped gradients is taken as the function of the state before it and of the weights of its
examples that it is, and the training is gone through backwards with the stored states. Nothing is approximated: where
Hessians assume convergence and one model, this differentiates the training that was. It holds all states in memory and
costs about as much as several trainings for each query: for models of a few hundred thousand parameters, as an oracle.

Source of the idea: MAGIC, Ilyas and Engstrom, arXiv 2504.16430.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

Values = dict[str, Tensor]
#: From the weights of a model to one number for each of some examples, or for each query.
Losses = Callable[[Mapping[str, Tensor]], Tensor]

#: torch's own types leave out what is returned for a tuple.
_vjp: Any = torch.func.vjp
_grad: Any = torch.func.grad


@dataclass(frozen=True)
class AdamW:
    """The optimizer of our trainings, `influence.train.core.text.train_rows`.

    Attributes:
        decayed: Names of the weights that decay; norms and biases do not.
        most_norm: To which the norm of the gradient of all weights is clipped.
    """

    decayed: frozenset[str]
    beta_1: float = 0.9
    beta_2: float = 0.95
    epsilon: float = 1e-8
    decay: float = 0.1
    most_norm: float = 1.0


@dataclass(frozen=True)
class Step:
    """One step of a training.

    Attributes:
        losses: Summed NLL of each of its examples `[B]`, nats, by the weights of the model.
        rows: Numbers of these examples, int64 `[B]`.
        tokens: Predicted tokens of the step, by which its loss is divided.
        lr: Learning rate.
    """

    losses: Losses
    rows: Tensor
    tokens: int
    lr: float


class State(NamedTuple):
    """Weights, and the first and second moments of their gradients."""

    values: Values
    first: Values
    second: Values


def train(
    values: Mapping[str, Tensor], steps: Sequence[Step], optimizer: AdamW, weight_N: Tensor
) -> list[State]:
    """The states before each step, and the last one.

    Args:
        weight_N: How much each example counts in the sum of its step's losses; 1 in an ordinary training.
    """
    zeros = {name: torch.zeros_like(value) for name, value in values.items()}
    states = [State(dict(values), zeros, zeros)]
    for number, step in enumerate(steps, 1):
        moved = _step(states[-1], weight_N[step.rows], step, number, optimizer)
        states.append(State(*({name: value.detach() for name, value in part.items()} for part in moved)))
    return states


def unrolled_influence(
    states: Sequence[State], steps: Sequence[Step], optimizer: AdamW, log_p: Losses, examples: int
) -> Tensor:
    """`d log p(query) / d weight of an example` after the whole training, `[Q, N]`, nats.

    Positive: more weight on the example raises log p. Leaving a few examples out changes it by about minus their sum.

    Args:
        states: Of `train`, with weights of 1.
        log_p: log p of each query `[Q]` by the weights of the model.
    """
    last = states[-1]
    log_p_Q, pull = _vjp(lambda values: log_p(values), last.values)
    zeros = {name: torch.zeros_like(value) for name, value in last.values.items()}
    back = [State(pull(unit_Q)[0], zeros, zeros) for unit_Q in torch.eye(len(log_p_Q), dtype=log_p_Q.dtype)]
    influence_QN: Tensor = log_p_Q.new_zeros(len(log_p_Q), examples)
    for number in range(len(steps), 0, -1):
        step = steps[number - 1]
        ones_B = torch.ones(len(step.rows), dtype=log_p_Q.dtype)

        def run(state: State, weight_B: Tensor, step: Step = step, number: int = number) -> State:
            return _step(state, weight_B, step, number, optimizer)

        _, pull = _vjp(run, states[number - 1], ones_B)
        for query, adjoint in enumerate(back):
            before, of_weight_B = pull(adjoint)
            back[query] = State(*before)
            influence_QN[query].index_add_(0, step.rows, of_weight_B.detach())
    return influence_QN


def _step(state: State, weight_B: Tensor, step: Step, number: int, optimizer: AdamW) -> State:
    """The state after a step; `number` counts from 1, for the correction of the moments' bias."""
    gradient = _grad(lambda values: (weight_B * step.losses(values)).sum() / step.tokens)(state.values)
    norm = _root(torch.stack([(g * g).sum() for g in gradient.values()]).sum())
    scale = (optimizer.most_norm / (norm + 1e-6)).clamp(max=1.0)
    correct_1, correct_2 = 1 - optimizer.beta_1**number, 1 - optimizer.beta_2**number
    values, first, second = {}, {}, {}
    for name, value in state.values.items():
        g = gradient[name] * scale
        first[name] = optimizer.beta_1 * state.first[name] + (1 - optimizer.beta_1) * g
        second[name] = optimizer.beta_2 * state.second[name] + (1 - optimizer.beta_2) * g * g
        size = _root(second[name]) / correct_2**0.5 + optimizer.epsilon
        kept = 1 - step.lr * optimizer.decay * (name in optimizer.decayed)
        values[name] = value * kept - step.lr / correct_1 * first[name] / size
    return State(values, first, second)


def _root(value: Tensor) -> Tensor:
    """The square root, with a derivative of 0 at 0: a weight that never had a gradient has none."""
    positive = value > 0
    return torch.where(positive, torch.where(positive, value, 1.0).sqrt(), 0.0)
