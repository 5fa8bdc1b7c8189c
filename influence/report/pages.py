"""Render a score store as one self-contained HTML file: no script, no request, a strict content security policy.

Every text of a run is untrusted: jinja escapes it, and characters that would not show are named (`report.text`).
Only two strings enter the page unescaped, both made here: the style sheet and the figures.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from influence import __version__
from influence.errors import InputError
from influence.report.facts import model_and_corpus, queries_by_group, run_card, tracked_layers, truncated
from influence.report.overview import CURVE_RANKS, correlations, curves, sources
from influence.report.queries import TaskView, query_views
from influence.report.text import breaks, clip, count, pieces, plain
from influence.store.scores import Scores, open_scores
from influence.types import READING_UNITS, SIGN_STATEMENT, Reading

Texts = Literal["full", "snippet", "none"]

#: A report larger than this is cut, and says what was cut.
MAX_BYTES = 10_000_000
PROVENANCE_CHARACTERS = 200_000

_TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Extent:
    """How much of the store a page shows: documents of each list, queries, characters of a full text (None: all)."""

    k: int
    queries: int
    characters: int | None


@dataclass(frozen=True)
class DocumentView:
    """A document in full, as far as the page holds it."""

    column: int
    id: str
    source: str
    tokens: str
    text: str
    left: str


def report(
    run: str | Path, out: str | Path, *, texts: Texts = "snippet", k: int = 10, by: Reading = "normed"
) -> Path:
    """Write a report of the score store `run` to the HTML file `out`.

    Positive scores: adding the document is predicted to raise log p(completion | prompt).

    Args:
        texts: What to show of documents: `full` texts, `snippet` (the first 160 characters), or `none`, which
            shows no prompt and no completion either, for corpora that may not be copied.
        k: Documents of each list of a query: top and bottom, by `normed` and by `dot`.
        by: Reading that orders tables and enters correlation, curves and source shares.

    Returns:
        `out`. The same store and arguments give the same bytes.

    Raises:
        StoreError: no finished score store lies at `run`.
        InputError: an argument is not usable.
        ComputeError: a score is not finite.
    """
    _check(texts, k, by)
    out = Path(out)
    if out.is_dir():
        raise InputError(f"--out {out} is a folder.", fix="Name an .html file.")
    scores = open_scores(run)
    asked = Extent(k, len(scores.queries), None if texts == "full" else 0)
    overview = {"correlation": correlations(scores, by), "curves": curves(scores, by)}
    for extent in _extents(asked):
        page = _page(scores, texts, by, asked, extent, overview).encode("utf-8")
        if len(page) <= MAX_BYTES:
            break
    else:
        raise InputError(
            f"A report of {run} does not fit into {count(MAX_BYTES)} bytes even when cut to one query.",
            fix="Use --texts none.",
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(out.name + ".part")
    part.write_bytes(page)
    part.replace(out)
    return out


def _check(texts: str, k: int, by: str) -> None:
    if texts not in get_args(Texts):
        raise InputError(f"There is no way {texts!r} to show texts.", fix="Use full, snippet or none.")
    if by not in get_args(Reading):
        raise InputError(f"There is no reading {by!r} of a score.", fix="Use dot, per_nat or normed.")
    if k < 1:
        raise InputError("k must be at least 1.", have=str(k))


def _extents(asked: Extent) -> Iterator[Extent]:
    """Ever smaller extents, to be tried until the page fits: texts first, then documents, then queries."""
    extent = asked
    yield extent
    for characters in (2_000, 500, 0) if asked.characters is None else ():
        extent = replace(extent, characters=characters)
        yield extent
    while extent.k > 3:
        extent = replace(extent, k=max(3, extent.k // 2))
        yield extent
    while extent.queries > 1:
        extent = replace(extent, queries=extent.queries // 2)
        yield extent


def _page(
    scores: Scores, texts: Texts, by: Reading, asked: Extent, extent: Extent, overview: dict[str, Any]
) -> str:
    import jinja2
    from markupsafe import Markup

    style = (_TEMPLATES / "report.css").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(breaks=breaks, clip=clip, pieces=pieces, plain=plain)
    environment.filters["count"] = count
    tasks, table = query_views(scores, extent.k, by, show_texts=texts != "none", limit=extent.queries)
    model, corpus = model_and_corpus(scores)
    return environment.get_template("report.html").render(
        style=Markup(style),
        style_hash=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
        title=_title(scores.folder),
        model=model,
        corpus=corpus,
        version=__version__,
        sign_statement=SIGN_STATEMENT,
        units=READING_UNITS,
        by=by,
        k=extent.k,
        texts=texts,
        n_documents=len(scores.documents),
        n_queries=len(scores.queries),
        groups=queries_by_group(scores),
        curve_ranks=min(CURVE_RANKS, len(scores.documents)),
        card=run_card(scores),
        layers=tracked_layers(scores),
        tasks=tasks,
        shared=_mean_shared(tasks, extent.k, len(scores.documents)),
        sources=sources(scores, table, extent.k, by),
        documents=_documents(scores, tasks, extent.characters) if texts == "full" else [],
        left_out=_left_out(scores, texts, asked, extent),
        provenance=_provenance(scores),
        **overview,
    )


def _title(folder: Path) -> str:
    """The run's name: its folder, with the folder above where that is only called `scores`."""
    folder = folder.resolve()
    return f"{folder.parent.name} / scores" if folder.name == "scores" else folder.name


