"""How a model folder is asked the way its training asked it, and how the generations of a stage are marked.

A stage is given the input and the first separator. It writes what is left of the chain of thought, the second
separator, the mark `####`, the answer and EOS: the sequence it was trained on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from influence.data.tasks.task import Example, Task
from influence.errors import InputError
from influence.generate.local import LocalGenerator
from influence.generate.request import Generator, Reply, Request
from influence.models.decode import Marks, Prompt, decode_at_positions
from influence.models.load import LanguageModel, load_model
from influence.store.formats.training import STAGE_FILE
from influence.train.stepwise.sequences import answer_mark, prompt_ids, rows_of, separator, tokenize_task
from influence.train.stepwise.stages import Stage, read_stage

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
    example: Example
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


def ask(stage: Stage, examples: Sequence[Example], task: Task, model: LanguageModel) -> Asked:
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
        right=said == " ".join(question.example.gold.split()),
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


def load_generator(model: str | Path, batch_size: int = 32, device: str | None = None) -> Generator:
    """The generator of a model folder or hub name; a stage of stepwise removal is asked as one."""
    folder = Path(model)
    loaded = load_model(model, device=device)
    if (folder / STAGE_FILE).is_file():
        return StageGenerator(loaded, read_stage(folder), batch_size)
    return LocalGenerator(loaded, batch_size)


@dataclass(frozen=True)
class StageGenerator:
    """Greedy answers of a stage: prompt and separator are given; what follows the second separator is the reply.

    What is left of the trace is generated and counted; it is no part of the reply.
    """

    language_model: LanguageModel
    stage: Stage
    batch_size: int = 32

    @property
    def name(self) -> str:
        """The model's parameters and its stage."""
        return f"stage:{self.language_model.fingerprint}:{self.stage.digest}"

    def replies(self, requests: Sequence[Request]) -> Iterator[tuple[int, Reply]]:
        """(number of the request, reply), batch by batch; the most likely one whatever the request's sampling says."""
        tokenizer = self.language_model.tokenizer
        gap = self.stage.removed if self.stage.keep_positions else 0
        right = self.stage.side == "right"
        prompts = [
            Prompt(tuple(ids), gap, right)
            for ids in prompt_ids((request.prompt for request in requests), tokenizer)
        ]
        end: Any = tokenizer.eos_token_id
        marks = Marks(separator(tokenizer), int(end))
        order = sorted(range(len(requests)), key=lambda number: -len(prompts[number].tokens))
        for start in range(0, len(order), self.batch_size):
            numbers = order[start : start + self.batch_size]
            most = max(requests[number].sampling.max_tokens for number in numbers)
            said = decode_at_positions(
                self.language_model.model, [prompts[number] for number in numbers], marks, most
            )
            for number, ids in zip(numbers, said, strict=True):
                yield number, self._reply(ids, prompts[number], marks, most)

    def _reply(self, ids: list[int], prompt: Prompt, marks: Marks, most: int) -> Reply:
        tokenizer = self.language_model.tokenizer
        asked = Asked([], marks, tuple(answer_mark(tokenizer)), 0, most)
        text = str(tokenizer.decode(answer_ids(ids, asked))).strip()
        return Reply(text, len(ids), len(prompt.tokens), len(ids) < most)
