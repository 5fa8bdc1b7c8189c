"""Query sets: strict JSONL in, the same out.

One record a line: `prompt` and `completion`; or `messages`, a chat that ends with the assistant's answer, which is the
completion; or `text`, all of which is the completion. Optional: `id`, `task`, `group` (any word; *reasoning*, *factual*
and *control* have their published treatment), `contrast` (another completion: what is explained is then
log p(completion) − log p(contrast)), `answer` (text), `steps` (a list of {"text": ..., "keywords": [...]}), `keywords`
(a list of texts that mark the answer in a document), `correct` (true, false or null), `gold` (ids of documents that
state the answer).
A set of questions is the same without completions: `influence complete` has a model write them.
Anything else is refused: a misspelt field would otherwise be dropped without a word.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

from influence.data.query_records import parse, to_query, to_record
from influence.errors import InputError
from influence.files import whole_file
from influence.ready import ready_names, ready_path
from influence.types import Query

_MOST_BYTES = 1 << 28


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
        query = to_query(parse(line, where), where, completed, f"query-{len(queries) + 1}")
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
        record = to_record(query, completed)
        where, line = f"query {number}", json.dumps(record, ensure_ascii=False)
        to_query(json.loads(line), where, completed, query.id)
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
    """Return the digest of all fields of the queries, in hexadecimal.

    Without a contrast or messages it is the digest of before there were these fields.
    """
    newer = ("contrast", "messages")
    records = [asdict(query) for query in queries]
    records = [{name: v for name, v in record.items() if v or name not in newer} for record in records]
    text = json.dumps(records, sort_keys=True)
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


def _duplicate(id_: str, first: str, second: str) -> InputError:
    return InputError(
        f"{second}: the id {id_!r} is taken.",
        have=f"the same id at {first}",
        fix="Give every query an id of its own.",
    )
