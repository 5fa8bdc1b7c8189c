"""A stage reads texts as it did in training: its positions kept where they were, and the input given, not predicted.

Both follow from the tokens of a text alone, so a model that reads so goes through every pass of the engine as any
other. A text without two separators has the positions it has, and one without any is predicted whole.
"""

from __future__ import annotations

import copy
from typing import Any

import torch

from influence.models.load import LanguageModel
from influence.train.stepwise.sequences import separator
from influence.train.stepwise.settings import Side

#: A log-probability of all other tokens where a token is given: exp of it is 0.
_NEVER = -1e4


def kept_positions(
    ids_BT: torch.Tensor, separator: int, total: int, side: Side, positions: int | None = None
) -> torch.Tensor:
    """Positions of texts whose chain has lost some of its `total` tokens, as `removal.drop_cot` keeps them: `[B, T]`.

    What follows the cut stands so many places further as tokens are missing between the two separators.

    Args:
        positions: Of the model; padding is kept below it.
    """
    place_T = torch.arange(ids_BT.shape[1], device=ids_BT.device)
    number_BT = (ids_BT == separator).cumsum(1)
    chain_B = ((number_BT == 1).sum(1) - 1).clamp(min=0)
    gap_B = torch.where(number_BT[:, -1] >= 2, (total - chain_B).clamp(min=0), 0)
    first_BT = (number_BT == 1) & (ids_BT == separator)
    after_BT = (number_BT >= 2) if side == "right" else (number_BT >= 1) & ~first_BT
    position_BT = place_T + gap_B[:, None] * after_BT
    return position_BT if positions is None else position_BT.clamp(max=positions - 1)


def given(ids_BT: torch.Tensor, separator: int) -> torch.Tensor:
    """Which logits predict a token of the input or the first separator, `[B, T]`; none where there is no separator."""
    before_BT = (ids_BT == separator).cumsum(1) == 0
    return before_BT & ~before_BT[:, -1:]


def read_as_trained(model: LanguageModel, total: int, side: Side, keep_positions: bool) -> LanguageModel:
    """A view of the model that gives the input probability 1 and keeps positions if it was trained so.

    The view shares parameters and modules with the model, which itself stays as it is: no hook, no entry of its
    configuration. The view's configuration says how it reads, and with it its fingerprint, so that stores of a model
    that reads otherwise do not mix with those of this one.

    Args:
        total: Tokens of a whole chain.
    """
    mark = separator(model.tokenizer)
    net = _view(model.model)
    net.config.influence_reading = {"given": "input", "kept": [total, side] if keep_positions else None}
    context = getattr(net.config, "max_position_embeddings", None)

    def before(module: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
        ids_BT = named["input_ids"]
        position_BT = kept_positions(ids_BT, mark, total, side, context)
        return arguments, named | {"position_ids": position_BT, "attention_mask": torch.ones_like(ids_BT)}

    def after(module: Any, arguments: tuple[Any, ...], named: dict[str, Any], output: Any) -> Any:
        ids_BT, logits_BTV = named["input_ids"], output.logits
        sure_BTV = torch.full_like(logits_BTV, _NEVER).scatter_(2, ids_BT.roll(-1, 1)[..., None], 0.0)
        output.logits = torch.where(given(ids_BT, mark)[..., None], sure_BTV, logits_BTV)
        return output

    if keep_positions:
        net.register_forward_pre_hook(before, with_kwargs=True)
    net.register_forward_hook(after, with_kwargs=True)
    return LanguageModel(net, model.tokenizer, model.name)


def _view(net: Any) -> Any:
    """A model of the same parameters and modules with hooks and a configuration of its own."""
    view = copy.copy(net)
    for name, value in vars(net).items():
        if name.startswith("_forward_") and isinstance(value, dict):
            setattr(view, name, value.copy())
    view.config = copy.deepcopy(net.config)
    return view
