"""Render a score store as one self-contained HTML file: no request, a strict content security policy.

Every text of a run is untrusted: jinja escapes it in the static part, `textContent` in the interactive one, and
characters that would not show are named (`report.format`). Only what is made here enters the page unescaped: the style
sheet, the script, the blocks of data (base64) and the figures.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from influence import __version__
from influence.analysis.grouping import task_labels
from influence.analysis.run import analyze
from influence.errors import InputError
from influence.report.assemble import Content, Extent, Prepared, content, cuts, extents, prepare
from influence.report.drawing import exporting
from influence.report.first_screen import first_screen
from influence.report.format import count, percent, signed, size
from influence.report.page import encode, render, script, script_tags, style, write_page
from influence.report.passages import CHOSEN
from influence.report.queries import query_views
from influence.report.run_card import (
    model_and_corpus,
    queries_by_group,
    run_card,
    tracked_layers,
    truncated,
    verdict,
    who_did_what,
)
from influence.report.sources import sources
from influence.store.checkpoints import is_checkpoints, read_checkpoints
from influence.store.formats.tables import read_tables
from influence.store.scores import Scores, open_scores
from influence.types import READING_UNITS, SIGN_STATEMENT, Reading

Texts = Literal["full", "snippet", "none"]
Format = Literal["html", "json"]

#: A report larger than this is cut, and says what was cut.
MAX_MB = 10.0
#: Rows of all tables without scripts together, the head of a query counting as three, and the most for one query.
STATIC_ROWS, STATIC_ROWS_OF_A_QUERY = 1_040, 10
#: First documents of a query and ranking whose token values a report holds, if they were computed.
TOKENS = 10

#: Stands in the template where the sizes of the page's parts go, which are known once it is rendered.
SIZES = "<!--sizes-->"


@dataclass(frozen=True)
class _Settings:
    texts: Texts
    by: Reading
    asked: Extent
    max_mb: float


def write_report(
    run: str | Path,
    out: str | Path,
    *,
    texts: Texts = "full",
    k: int = 50,
    by: Reading = "normed",
    max_mb: float = MAX_MB,
    format: Format = "html",
    title: str = "",
) -> Path:
    """Write a report of the score store `run` to the HTML file `out`; of a folder of stages, that of its last stage.

    Positive scores: adding the document is predicted to raise log p(completion | prompt). Answers,
    relations, stages, BM25, checks (`sanity`) and another run (`correlation` of two) are shown if `influence analyze`
    left their tables in `run/analysis`, and the influence of single tokens if `influence tokens` computed it.

    Args:
        texts: What to show of documents: `full` texts, `snippet` (the first 160 characters), or `none`, which
            shows no prompt and no completion either, for corpora that may not be copied.
        k: Documents of each list of a query: top and bottom, by `normed` and by `dot`.
        by: Reading that orders tables and enters correlation, curves and source shares.
        max_mb: Most megabytes (10⁶ bytes) of the page; what is cut to stay below, the page says.
        format: `html`, or `json`: the same data, uncut, for programs.
        title: Of the page; empty is the name of the run's folder.

    Returns:
        `out`. The same store and arguments give the same bytes.

    Raises:
        StoreError: no finished score store lies at `run`, or a table of an analysis is damaged.
        InputError: an argument is not usable, or the page does not fit into `max_mb`.
        ComputeError: a score is not finite.
    """
    _check(texts, k, by, format)
    out = Path(out)
    if out.is_dir():
        raise InputError(f"--out {out} is a folder.", fix=f"Name a .{format} file.")
    scores = open_scores(last_checkpoint(run))
    rows = min(k, STATIC_ROWS_OF_A_QUERY, max(3, STATIC_ROWS // max(len(scores.queries), 1) - 3))
    prepared = prepare(scores, by, title or run_title(scores.folder))
    tokens = TOKENS if texts == "full" and prepared.tokens is not None else 0
    asked = Extent(k, None if texts == "full" else 0, tokens, rows)
    settings = _Settings(texts, by, asked, max_mb)
    if format == "json":
        made = content(scores, prepared, asked, texts, by)
        data = {"schema": 1, "version": __version__, "manifest": scores.manifest, **made.as_json()}
        return write_page(out, json.dumps(data, sort_keys=True, allow_nan=False).encode("ascii"))
    limit = int(max_mb * 1_000_000)
    for extent in extents(asked):
        made = content(scores, prepared, extent, texts, by)
        blocks = {key: encode(value) for key, value in made.blocks.items()}
        page = _page(scores, prepared, made, blocks, settings, extent)
        if len(page) <= limit:
            break
    else:
        raise InputError(
            f"A report of {run} does not fit into {max_mb:g} MB even when cut as far as it can be.",
            have=", ".join(f"{name} {count(n)} bytes" for name, n in _parts(page, blocks)),
            fix="Raise --max-mb, or use --texts none.",
        )
    return write_page(out, page)


def write_figures(run: str | Path, out: str | Path, *, by: Reading = "normed") -> list[Path]:
    """Write the figures of a report of `run` to the folder `out`, each as SVG, PDF and PNG, for papers.

    Args:
        by: Reading that the figures show.

    Returns:
        The files, by name.

    Raises:
        StoreError: no finished score store lies at `run`, or a table of an analysis is damaged.
        InputError: `out` is a file.
        ComputeError: a score is not finite.
    """
    out = Path(out)
    if out.exists() and not out.is_dir():
        raise InputError(f"--out {out} is a file.", fix="Name a folder.")
    scores = open_scores(last_checkpoint(run))
    with exporting(out):
        prepare(scores, by, "")
    return sorted(path for path in out.iterdir() if path.suffix in (".svg", ".pdf", ".png"))


def _parts(page: bytes, blocks: Mapping[str, str]) -> list[tuple[str, int]]:
    """Sizes in bytes of the parts of a page, the largest first."""
    names = {"t-": "texts", "p-": "passages", "k-": "token values", "f-": "data of figures"}
    sizes = dict.fromkeys([*names.values(), "queries and lists"], 0)
    for key, block in blocks.items():
        sizes[names.get(key[:2], "queries and lists")] += len(block)
    sizes["figures"] = sum(map(len, re.findall(rb"<svg .*?</svg>", page, re.DOTALL)))
    sizes["script and style"] = len((style() + script()).encode())
    sizes["static page"] = len(page) - sum(sizes.values())
    return sorted(((name, n) for name, n in sizes.items() if n), key=lambda part: -part[1])


def _check(texts: str, k: int, by: str, format: str) -> None:
    if texts not in get_args(Texts):
        raise InputError(f"There is no way {texts!r} to show texts.", fix="Use full, snippet or none.")
    if by not in get_args(Reading):
        raise InputError(f"There is no reading {by!r} of a score.", fix="Use dot, per_nat or normed.")
    if format not in get_args(Format):
        raise InputError(f"There is no format {format!r} of a report.", fix="Use html or json.")
    if k < 1:
        raise InputError("k must be at least 1.", have=str(k))


def _page(
    scores: Scores,
    prepared: Prepared,
    made: Content,
    blocks: Mapping[str, str],
    settings: _Settings,
    extent: Extent,
) -> bytes:
    from markupsafe import Markup

    texts, by = settings.texts, settings.by
    model, corpus = model_and_corpus(scores)
    views = prepared.views
    passages = prepared.passages if texts == "full" and extent.characters != 0 else None
    show_texts = texts != "none"
    page = render(
        "report.html",
        scores.manifest,
        title=prepared.title,
        kind="influence report",
        script=script(),
        blocks=Markup(script_tags(blocks)),
        model=model,
        corpus=corpus,
        sign_statement=SIGN_STATEMENT,
        units=READING_UNITS,
        by=by,
        k=extent.k,
        rows=extent.rows,
        texts=texts,
        n_documents=scores.documents_scored,
        n_corpus=len(scores.documents),
        n_queries=len(scores.queries),
        n_tasks=len(set(task_labels(scores.queries))),
        groups=queries_by_group(scores),
        card=run_card(scores),
        layers=tracked_layers(scores),
        tasks=query_views(
            scores, made.found.table, extent.rows, by, show_texts=show_texts, passages=passages
        ),
        first=first_screen(scores, views.correlation.contrast, made.found.table, passages, by, show_texts),
        has_tokens=prepared.tokens is not None,
        chosen=CHOSEN if passages is not None else {},
        sources=sources(scores, made.found.table, extent.k, by),
        sections=views.sections,
        part={section.key: section for section in views.sections},
        findings=[(section.key, finding) for section in views.sections for finding in section.findings],
        views=views,
        shared=percent(prepared.shared),
        contrast=signed(views.correlation.contrast.difference),
        verdict=verdict(views.checks),
        authors=who_did_what(scores),
        has_bm25=prepared.lexical is not None,
        left_out=_left_out(scores, settings, extent, prepared),
    )
    whole = page.encode("utf-8")
    listed = ", ".join(f"{name} {size(n)}" for name, n in _parts(whole, blocks) if n >= 500)
    # No text of a run can hold the mark: its < would be escaped.
    return whole.replace(SIZES.encode(), f"{size(len(whole))}: {listed}".encode())


def run_title(folder: Path) -> str:
    """The run's name: its folder, with the folder above where that is only called `scores`, or holds all its stages."""
    folder = folder.resolve()
    if folder.name == "scores" or is_checkpoints(folder.parent):
        return f"{folder.parent.name} / {folder.name}"
    return folder.name


