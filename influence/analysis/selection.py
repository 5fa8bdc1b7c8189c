"""Documents chosen by their scores, and written as they came in: a training set without them, or of them alone."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from influence.analysis.documents import finite_row
from influence.data.corpus import Corpus
from influence.data.records import plain_value
from influence.errors import InputError, StoreError
from influence.files import whole_file
from influence.store.scores import Scores, lowest
from influence.types import Document, Reading

Per = Literal["query", "group", "sum"]
_WINDOW = re.compile(r"#\d+$")


@dataclass(frozen=True, slots=True)
class Written:
    """What was written: records, those of the corpus in all, and fields left out because JSON cannot hold them."""

    records: int
    total: int
    unkept: Counter[str]


def select(
    scores: Scores,
    *,
    top: int | float | None = None,
    threshold: float | None = None,
    by: Reading | None = None,
    per: Per = "sum",
    bottom: bool = False,
) -> npt.NDArray[np.bool_]:
    """Return which documents are chosen, `[D]`. Positive scores RAISE log p(completion | prompt).

    Args:
        top: How many documents of each ranking: a number, or a share of all that were scored (a float below 1).
        threshold: Instead, all documents whose score is at least this (`bottom`: at most).
        by: Reading; by default `normed` for a ranking per query, which compares documents, and `per_nat` where scores
            of several queries are summed.
        per: What is ranked by: each query for itself, the sum over each group, or the sum over all queries. What is in
            any of these is chosen.
        bottom: Choose from the other end: what lowers log p(completion | prompt) most.

    Raises:
        InputError: not one of `top` and `threshold` is given, or it is out of range.
        ComputeError: a score is not finite.
    """
    if (top is None) == (threshold is None):
        raise InputError("Choose by --top or by --threshold.", have="both" if top is not None else "neither")
    count = None if top is None else _count(top, scores.documents_scored)
    chosen_D = np.zeros(len(scores.documents), bool)
    for row_D in _rankings(scores, per, by or ("normed" if per == "query" else "per_nat")):
        signed_D = -row_D if bottom else row_D
        if count is not None:
            # of equal documents the earlier one; NaN, which was not scored, comes last
            chosen_D[len(signed_D) - 1 - lowest(-signed_D[::-1], count)] = True
        else:
            assert threshold is not None
            chosen_D |= signed_D >= (-threshold if bottom else threshold)
    return chosen_D


def _count(top: int | float, documents: int) -> int:
    count = round(top * documents) if isinstance(top, float) and top < 1 else int(top)
    if not 1 <= count <= documents:
        raise InputError(
            "--top is out of range.",
            have=f"{count:,} of {documents:,} scored documents",
            fix="Give a number of documents, or a share such as 10%.",
        )
    return count


def _rankings(scores: Scores, per: Per, by: Reading) -> Iterator[npt.NDArray[np.floating]]:
    """Scores `[D]` of each query, or their sums."""
    sums: dict[str, npt.NDArray[np.floating]] = {}
    for query in scores.queries:
        row_D = finite_row(scores, query.id, by)
        if per == "query":
            yield row_D
            continue
        name = query.group if per == "group" else ""
        sums[name] = sums[name] + row_D if name in sums else row_D.astype(np.float64)
    yield from sums.values()


def write_selected(
    scores: Scores,
    chosen_D: npt.NDArray[np.bool_],
    corpus: Corpus,
    out: Path,
    *,
    rest: bool = False,
    tell: Callable[[int], None] = lambda records: None,
) -> Written:
    """Write the records of the chosen documents as they came in, as JSONL; the file appears whole or not at all.

    Args:
        chosen_D: What `select` returned. A document of which any window is chosen is chosen.
        corpus: That the scores are of, read in the same way.
        rest: Write all other records of the corpus instead.
        tell: Takes the number of records read so far.

    Raises:
        InputError: `out` exists, or nothing would be written.
        StoreError: the scores are of another corpus.
    """
    if out.exists():
        raise InputError(f"{out} exists.", fix="Name another file, or remove it.")
    windows = bool(scores.manifest["config"].get("windows"))
    texts = {}
    for column in np.flatnonzero(chosen_D).tolist():
        name = scores.documents.ids[column]
        texts[_WINDOW.sub("", name) if windows else name] = scores.documents.text(column)
    unkept: Counter[str] = Counter()
    written = total = 0
    out.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(out) as part, part.open("w", encoding="utf-8", newline="\n") as file:
        for document, fields in corpus.records():
            total += 1
            tell(total)
            scored = texts.pop(document.id, None)
            if scored is not None:
                _require_same(document, scored, scores)
            if (scored is not None) != rest:
                record = _record(fields, unkept)
                file.write(json.dumps(record, ensure_ascii=False) + "\n")
                written += 1
        if texts:
            raise StoreError(
                f"Document {next(iter(texts))!r} of {scores.folder} is not in the corpus {corpus.name}.",
                have=f"{len(texts):,} chosen documents that it has not",
                fix="Give the corpus that was scored, with the same --id-field and --split.",
            )
        if not written:
            raise InputError(
                "No document is left to write." if rest else "No document is chosen.",
                fix="Choose another --threshold.",
            )
    return Written(written, total, unkept)


def _require_same(document: Document, scored: str, scores: Scores) -> None:
    """Refuse a document whose text is another than the one scored; an example's text is known after its tokens only."""
    if document.example is None and scored not in document.text:
        raise StoreError(
            f"Document {document.id!r} of the corpus has another text than the one in {scores.folder}.",
            fix="Give the corpus that was scored.",
        )


def _record(fields: Any, unkept: Counter[str]) -> dict[str, Any]:
    record = {}
    for name, value in fields.items():
        try:
            record[name] = plain_value(value)
        except ValueError:
            unkept[name] += 1
    return record
