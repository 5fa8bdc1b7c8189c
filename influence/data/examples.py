"""Examples for supervised fine-tuning: JSONL with a `prompt` and the `completion` to learn."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from influence.data.rows import shard_rows
from influence.errors import InputError
from influence.files import whole_file


@dataclass(frozen=True, slots=True)
class PromptCompletion:
    """A prompt, and the completion a model learns to give. They are read as one text."""

    prompt: str
    completion: str


def read_examples(path: str | Path) -> list[PromptCompletion]:
    """Read examples from a JSONL file (plain, .gz or .zst) or a Parquet file; other fields are ignored.

    Raises:
        InputError: There is no such file, it is empty, or a record lacks a prompt or a completion; says where.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(
            f"There is no file {path}.", fix="Give a JSONL or Parquet file with prompts and completions."
        )
    examples = []
    for row in shard_rows(path, path.stem):
        for name in ("prompt", "completion"):
            value = row.fields.get(name)
            if not isinstance(value, str) or not value.strip():
                raise InputError(
                    f"{row.where} has no text in the field {name!r}.",
                    have=", ".join(map(str, row.fields)) or "an empty record",
                    fix='Write each record as {"prompt": ..., "completion": ...}.',
                )
        examples.append(PromptCompletion(row.fields["prompt"], row.fields["completion"]))
    if not examples:
        raise InputError(f"{path} holds no examples.")
    return examples


def write_examples(examples: Iterable[PromptCompletion], path: str | Path) -> None:
    """Write examples so that `read_examples` gives them back; the file appears whole or not at all."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as part, part.open("w", encoding="utf-8", newline="\n") as file:
        for example in examples:
            file.write(json.dumps(asdict(example), ensure_ascii=False) + "\n")
