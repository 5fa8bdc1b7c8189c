"""Probes of a model before it is scored: does a text's loss depend on what it must not depend on?

A gradient that is summed over documents is each document's own only in a causal model whose batches and whose past
change nothing. All probes are forward passes without randomness, on few tokens.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from influence.errors import ModelError
from influence.models.losses import token_nll

#: Name of an embedding of positions.
_POSITIONS = re.compile(r"(^|\.)wpe$|position[^.]*$|pos_emb[^.]*$", re.IGNORECASE)
#: Parts of a model that text does not go through.
NO_TEXT = re.compile(r"visi?on|visual|image|audio|speech", re.IGNORECASE)
#: Tokens of the text whose last token is changed.
_LENGTH = 12

Tokens = npt.NDArray[np.int32] | Sequence[int]


def movement_by_later_tokens(model: PreTrainedModel) -> float:
    """How far a change of the last token moves earlier logits: the norm of the change over that of the logits.

    Zero in a causal model, up to rounding. Two forward passes of 12 tokens; the model is left as it came.

    Raises:
        ModelError: the model does not run on token ids alone.
    """
    ids = short_text(model)[0].tolist()
    other = [*ids[:-1], (ids[-1] + 1) % embedding_rows(model)]
    with evaluating(model), torch.no_grad():
        try:
            before_TV, after_TV = (_logits(model, [row])[0][0, : _LENGTH - 1] for row in (ids, other))
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # the many ways in which code of others misses an argument
            raise ModelError(
                f"{type(model).__name__} does not compute a text's logits from its token ids alone.",
                have=str(error).strip().partition("\n")[0] or type(error).__name__,
                fix="Give a causal language model that needs no other input.",
            ) from error
    return _relative(before_TV, after_TV)


def embedding_rows(model: PreTrainedModel) -> int:
    """How many tokens the model has an embedding of."""
    weight = getattr(model.get_input_embeddings(), "weight", None)
    return int(model.config.get_text_config().vocab_size if weight is None else weight.shape[0])


def positions(model: PreTrainedModel) -> tuple[int | None, int | None]:
    """Most tokens of a text that the model can take, and that it was trained on; None where nothing says so.

    A table of positions ends where it ends. Rotary positions are computed: the model runs on, untrained.
    """
    config = model.config.get_text_config(decoder=True)
    names = ("max_position_embeddings", "n_positions", "max_target_positions", "max_seq_len", "n_ctx")
    sizes = [getattr(config, name, None) for name in names]
    trained = next((size for size in sizes if isinstance(size, int) and size > 0), None)
    tables = [
        module.num_embeddings
        - getattr(module, "offset", 0 if module.padding_idx is None else module.padding_idx + 1)
        for name, module in model.named_modules()
        if isinstance(module, nn.Embedding) and _POSITIONS.search(name) and not NO_TEXT.search(name)
    ]
    if tables:
        return min(tables), min(tables)
    computed = any(name.endswith("inv_freq") for name, _ in model.named_buffers())
    return (None if computed else trained), trained


def weights_moving_logits(model: PreTrainedModel, modules: Sequence[nn.Module]) -> list[bool]:
    """Whether the weight of each module moves the logits of a short text, also where the module is never called.

    One forward and backward pass of 12 tokens. The model is left as it came, its weights frozen or not.

    Raises:
        ModelError: the model's own code stops a backward pass in evaluation mode, as Reformer's does.
    """
    weights = [next(module.parameters()) for module in modules]
    with frozen(model), torch.enable_grad():
        first = [weight for weight in model.get_input_embeddings().parameters() if weight.is_floating_point()]
        for weight in (*weights, *first):  # from first to last, so that every part computes its gradient
            weight.requires_grad_(True)
        logits_BTV = model(input_ids=short_text(model), use_cache=False).logits
        if not logits_BTV.requires_grad:
            return [False] * len(weights)
        try:
            gradients = torch.autograd.grad(logits_BTV.square().sum(), [*weights, *first], allow_unused=True)
        except AssertionError as error:
            raise ModelError(
                f"{type(model).__name__} computes no gradient in evaluation mode.",
                have=str(error).strip().partition("\n")[0] or "an assertion in its code",
                fix="Give another model: in training mode dropout would change the gradients.",
            ) from error
        return [gradient is not None for gradient in gradients[: len(weights)]]


def short_text(model: PreTrainedModel) -> Tensor:
    """Token ids `[1, 12]` that differ from their neighbours."""
    ids_T = (7 * torch.arange(_LENGTH) + 3) % embedding_rows(model)
    return ids_T[None].to(next(model.parameters()).device)


@dataclass(frozen=True, slots=True)
class Independence:
    """What one document's loss was seen to depend on, as relative changes of its tokens' NLL.

    Attributes:
        neighbour: Change by a document beside it in a padded batch; None where no two share one.
        past: Change by other documents that ran before.
        tolerated: What rounding may do in this precision.
    """

    neighbour: float | None
    past: float
    tolerated: float

    @property
    def alone(self) -> bool:
        """Whether each document must have a batch of its own."""
        return self.neighbour is not None and self.neighbour > self.tolerated


def independence(
    model: PreTrainedModel, longer: Tokens, shorter: Tokens | None, rounding: float
) -> Independence:
    """Compare two documents in one padded batch with each alone, and the longer with itself after the shorter.

    Costs forward passes of twice the batch and no backward pass. The model is left as it came.

    Args:
        longer, shorter: Token ids of two documents that may share a batch; no shorter one: the longer runs twice.

    Raises:
        ModelError: the loss of a document depends on what ran before it.
    """
    with evaluating(model), torch.no_grad():
        first = _nll(model, [longer])[0]
        second = None if shorter is None else _nll(model, [shorter])[0]
        again = _nll(model, [longer])[0]
        together = None if shorter is None else _nll(model, [longer, shorter])
    past = _relative(first, again)
    neighbour = None
    if second is not None and together is not None:
        neighbour = max(_relative(first, together[0]), _relative(second, together[1][: len(second)]))
    found = Independence(neighbour, past, rounding**0.5)
    if past > found.tolerated:
        raise ModelError(
            f"{type(model).__name__} keeps a state: the loss of a document depends on what ran before it.",
            have=f"the same document changes by {past:.1%} after another one",
            fix="Score a model whose forward pass changes nothing in it, or mend that in its code.",
        )
    return found


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """Evaluate, with weights that get no gradient; modes and `requires_grad` flags are restored afterwards."""
    flags = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    with evaluating(model):
        try:
            for parameter, _ in flags:
                parameter.requires_grad_(False)
            yield
        finally:
            for parameter, flag in flags:
                parameter.requires_grad_(flag)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put all modules into evaluation mode, and each back into its own afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        model.eval()
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def _logits(model: PreTrainedModel, rows: Sequence[Tokens]) -> tuple[Tensor, Tensor]:
    """Logits `[B, T, V]` of documents padded as in a run, and their token ids `[B, T]`."""
    ids = [torch.from_numpy(np.array(tokens, np.int64)) for tokens in rows]
    ids_BT = nn.utils.rnn.pad_sequence(ids, batch_first=True).to(next(model.parameters()).device)
    return model(input_ids=ids_BT, use_cache=False).logits, ids_BT


def _nll(model: PreTrainedModel, rows: Sequence[Tokens]) -> list[Tensor]:
    """NLL of each token of each document but its first."""
    logits_BTV, ids_BT = _logits(model, rows)
    nll_BT = token_nll(logits_BTV, ids_BT, torch.ones_like(ids_BT, dtype=torch.bool))
    return [nll_T[: len(tokens) - 1] for nll_T, tokens in zip(nll_BT, rows, strict=True)]


def _relative(before: Tensor, after: Tensor) -> float:
    """`‖after − before‖ / ‖before‖`; zero where a value is not finite, which is refused where it is computed."""
    scale = torch.linalg.vector_norm(before.double())
    change = torch.linalg.vector_norm(after.double() - before.double())
    return float(change / scale) if torch.isfinite(change) and scale > 0 else 0.0
