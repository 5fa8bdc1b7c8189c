"""Ready shapes of models to train from scratch on a task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

#: Positions beyond the longest sequence, for a generation that does not end where it should.
_SPARE_POSITIONS = 16


@dataclass(frozen=True, slots=True)
class Shape:
    """A GPT-2 of so many layers and heads, and this width; learned positions, no dropout."""

    layers: int
    heads: int
    width: int


SHAPES = {
    "tiny": Shape(2, 2, 32),
    "laptop": Shape(2, 4, 128),
    "laptop-wide": Shape(2, 4, 256),
    "paper": Shape(2, 4, 768),  # learns 4×4 by stepwise internalisation: arXiv 2510.00184
    "gpt2-small": Shape(12, 12, 768),
}


def new_model(
    shape: Shape, tokenizer: PreTrainedTokenizerBase, longest: int, seed: int, dropout: float = 0.0
) -> PreTrainedModel:
    """A GPT-2 with random weights, the vocabulary of the tokenizer and positions for sequences of `longest` tokens."""
    import transformers

    transformers.set_seed(seed)
    config = transformers.GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=-(-(longest + _SPARE_POSITIONS) // 8) * 8,
        n_embd=shape.width,
        n_layer=shape.layers,
        n_head=shape.heads,
        activation_function="gelu_pytorch_tanh",  # gelu_new by one kernel
        resid_pdrop=dropout,
        embd_pdrop=dropout,
        attn_pdrop=dropout,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return transformers.GPT2LMHeadModel(config)
