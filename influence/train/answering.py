"""How a stage is asked, and how its generations are marked.

A stage is given the input and the first separator. It writes what is left of the chain of thought, the second
separator, the mark `####`, the answer and EOS: the sequence it was trained on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from influence.data.chains.task import ChainExample, Task
from influence.errors import InputError
from influence.models.load import LanguageModel
from influence.train.stepwise.generate import Marks, Prompt
from influence.train.stepwise.sequences import rows_of, separator, tokenize_task

if TYPE_CHECKING:
    from influence.train.stepwise.stages import Stage

#: Tokens a model may write more than the longest sequence of the split has.
SPARE = 16


@dataclass(frozen=True)
class Question:
    """An example as a stage is asked it.

    Attributes:
        number: Of the example, from 0.
        prompt: What the stage is to continue.
        gold: Ids of the answer, without mark and EOS.
        target: How many tokens the stage was trained to write.
    """

    number: int
    example: ChainExample
    prompt: Prompt
    gold: tuple[int, ...]
    target: int


@dataclass(frozen=True)
class Asked:
    """All questions of a stage.

    Attributes:
        marks: Separator and end.
        mark: Ids of `####`.
        too_long: Examples left out because input, whole chain and answer exceed the model's positions.
        new_tokens: Most tokens of a generation.
    """

    questions: list[Question]
    marks: Marks
    mark: tuple[int, ...]
    too_long: int
    new_tokens: int


def ask(stage: Stage, examples: Sequence[ChainExample], task: Task, model: LanguageModel) -> Asked:
    """The questions of a stage about these examples.

    Raises:
        InputError: every example is longer than the positions of the model.
    """
    tokenizer = model.tokenizer
    sequences = tokenize_task(examples, task, tokenizer, by_step=stage.by_step)
    rows_N = np.arange(len(sequences))
    asked_N = np.full(len(sequences), stage.removed)
    removed_N = sequences.tokens_of_steps(rows_N, asked_N, stage.side) if stage.by_step else asked_N
    context = getattr(model.model.config, "max_position_embeddings", None)
    questions = []
    for number, ids in enumerate(rows_of(sequences)):
        if context is not None and len(ids) > context:
            continue
        start, end = int(sequences.chain_start[number]), int(sequences.chain_end[number])
        removed = int(removed_N[number])
        prompt = Prompt(
            tuple(ids[:start].tolist()), removed if stage.keep_positions else 0, stage.side == "right"
        )
        gold = tuple(ids[int(sequences.answer_start[number]) : -1].tolist())
        target = len(ids) - start - min(removed, end - start)
        questions.append(Question(number, examples[number], prompt, gold, target))
    if not questions:
        raise InputError(
            f"No example fits into the positions of {stage.folder}.",
            have=f"{context} positions, the shortest example has {int(sequences.lengths.min())} tokens",
            fix="Evaluate on shorter examples.",
        )
    first = next(rows_of(sequences))
    mark = tuple(first[int(sequences.chain_end[0]) + 1 : int(sequences.answer_start[0])].tolist())
    new_tokens = max(question.target for question in questions) + SPARE
    if context is not None:
        new_tokens = min(new_tokens, context + 1 - max(len(question.prompt.tokens) for question in questions))
    eos: Any = tokenizer.eos_token_id
    return Asked(
        questions, Marks(separator(tokenizer), int(eos)), mark, len(sequences) - len(questions), new_tokens
    )


@dataclass(frozen=True, slots=True)
class Marked:
    """A generation with its mark.

    Attributes:
        right: The answer it gives is exactly the example's; blanks count as one blank.
        positions: For each token of the example's answer `1` if the same token stands there, else `0`.
        tokens: Generated, the end included.
        said: The answer it gives, empty where it comes to none.
        generated: All it wrote.
    """

    right: bool
    positions: str
    tokens: int
    said: str
    generated: str


def mark(question: Question, generated: Sequence[int], asked: Asked, model: LanguageModel) -> Marked:
    """Compare a generation with the answer."""
    ids = answer_ids(generated, asked)
    decode: Any = model.tokenizer.decode
    said = " ".join(decode(ids).split()) if ids else ""
    same = [place < len(ids) and ids[place] == token for place, token in enumerate(question.gold)]
    return Marked(
        right=said == " ".join(question.example.answer.split()),
        positions="".join("1" if one else "0" for one in same),
        tokens=len(generated),
        said=said,
        generated=decode(list(generated)).strip(),
    )


def answer_ids(generated: Sequence[int], asked: Asked) -> list[int]:
    """The ids after the second separator and the mark, up to the end; none where one of them is missing."""
    ids = list(generated)
    if asked.marks.separator not in ids:
        return []
    rest = ids[ids.index(asked.marks.separator) + 1 :]
    if tuple(rest[: len(asked.mark)]) != asked.mark:
        return []
    rest = rest[len(asked.mark) :]
    return rest[: rest.index(asked.marks.end)] if asked.marks.end in rest else rest
