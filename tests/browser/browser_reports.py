"""Reports for the browser tests: an ordinary one with every analysis, and one whose every text is hostile."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from stores import make_document, make_query, write_scores

from influence.analysis.relations import LABELS, relation_counts
from influence.analysis.tables import answer_tables, checkpoint_tables
from influence.report.pages import write_report
from influence.store.formats.tables import write_tables
from influence.store.scores import Scores
from influence.store.token_scores import write_token_scores

HOSTILE = (
    "<script>window.PWN=1</script><img src=x onerror=window.PWN=1><svg onload=window.PWN=1><!-- </script> &lt;b&gt;"
    ' \u202e \u2028 \x00 {{7*7}} ${1} =HYPERLINK("x")'
)
#: The same as the name of a file or folder.
HOSTILE_NAME = "<img src=x onerror=window.PWN=1>'\""
SURROGATE = HOSTILE + " \ud800"
#: Emoji of several code points, CRLF, combining marks, right to left, and words.
MIXED = "naïve 👩‍🚀🙂 e\u0301le\u0300ve\r\nשלום עולם\nslope = (y2 − y1) / (x2 − x1)\t"
TASKS = (
    ("slopes", "reasoning"),
    ("arithmetic", "reasoning"),
    ("facts", "factual"),
    ("wrong facts", "factual"),
    ("fact controls", "control"),
)


@dataclass(frozen=True)
class Made:
    """A report and the store it was made from."""

    page: Path
    scores: Scores


def ordinary(folder: Path, n_queries: int = 80, n_documents: int = 600, n_words: int = 0) -> Made:
    """80 queries, 50 documents of each list, answers, relations, stages, token values.

    With `n_words`, the documents have 1,700 characters of so many different words: what real text needs of a page.
    """
    rng = np.random.default_rng(0)
    queries = []
    for n in range(n_queries):
        task, group = TASKS[n * len(TASKS) // n_queries]
        correct: Any = True if group == "reasoning" else (True, False, None)[n % 3]
        queries.append(make_query(n, id=f"q{n:03d}", task=task, group=group, correct=correct))
    queries[3] = make_query(3, id="q003", prompt="=1+1", completion='-0.5, "quoted"\nand a second line')
    words = np.array(
        re.findall(r"\w+", "the slope of a line is rise over run so divide 12 by 4 Paris river tower")
    )
    if n_words:
        letters = np.array(list("etaoinshrdlu"))
        words = np.array(["".join(letters[rng.integers(0, 12, 2 + n % 9)]) for n in range(n_words)])
    texts = [" ".join(words[rng.integers(0, len(words), 250)]) for _ in range(n_documents)]
    sources = ("wiki", "code", "math_and_trivia", "stackexchange", "webdata")
    documents = [
        make_document(n, id=f"d{n:05d}", source=sources[n % 5], text=(MIXED if n % 2 else "") + texts[n])
        for n in range(n_documents)
    ]
    base = rng.normal(size=(len(TASKS), n_documents))
    task = np.arange(n_queries) * len(TASKS) // n_queries
    dot = (0.8 * base[task] + rng.normal(size=(n_queries, n_documents))) * rng.lognormal(size=n_documents)
    scores = write_scores(
        folder / "run",
        dot.astype(np.float32),
        gradient_norm=rng.lognormal(sigma=0.7, size=n_documents).astype(np.float32),
        query_nll=rng.uniform(2, 20, n_queries).astype(np.float32),
        queries=queries,
        documents=documents,
    )
    _analyse(scores, "shows the procedure")
    write_tokens(scores, 10)
    return Made(write_report(scores.folder, folder / "r.html"), scores)


def hostile(folder: Path) -> Made:
    """Every text a user or a model can fill is hostile; the judge's justification too."""
    rng = np.random.default_rng(1)
    queries = [
        make_query(
            n,
            id=f"{n}{HOSTILE}",
            task=HOSTILE,
            group=HOSTILE,
            prompt=SURROGATE,
            completion=SURROGATE,
            answer=HOSTILE,
        )
        for n in range(3)
    ]
    documents = [
        make_document(n, id=f"{n}{HOSTILE}", source=f"{n % 2}{HOSTILE}", text=HOSTILE) for n in range(30)
    ]
    run = folder / HOSTILE_NAME
    plain = [make_query(n, id=f"{n}{HOSTILE}", task=HOSTILE, group=HOSTILE) for n in range(3)]
    scores = write_scores(run, rng.normal(size=(3, 30)), queries=plain, documents=documents)
    _analyse(scores, HOSTILE, (f"0{HOSTILE}", f"1{HOSTILE}"))
    _write_records(scores, queries)
    return Made(write_report(run, folder / "hostile.html"), scores)


