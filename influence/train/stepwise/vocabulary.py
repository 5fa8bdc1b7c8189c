"""The tokenizer of a model trained from scratch on a task: its words, or its characters where words are too many."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from influence.data.chains.task import ANSWER_START, ChainExample

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

PAD, EOS, SEP, UNKNOWN = "<pad>", "<eos>", "<sep>", "<unk>"

_MOST_WORDS = 4096


def task_tokenizer(examples: Iterable[ChainExample]) -> PreTrainedTokenizerFast:
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
        for text in (example.input, example.chain, example.answer):
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
