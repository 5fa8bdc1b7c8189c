"""GSM8K as `question||<<16-3-4=9>> <<9*2=18>> #### 18`: of a solution only its equations, as its own marks give them.

Sources are GSM8K's JSONL (`question`, and an `answer` with `<<...>>` marks and `#### 18` at its end), JSONL with
`question`, `steps` (a list) and `answer`, or a file in the `||` / `####` form such as the augmented training file.
A solution without marks has an empty chain.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from influence.data.chains.order import key, mix
from influence.data.chains.task import ANSWER_START, INPUT_END, ChainExample, Split, read_examples
from influence.errors import InputError

#: An equation is a step.
STEP_PATTERN = r"<<.*?>>"

_LINE_END = re.compile(r"\s*[\r\n]+\s*")
_FORM = (
    'One object a line: {"question": "...", "answer": "... <<9*2=18>>18 ...\\n#### 18"}, or with "steps": ["..."] '
    "and the answer alone."
)
_BATCH_LINES = 4096


@dataclass(frozen=True)
class GSM8K:
    """GSM8K's files as a task; the examples keep the order of their files.

    Args:
        source: Examples to train on.
        valid, test: A file of its own, or how many questions to draw from `source`; these leave the training split.
        seed: Draws them.
    """

    source: Path
    valid: Path | int = 500
    test: Path | int = 500
    seed: int = 0

    def splits(self) -> dict[Split, tuple[int, Iterator[bytes]]]:
        """How many lines each split has, and these lines, some thousands at a time."""
        train = list(read_source(self.source))
        questions = np.array(list(dict.fromkeys(example.input for example in train)), dtype=object)
        shuffled = questions[
            np.argsort(mix(np.arange(len(questions), dtype=np.uint64), key("gsm8k", self.seed)))
        ]
        wanted = sum(part for part in (self.valid, self.test) if isinstance(part, int))
        if wanted >= len(questions):
            raise InputError(
                f"{self.source} has too few questions.",
                have=f"{len(questions):,}; {wanted:,} are wanted for validation and testing",
                fix="Ask for fewer there, or give files of their own.",
            )
        splits: dict[Split, list[ChainExample]] = {"train": [], "valid": [], "test": []}
        split_of: dict[str, Split] = {}
        start = 0
        parts: tuple[tuple[Split, Path | int], ...] = (("valid", self.valid), ("test", self.test))
        for split, part in parts:
            if isinstance(part, int):
                split_of.update(dict.fromkeys(shuffled[start : start + part].tolist(), split))
                start += part
            else:
                splits[split] = list(read_source(part))
        for example in train:
            splits[split_of.get(example.input, "train")].append(example)
        for one, other in itertools.combinations(splits, 2):
            _refuse_overlap(one, splits[one], other, splits[other])
        return {split: (len(examples), _lines(examples)) for split, examples in splits.items()}


def _refuse_overlap(
    name: str, split: Sequence[ChainExample], other: str, of_other: Sequence[ChainExample]
) -> None:
    both = {example.input for example in split} & {example.input for example in of_other}
    if both:
        raise InputError(
            f"The files for the {name} and the {other} split overlap.",
            have=f"{len(both):,} questions in both, such as {min(both)[:80]!r}",
            fix="Remove them from one file: what a model was trained on cannot test it.",
        )


def read_source(path: Path) -> Iterator[ChainExample]:
    """The examples of one source file; InputError with the line's number where one is wrong."""
    if not path.is_file():
        raise InputError(
            f"There is no file {path}.", fix="GSM8K's train.jsonl is in the openai/gsm8k repositories."
        )
    if path.suffix != ".jsonl":
        for number, example in enumerate(read_examples(path), start=1):
            yield _with_equations(example, f"{path}:{number}")
        return
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            where = f"{path}:{number}"
            try:
                fields = json.loads(line.decode())
                example = _example(fields)
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
                raise InputError(f"{where} is no GSM8K example.", have=repr(line[:100]), fix=_FORM) from error
            if INPUT_END in example.input + example.chain or "####" in example.line().replace(
                ANSWER_START, "", 1
            ):
                raise InputError(
                    f"{where} has a separator in its texts.", have=repr(line[:100]), fix="Remove it."
                )
            yield _with_equations(example, where)


def _with_equations(example: ChainExample, where: str) -> ChainExample:
    if re.sub(STEP_PATTERN, "", example.chain).strip():
        raise InputError(
            f"{where} has a chain that is not made of <<...>> equations.",
            have=repr(example.chain[:100]),
            fix="Chains of another kind need no command: put train.txt, valid.txt and test.txt in a folder.",
        )
    return example


def _example(fields: dict[str, Any]) -> ChainExample:
    question, answer = _one_line(fields["question"]), fields["answer"]
    if "steps" in fields:
        return ChainExample(question, " ".join(map(_one_line, fields["steps"])), _one_line(answer))
    solution, mark, answer = answer.rpartition("####")
    if not mark or not answer.strip() or not question:
        raise ValueError("no question or no answer")
    return ChainExample(question, " ".join(re.findall(STEP_PATTERN, solution)), _one_line(answer))


def _one_line(text: str) -> str:
    return _LINE_END.sub(" ", text.strip())


def _lines(examples: Sequence[ChainExample]) -> Iterator[bytes]:
    for start in range(0, len(examples), _BATCH_LINES):
        yield "".join(example.line() + "\n" for example in examples[start : start + _BATCH_LINES]).encode()
