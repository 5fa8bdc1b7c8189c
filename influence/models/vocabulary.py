"""Weights over the vocabulary: the output head, the token embedding, and one weight that is both; and what they see."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from transformers import PreTrainedModel

from influence.errors import ModelError
from influence.types import VocabularyTokens


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What uses a weight `[V, I]` over the vocabulary; both where head and embedding are tied.

    Attributes:
        embedding_name: Name of the embedding in the model.
    """

    head: nn.Linear | None
    embedding: nn.Embedding | None
    embedding_name: str | None

    @property
    def sizes(self) -> tuple[int, int]:
        """`(I, V)`."""
        if self.head is not None:
            return self.head.in_features, self.head.out_features
        assert self.embedding is not None
        return self.embedding.embedding_dim, self.embedding.num_embeddings

    @property
    def modules(self) -> list[nn.Module]:
        """The uses of the weight."""
        return [module for module in (self.head, self.embedding) if module is not None]

    @property
    def words(self) -> list[str]:
        """What names it in a selection of layers beside its name."""
        words = ["head"] if self.head is not None else []
        return words if self.embedding_name is None else [*words, "embedding", self.embedding_name]


def vocabulary_weights(model: PreTrainedModel) -> dict[str, Vocabulary]:
    """The weights over the vocabulary by name, a tied one by the name of its head."""
    last, first = model.get_output_embeddings(), model.get_input_embeddings()
    names = {module: name for name, module in model.named_modules()}
    head: nn.Linear | None = last if isinstance(last, nn.Linear) and last in names else None
    embedding: nn.Embedding | None = first if isinstance(first, nn.Embedding) and first in names else None
    if head is not None and embedding is not None and head.weight is embedding.weight:
        return {names[head]: Vocabulary(head, embedding, names[embedding])}
    found = {} if head is None else {names[head]: Vocabulary(head, None, None)}
    if embedding is not None:
        found[names[embedding]] = Vocabulary(None, embedding, names[embedding])
    return found


def refuse_other_embeddings(name: str, vocabulary: Vocabulary) -> None:
    """Raise ModelError for an embedding that does more than look up a row: its gradient is not that of the row."""
    embedding = vocabulary.embedding
    if embedding is None:
        return
    plain = type(embedding).forward is nn.Embedding.forward
    if not plain or embedding.max_norm is not None or embedding.scale_grad_by_freq:
        raise ModelError(
            f"{vocabulary.embedding_name} does more than look up a row, so it cannot be tracked.",
            have=type(embedding).__name__,
            fix=f"Leave it out: --exclude-layers '{name}'",
        )


class UsesSeen:
    """The uses of one weight over the vocabulary in a backward pass, handed on once all of them were seen.

    Args:
        check: Returns a use's input as `[B, T, ...]`, or raises; it is told whether the use ran before in this pass.
        watch: Gives an output back whose gradient goes to a function.
        done: Gets the tokens of all uses.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        size: int,
        shape: torch.Size,
        check: Callable[[Tensor, bool], Tensor],
        watch: Callable[[Tensor, Callable[[Tensor], None]], Tensor],
        done: Callable[[VocabularyTokens], None],
    ) -> None:
        self._vocabulary, self._shape = vocabulary, shape
        self._check, self._watch, self._done = check, watch, done
        self._waiting: dict[nn.Module, Tensor] = {}
        self._size = size
        self._tokens = VocabularyTokens(size)
        self.ran: set[nn.Module] = set()

    def hooks(self) -> list[RemovableHandle]:
        """Watch every use."""
        return [module.register_forward_hook(self._forward) for module in self._vocabulary.modules]

    def fill(self, zero: Tensor, inputs: int) -> None:
        """Hand on what was seen, with zeros for uses that no loss reaches."""
        head, embedding = self._tokens.head, self._tokens.embedding
        if self._vocabulary.head is not None and head is None:
            head = zero.expand(*self._shape, inputs), zero.expand(*self._shape, self._size)
        if self._vocabulary.embedding is not None and embedding is None:
            embedding = zero.expand(*self._shape, inputs), zero.long().expand(*self._shape)
        self._done(VocabularyTokens(self._size, head, embedding))

    def _forward(self, module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
        self.ran.add(module)
        embeds = module is self._vocabulary.embedding
        seen = self._check(inputs[0][..., None] if embeds else inputs[0], module in self._waiting)
        self._waiting[module] = seen[..., 0].long() if embeds else seen.detach()

        def backward(s: Tensor) -> None:
            with torch.no_grad():
                self._add(module, self._waiting.pop(module), s.reshape(*self._shape, -1))

        return self._watch(output, backward)

    def _add(self, module: nn.Module, seen: Tensor, s_BTO: Tensor) -> None:
        """Add a use; a padding word of an embedding gets no gradient, as in training."""
        vocabulary = self._vocabulary
        if module is vocabulary.embedding:
            padding = vocabulary.embedding.padding_idx
            if padding is not None:
                s_BTO = s_BTO.masked_fill((seen == padding)[..., None], 0)
            tokens = VocabularyTokens(self._size, embedding=(s_BTO, seen))
        else:
            tokens = VocabularyTokens(self._size, head=(seen, s_BTO.to(seen.dtype)))
        tokens = self._tokens.joined(tokens)
        whole = (tokens.head is None) == (vocabulary.head is None)
        if whole and (tokens.embedding is None) == (vocabulary.embedding is None):
            self._tokens = VocabularyTokens(self._size)
            self._done(tokens)
        else:
            self._tokens = tokens
