"""Fine-tuning examples: as records of a corpus in the forms trainers read, and as a file of prompts and completions.

| fields of a record | read as |
|---|---|
| `input_ids`, perhaps with `labels` (−100: not counted) or `loss_mask` (1: counted) | tokens as they are |
| `messages`, with `tools` | a chat |
| `prompt` and `completion`, both texts | a prompt and its completion |
| `prompt` and `completion`, both lists of messages, with `tools` | a chat of which the completion was learnt |

The first row that fits is taken. A record with a text is a plain text, whatever else it has.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from influence.data.rows import Row, encodable, shard_rows
from influence.errors import InputError
from influence.files import whole_file
from influence.types import Chat, Completion, Loss, TokenIds

#: Fields of a record that are its example; all others are metadata.
EXAMPLE_FIELDS = (
    "input_ids",
    "labels",
    "loss_mask",
    "attention_mask",
    "messages",
    "tools",
    "prompt",
    "completion",
)
_IGNORED = -100


def read_example(row: Row, loss: Loss) -> Completion | Chat | TokenIds | None:
    """Return the fine-tuning example of a record; None where it has no field of one.

    Raises:
        InputError: it has such fields, but not as trainers write them.
    """
    fields = row.fields
    if fields.get("input_ids") is not None:
        return _token_ids(row)
    if fields.get("messages") is not None:
        return Chat(_messages(row, "messages"), _tools(row), 0, loss)
    prompt, completion = fields.get("prompt"), fields.get("completion")
    if isinstance(prompt, str) and isinstance(completion, str):
        encodable(prompt, row.where, "prompt")
        encodable(completion, row.where, "completion")
        return Completion(prompt, completion, loss)
    if isinstance(prompt, list) and isinstance(completion, list):
        given = _messages(row, "prompt")
        return Chat((*given, *_messages(row, "completion")), _tools(row), len(given), loss)
    if prompt is not None and completion is not None:
        raise InputError(
            f"{row.where} has a prompt and a completion that do not go together.",
            have=f"{type(prompt).__name__} and {type(completion).__name__}",
            fix="Give both as texts, or both as lists of messages.",
        )
    return None


def example_text(example: Completion | Chat | TokenIds) -> str:
    """Return the text of an example as it is known without a tokenizer: of a chat, what its messages say."""
    match example:
        case Completion():
            return example.prompt + example.completion
        case Chat():
            contents = (message.get("content") for message in example.messages)
            return "\n".join(content for content in contents if isinstance(content, str))
        case TokenIds():
            return ""


def _token_ids(row: Row) -> TokenIds:
    ids = _integers(row, "input_ids")
    if any(id_ < 0 for id_ in ids):
        raise InputError(
            f"{row.where} has a token id below 0.", have=str(min(ids)), fix="Mask by labels instead."
        )
    labels, mask = row.fields.get("labels"), row.fields.get("loss_mask")
    if labels is not None and mask is not None:
        raise InputError(
            f"{row.where} has both labels and a loss_mask.", fix="Keep the one that the trainer used."
        )
    if labels is None and mask is None:
        return TokenIds(ids)
    name = "labels" if mask is None else "loss_mask"
    values = _integers(row, name)
    if len(values) != len(ids):
        raise InputError(
            f"{row.where} has {name} of another length than its input_ids.",
            have=f"{len(values)} and {len(ids)}",
            fix="Give one for each token, as trainers do: a model shifts its labels itself.",
        )
    if mask is None:
        wrong = next((n for n, label in enumerate(values) if label not in (_IGNORED, ids[n])), None)
        if wrong is not None:
            raise InputError(
                f"{row.where} has a label that is not the token at its place.",
                have=f"labels[{wrong}] is {values[wrong]}, input_ids[{wrong}] is {ids[wrong]}",
                fix="Give labels as trainers do: not shifted, and −100 where the loss does not count.",
            )
        return TokenIds(ids, tuple(label != _IGNORED for label in values))
    if any(value not in (0, 1) for value in values):
        raise InputError(f"{row.where} has a loss_mask that is not of 0 and 1.", have=str(values[:8]))
    return TokenIds(ids, tuple(value == 1 for value in values))


def _integers(row: Row, name: str) -> tuple[int, ...]:
    values = row.fields[name]
    if not isinstance(values, Sequence) or not all(isinstance(value, int) for value in values):
        raise InputError(
            f"{row.where} has a field {name!r} that is no list of integers.",
            have=repr(values)[:80],
            fix="Give one list of integers for each record.",
        )
    return tuple(int(value) for value in values)


def _messages(row: Row, name: str) -> tuple[dict[str, Any], ...]:
    messages = row.fields[name]
    if not isinstance(messages, list) or not messages:
        raise InputError(
            f"{row.where} has no list of messages in the field {name!r}.",
            have=repr(messages)[:80],
            fix='Write [{"role": "user", "content": ...}, {"role": "assistant", "content": ...}].',
        )
    for number, message in enumerate(messages):
        if not isinstance(message, Mapping) or not isinstance(message.get("role"), str):
            raise InputError(
                f"{row.where} has a message without a role: {name}[{number}].",
                have=repr(message)[:80],
                fix='Write each message as {"role": ..., "content": ...}.',
            )
        if isinstance(content := message.get("content"), str):
            encodable(content, row.where, f"{name}[{number}].content")
    # Parquet gives every message the fields of all of them: those without a value are not there
    return tuple({key: value for key, value in message.items() if value is not None} for message in messages)


def _tools(row: Row) -> tuple[dict[str, Any], ...]:
    tools = row.fields.get("tools") or []
    if not isinstance(tools, list) or not all(isinstance(tool, Mapping) for tool in tools):
        raise InputError(
            f"{row.where} has tools that are no list of objects.",
            have=repr(tools)[:80],
            fix="Write each tool as its JSON schema.",
        )
    return tuple(dict(tool) for tool in tools)


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