def _mean_shared(tasks: list[TaskView], k: int, n_documents: int) -> str:
    """Share of the top `k` that both readings have in common, over the queries shown."""
    shared = [int(query.shared.split()[0]) for task in tasks for query in task.queries]
    return f"{100 * sum(shared) / len(shared) / min(k, n_documents):.0f} %"


def _documents(scores: Scores, tasks: list[TaskView], characters: int | None) -> list[DocumentView]:
    """Each listed document once, in column order."""
    if characters == 0:
        return []
    rows = (row for task in tasks for query in task.queries for row in (*query.top, *query.bottom))
    views = []
    for column in sorted({row.column for row in rows}):
        text = scores.documents.text(column)
        shown = text if characters is None else text[:characters]
        left = f"{count(len(text) - len(shown))} more characters not shown" if len(shown) < len(text) else ""
        name, source = str(scores.documents.ids[column]), str(scores.documents.sources[column])
        tokens = count(int(scores.documents.lengths[column]))
        views.append(DocumentView(column, name, source, tokens, shown, left))
    return views


def _left_out(scores: Scores, texts: Texts, asked: Extent, extent: Extent) -> list[str]:
    """What a reader could expect here and does not find, and what was cut for size."""
    layers = tracked_layers(scores)
    n_truncated, limit = truncated(scores)
    items = [
        f"All but the top and bottom {extent.k} documents of a query in each reading. The scores of all "
        f"{count(len(scores.documents))} documents are in the score store.",
        "Experiments: no model was trained without these documents. Scores are first-order predictions.",
        f"What a document changes outside the {count(len(layers))} tracked layers."
        if layers
        else "What a document changes outside the tracked layers.",
        "Which tokens of a document carry its score.",
        "Whether a document contains the answer, and what kind of document it is.",
        "Significance: R comes without a permutation of query labels and without an interval.",
        "Sorting and filtering: the page holds no script.",
    ]
    if n_truncated:
        items.append(
            f"Text beyond the first {limit} tokens of {count(n_truncated)} documents: it was not scored."
        )
    if texts == "snippet":
        items.append("Texts of documents beyond their first 160 characters.")
    if texts == "none":
        items.append(
            "All texts: prompts, completions, answers and documents. The report was made with texts=none, which "
            "keeps them out for licence or privacy; ids lead back to them in the score store."
        )
    return items + [f"Cut, to stay under {count(MAX_BYTES)} bytes: {cut}." for cut in _cuts(asked, extent)]


def _cuts(asked: Extent, extent: Extent) -> list[str]:
    cuts = []
    if extent.characters != asked.characters:
        shown = f"the first {count(extent.characters)} characters" if extent.characters else "160 characters"
        cuts.append(f"full texts of documents, to {shown}")
    if extent.k != asked.k:
        cuts.append(f"documents of each list, from {count(asked.k)} to {count(extent.k)}")
    if extent.queries != asked.queries:
        cuts.append(f"queries with tables, from {count(asked.queries)} to {count(extent.queries)}")
    return cuts


def _provenance(scores: Scores) -> str:
    """The manifest as JSON; every character outside ASCII is escaped, so what is shown is what is meant."""
    return clip(json.dumps(scores.manifest, indent=2, sort_keys=True), PROVENANCE_CHARACTERS)