def _left_out(scores: Scores, settings: _Settings, extent: Extent, prepared: Prepared) -> list[str]:
    """What a reader could expect here and does not find, and what was cut for size."""
    layers = tracked_layers(scores)
    n_truncated, limit = truncated(scores)
    items = [
        f"All but the top and bottom {extent.k} documents of a query in each reading. The scores of all "
        f"{count(scores.documents_scored)} documents are in the score store.",
        "Experiments: no model was trained without these documents. Scores are first-order predictions.",
        f"What a document changes outside the {count(len(layers))} tracked layers."
        if layers
        else "What a document changes outside the tracked layers.",
    ]
    if scores.scored is not None:
        items.append(
            f"{count(len(scores.documents) - scores.documents_scored)} documents that an index passed over and nobody "
            "scored. The bottom of a list is the lowest of those scored, not of the corpus."
        )
    items += [section.left_out for section in prepared.views.sections if section.left_out]
    if prepared.tokens is None:
        items.append("Which tokens of a document carry its score: influence tokens was not run for it.")
    elif settings.texts != "full":
        items.append(
            "Which tokens of a document carry its score: shown with the whole texts only (texts=full)."
        )
    if n_truncated:
        cut = "1 document" if n_truncated == 1 else f"{count(n_truncated)} documents"
        items.append(f"Text beyond the first {limit} tokens of {cut}: it was not scored.")
    if settings.texts == "snippet":
        items.append("Texts of documents beyond their first 160 characters.")
    if settings.texts == "none":
        items.append(
            "All texts: prompts, completions, answers and documents. The report was made with texts=none, which "
            "keeps them out for licence or privacy; ids lead back to them in the score store."
        )
    return items + [
        f"Cut, to stay under {settings.max_mb:g} MB: {cut}." for cut in cuts(settings.asked, extent)
    ]


def last_checkpoint(run: str | Path) -> Path:
    """Return the score store of a report: of a folder of checkpoints the last one, with the analysis of all of them.

    Raises:
        StoreError: the folder of checkpoints is not finished.
    """
    run = Path(run)
    if not is_checkpoints(run):
        return run
    names = [checkpoint.name for checkpoint in read_checkpoints(run)]
    folder = run / names[-1]
    made = read_tables(folder, "stages", ("facts",))
    if len(names) > 1 and (made is None or list(dict.fromkeys(made["facts"]["stage"])) != names):
        analyze("stages", run, out=folder / "analysis" / "stages")
    return folder
