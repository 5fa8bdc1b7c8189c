"""One record of a query set as a `Query`, or one error that says which record is none, and why."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields
from typing import Any, TypeVar, cast

from influence.errors import InputError
from influence.types import Query, Step

T = TypeVar("T")

_FIELDS = (*(field.name for field in fields(Query)), "text")
#: What a query is filed under unless it says so.
_TASK, _GROUP = "query", "other"
_TEXTS = ("id", "task", "group", "prompt", "completion")
_STEP_FIELDS = tuple(field.name for field in fields(Step))


def parse(line: bytes, where: str) -> dict[str, Any]:
    """Return the JSON object of a line; InputError where it is none, or a field stands twice in it."""
    try:
        record = json.loads(
            line.decode("utf-8"), object_pairs_hook=lambda pairs: _without_repeats(pairs, where)
        )
    except UnicodeDecodeError as error:
        raise InputError(f"{where}: not UTF-8.", have=str(error), fix="Save the file as UTF-8.") from error
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{where}: not valid JSON.", have=str(error), fix="Write each record on one line, as JSON."
        ) from error
    if not isinstance(record, dict):
        raise InputError(
            f"{where}: a record must be a JSON object.", have=_show(record), fix='Write {"id": ..., ...}.'
        )
    return record


def _without_repeats(pairs: list[tuple[str, Any]], where: str) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"{where}: the field {twice!r} stands twice in one object.", fix="Keep one of them.")
    return record


def to_record(query: Query, completed: bool) -> dict[str, Any]:
    """Return the record of which `to_query` makes the query again."""
    record = {
        name: value for name, value in asdict(query).items() if value or name not in ("contrast", "messages")
    }
    if query.messages:
        answer = {"role": "assistant", "content": record.pop("completion")}
        record["messages"] = [*query.messages, *([answer] if query.completion else [])]
        del record["prompt"]
    elif not query.prompt and completed:
        record["text"] = record.pop("completion")
        del record["prompt"]
    elif not completed and not query.completion:
        del record["completion"]
    return record


def to_query(record: dict[str, Any], where: str, completed: bool, default_id: str) -> Query:
    """Return the query of a record; InputError, with the place, where it is none."""
    _check_names(record, _FIELDS, where, "field")
    record = _without_nulls(record)
    record, messages = _measured(record, where, completed)
    whole = "text" in record
    record = {"id": default_id, "task": _TASK, "group": _GROUP, **record}
    if not completed:
        record = {"completion": "", **record}
    for name in _TEXTS:
        if name not in record:
            raise InputError(
                f"{where}: the field {name!r} is missing.",
                have=", ".join(record) or "an empty record",
                fix="Have the model write it: influence complete."
                if name == "completion"
                else "Give prompt and completion, or messages, or a whole text.",
            )
        optional = (name == "completion" and not completed) or (name == "prompt" and (whole or messages))
        if not _text(record[name], name, where).strip() and not optional:
            raise InputError(
                f"{where}: the {name} is empty.", have=_show(record[name]), fix=f"Give the {name} a text."
            )
    correct = record.get("correct")
    if correct is not None and not isinstance(correct, bool):
        raise _wrong_type(where, "correct", "true, false or null", correct)
    return Query(
        **{name: record[name] for name in _TEXTS},
        answer=_text(record.get("answer", ""), "answer", where),
        steps=_list(record.get("steps", []), "steps", where, _step),
        keywords=_list(record.get("keywords", []), "keywords", where, _mark),
        correct=correct,
        gold=_list(record.get("gold", []), "gold", where, _mark),
        contrast=_text(record.get("contrast", ""), "contrast", where),
        messages=messages,
    )


def _measured(
    record: dict[str, Any], where: str, completed: bool
) -> tuple[dict[str, Any], tuple[dict[str, Any], ...]]:
    """The record with prompt and completion, whichever form it has, and the messages of the prompt."""
    form = next((name for name in ("messages", "text") if name in record), None)
    if form is None:
        return record, ()
    both = [name for name in ("prompt", "completion", "text") if name in record and name != form]
    if both:
        raise InputError(f"{where}: {form} and {both[0]} do not go together.", fix="Keep one of them.")
    if form == "text":
        return {**record, "prompt": "", "completion": record["text"]}, ()
    messages, completion = _chat(record["messages"], where, completed)
    says = [message["content"] for message in messages if isinstance(message.get("content"), str)]
    return {**record, "prompt": "\n".join(says), "completion": completion}, messages


def _without_nulls(record: dict[str, Any]) -> dict[str, Any]:
    """The record without the columns that a table adds where other rows have a value: null, or no messages."""
    given = {name: value for name, value in record.items() if value is not None}
    if given.get("messages") == [] and ("prompt" in given or "text" in given):
        del given["messages"]
    return given


def _chat(value: Any, where: str, completed: bool) -> tuple[tuple[dict[str, Any], ...], str]:
    """The messages that are the prompt, and the answer."""
    messages = _list(value, "messages", where, _message)
    answered = bool(messages) and messages[-1]["role"] == "assistant"
    if len(messages) < 1 + answered or (completed and not answered):
        raise _wrong_type(where, "messages", "a chat that ends with an answer of the assistant", value)
    return (messages[:-1], messages[-1].get("content", "")) if answered else (messages, "")


def _message(value: Any, name: str, where: str) -> dict[str, Any]:
    if not isinstance(value, dict) or not isinstance(value.get("role"), str):
        raise _wrong_type(where, name, 'an object {"role": ..., "content": ...}', value)
    _text(value.get("content", ""), f"{name}.content", where)
    return value


def _check_names(record: dict[str, Any], allowed: Sequence[str], where: str, noun: str) -> None:
    for name in record:
        if name not in allowed:
            near = difflib.get_close_matches(name, allowed, 1)
            fix = f"Did you mean {near[0]!r}? " if near else ""
            raise InputError(
                f"{where}: unknown {noun} {name!r}.", fix=fix + f"Known are {', '.join(allowed)}."
            )


def _text(value: Any, name: str, where: str) -> str:
    if not isinstance(value, str):
        raise _wrong_type(where, name, "a text", value)
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"{where}: {name} is not valid Unicode.", have=str(error), fix="Remove that character."
        ) from error
    return value


def _mark(value: Any, name: str, where: str) -> str:
    """A text that must not be empty: an empty keyword would stand in every document."""
    if not _text(value, name, where).strip():
        raise InputError(f"{where}: {name} is empty.", have=_show(value), fix="Remove it, or give it a text.")
    return cast(str, value)


def _step(value: Any, name: str, where: str) -> Step:
    if not isinstance(value, dict) or "text" not in value:
        raise _wrong_type(where, name, 'an object {"text": ..., "keywords": [...]}', value)
    _check_names(value, _STEP_FIELDS, where, f"field of {name}:")
    return Step(
        _mark(value["text"], f"{name}.text", where),
        _list(value.get("keywords", []), f"{name}.keywords", where, _mark),
    )


def _list(value: Any, name: str, where: str, item: Callable[[Any, str, str], T]) -> tuple[T, ...]:
    if not isinstance(value, list):
        raise _wrong_type(where, name, "a list", value)
    return tuple(item(entry, f"{name}[{index}]", where) for index, entry in enumerate(value))


def _wrong_type(where: str, name: str, wanted: str, value: Any) -> InputError:
    return InputError(
        f"{where}: {name} must be {wanted}.", have=_show(value), fix=f"Write {name} as {wanted}."
    )


def _show(value: Any) -> str:
    """The value as JSON, cut to one line."""
    text = json.dumps(value, ensure_ascii=True)
    return text if len(text) <= 80 else text[:77] + "..."
