"""What stages of internalisation are asked: two questions about each example, and whether a stage answers them right.

*As asked*: the input, and what the stage was trained to write then, which is the remaining chain and the answer.
*Answer only*: the input with no chain at all, and the answer, the same at every stage.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from influence.data.query_tokens import encode_query
from influence.data.tasks.task import Example, Task
from influence.engine.batching import BATCH_TOKENS, batches, pad
from influence.errors import InputError
from influence.models.load import LanguageModel
from influence.subjects.texts import Texts
from influence.train.stepwise.sequences import tokenize_task
from influence.train.stepwise.stages import Stage
from influence.types import Query

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
