"""What predicts retraining: the score stores of a run and those beside it, and the baselines that need none."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from influence.analysis.bm25 import Bm25
from influence.analysis.documents import columns_of, document_texts
from influence.errors import InputError
from influence.store.artefact import read_manifest
from influence.store.scores import Scores, open_scores

Row = npt.NDArray[np.floating]
#: The scores of every document `[D]` for a query, by the query's number.
RowOf = Callable[[int], Row]

DOT_PRODUCT, COSINE = "gradient dot product", "gradient cosine"
BM25 = "BM25"
BM25_COMPLETION = "BM25 of the completion"
PRESENCE = "presence of gold documents"
CHANCE = "random scores"


def methods_of(scores: Scores) -> dict[str, RowOf]:
    """Every way to predict retraining, by name: the run itself first, runs beside it, then what needs no scores.

    Raises:
        InputError: the run is one of an index, whose scores are not all known.
    """
    if scores.scored is not None:
        raise InputError(
            f"{scores.folder} has scores of some documents only.",
            fix="Validate a run of influence score, which scores all.",
        )
    rows: dict[str, RowOf] = {}
    for folder, store in stores_beside(scores).items():
        if store.manifest["config"].get("hessian") == "identity":
            rows[f"{DOT_PRODUCT} ({folder})"], rows[f"{COSINE} ({folder})"] = row_of(store), cosine_of(store)
        else:
            rows[folder] = row_of(store)
    return rows | baselines_of(scores)


def baselines_of(scores: Scores) -> dict[str, RowOf]:
    """BM25 of all of a query and of its completion, whether a document is gold, and random scores."""
    rows: dict[str, RowOf] = {}
    for name, asked in (
        (BM25, [query.prompt + query.completion for query in scores.queries]),
        (BM25_COMPLETION, [query.completion for query in scores.queries]),
    ):
        rows[name] = Bm25((text for _, texts in document_texts(scores) for text in texts), asked).row
    present_QD = gold_matrix(scores)
    if present_QD.any():
        rows[PRESENCE] = lambda number: present_QD[number]
    documents = len(scores.documents)
    rows[CHANCE] = lambda number: np.random.default_rng([0, number]).standard_normal(documents)
    return rows


def row_of(store: Scores) -> RowOf:
    """The raw influence of every document, `dot`."""
    return lambda number: np.asarray(store.dot[number])


def cosine_of(store: Scores) -> RowOf:
    """The same over the norm of the document's gradient; without a Hessian a multiple of the cosine."""
    return lambda number: store.row(store.queries[number].id, "normed")


def stores_beside(scores: Scores) -> dict[str, Scores]:
    """The run, and finished runs beside it of the same queries and corpus, by the name of their folder."""
    place = scores.folder.resolve().parent
    found = {scores.folder.resolve().name: scores}
    manifests = sorted({*place.glob("*/manifest.json"), *place.glob("*/sum/manifest.json")})
    for folder in (path.parent for path in manifests):
        manifest = read_manifest(folder)
        if manifest is None or manifest["kind"] != "scores" or manifest["status"] != "complete":
            continue
        shared = all(
            manifest["config"].get(name) == scores.manifest["config"][name] for name in ("corpus", "queries")
        )
        if shared and "index" not in manifest["config"] and folder != scores.folder.resolve():
            found[folder.relative_to(place).as_posix()] = open_scores(folder)
    return found


def gold_matrix(scores: Scores) -> npt.NDArray[np.float64]:
    """1 where a document is gold for a query, `[Q, D]`; a gold document that is not in the corpus counts nothing."""
    column_of = columns_of(scores, {name for query in scores.queries for name in query.gold})
    present_QD = np.zeros((len(scores.queries), len(scores.documents)))
    for row, query in enumerate(scores.queries):
        present_QD[row, [place for name in query.gold for place in column_of.get(name, ())]] = 1.0
    return present_QD


def rows(row_of: RowOf, queries: int) -> Iterator[Row]:
    """The rows of all queries, one after the other."""
    return (row_of(number) for number in range(queries))
