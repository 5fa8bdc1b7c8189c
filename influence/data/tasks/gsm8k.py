"""GSM8K in its published format: `question`, and an `answer` whose last line is `#### number`."""

from __future__ import annotations

from pathlib import Path

from influence.data.tasks.extract import read_answer
from influence.data.tasks.files import Record, drawn_splits, field_text, read_records, split_file
from influence.data.tasks.item import Item
from influence.data.tasks.task import QuestionTask
from influence.errors import InputError


def gsm8k(path: Path, seed: int = 0) -> QuestionTask:
    """The task in a folder with `train.jsonl` and `test.jsonl`; of one file a tenth each is drawn to test."""
    settings = {"file": path.name, "seed": seed}
    if not path.is_dir():
        return QuestionTask("gsm8k", "number", drawn_splits(from_file(path), seed), settings)
    train, test = (split_file(path, split) for split in ("train", "test"))
    if train is None or test is None:
        raise InputError(
            f"{path} has no train.jsonl and test.jsonl.", fix="Name the folder with GSM8K's two files."
        )
    return QuestionTask("gsm8k", "number", {"train": from_file(train), "test": from_file(test)}, settings)


def from_file(path: Path) -> tuple[Item, ...]:
    """The items of a file; the solution is kept in the field `solution`."""
    return tuple(_item(record) for record in read_records(path))


def _item(record: Record) -> Item:
    solution = field_text(record, "answer")
    answer = read_answer(solution, "number")
    if answer is None:
        raise InputError(
            f"{record.where} has no number after ####.",
            have=repr(solution[-80:]),
            fix="End it with `#### 18`.",
        )
    return Item(record.id, field_text(record, "question"), answer, fields={"solution": solution})
