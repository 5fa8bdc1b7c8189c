"""Greedy decoding with every position given explicitly, so that it stands where it stood in training.

Where positions are kept, removing a part of the chain of thought leaves a gap in the positions: after the prompt when
it was removed from the left, before the separator that ends the chain when it was removed from the right.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from influence.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a model is to continue.

    Attributes:
        tokens: Input and first separator.
        gap: Positions that are skipped; 0 is normal positions.
        gap_at_separator: Skip them at the first separator that is generated, not right after the prompt.
    """

    tokens: tuple[int, ...]
    gap: int = 0
    gap_at_separator: bool = False


@dataclass(frozen=True, slots=True)
class Marks:
    """Token ids of the sequence: `separator` ends the chain, `end` ends all; they may be the same token."""

    separator: int
    end: int


@torch.no_grad()
def generate(
    model: PreTrainedModel, prompts: Sequence[Prompt], marks: Marks, max_new_tokens: int
) -> list[list[int]]:
    """The most likely continuation of each prompt, token by token, with its end token if it came to it.

    Where separator and end are one token, the second of them ends it. Prompts of one batch are padded on the left and
    masked: each continues as it would alone. A gap that leads past the model's positions ends at the last one, as in
    training.

    Raises:
        ModelError: positions do not fit into the model's context, or must be given and the model takes none.
    """
    _check(model, prompts, max_new_tokens)
    longest = max(len(prompt.tokens) for prompt in prompts)
    lengths = [len(prompt.tokens) for prompt in prompts]
    ids_BT = torch.tensor([[marks.end] * (longest - len(p.tokens)) + list(p.tokens) for p in prompts])
    position_BT = torch.arange(longest)[None] - longest + torch.tensor(lengths)[:, None]
    mask_BT = (position_BT >= 0).long()
    device = model.device
    ids_BT, position_BT = ids_BT.to(device), position_BT.clamp(min=0).to(device)
    mask_BT = mask_BT.to(device)  # always given: without one, transformers takes a gap for another sequence
    gap_B = torch.tensor([prompt.gap for prompt in prompts], device=device)
    late_B = torch.tensor([prompt.gap_at_separator for prompt in prompts], device=device)
    next_B = torch.tensor(lengths, device=device)
    separated_B = torch.zeros(len(prompts), dtype=torch.bool, device=device)
    done_B = separated_B.clone()
    takes_positions = _takes_positions(model)
    last = (_positions(model) or sys.maxsize) - 1
    call: Any = model
    past: Any = None
    steps: list[Tensor] = []
    for step in range(max_new_tokens):
        inputs = {"position_ids": position_BT} if takes_positions else {}
        output = call(
            input_ids=ids_BT, attention_mask=mask_BT, past_key_values=past, use_cache=True, **inputs
        )
        past = output.past_key_values
        token_B = output.logits[:, -1].argmax(-1)
        steps.append(token_B)
        is_end_B = token_B == marks.end
        done_B |= is_end_B & separated_B if marks.separator == marks.end else is_end_B
        separated_B |= token_B == marks.separator
        if bool(done_B.all()):
            break
        ids_BT = token_B[:, None]
        position_B = next_B + step + torch.where(late_B & ~separated_B, 0, gap_B)
        position_BT = position_B.clamp(max=last)[:, None]
        mask_BT = torch.cat([mask_BT, mask_BT.new_ones(len(prompts), 1)], dim=1)
    return [_until_end(row, marks) for row in torch.stack(steps, dim=1).tolist()]


def _until_end(tokens: list[int], marks: Marks) -> list[int]:
    """The tokens up to the one that ends the sequence, which is the second where it is the separator too."""
    ends = [place for place, token in enumerate(tokens) if token == marks.end]
    needed = 2 if marks.separator == marks.end else 1
    return tokens[: ends[needed - 1] + 1] if len(ends) >= needed else tokens


def _takes_positions(model: PreTrainedModel) -> bool:
    return "position_ids" in inspect.signature(model.forward).parameters


def _positions(model: PreTrainedModel) -> int | None:
    return getattr(model.config, "max_position_embeddings", None)


def _check(model: PreTrainedModel, prompts: Sequence[Prompt], max_new_tokens: int) -> None:
    if any(prompt.gap for prompt in prompts) and not _takes_positions(model):
        raise ModelError(
            f"{type(model).__name__} takes no position ids, so positions cannot be kept.",
            fix="Evaluate a model that was trained with normal positions.",
        )
    context = _positions(model)
    needed = max(len(prompt.tokens) for prompt in prompts) + max_new_tokens - 1
    if context is not None and needed > context:
        raise ModelError(
            f"A prompt and {max_new_tokens} new tokens do not fit into the positions of the model.",
            have=f"{context} positions, {needed} needed",
            fix="Use a model of longer context, or leave out long examples.",
        )
