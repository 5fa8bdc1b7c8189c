"""Query sets: strict JSONL in, the same out.

One record a line. Required: `id`, `task`, `group` ("reasoning", "factual", "control" or "other"), `prompt`,
`completion`.
Optional: `answer` (text), `steps` (a list of {"text": ..., "keywords": [...]}), `keywords` (a list of texts that mark
the answer in a document), `correct` (true, false or null), `gold` (ids of documents that state the answer).
A set of questions is the same without completions: `influence complete` has a model write them.
Anything else is refused: a misspelt field would otherwise be dropped without a word.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TypeVar, cast, get_args

from influence.errors import InputError
from influence.files import whole_file
from influence.ready import ready_names, ready_path
from influence.types import Group, Query, Step

T = TypeVar("T")

_GROUPS: tuple[str, ...] = get_args(Group)
_FIELDS = tuple(field.name for field in fields(Query))
_MOST_BYTES = 1 << 28
_REQUIRED = ("id", "task", "group", "prompt", "completion")
_STEP_FIELDS = tuple(field.name for field in fields(Step))


def read_queries(source: str | Path, *, completed: bool = True) -> list[Query]:
    """Read a query set.

    Args:
        source: A path, or else the name of a ready set (`slopes` or `slopes.jsonl`).
        completed: Whether each query must have a completion; without, it may be absent or empty.

    Returns:
        The queries in file order; there is at least one.

    Raises:
        InputError: There is no such file or set, or a line of it is not a query; the message names the line.
    """
    path = _find(source)
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise InputError(
                f"{path} is no query set: it has {path.stat().st_size:,} bytes.",
                fix="Give a JSONL file of queries, not a corpus.",
            )
        lines = path.read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n")
    except OSError as error:
        raise InputError(f"{path} cannot be read.", have=error.strerror) from error
    queries: list[Query] = []
    line_of: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        query = _to_query(_parse(line, where), where, completed)
        if query.id in line_of:
            raise _duplicate(query.id, f"{path}:{line_of[query.id]}", where)
        line_of[query.id] = number
        queries.append(query)
    if not queries:
        raise InputError(
            f"{path} holds no queries.", have="an empty file", fix="Write one JSON record a line."
        )
    return queries


def write_queries(queries: Iterable[Query], path: str | Path, *, completed: bool = True) -> None:
    """Write queries so that `read_queries` gives them back; the file appears whole or not at all.

    Args:
        queries: What to write.
        path: Where to.
        completed: Whether each query must have a completion; questions are written without that field.

    Raises:
        InputError: A query is one that `read_queries` would refuse.
    """
    place_of: dict[str, str] = {}
    lines = []
    for number, query in enumerate(queries, 1):
        record = asdict(query)
        if not completed and not query.completion:
            del record["completion"]
        where, line = f"query {number}", json.dumps(record, ensure_ascii=False)
        _to_query(json.loads(line), where, completed)
        if query.id in place_of:
            raise _duplicate(query.id, place_of[query.id], where)
        place_of[query.id] = where
        lines.append(line + "\n")
    if not lines:
        raise InputError("There are no queries to write.", fix="Give at least one query.")
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as part:
        part.write_text("".join(lines), encoding="utf-8", newline="\n")


def queries_digest(queries: Sequence[Query]) -> str:
    """Return the digest of all fields of the queries, in hexadecimal."""
    text = json.dumps([asdict(query) for query in queries], sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


# -- who wrote the completions


def completions_record(path: Path) -> Path:
    """Where `influence complete` says which model wrote the completions of the query set at `path`."""
    return path.with_suffix(".provenance.json")


def completions_by(source: str | Path, queries: Sequence[Query]) -> str | None:
    """Name of the model that wrote the completions of a query set.

    Args:
        source: What `read_queries` was given.
        queries: What it returned.

    Returns:
        None where `influence complete` left no record beside the file, or the file was changed since.
    """
    try:
        record = json.loads(completions_record(_find(source)).read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(record, dict) or record.get("queries") != queries_digest(queries):
        return None
    model = record.get("model")
    return model if isinstance(model, str) else None


# -- finding the file


def _find(source: str | Path) -> Path:
    try:
        path = Path(source).expanduser()
        if path.is_file():
            return path
    except (OSError, RuntimeError) as error:  # too long, of a user that there is not
        raise InputError(
            f"{str(source)[:80]!r} is no path.", have=str(error)[:80], fix="Check it."
        ) from error
    name = str(source).removesuffix(".jsonl")
    if ready := ready_path("queries", name):
        return ready
    names = ready_names("queries")
    have = f"{path} is a folder" if path.is_dir() else None
    near = difflib.get_close_matches(name, names, 1)
    fix = f"Did you mean {near[0]!r}? " if near else ""
    fix += f"Give a JSONL file, or a ready set: {', '.join(names) or 'none is installed'}."
    raise InputError(f"There is no query file or ready query set {str(source)!r}.", have=have, fix=fix)


# -- one line to one query


def _parse(line: bytes, where: str) -> dict[str, Any]:
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


def _to_query(record: dict[str, Any], where: str, completed: bool) -> Query:
    _check_names(record, _FIELDS, where, "field")
    if not completed:
        record = {"completion": "", **record}
    for name in _REQUIRED:
        if name not in record:
            raise InputError(
                f"{where}: the field {name!r} is missing.",
                have=", ".join(record) or "an empty record",
                fix="Have the model write it: influence complete."
                if name == "completion"
                else f"Add it; required are {', '.join(_REQUIRED)}.",
            )
        optional = name == "completion" and not completed
        if not _text(record[name], name, where).strip() and not optional:
            raise InputError(
                f"{where}: the {name} is empty.", have=_show(record[name]), fix=f"Give the {name} a text."
            )
    if record["group"] not in _GROUPS:
        near = difflib.get_close_matches(record["group"], _GROUPS, 1)
        fix = f"Did you mean {near[0]!r}? " if near else ""
        raise InputError(
            f"{where}: the group is unknown.",
            have=_show(record["group"]),
            fix=fix + f"Use one of {', '.join(_GROUPS)}.",
        )
    correct = record.get("correct")
    if correct is not None and not isinstance(correct, bool):
        raise _wrong_type(where, "correct", "true, false or null", correct)
    return Query(
        **{name: record[name] for name in _REQUIRED},
        answer=_text(record.get("answer", ""), "answer", where),
        steps=_list(record.get("steps", []), "steps", where, _step),
        keywords=_list(record.get("keywords", []), "keywords", where, _mark),
        correct=correct,
        gold=_list(record.get("gold", []), "gold", where, _mark),
    )


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


def _duplicate(id_: str, first: str, second: str) -> InputError:
    return InputError(
        f"{second}: the id {id_!r} is taken.",
        have=f"the same id at {first}",
        fix="Give every query an id of its own.",
    )


def _show(value: Any) -> str:
    """The value as JSON, cut to one line."""
    text = json.dumps(value, ensure_ascii=True)
    return text if len(text) <= 80 else text[:77] + "..."
