"""A model to train from scratch on a task: ready shapes, and a tokenizer of the task's words or characters."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from influence.data.tasks.task import ANSWER_START, Example

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase, PreTrainedTokenizerFast

PAD, EOS, SEP, UNKNOWN = "<pad>", "<eos>", "<sep>", "<unk>"

_MOST_WORDS = 4096
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


def task_tokenizer(examples: Iterable[Example]) -> PreTrainedTokenizerFast:
    """One token a word (what stands between blanks), or a character where there are more than 4,096 words.

    In multiplication a word is a digit or a sign. The separator and EOS are tokens of their own; a word that no
    example has becomes `<unk>`. Saved and loaded as every Hugging Face tokenizer.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    mark = ANSWER_START.strip()
    words = {mark}
    characters = {" ", *mark}
    for example in examples:
        for text in (example.input, example.chain, example.gold):
            characters.update(text)
            if len(words) <= _MOST_WORDS:
                words.update(text.split())
    by_word = len(words) <= _MOST_WORDS
    entries = [PAD, EOS, SEP, UNKNOWN, *sorted(words if by_word else characters)]
    core = Tokenizer(models.WordLevel({entry: i for i, entry in enumerate(entries)}, unk_token=UNKNOWN))
    if by_word:
        core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    else:
        core.pre_tokenizer = pre_tokenizers.Split("", "isolated")
        core.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token=PAD,
        eos_token=EOS,
        sep_token=SEP,
        unk_token=UNKNOWN,
        clean_up_tokenization_spaces=False,
    )
