"""Pairwise judging: an instruction, two responses, which one people preferred; the verdict is `[[A]]` or `[[B]]`."""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from pathlib import Path
from typing import Any

from influence.data.tasks.records import Record, field_text, read_records
from influence.data.tasks.task import Example, Task, drawn_splits
from influence.errors import InputError

_OTHER = {"A": "B", "B": "A", "C": "C"}
_FORM = 'Write {"instruction": ..., "response_a": ..., "response_b": ..., "label": 1 or 2}.'


def judging(path: Path, seed: int = 0) -> Task:
    """The task in a file of pairs; a tenth each is drawn to validate and to test."""
    splits = drawn_splits(from_file(path), seed)
    return Task("judging", "verdict", splits, settings={"file": path.name, "seed": seed})


def from_file(path: Path) -> tuple[Example, ...]:
    """The pairs of a file: with a `label`, with the votes of `annotators`, with a `winner`, or ranked replies.

    Of a tree with `replies_ranked` each pair of neighbours in rank is one, the better one by turns first and second.
    Pairs that are ties, or on which no majority agrees, have no place: there is nothing right to say.
    """
    items: list[Example] = []
    for record in read_records(path):
        items += _ranked(record) if "replies_ranked" in record.fields else _pair(record)
    if not items:
        raise InputError(f"{path} holds no pair with a preferred response.", fix=_FORM)
    return tuple(items)


def pair(id_: str, question: str, response_a: str, response_b: str, answer: str | None) -> Example:
    """A pair as an item; fields `question`, `response_a`, `response_b`."""
    shown = (
        f"[Question]\n{question}\n\n[Response A]\n{response_a}\n[End of Response A]\n\n"
        f"[Response B]\n{response_b}\n[End of Response B]"
    )
    fields = {"question": question, "response_a": response_a, "response_b": response_b}
    return Example(id_, shown, answer=answer, fields=fields)


def swapped(item: Example) -> Example:
    """The same pair with the responses in the other order; the id is kept."""
    fields = item.fields
    turned = pair(
        item.id,
        fields["question"],
        fields["response_b"],
        fields["response_a"],
        None if item.answer is None else _OTHER[item.answer],
    )
    return dataclasses.replace(turned, fields={**fields, **turned.fields})


def turned_back(verdict: str | None) -> str | None:
    """A verdict on the swapped pair as one on the pair itself."""
    return None if verdict is None else _OTHER[verdict]


def _pair(record: Record) -> list[Example]:
    parts = (str(record.fields.get(name) or "").strip() for name in ("instruction", "question", "input"))
    text = "\n".join(filter(None, parts)) or field_text(record, "instruction")
    answer = _preferred(record)
    if answer is None:
        return []
    return [pair(record.id, text, *_responses(record), answer)]


def _responses(record: Record) -> tuple[str, str]:
    """Both responses; one may be empty, or a number or true where somebody's JSON made it so."""
    texts = [record.fields.get(name, []) for name in ("response_a", "response_b")]
    if any(isinstance(text, list | dict) for text in texts):
        raise InputError(
            f"{record.where} lacks a response.",
            have="fields " + ", ".join(map(str, record.fields)),
            fix=_FORM,
        )
    first, second = ("" if text is None else str(text).strip() for text in texts)
    return first, second


def _preferred(record: Record) -> str | None:
    """A or B; None for a tie."""
    fields = record.fields
    if isinstance(votes := fields.get("annotators"), list) and votes:
        value, count = Counter(votes).most_common(1)[0]
        return {1: "A", 2: "B"}.get(value) if 2 * count > len(votes) else None
    for name in ("label", "winner"):
        if name in fields:
            value = fields[name]
            known: dict[Any, str | None] = {
                1: "A",
                2: "B",
                0: None,
                "model_a": "A",
                "model_b": "B",
                "tie": None,
            }
            if isinstance(value, int | str) and (value in known or value in _OTHER):
                return known[value] if value in known else str(value).replace("C", "") or None
    raise InputError(
        f"{record.where} does not say which response is preferred.",
        have=", ".join(f"{name}: {fields[name]!r}" for name in ("label", "winner") if name in fields)[:100]
        or "fields " + ", ".join(map(str, fields)),
        fix=_FORM,
    )


def _ranked(record: Record) -> list[Example]:
    replies = sorted(record.fields["replies_ranked"], key=lambda reply: int(reply["rank"]))
    items = []
    for number, (better, worse) in enumerate(itertools.pairwise(replies)):
        texts = [str(better["text"]), str(worse["text"])]
        answer = "A" if number % 2 == 0 else "B"
        first, second = texts if answer == "A" else reversed(texts)
        items.append(pair(f"{record.id}-{number}", field_text(record, "prompt"), first, second, answer))
    return items
