"""The tokenizer of a model that reads the text of `text`: words of the forms are tokens, all else is characters."""

from __future__ import annotations

import re
import string
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

#: Words that forms, prompts and wordings are made of.
_FORMS = """Q: A: R: Take the last letters of words in and concatenate them The first ends second
A coin is heads up flips does not flip Is still It starts After it tails yes no Please answer Quick question"""
#: The same where all else is numbers.
_NUMBER_FORMS = "Q: A: Please answer Quick question"

PAD, EOS, UNKNOWN = "<pad>", "<eos>", "<unk>"


def tokenizer(numbers: bool = False) -> PreTrainedTokenizerFast:
    """Words of the forms, also with a blank before them; digits, letters and signs one by one.

    Args:
        numbers: Without letters and without blanks, which are left out: a small model learns to multiply in much less
            text where there are few tokens, and none that says nothing.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = sorted(set((_NUMBER_FORMS if numbers else _FORMS).split()))
    characters = string.digits + "\n.:*,#"
    if not numbers:
        characters = string.ascii_letters + string.digits + "\n .,:;?!\"'*+=#-"
    entries = [PAD, EOS, UNKNOWN, *characters, *(w for w in words if len(w) > 1)]
    if not numbers:
        entries += [f" {word}" for word in words]
    core = Tokenizer(models.WordLevel({entry: i for i, entry in enumerate(entries)}, unk_token=UNKNOWN))
    whole = "|".join(_alone(word) for word in sorted(words, key=len, reverse=True))
    pieces = pre_tokenizers.Split(Regex(rf" ?(?<![A-Za-z])(?:{whole})|[\s\S]"), "isolated")
    core.pre_tokenizer = (
        pre_tokenizers.Sequence([pre_tokenizers.Split(" ", "removed"), pieces]) if numbers else pieces
    )
    core.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token=PAD,
        eos_token=EOS,
        unk_token=UNKNOWN,
        clean_up_tokenization_spaces=False,
    )


def _alone(word: str) -> str:
    """A pattern of the word where it is no beginning of a longer one; after a colon anything may stand."""
    return re.escape(word) + ("" if word.endswith(":") else "(?![A-Za-z])")
