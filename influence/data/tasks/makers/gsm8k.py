"""GSM8K: questions with the equations of their solutions as the chain, as GSM8K's own marks give them.

Sources are GSM8K's records (`question`, and an `answer` with `<<9*2=18>>` marks and `#### 18` at its end), records with
`question`, `steps` (a list) and `answer`, or a file in the `||` / `####` form such as the augmented training file.
A solution without marks has an empty chain.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from influence.data.tasks.folder import read_examples, settings_of
from influence.data.tasks.makers.problems import key, mix
from influence.data.tasks.records import Record, field_text, read_records, split_file
from influence.data.tasks.task import ANSWER_START, INPUT_END, Example, Split, Task, drawn_splits
from influence.errors import InputError

_STEP_PATTERN = r"<<.*?>>"
_LINE_END = re.compile(r"\s*[\r\n]+\s*")
_FORM = (
    'One object a line: {"question": "...", "answer": "... <<9*2=18>>18 ...\\n#### 18"}, or with "steps": ["..."] '
    "and the answer alone."
)
_BATCH_LINES = 4096


@dataclass(frozen=True)
class GSM8K:
    """GSM8K's files as a folder of lines; the examples keep the order of their files.

    Args:
        source: Examples to train on.
        valid, test: A file of its own, or how many questions to draw from `source`; these leave the training split.
        seed: Draws them.
    """

    source: Path
    valid: Path | int = 500
    test: Path | int = 500
    seed: int = 0
    name: ClassVar[str] = "gsm8k"
    step_pattern: ClassVar[str] = _STEP_PATTERN  # an equation

    @property
    def settings(self) -> dict[str, Any]:
        """What `task.json` says made the task."""
        return settings_of(self)

    def splits(self) -> dict[Split, tuple[int, Iterator[bytes]]]:
        """How many lines each split has, and these lines, some thousands at a time."""
        train = _one_lined(self.source)
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
        splits: dict[Split, list[Example]] = {"train": [], "valid": [], "test": []}
        split_of: dict[str, Split] = {}
        start = 0
        parts: tuple[tuple[Split, Path | int], ...] = (("valid", self.valid), ("test", self.test))
        for split, part in parts:
            if isinstance(part, int):
                split_of.update(dict.fromkeys(shuffled[start : start + part].tolist(), split))
                start += part
            else:
                splits[split] = _one_lined(part)
        for example in train:
            splits[split_of.get(example.input, "train")].append(example)
        return {split: (len(examples), _lines(examples)) for split, examples in splits.items()}


def gsm8k(path: Path, seed: int = 0) -> Task:
    """The task in a folder with `train.jsonl` and `test.jsonl`; of one file a tenth each is drawn to test."""
    settings = {"file": path.name, "seed": seed}
    if not path.is_dir():
        splits = drawn_splits(read_gsm8k(path), seed)
        return Task("gsm8k", "number", splits, _STEP_PATTERN, settings)
    train, test = (split_file(path, split) for split in ("train", "test"))
    if train is None or test is None:
        raise InputError(
            f"{path} has no train.jsonl and test.jsonl.", fix="Name the folder with GSM8K's two files."
        )
    files: dict[Split, Path] = {"train": train, "test": test}
    return Task(
        "gsm8k",
        "number",
        {split: tuple(read_gsm8k(file)) for split, file in files.items()},
        _STEP_PATTERN,
        settings,
    )


def read_gsm8k(path: Path) -> Iterator[Example]:
    """The examples of one source file, a worded solution in the field `solution`.

    Raises:
        InputError: A record is wrong; says where.
    """
    return (example for _, example in _placed(path))


def _placed(path: Path) -> Iterator[tuple[str, Example]]:
    """The examples, each with the place where it stands."""
    if not path.is_file():
        raise InputError(
            f"There is no file {path}.", fix="GSM8K's train.jsonl is in the openai/gsm8k repositories."
        )
    if path.suffix == ".txt":
        placed = ((f"{path}:{number}", line) for number, line in enumerate(read_examples(path), start=1))
    else:
        placed = ((record.where, _example(record)) for record in read_records(path))
    for where, example in placed:
        if re.sub(_STEP_PATTERN, "", example.chain).strip():
            raise InputError(
                f"{where} has a chain that is not made of <<...>> equations.",
                have=repr(example.chain[:100]),
                fix="Chains of another kind need no command: put train.txt, valid.txt and test.txt in a folder.",
            )
        yield where, example


def _example(record: Record) -> Example:
    question, answer = field_text(record, "question"), field_text(record, "answer")
    if "steps" in record.fields:
        equations = record.fields["steps"]
        if not isinstance(equations, list) or not all(isinstance(equation, str) for equation in equations):
            raise _no_example(record)
        return Example(record.id, question, " ".join(map(_one_line, equations)), answer)
    solution, mark, number = answer.rpartition("####")
    if not mark or not number.strip():
        raise _no_example(record)
    chain = " ".join(re.findall(_STEP_PATTERN, solution))
    return Example(record.id, question, chain, number.strip(), fields={"solution": answer})


def _no_example(record: Record) -> InputError:
    return InputError(f"{record.where} is no GSM8K example.", have=repr(dict(record.fields))[:100], fix=_FORM)


def _one_lined(path: Path) -> list[Example]:
    """The examples of a file as they go into lines."""
    examples = []
    for where, example in _placed(path):
        line = dataclasses.replace(
            example, input=_one_line(example.input), answer=_one_line(example.gold), fields={}
        )
        if INPUT_END in line.input + line.chain or "####" in line.line().replace(ANSWER_START, "", 1):
            raise InputError(f"{where} has a separator in its texts.", fix="Remove `||` or `####` there.")
        examples.append(line)
    return examples


def _one_line(text: str) -> str:
    return _LINE_END.sub(" ", text.strip())


def _lines(examples: Sequence[Example]) -> Iterator[bytes]:
    for start in range(0, len(examples), _BATCH_LINES):
        yield "".join(example.line() + "\n" for example in examples[start : start + _BATCH_LINES]).encode()
