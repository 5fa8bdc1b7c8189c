"""What a model itself answers: greedy completions of questions, marked right or wrong by their answer alone."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import time
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from influence.data.queries import completions_record, queries_digest, write_queries
from influence.data.query_tokens import prompt_tokens
from influence.errors import ComputeError
from influence.models.decode import greedy
from influence.models.load import LanguageModel
from influence.progress import Progress
from influence.provenance import provenance
from influence.store.artefact import claim, write_json
from influence.store.lines import Lines
from influence.types import Query

_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?![\w])")


def is_right(query: Query, completion: str) -> bool | None:
    """Whether a completion gives the query's answer; None where the query has none to compare with.

    A number is right when it is the last number of the completion. Any other answer is right when it, or one of the
    query's keywords, stands in the completion as whole words, whatever the case.
    """
    if not query.answer.strip() and not query.keywords:
        return None
    text, answer = _plain(completion), _plain(query.answer)
    if query.group != "factual" and _NUMBER.fullmatch(answer):
        numbers = _NUMBER.findall(text)
        return bool(numbers) and float(numbers[-1]) == float(answer)
    marks = [_plain(mark) for mark in query.keywords] or [answer]
    return any(re.search(rf"(?<!\w){re.escape(mark)}(?!\w)", text) for mark in marks)


def _plain(text: str) -> str:
    """One spelling of dashes, blanks, case and numbers: 3,400 is 3400."""
    text = unicodedata.normalize("NFKC", text).replace("−", "-").casefold()
    text = re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", text)
    return " ".join(text.split())


_BATCH = 64
_LINES = "completions.jsonl"


@dataclass(frozen=True, slots=True)
class Completed:
    """Queries with completions and marks, in the order of the questions.

    Attributes:
        queries: `correct` is None where the question has no answer to compare with.
        kept: Those of them that were written.
        empty: Ids of questions to which the model said nothing; they are not among the queries.
    """

    queries: list[Query]
    kept: list[Query]
    empty: list[str]

    def accuracy(self) -> dict[str, tuple[int, int]]:
        """Of each task: how many are right, and how many were asked; silence is wrong."""
        right = Counter(query.task for query in self.queries if query.correct)
        asked = Counter(query.task for query in self.queries if query.correct is not None)
        return {task: (right[task], asked[task]) for task in asked}


def complete(
    language_model: LanguageModel,
    questions: Sequence[Query],
    out: Path,
    *,
    max_new_tokens: int = 200,
    right: int | None = None,
    wrong: int | None = None,
) -> Completed:
    """Let a model complete every question, greedily, and write the result as a query set.

    Works in `<out>.partial/`; the same call after a kill goes on with the questions that are left. Completions that the
    questions bring are replaced. Beside `out` stands `<name>.provenance.json`, from which `influence score` knows who
    wrote the completions.

    Args:
        language_model: The tuned model.
        questions: Queries; their completions are not used.
        out: The JSONL file to write.
        max_new_tokens: Most tokens of a completion.
        right: Write at most this many queries answered right of each task; None: all of them.
        wrong: The same of those answered wrong.

    Raises:
        ComputeError: the model said nothing to any question.
        InputError: `right` and `wrong` leave no query.
        ModelError: a question leaves no room for a completion in the model's context.
        StoreError: `<out>.partial/` belongs to another run.
    """
    started = time.monotonic()
    asked = hashlib.blake2b(json.dumps([asdict(q) for q in questions]).encode(), digest_size=16).hexdigest()
    part = out.with_name(out.name + ".partial")
    config = {
        "model": language_model.fingerprint,
        "tokenizer": language_model.tokenizer_fingerprint,
        "questions": asked,
        "max_new_tokens": max_new_tokens,
    }
    claim(part, "completions", config)
    texts = _completions(language_model, questions, part / _LINES, max_new_tokens)
    said = [replace(question, completion=texts[question.id]) for question in questions]
    marked = [
        replace(query, correct=is_right(query, query.completion))
        for query in said
        if query.completion.strip()
    ]
    empty = [query.id for query in said if not query.completion.strip()]
    done = Completed(marked, choose(marked, right, wrong), empty)
    if not done.queries:
        raise ComputeError(
            f"{language_model.name} said nothing to any of {len(questions)} questions.",
            fix="Complete with a model that was tuned on prompts of this form.",
        )
    facts = {
        "model": language_model.name,
        "queries": queries_digest(done.kept),
        "config": config,
        "empty": done.empty,
        "accuracy": done.accuracy(),
    }
    write_json(completions_record(out), provenance(time.monotonic() - started, **facts))
    write_queries(done.kept, out)  # last: where it is, all is done
    shutil.rmtree(part)
    return done


def choose(queries: Sequence[Query], right: int | None, wrong: int | None) -> list[Query]:
    """The first `right` queries answered right and the first `wrong` answered wrong, of each task, in their order.

    None keeps all of them. Queries without a mark are kept.
    """
    most = {True: right, False: wrong}
    taken: Counter[tuple[str, bool]] = Counter()
    kept = []
    for query in queries:
        if query.correct is not None:
            taken[query.task, query.correct] += 1
            limit = most[query.correct]
            if limit is not None and taken[query.task, query.correct] > limit:
                continue
        kept.append(query)
    return kept


def _completions(
    language_model: LanguageModel, questions: Sequence[Query], path: Path, max_new_tokens: int
) -> dict[str, str]:
    """The completion of each question by id: read from `path` where a killed run left it, else generated."""
    lines = Lines(path)
    texts = _kept(lines.read())
    tokenizer = language_model.tokenizer
    prompts = {question.id: prompt_tokens(tokenizer, question) for question in questions}
    left = sorted((q.id for q in questions if q.id not in texts), key=lambda id_: len(prompts[id_]))
    with Progress("completing", len(questions), len(questions) - len(left), "query") as bar:
        for start in range(0, len(left), _BATCH):
            ids = left[start : start + _BATCH]
            said = greedy(language_model, [prompts[id_] for id_ in ids], max_new_tokens)
            texts.update(zip(ids, said, strict=True))
            lines.append(*((id_, texts[id_], _checksum(id_, texts[id_])) for id_ in ids))
            bar.advance(len(ids))
    return texts


def _checksum(id_: str, text: str) -> str:
    return hashlib.sha256(json.dumps([id_, text]).encode()).hexdigest()


def _kept(lines: Sequence[Any]) -> dict[str, str]:
    """The completions kept: id, text, and the checksum of both; what is damaged is asked again."""
    texts: dict[str, str] = {}
    for line in lines:
        match line:
            case [str(id_), str(text), str(checksum)] if checksum == _checksum(id_, text):
                texts[id_] = text
    return texts
