"""The tasks of the reproduction: cases for the base model's text, questions to distil on, prompts that fit both."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from influence.data.tasks.makers.coin_flip import coin_flip
from influence.data.tasks.makers.last_letter import last_letter
from influence.data.tasks.makers.multiplication import Multiplication
from influence.data.tasks.task import Example, Split, Task
from influence.files import whole_file
from influence.store.formats.distillation import AS_TUNED
from reports.system2.scales import TaskScale
from reports.system2.text import (
    ANSWER,
    ANSWER_WHOLE,
    REPHRASE,
    REPHRASE_WHOLE,
    WORDINGS,
    Case,
    coin_flip_case,
    last_letter_case,
    made_up_word,
    multiplication_case,
)

_PROMPTS = {"direct": WORDINGS[AS_TUNED], "rar2-rephrase": REPHRASE, "rar2-answer": ANSWER}
_PROMPTS_WHOLE = {**_PROMPTS, "rar2-rephrase": REPHRASE_WHOLE, "rar2-answer": ANSWER_WHOLE}


def text_cases(task: TaskScale, seed: int) -> list[Case]:
    """Cases for the text that the base model reads: of words and names that mean nothing, of problems of its own."""
    rng = np.random.default_rng([seed, 71])
    if task.name == "multiplication":
        lines = _lines(task, seed)["train"][: task.problems]
        return [multiplication_case(lines[n % len(lines)], task.slip, rng) for n in range(task.text)]
    cases = []
    for _ in range(task.text):
        pair = [made_up_word(rng) for _ in range(2)]
        if task.name == "last-letter":
            cases.append(last_letter_case(pair, task.slip, rng))
        else:
            flips = [bool(flip) for flip in rng.integers(0, 2, 2)]
            cases.append(coin_flip_case([name.title() for name in pair], flips, task.slip, rng))
    return cases


def questions(task: TaskScale, seed: int) -> Task:
    """The questions that are distilled on and tested; the text has none of them."""
    sizes: dict[Split, int] = {"train": task.train, "test": task.test}
    if task.name == "last-letter":
        return last_letter(seed, sizes)
    if task.name == "coin-flip":
        return coin_flip(seed, sizes)
    lines = _lines(task, seed)
    chosen: dict[Split, list[str]] = {"train": lines["train"][task.problems :], "test": lines["test"]}
    rng = np.random.default_rng([seed, 72])
    cases = {split: [multiplication_case(line, 0.0, rng) for line in own] for split, own in chosen.items()}
    return Task(
        "multiplication",
        "text",
        {
            split: tuple(
                Example(f"{split}-{n}", case.input, answer=case.answer) for n, case in enumerate(own)
            )
            for split, own in cases.items()
        },
        settings={"digits": task.digits, "seed": seed, "train": task.train, "test": task.test},
    )


def _lines(task: TaskScale, seed: int) -> dict[Split, list[str]]:
    maker = Multiplication(
        digits=task.digits, train=task.problems + task.train, valid=1, test=task.test, seed=seed
    )
    return {split: b"".join(lines).decode().splitlines() for split, (_, lines) in maker.splits().items()}


def write_prompts(folder: Path, whole: bool) -> None:
    """Write the prompts of System 1 and 2, and the wordings, as files that a distillation takes.

    Args:
        whole: The model's text has whole solutions.
    """
    prompts = _PROMPTS_WHOLE if whole else _PROMPTS
    worded = {f"wordings/{name}": text for name, text in WORDINGS.items() if name != AS_TUNED}
    for name, text in {**{f"prompts/{name}": text for name, text in prompts.items()}, **worded}.items():
        path = folder / f"{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as part:
            part.write_text(text, encoding="utf-8")
