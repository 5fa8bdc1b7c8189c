"""Examples of a task as texts that a tokenizer turns into the very tokens a model was trained on.

A sequence `input SEP chain SEP #### answer EOS` is a text with the tokenizer's own separator in it, so that documents
and queries in the model's language are ordinary texts, in ordinary files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from influence.data.tasks.task import ANSWER_START, Example, Task
from influence.data.tokens import tokenise
from influence.errors import InputError, ModelError
from influence.train.stepwise.sequences import rows_of, separator, tokenize_task
from influence.train.stepwise.settings import Side

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Texts:
    """Writes examples as texts of a tokenizer."""

    tokenizer: PreTrainedTokenizerBase

    @classmethod
    def of_stage(cls, folder: Path) -> Texts:
        """In the language of a stage, whose weights are not read."""
        from transformers import AutoTokenizer

        return cls(AutoTokenizer.from_pretrained(str(folder)))

    @property
    def separator(self) -> str:
        """What stands before and after a chain."""
        token: Any = self.tokenizer.convert_ids_to_tokens(separator(self.tokenizer))
        return str(token)

    @property
    def end(self) -> str:
        """What ends an answer."""
        return str(self.tokenizer.eos_token)

    def prompt(self, example: Example) -> str:
        """Input and separator: what a model is given to answer."""
        return f" {example.input.strip()}{self.separator}"

    def target(self, example: Example, removed: int = 0, side: Side = "left") -> str:
        """What it then writes once so many tokens of the chain are removed: chain, separator, mark, answer, end."""
        return f"{self.chain(example, removed, side)}{self.before_answer}{self.answer(example)}{self.end}"

    @property
    def before_answer(self) -> str:
        """Separator and mark."""
        return f"{self.separator}{ANSWER_START.rstrip()}"

    def answer(self, example: Example) -> str:
        """The answer alone, with the blank before it."""
        return f" {example.gold.strip()}"

    def chain(self, example: Example, removed: int, side: Side) -> str:
        """What is left of the chain; nothing where it has no more tokens."""
        if not example.chain.strip():
            return ""
        text = f" {example.chain.strip()}"
        (tokens,) = tokenise(self.tokenizer, [text])
        if removed >= len(tokens.ids):
            return ""
        if not removed:
            return text
        return text[tokens.ends[removed - 1] :] if side == "left" else text[: tokens.ends[-removed - 1]]

    def check(self, examples: Sequence[Example], task: Task) -> None:
        """Refuse a tokenizer that reads these texts otherwise than the training did.

        Raises:
            InputError: it does not know a word of theirs.
            ModelError: parts that training tokenised one by one come out otherwise in one text.
        """
        unknown = self.tokenizer.unk_token_id
        rows = list(rows_of(tokenize_task(examples, task, self.tokenizer)))
        texts = [self.prompt(one) + self.target(one) for one in examples]
        encoded = tokenise(self.tokenizer, texts, ends=False)
        for example, row, tokens in zip(examples, rows, encoded, strict=True):
            if unknown is not None and unknown != separator(self.tokenizer) and unknown in row:
                raise InputError(
                    "An example has a word that the tokenizer does not know.",
                    have=example.line()[:100],
                    fix="Take the tokenizer of a model that was trained on this task.",
                )
            if not np.array_equal(tokens.whole, row):
                raise ModelError(
                    "The tokenizer joins the parts of an example, so it cannot be written as one text.",
                    have=example.line()[:100],
                    fix="Score a model whose tokenizer keeps words, signs and special tokens apart.",
                )
