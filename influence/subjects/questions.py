"""What stages of internalisation are asked, in the very tokens they were trained on, and whether they answer right.

*As asked*: the input, and what the stage was trained to write then, which is the remaining chain and the answer.
*Answer only*: the input with no chain at all, and the answer, the same at every stage.

A sequence `input SEP chain SEP #### answer EOS` is a text with the tokenizer's own separator in it, so that documents
and queries in the model's language are ordinary texts, in ordinary files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from influence.data.query_tokens import encode_query
from influence.data.tasks.task import ANSWER_START, Example, Task
from influence.data.tokens import tokenise
from influence.engine.batching import BATCH_TOKENS, batches, pad
from influence.errors import InputError, ModelError
from influence.models.load import LanguageModel
from influence.train.stepwise.sequences import rows_of, separator, tokenize_task
from influence.train.stepwise.settings import Side
from influence.train.stepwise.stages import Stage
from influence.types import Query

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


Marks = npt.NDArray[np.bool_]

AS_ASKED, ANSWER_ONLY = "as asked", "answer only"
#: Ends of the ids of the two questions about an example.
ENDINGS = {AS_ASKED: "asked", ANSWER_ONLY: "answer"}

_ROWS = 1 << 14


def query_id(number: int, task: str) -> str:
    """Id of a question about an example of the test split."""
    return f"test-{number}-{ENDINGS[task]}"


def asked_examples(task: Task, count: int) -> list[Example]:
    """The examples that are asked: the first of the test split.

    Raises:
        InputError: there are fewer.
    """
    examples = task.split("test")
    if not 1 <= count <= len(examples):
        raise InputError(f"The test split has {len(examples):,} examples.", have=f"{count:,} asked for")
    return examples[:count]


def stage_queries(
    stage: Stage,
    task: Task,
    examples: Sequence[Example],
    model: LanguageModel,
    asked: str,
    right: Marks | None = None,
) -> list[Query]:
    """One of the two questions about each of these examples of the test split.

    Args:
        asked: `AS_ASKED` or `ANSWER_ONLY`.
        right: Whether each is answered right, if that is known.
    """
    texts = Texts(model.tokenizer)
    removed = _removed_tokens(stage, task, examples, model) if asked == AS_ASKED else [0] * len(examples)
    queries = []
    for number, example in enumerate(examples):
        if asked == AS_ASKED:
            prompt = texts.prompt(example)
            completion = texts.target(example, removed[number], stage.side)
        else:
            prompt = texts.prompt(example) + texts.before_answer
            completion = texts.answer(example)
        queries.append(
            Query(
                id=query_id(number, asked),
                task=asked,
                group="reasoning",
                prompt=prompt,
                completion=completion,
                answer=example.gold,
                correct=None if right is None else bool(right[number]),
            )
        )
    return queries


@torch.no_grad()
def predicted(model: LanguageModel, queries: Sequence[Query]) -> Marks:
    """Whether every token of each completion is the most likely one, given those before it."""
    encoded = [encode_query(model.tokenizer, query, _ROWS) for query in queries]
    lengths = np.array([len(tokens) for tokens, _ in encoded])
    right = np.zeros(len(encoded), bool)
    order = np.argsort(-lengths, kind="stable")
    for rows in batches(order, lengths, 4 * BATCH_TOKENS):
        batch = pad([encoded[row][0] for row in rows], model.device, [encoded[row][1] for row in rows])
        logits_BTV = model.model(input_ids=batch.input_ids, use_cache=False).logits
        same_BT = logits_BTV[:, :-1].argmax(-1) == batch.input_ids[:, 1:]
        right[rows] = (same_BT | ~batch.loss_BT[:, 1:]).all(1).cpu().numpy()
    return right


def _removed_tokens(
    stage: Stage, task: Task, examples: Sequence[Example], model: LanguageModel
) -> Sequence[int]:
    """Tokens of the chain that the stage leaves out; of examples with kept positions all chains are equally long.

    Raises:
        InputError: positions are kept and chains differ in length, so a text does not say how much is missing.
    """
    sequences = tokenize_task(examples, task, model.tokenizer, by_step=stage.by_step)
    if stage.keep_positions and set(sequences.chain_lengths.tolist()) != {stage.about.total}:
        raise InputError(
            f"{stage.folder} keeps positions, and the chains of the task differ in length.",
            have=f"{sequences.chain_lengths.min()} to {stage.about.total} tokens",
            fix="Score stages that were trained without --keep-positions.",
        )
    asked_N = np.full(len(sequences), stage.removed)
    if stage.by_step:
        asked_N = sequences.tokens_of_steps(np.arange(len(sequences)), asked_N, stage.side)
    return [int(number) for number in asked_N]