def _write_records(scores: Scores, queries: list[Any]) -> None:
    import json

    path = scores.folder / "queries.json"
    records = json.loads(path.read_text(encoding="utf-8"))
    for record, query in zip(records, queries, strict=True):  # JSON can hold lone surrogates, UTF-8 cannot
        record |= {"prompt": query.prompt, "completion": query.completion, "answer": query.answer}
    path.write_text(json.dumps(records))


def _analyse(
    scores: Scores, justification: str, names: tuple[str, ...] = ("first", "middle", "last")
) -> None:
    folder = scores.folder / "analysis"
    answers = answer_tables(scores, "normed", "task", 50, scan=False)
    hits = answers["hits"]
    if hits.empty:
        column = int(scores.ranking(scores.queries[0].id, 1)[0])
        row = (
            scores.queries[0].id,
            "answer",
            "x",
            column,
            "d",
            "s",
            1,
            1,
            justification,
            0,
            1,
            justification,
            justification,
        )
        hits.loc[0] = row
    hits["justification"] = hits["evidence"] = justification
    write_tables(answers, folder / "answers", [scores])
    rows = []
    for query in scores.queries:
        for rank, column in enumerate(scores.ranking(query.id, 3).tolist(), 1):
            rows.append((query.id, column, "d", "s", rank, rank, next(iter(LABELS)), justification, "judge"))
    columns = [
        "query",
        "column",
        "document",
        "source",
        "rank_normed",
        "rank_dot",
        "label",
        "justification",
        "judge",
    ]
    import pandas as pd

    labelled = pd.DataFrame(rows, columns=columns)
    counts = relation_counts(labelled, scores.queries, "task")
    write_tables({"relations": labelled, "counts": counts}, folder / "relations", [scores])
    stages = _stages(scores, names)
    tables = checkpoint_tables(stages, "normed", "task", 50)
    write_tables(tables, folder / "stages", [run for _, run in stages])


def _stages(scores: Scores, names: tuple[str, ...]) -> list[tuple[str, Scores]]:
    """The run as the last of these stages; those before it are ever less like it."""
    rng = np.random.default_rng(3)
    dot = np.asarray(scores.dot)
    kept = zip(scores.documents.ids, scores.documents.sources, strict=True)
    documents = [make_document(n, id=str(name), source=str(source)) for n, (name, source) in enumerate(kept)]
    stages = [(names[-1], scores)]
    for back, name in enumerate(names[-2::-1], 1):
        dot = dot + (0.4 * back * dot.std() * rng.normal(size=dot.shape)).astype(np.float32)
        folder = scores.folder.parent / f"stage-{back}"
        earlier = write_scores(
            folder,
            dot,
            gradient_norm=np.asarray(scores.gradient_norm),
            queries=list(scores.queries),
            documents=documents,
        )
        stages.insert(0, (name, earlier))
    return stages


def write_tokens(scores: Scores, k: int) -> None:
    """Token values that add up to the scores; the first token is the strongest positive, the second negative."""
    rng = np.random.default_rng(2)
    lengths, pairs = {}, []
    for row, query in enumerate(scores.queries):
        for column in np.union1d(scores.ranking(query.id, k), scores.ranking(query.id, k, "dot")).tolist():
            text = scores.documents.text(column)
            if column not in lengths:
                cuts = np.sort(rng.choice(np.arange(1, len(text)), min(60, len(text) - 1), replace=False))
                lengths[column] = np.diff([0, *cuts, len(text)])
            dot = float(scores.dot[row, column])
            value = rng.normal(size=len(lengths[column])) * abs(dot) / 100
            value[0], value[1] = 2 * abs(dot), -1.5 * abs(dot)
            value[-1] += dot - value.sum()
            pairs.append((row, column, value))
    write_token_scores(scores.folder, pairs, lengths)
