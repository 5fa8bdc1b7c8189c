"""The HTML report: nothing untrusted gets through, nothing shown is wrong, the same store gives the same bytes."""

from __future__ import annotations

import base64
import gzip
import hashlib
import itertools
import json
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import html5lib
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stores import CONFIG, PROVENANCE, make_document, make_query, write_scores

import influence.report
from influence.analysis.agreement import overlap
from influence.analysis.concentration import concentration, power_law
from influence.analysis.correlation import correlation
from influence.analysis.documents import top_table
from influence.analysis.grouping import task_labels, task_order
from influence.analysis.tables import answer_tables, checkpoint_tables, cross_tables
from influence.errors import ComputeError, InputError
from influence.report.drawing import PAPER
from influence.report.format import breaks, column, number, pieces, plain, signed
from influence.report.line_charts import FEW
from influence.report.page import script
from influence.report.pages import write_figures, write_report
from influence.store.artefact import claim, read_manifest
from influence.store.formats.tables import write_tables
from influence.store.scores import Scores, open_scores
from influence.types import READING_UNITS, SIGN_STATEMENT

HTML = "{http://www.w3.org/1999/xhtml}"
#: Tags, handlers, comments, entities, controls, bidi, separators, templates, formulas, mathtext, quotes.
HOSTILE = (
    "<script>window.PWN=1</script><img src=x onerror=window.PWN=1><svg onload=window.PWN=1><!-- --></title></style>"
    " &lt;b&gt; \u202e \u2066 \u200b \u2028 \x00 \x1b \ufffe {{7*7}} {% raw %} ${1} $x_$ \\ =HYPERLINK('x')"
    " ' \" é 🙂 \r"
)
SURROGATE = HOSTILE + "\ud800"


def parse(path: Path) -> ET.Element:
    """The page as a tree; any parse error fails."""
    parser = html5lib.HTMLParser(tree=html5lib.getTreeBuilder("etree"), strict=True)
    tree = parser.parse(path.read_text(encoding="utf-8"))
    assert isinstance(tree, ET.Element)
    return tree


def text_of(element: ET.Element) -> str:
    """Text content with the chips of hidden characters mapped back."""
    parts = [element.text or ""]
    for child in element:
        shown = text_of(child)
        parts.append(chr(int(shown[2:], 16)) if child.get("class") == "chip" else shown)
        parts.append(child.tail or "")
    return "".join(parts)


def find(tree: ET.Element, tag: str, css: str | None = None) -> list[ET.Element]:
    return [e for e in tree.iter(HTML + tag) if css is None or css in e.get("class", "").split()]


def blocks_of(tree: ET.Element) -> dict[str, Any]:
    """The data of a page, by key."""
    scripts = [e for e in find(tree, "script") if e.get("type") == "text/plain"]
    return {
        e.get("id", "")[2:]: json.loads(gzip.decompress(base64.b64decode(e.text or "", validate=True)))
        for e in scripts
    }


def hostile_store(folder: Path) -> Scores:
    """Untrusted text in every field that a user's files or a model fill."""
    queries = [
        make_query(
            n,
            id=f"{n}{HOSTILE}",
            task=HOSTILE,
            group=HOSTILE,
            prompt=HOSTILE,
            completion=HOSTILE,
            answer=HOSTILE,
        )
        for n in range(3)
    ]
    documents = [
        make_document(n, id=f"{n}{HOSTILE}", source=f"{n % 2}{HOSTILE}", text=HOSTILE) for n in range(30)
    ]
    facts: dict[str, Any] = {
        key: HOSTILE if isinstance(value, str) else value for key, value in PROVENANCE.items()
    }
    facts |= {"libraries": {HOSTILE: HOSTILE}, "summary": HOSTILE}
    dot = np.random.default_rng(0).normal(size=(3, 30))
    config = {**CONFIG, "layers": [HOSTILE], "dtype": HOSTILE, "damping": HOSTILE}
    scores = write_scores(folder, dot, queries=queries, documents=documents, config=config, provenance=facts)
    path = folder / "queries.json"
    records = json.loads(path.read_text(encoding="utf-8"))
    for record in records:  # JSON can hold lone surrogates, UTF-8 cannot
        record |= {"prompt": SURROGATE, "completion": SURROGATE}
    path.write_text(json.dumps(records))
    return scores


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ET.Element]:
    folder = tmp_path_factory.mktemp("hostile") / "<img src=x onerror=window.PWN=1>\u202e'\""
    out = folder.parent / "r.html"
    write_report(hostile_store(folder).folder, out, texts="full")
    return out, parse(out)


def test_hostile_text_makes_no_element_and_no_attribute(hostile: tuple[Path, ET.Element]) -> None:
    _, tree = hostile
    tags = {element.tag.split("}")[1] for element in tree.iter() if isinstance(element.tag, str)}
    assert not tags & {"img", "iframe", "object", "embed", "form", "base", "b"}
    assert {e.get("type") for e in find(tree, "input")} == {"radio", "checkbox"}
    (program,) = [e for e in find(tree, "script") if e.get("type") != "text/plain"]
    assert program.text == script()
    assert program.attrib == {}
    assert len(blocks_of(tree)) == len(find(tree, "script")) - 1
    assert [e for e in tree.iter() if not isinstance(e.tag, str)] == []  # no comments
    for element in tree.iter():
        for name, value in element.attrib.items():
            assert not name.lower().startswith("on"), (element.tag, name)
            assert name != "style"
            if name.split("}")[-1] in ("href", "src"):
                assert re.match(r"#|data:", value), value


def test_hostile_text_reads_back_character_for_character(hostile: tuple[Path, ET.Element]) -> None:
    _, tree = hostile
    bodies = [text_of(e) for e in find(tree, "div", "text") + find(tree, "dd", "text")]
    assert bodies.count(SURROGATE) == 6 + 2  # prompt and completion of three queries, and of the example
    assert len(bodies) == 6 + 3  # prompt, completion and passage of the example
    blocks = blocks_of(tree)
    texts = [text for key, shard in blocks.items() if key.startswith("t-") for text in shard.values()]
    assert texts == [HOSTILE] * 30
    assert {query["prompt"] for query in blocks["meta"]["queries"]} == {SURROGATE}
    assert {query["task"] for query in blocks["meta"]["queries"]} == {HOSTILE}
    snippets = [text_of(e) for e in find(tree, "td", "snippet")]
    assert all(snippet.startswith("<script>window.PWN=1</script><img src=x") for snippet in snippets)
    assert len(snippets) >= 30


def test_nothing_invisible_is_left_in_the_file(hostile: tuple[Path, ET.Element]) -> None:
    page = hostile[0].read_text(encoding="utf-8")
    assert not re.search(
        "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff\ufffe]", page
    )
    assert "49" not in re.findall(r"\{\{7\*7\}\}|>49<", page)
    assert "{{7*7}}" in page


def test_policy_allows_one_style_sheet_one_script_and_nothing_else(hostile: tuple[Path, ET.Element]) -> None:
    _, tree = hostile
    metas = find(tree, "meta")
    assert metas[0].get("charset") == "utf-8"
    assert metas[1].get("http-equiv") == "Content-Security-Policy"
    (style,) = find(tree, "style")
    digest = base64.b64encode(hashlib.sha256((style.text or "").encode()).digest()).decode()
    (program,) = [e for e in find(tree, "script") if e.get("type") != "text/plain"]
    program_digest = base64.b64encode(hashlib.sha256((program.text or "").encode()).digest()).decode()
    assert metas[1].get("content") == (
        f"default-src 'none'; script-src 'sha256-{program_digest}'; style-src 'sha256-{digest}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    assert not re.search(r"url\(|@import|https?:", style.text or "")


def check_structure(tree: ET.Element) -> None:
    ids = [element.get("id") for element in tree.iter() if element.get("id")]
    assert len(ids) == len(set(ids))
    known = set(ids)
    for element in tree.iter():
        for reference in element.get("aria-labelledby", "").split():
            assert reference in known
        href = element.get("href") or element.get("{http://www.w3.org/1999/xlink}href") or ""
        if href.startswith("#"):
            assert href[1:] in known
        for target in re.findall(r"url\(#([^)]+)\)", " ".join(element.attrib.values())):
            assert target in known
    levels = [int(e.tag[-1]) for e in tree.iter() if re.fullmatch(re.escape(HTML) + r"h[1-6]", str(e.tag))]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    for region in find(tree, "div", "scroll"):
        assert region.get("tabindex") == "0"
        assert region.get("role") == "region"


def visible(tree: ET.Element) -> str:
    (main,) = find(tree, "main")
    return " ".join(text_of(main).split())


def test_structure_of_the_hostile_page(hostile: tuple[Path, ET.Element]) -> None:
    check_structure(hostile[1])


def tasks(number: int) -> dict[str, Any]:
    return {"task": "slopes", "group": "reasoning"} if number % 2 else {"task": "facts", "group": "factual"}


EDGE_CASES: dict[str, tuple[Any, dict[str, Any]]] = {
    "one query, one document": ([[1.0]], {}),
    "one query": (np.arange(40.0)[None] - 20, {}),
    "one document": ([[1.0], [-2.0]], {}),
    "constant rows": ([[2.0] * 30, list(range(30)), [0.0] * 30], {}),
    "all negative": (-1 - np.arange(60.0).reshape(2, 30), {}),
    "ties": (np.arange(60.0).reshape(2, 30) // 7, {}),
    "no document gradient": (np.ones((2, 30)), {"gradient_norm": np.zeros(30)}),
    "no loss": (np.arange(60.0).reshape(2, 30), {"query_nll": np.array([0.0, 1.0])}),
    "tiny": (np.arange(60.0).reshape(2, 30) * 1e-30, {}),
    "huge": (np.arange(60.0).reshape(2, 30) * 1e30, {}),
    "empty source": (
        [[1.0, 2, 3]],
        {"documents": [make_document(n, source="" if n else "wiki") for n in range(3)]},
    ),
    "empty texts": (
        [[1.0, 2]],
        {"queries": [make_query(0, prompt="", completion="", answer="", correct=None)]},
    ),
    "nothing recorded": ([[1.0, 2]], {"config": {}, "provenance": {}}),
    "odd records": (
        [[1.0, 2]],
        {"config": {"hessian": 3, "layers": "mlp", "damping": None}, "provenance": {"seconds": "1"}},
    ),
    "many tasks": (np.eye(30, 40), {"queries": [make_query(n, task=f"t{n}") for n in range(30)]}),
    "two groups": (np.eye(6, 40), {"queries": [make_query(n, **tasks(n)) for n in range(6)]}),
}


#: Those that are shown without texts too.
SHOWN_LESS = ("one query, one document", "empty texts", "many tasks")


@pytest.mark.parametrize("case", EDGE_CASES)
@pytest.mark.filterwarnings("error")
def test_edge_cases_say_why_and_show_no_nan(
    tmp_path: Path, case: str, request: pytest.FixtureRequest
) -> None:
    dot, fields = EDGE_CASES[case]
    run = write_scores(tmp_path / "run", dot, **fields).folder
    for texts in ("full", "snippet", "none") if case in SHOWN_LESS else ("full",):
        if texts != "full":  # the charts are the same
            request.getfixturevalue("undrawn")
        tree = parse(write_report(run, tmp_path / "r.html", texts=texts, k=3))  # type: ignore[arg-type]
        check_structure(tree)
        shown = visible(tree).split('"config"')[0]
        assert not re.search(r"\b(nan|NaN|inf|None|null|True|False)\b", shown), shown
    said = {
        "one query, one document": "no pair to correlate",
        "one document": "R takes two documents; there is one.",
        "constant rows": "Not defined for 2 queries whose scores are all equal: slopes-00, slopes-02.",
        "all negative": "No document has a positive score",
        "no loss": "per nat is not defined",
        "empty source": "(empty)",
        "nothing recorded": "not recorded",
        "many tasks": "the 12 largest of 30 tasks",
    }
    assert said.get(case, "") in visible(tree)


@pytest.mark.usefixtures("undrawn")
def test_shows_what_the_store_holds(tmp_path: Path) -> None:
    dot = np.random.default_rng(5).normal(size=(2, 400))
    norm = np.random.default_rng(6).uniform(0.2, 5, 400)
    scores = write_scores(tmp_path / "my run", dot, gradient_norm=norm, query_nll=np.array([2.0, 4.0]))
    tree = parse(write_report(scores.folder, tmp_path / "r.html", k=5))
    shown = visible(tree)
    assert SIGN_STATEMENT in shown
    assert all(unit in shown for unit in READING_UNITS.values())
    assert "my run" in text_of(find(tree, "h1")[0])
    for fact in (
        "tiny-model",
        "tiny-corpus",
        "400",
        "0.1 × mean eigenvalue",
        "2 linear layers",
        "float32",
        "0123456789ab",
    ):
        assert fact in shown
    first = find(tree, "details", "query")[0]
    assert first.get("open") is not None
    assert all(e.get("open") is None for e in find(tree, "details", "query")[1:])
    table = top_table(scores, 5, bottom=True)
    expected = table[(table["query"] == "slopes-00") & (table["end"] == "top")].head(5)
    rows = [[text_of(cell).strip() for cell in row] for row in find(first, "tr") if find(row, "td")]
    assert len(rows) == 5
    for row, (_, record) in zip(rows, expected.iterrows(), strict=True):
        assert [row[0], row[1]] == [str(record["rank_normed"]), str(record["rank_dot"])]
        for cell, name in zip(row[2:5], ("normed", "dot", "per_nat"), strict=True):
            assert float(cell.replace("−", "-")) == pytest.approx(record[name], rel=2e-3, abs=6e-4)
        assert row[5] == ("▲raises" if record["dot"] > 0 else "▼lowers")
        assert row[6:8] == [record["source"], record["document"]]
        assert row[8] == scores.documents.text(int(record["column"]))
    meta = blocks_of(tree)["meta"]
    assert len(meta["lists"]) == 2
    for place, listed in enumerate(meta["lists"]):
        own = table[table["query"] == meta["queries"][place]["id"]].sort_values("rank_normed")
        own = own.drop_duplicates("document")
        assert [meta["docs"]["id"][doc] for doc in listed["d"]] == own["document"].to_list()
        assert listed["rn"] == own["rank_normed"].to_list()
        assert listed["rd"] == own["rank_dot"].to_list()
        assert listed["n"] == pytest.approx(own["normed"].to_list(), rel=1e-8)
        assert listed["s"] == pytest.approx(own["dot"].to_list(), rel=1e-8)
    manifest = read_manifest(scores.folder)
    assert json.loads(find(tree, "pre")[0].text or "") == manifest


@pytest.mark.usefixtures("undrawn")
def test_the_order_follows_the_reading(tmp_path: Path) -> None:
    norm = np.geomspace(0.01, 100, 50)
    scores = write_scores(tmp_path / "run", np.linspace(1, 2, 50)[None], gradient_norm=norm)
    for by, place in (("normed", 0), ("dot", 1), ("per_nat", 1)):
        tree = parse(write_report(scores.folder, tmp_path / "r.html", k=4, by=by))  # type: ignore[arg-type]
        ranks = [int(text_of(row[place])) for row in find(tree, "tr") if find(row, "td", "snippet")]
        assert len(ranks) == 4
        assert ranks == sorted(ranks)


@pytest.mark.usefixtures("undrawn")
def test_texts_none_shows_no_text(tmp_path: Path) -> None:
    secret = "xylophone"
    scores = write_scores(
        tmp_path / "run",
        np.random.default_rng(0).normal(size=(2, 20)),
        queries=[
            make_query(n, prompt=f"{secret} p", completion=f"{secret} c", answer=secret) for n in range(2)
        ],
        documents=[make_document(n, text=f"{secret} {n}") for n in range(20)],
    )
    path = write_report(scores.folder, tmp_path / "none.html", texts="none")
    assert secret not in path.read_text()
    assert secret not in json.dumps(blocks_of(parse(path)))
    shown = visible(parse(path))
    for said in ("doc-3", "slopes-01", "licence or privacy"):
        assert said in shown
    for texts in ("full", "snippet"):
        tree = parse(write_report(scores.folder, tmp_path / "r.html", texts=texts))  # type: ignore[arg-type]
        assert secret in visible(tree)
        shards = [key for key in blocks_of(tree) if key.startswith("t-")]
        assert bool(shards) == (texts == "full")


def test_the_same_store_gives_the_same_bytes(tmp_path: Path) -> None:
    run = write_scores(
        tmp_path / "run",
        np.random.default_rng(0).normal(size=(6, 50)),
        queries=[make_query(n, **tasks(n)) for n in range(6)],
        documents=[make_document(n, source=f"s{n % 7}") for n in range(50)],
    ).folder
    code = "import sys, influence.report.pages as p; p.write_report(sys.argv[1], sys.argv[2], texts='full')"
    for seed in ("1", "2"):
        command = [sys.executable, "-c", code, str(run), str(tmp_path / f"{seed}.html")]
        subprocess.run(command, check=True, env={**os.environ, "PYTHONHASHSEED": seed})
    assert (tmp_path / "1.html").read_bytes() == (tmp_path / "2.html").read_bytes()


@pytest.mark.usefixtures("undrawn")
def test_a_page_too_large_is_cut_and_says_so(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    run = write_scores(
        tmp_path / "run",
        rng.normal(size=(6, 80)),
        documents=[make_document(n, text=rng.bytes(9_000).hex()) for n in range(80)],
    ).folder
    sizes = [write_report(run, tmp_path / "whole.html", k=30).stat().st_size]
    assert sizes[0] > 600_000
    assert "Cut, to stay under" not in visible(parse(tmp_path / "whole.html"))
    said = []
    for _ in range(5):  # 20: the page prints its budget, which may be some digits shorter
        path = write_report(run, tmp_path / "cut.html", k=30, max_mb=(sizes[-1] - 20) / 1e6)
        assert path.stat().st_size < sizes[-1]
        sizes.append(path.stat().st_size)
        items = [text_of(item) for item in find(parse(path), "li")]
        said.append([item.split(": ", 1)[1] for item in items if "Cut, to stay under" in item])
    around = "(around the strongest token, if it is known)"
    assert [cut[0] for cut in said] == [
        f"texts of documents, to 2,000 characters {around}.",
        f"texts of documents, to 500 characters {around}.",
        *["texts of documents, to their first 160 characters."] * 3,
    ]
    assert [cut[1:] for cut in said] == [
        [],
        [],
        [],
        ["documents of each list, from 30 to 20."],
        ["documents of each list, from 30 to 10."],
    ]
    with pytest.raises(InputError, match="does not fit") as caught:
        write_report(run, tmp_path / "none.html", max_mb=0.01)
    assert "static page" in str(caught.value)
    assert "queries and lists" in str(caught.value)
    assert not (tmp_path / "none.html").exists()


@pytest.mark.usefixtures("undrawn")
def test_json_holds_what_the_page_shows(tmp_path: Path) -> None:
    scores = write_scores(tmp_path / "run", np.random.default_rng(0).normal(size=(3, 60)))
    page = blocks_of(parse(write_report(scores.folder, tmp_path / "r.html")))
    data = json.loads(write_report(scores.folder, tmp_path / "r.json", format="json").read_text())
    assert data["schema"] == 1
    assert data["manifest"] == read_manifest(scores.folder)
    assert data["queries"] == page["meta"]["queries"]
    assert data["lists"] == page["meta"]["lists"]
    assert data["figures"]["cumulative"] == page["f-cumulative"]
    assert data["texts"] == {
        k: v for key, shard in page.items() if key.startswith("t-") for k, v in shard.items()
    }


def test_figures_for_papers(tmp_path: Path) -> None:
    run = write_scores(tmp_path / "run", np.random.default_rng(0).normal(size=(3, 60))).folder
    written = write_figures(run, tmp_path / "figures")
    names = {path.name for path in written}
    assert names == {path.name for path in (tmp_path / "figures").iterdir()}
    assert not any(name.startswith("thumbnail") for name in names)
    assert {"correlation.svg", "correlation.pdf", "cumulative-positive-1-1.svg", "curve-1.pdf"} <= names
    for pdf in (tmp_path / "figures").glob("*.pdf"):
        assert b"/Type3" not in pdf.read_bytes(), pdf.name  # journals take TrueType
    drawn = (tmp_path / "figures" / "cumulative-positive-1-1.svg").read_text()
    assert "'DejaVu Sans', " in drawn
    assert "sans-serif" in drawn
    assert "#0072b2" in drawn
    assert not [ink for ink in PAPER if ink in drawn]


def analysed_store(folder: Path) -> Scores:
    """A store with every analysis that makes a figure: three stages, answers, relations, marks of right and wrong."""
    queries = [
        make_query(n, **tasks(n), correct=(True, False, None)[n % 3], prompt=f"Question {n}?")
        for n in range(12)
    ]
    documents = [make_document(n, source=f"s{n % 3}" if n else "rare") for n in range(300)]
    rng = np.random.default_rng(0)
    norm = rng.uniform(0.5, 2, 300)
    unskilled = [make_query(n, **tasks(n), correct=False, prompt=f"Question {n}?") for n in range(12)]
    early, middle, scores = (
        write_scores(
            folder / name,
            rng.normal(size=(12, 300)),
            queries=asked,
            documents=documents,
            gradient_norm=norm,
            query_nll=np.arange(1.0, 13.0),
        )
        for name, asked in (("early", unskilled), ("middle", queries), ("run", queries))
    )
    counts = pd.DataFrame({"group": ["reasoning"], "label": ["other"], "count": [3], "of": [6]})
    made = {
        "answers": answer_tables(scores, "normed", "task", 100, scan=False),
        "stages": checkpoint_tables([("a", early), ("m", middle), ("b", scores)], "normed", "group", 50),
        "correlation": cross_tables(early, scores, "normed"),
        "relations": {
            "relations": pd.DataFrame({"query": [], "column": [], "label": [], "justification": []}),
            "counts": counts.assign(share=0.5, low=0.25, high=0.75),
        },
    }
    for name, tables in made.items():
        runs = [early, middle, scores] if name == "stages" else [scores]
        write_tables(tables, scores.folder / "analysis" / name, runs)
    return scores


@dataclass(frozen=True)
class Rendered:
    """A report with every figure, the records behind each, and what matplotlib drew, by the name of the drawing."""

    scores: Scores
    tree: ET.Element
    data: dict[str, pd.DataFrame]
    drawn: dict[str, Any]


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Rendered:
    scores = analysed_store(tmp_path_factory.mktemp("figures"))
    drawn: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("influence.report.drawing.export", lambda figure, name: drawn.update({name: figure}))
        tree = parse(write_report(scores.folder, scores.folder / "r.html"))
    blocks = {key[2:]: block for key, block in blocks_of(tree).items() if key.startswith("f-")}
    data = {key: pd.DataFrame(block["rows"], columns=block["columns"]) for key, block in blocks.items()}
    return Rendered(scores, tree, data, drawn)


def lines_of(figure: Any) -> dict[str, Any]:
    """Lines by gid: their x and y, without what is not drawn."""
    return {
        line.get_gid(): np.column_stack([line.get_xdata(), line.get_ydata()]).astype(float)
        for line in figure.axes[0].get_lines()
        if line.get_gid()
    }


def bands_of(figure: Any) -> dict[str, Any]:
    """Corners of the bands by gid."""
    return {
        band.get_gid(): band.get_paths()[0].vertices
        for band in figure.axes[0].collections
        if str(band.get_gid()).endswith("-band")
    }


def series_are(figure: Any, table: pd.DataFrame, x: str, y: str, band: tuple[Any, Any] | None = None) -> None:
    """Every line is the rows of one label, in their order, and its band is between the two given."""
    lines, bands = lines_of(figure), bands_of(figure)
    own = [line for gid, line in lines.items() if re.fullmatch(r"label-\d+", gid)]
    parts = [part for _, part in table.groupby("label", sort=False)]
    assert len(own) == len(parts) > 0
    for nth, (line, part) in enumerate(zip(own, parts, strict=True)):
        np.testing.assert_allclose(line, part[[x, y]].to_numpy(float), rtol=1e-9)
        if band is None:
            assert f"label-{nth}-band" not in bands
            continue
        if "n" in part and part["n"].iloc[-1] < FEW:
            assert f"label-{nth}-band" not in bands  # too few queries for a band
            continue
        corners = {(round(a, 9), float(f"{b:.9g}")) for a, b in bands[f"label-{nth}-band"]}
        for at, *ends in zip(part[x], band[0](part), band[1](part), strict=True):
            assert all((round(at, 9), float(f"{end:.9g}")) in corners for end in ends)


def check_cumulative(made: Rendered) -> set[str]:
    table, names = made.data["cumulative"], set()
    measures = (("share_mean", "share_sd"), ("mean", "sd"))
    at = itertools.product(("positive", "negative"), (0, 1), (0, 1), (0, 1))
    for side, measure, unit, of in at:
        name = f"cumulative-{side}-{measure + 1}-{unit + 1}-{of + 1}"
        own = table[(table["side"] == side) & (table["unit"] == ("percent", "documents")[unit])]
        own = own[own["queries"] == ("all", "answered right")[of]]
        mean, sd = measures[measure]
        series_are(
            made.drawn[name],
            own,
            "at",
            mean,
            (lambda t, m=mean, s=sd: t[m] - t[s], lambda t, m=mean, s=sd: t[m] + t[s]),
        )
        names.add(name)
    curves = concentration(made.scores, "per_nat")
    ids = [query.id for query in made.scores.queries if query.group == "factual" and query.correct]
    for side, unit, at_ in (("positive", "percent", 10.0), ("negative", "documents", 20.0)):
        own = curves[(curves["side"] == side) & (curves["unit"] == unit) & (curves["at"] == at_)]
        own = own[own["query"].isin(ids)]
        row = table[(table["side"] == side) & (table["unit"] == unit) & (table["at"] == at_)]
        (row,) = row[(row["label"] == "factual") & (row["queries"] == "answered right")].to_dict("records")
        assert row["n"] == len(ids) == 2
        assert row["mean"] == pytest.approx(own["cumulative"].mean())
        assert row["share_mean"] == pytest.approx(own["share"].mean())
    return names


def check_curves(made: Rendered) -> set[str]:
    table, names = made.data["curves"], set()
    laws = power_law(made.scores, 500, "normed").query("side == 'positive'").set_index("query")
    for nth, (_, own) in enumerate(table.groupby("label", sort=False), 1):
        figure = made.drawn[f"curve-{nth}"]
        lines = lines_of(figure)
        for place, (query, part) in enumerate(own.groupby("query", sort=False)):
            score = part["score"].where(part["score"] > 0)
            np.testing.assert_allclose(
                lines[f"query-{place}"], np.column_stack([part["rank"], score]), rtol=1e-9
            )
            assert part["slope"].iloc[0] == pytest.approx(laws["slope"][query])
        first = own[own["query"] == own["query"].iloc[0]]
        np.testing.assert_allclose(lines["fit"], first[["rank", "fit"]].to_numpy(float), rtol=1e-9)
        median = first[["rank"]].assign(median=first["median"].where(first["median"] > 0))
        np.testing.assert_allclose(lines["median"], median.to_numpy(float), rtol=1e-9)
        (said,) = {text.get_text() for text in figure.axes[0].texts}
        mean, se = own.drop_duplicates("query")["slope"].mean(), own.drop_duplicates("query")["slope"].sem()
        law = f"α = {mean:.2f} ± {se:.1g}".replace("-", "−")
        assert said == law or (own["bends"].all() and said.startswith("no power law: α = "))
        names.add(f"curve-{nth}")
    return names


def check_sources(made: Rendered) -> set[str]:
    table, names = made.data["source-curves"], set()
    for end in ("top", "bottom"):
        own = table[table["end"] == end]
        for place, (_, part) in enumerate(own.groupby("source", sort=False), 1):
            name = f"sources-{end}-{place}"
            drawn = part[part["multiplier"] > 0]
            series_are(made.drawn[name], drawn, "k", "multiplier", (lambda t: t["high"], lambda t: t["high"]))
            zeros = [line[:, 0].tolist() for gid, line in lines_of(made.drawn[name]).items() if "zero" in gid]
            wanted = [
                zero["k"].tolist() for _, zero in part[part["multiplier"] == 0].groupby("label", sort=False)
            ]
            assert zeros == wanted
            names.add(name)
    (figure,) = [f for f in find(made.tree, "figure") if f.get("data-figure") == "source-curves"]
    matrices = find(figure, "table", "matrix")
    cells = [
        text_of(cell)
        for matrix in matrices
        for cell in find(matrix, "td")
        if cell.get("class") != "number muted"
    ]
    multipliers = table.groupby(["end", "label", "source"], sort=False)["multiplier"].apply(list)
    order = [(e, la) for e in ("top", "bottom") for la in dict.fromkeys(table["label"])]
    sources_ = dict.fromkeys(table["source"])
    wanted_cells = [value for e, la in order for source in sources_ for value in multipliers[e, la, source]]
    assert len(cells) == len(wanted_cells)
    for cell, value in zip(cells, wanted_cells, strict=True):
        assert float(cell) == pytest.approx(value, abs=0.00501 if value < 10 else 0.501)
    return names


def check_answers(made: Rendered) -> set[str]:
    table, names = made.data["answers"], set()
    for nth, (_, own) in enumerate(table.groupby("method", sort=False), 1):
        figure = made.drawn[f"answers-{nth}"]
        series_are(figure, own, "k", "share", (lambda t: t["low"], lambda t: t["high"]))
        names.add(f"answers-{nth}")
    assert (table["share"] == table["found"] / table["n"]).all()
    found = answer_tables(made.scores, "normed", "task", 100, scan=False)["found"].set_index("query")["rank"]
    asked = {query.id: query.group for query in made.scores.queries if query.correct}
    for row in table.to_dict("records"):
        own = found[[name for name, group in asked.items() if group == row["label"]]]
        assert (row["found"], row["n"]) == ((own <= row["k"]).sum(), len(own))
    return names


def check_answers_by_query(made: Rendered) -> set[str]:
    table = made.data["answers-queries"]
    (figure,) = [f for f in find(made.tree, "figure") if f.get("data-figure") == "answers-queries"]
    shown = [[text_of(cell) for cell in row] for row in find(figure, "tr")[1:]]
    assert [cells[0] for cells in shown] == table["query"].tolist()
    assert len(shown) == sum(query.correct is True for query in made.scores.queries)
    tables = answer_tables(made.scores, "normed", "task", 100, scan=False)
    found, hits = tables["found"].set_index("query"), tables["hits"]
    for cells, row in zip(shown, table.to_dict("records"), strict=True):
        rank = found["rank"][row["query"]]
        assert cells[2] == ("–" if np.isnan(rank) else str(int(rank)))
        best = hits[hits["query"] == row["query"]].groupby("part")["rank_normed"].min().sort_values()
        assert cells[3] == (", ".join(f"{part} {best[part]}" for part in best.index) or "0 of 1")
        assert pd.isna(row["document"]) or cells[4].startswith(row["document"])
    assert table["document"].notna().any()
    return set()


def check_correlation(made: Rendered) -> set[str]:
    table, order = made.data["correlation"], task_order(made.scores.queries)
    r_QQ = correlation(made.scores, "normed").to_numpy()[np.ix_(order, order)]
    image = np.asarray(made.drawn["correlation"].axes[0].get_images()[0].get_array(), float)
    above = np.triu_indices(len(order), 1)
    np.testing.assert_allclose(table["r"], r_QQ[above], atol=1e-6)
    np.testing.assert_allclose(np.round(255 * table["r"].abs()), image[above][:, 3], atol=1)
    assert (image[above][:, 2] == np.where(table["r"] > 0, 0xAC, 0x06)).all()
    return {"correlation"}


def check_distribution(made: Rendered) -> set[str]:
    table, labels = made.data["correlation-distribution"], np.array(task_labels(made.scores.queries))
    above = np.triu(np.ones((len(labels), len(labels)), bool), 1)
    same = labels[:, None] == labels[None, :]
    r_QQ = correlation(made.scores, "normed").to_numpy()
    for label, kind in (("of one task", same), ("of different tasks", ~same)):
        values, own = r_QQ[above & kind], table[table["label"] == label]
        assert own["pairs"].tolist() == np.histogram(values, np.linspace(-1, 1, 21))[0].tolist()
        assert own["pairs"].sum() == len(values) > 0
    series_are(made.drawn["correlation-distribution"], table.assign(x=table["low"] + 0.05), "x", "share")
    return {"correlation-distribution"}


def check_pair(made: Rendered) -> set[str]:
    table = made.data["pair"]
    for row, (_, own) in enumerate(table.groupby("task", sort=False)):
        lines = lines_of(made.drawn["pair-r"])
        assert lines[f"r-{row}"][:, 0].tolist() == own["r"].tolist()
        assert lines[f"mean-{row}"][0, 0] == own["mean"].iloc[0] == pytest.approx(own["r"].mean())
        assert lines[f"bar-{row}"][:, 0].tolist() == own[["low", "high"]].iloc[0].tolist()
    return {"pair-r"}


def check_pair_ratios(made: Rendered) -> set[str]:
    table, names = made.data["pair-ratios"], set()
    for nth, (_, own) in enumerate(table.groupby("signs", sort=False), 1):
        series_are(made.drawn[f"pair-ratios-{nth}"], own, "log2_ratio", "share")
        names.add(f"pair-ratios-{nth}")
    assert table.groupby("label")["share"].sum().to_list() == pytest.approx([1.0, 1.0])
    return names


def check_comparable(made: Rendered) -> set[str]:
    """Each panel is one measure, its lines the labels; what is tabled is what the stores say."""
    table, names = made.data["stages"], set()
    place = {stage: number for number, stage in enumerate(("a", "m", "b"))}
    table = table.assign(x=table["stage"].map(place)).fillna({"with": "", "source": ""})
    drawn = table[table["value"].notna()]
    band = (lambda t: t["low"], lambda t: t["high"])
    measures = drawn[drawn["source"] == ""].groupby(["measure", "with"], sort=False)
    sources = drawn[drawn["source"] != ""].groupby("source", sort=False)
    assert [measure for measure, _ in measures] == [
        ("accuracy", ""),
        *(
            (m, w)
            for w in ("first", "previous")
            for m in ("overlap of the top 50", "RBO", "R of a query's scores")
        ),
        ("R between the queries of a label", ""),
    ]
    assert len(sources) == 4
    for parts, kind in ((measures, "stages"), (sources, "stages-source")):
        for nth, (key, own) in enumerate(parts, 1):
            figure = made.drawn[f"{kind}-{nth}"]
            series_are(figure, own, "x", "value", None if key[0] == "accuracy" else band)
            names.add(f"{kind}-{nth}")
    check_stage_values(made.scores, table)
    return names


def check_stage_values(scores: Scores, table: pd.DataFrame) -> None:
    """The table of F7 against the stores: one stage, one group, every measure."""
    stores = {
        "a": open_scores(scores.folder.parent / "early"),
        "m": open_scores(scores.folder.parent / "middle"),
    }
    stores["b"] = scores
    ids = [query.id for query in scores.queries if query.group == "factual"]
    own = table[(table["stage"] == "b") & (table["label"] == "factual")].set_index(["measure", "with"])
    marks = [query.correct for query in scores.queries if query.id in ids and query.correct is not None]
    accuracy = own.loc[("accuracy", "")]
    assert (accuracy["value"], accuracy["n"]) == (np.mean(marks), len(marks))
    assert accuracy["low"] < accuracy["value"] < accuracy["high"]
    for other, stage in (("first", "a"), ("previous", "m")):
        shared = [overlap(scores.ranking(one, 50), stores[stage].ranking(one, 50), 50) for one in ids]
        assert own.loc[("overlap of the top 50", other), "value"] == pytest.approx(np.mean(shared))
    r_QQ = correlation(scores, "normed").loc[ids, ids].to_numpy()
    within = own.loc[("R between the queries of a label", "")]
    assert within["value"] == pytest.approx(r_QQ[~np.eye(len(ids), dtype=bool)].mean())
    assert within["n"] == len(ids) * (len(ids) - 1) // 2
    listed = np.concatenate([scores.documents.sources[scores.ranking(one, 50)] for one in ids])
    shares = own.xs("share of the top 50").set_index("source")["value"]
    assert shares.to_dict() == pytest.approx({source: np.mean(listed == source) for source in shares.index})
    assert shares.sum() == pytest.approx(1)


def check_stage_overlap(made: Rendered) -> set[str]:
    table = made.data["stage-overlap"]
    (figure,) = [f for f in find(made.tree, "figure") if f.get("data-figure") == "stage-overlap"]
    shown = [text_of(cell) for matrix in find(figure, "table", "matrix") for cell in find(matrix, "td")]
    value = {(m, *sorted((a, b))): f"{v:.2f}" for a, b, m, v in table.itertuples(index=False, name=None)}
    assert shown == [
        "1" if a == b else value[(m, *sorted((a, b)))]
        for m in dict.fromkeys(table["measure"])
        for a, b in itertools.product("amb", repeat=2)
    ]
    return set()


def check_stage_mix(made: Rendered) -> set[str]:
    """Shares of positive influence: what is drawn is what is tabled, and that is what the last store says."""
    table = made.data["stage-mix"]
    place = {stage: number for number, stage in enumerate(("a", "m", "b"))}
    table = table.assign(x=table["stage"].map(place))
    band = (lambda t: t["low"], lambda t: t["high"])
    held = table[table["what"] == "first 1 %"]
    series_are(made.drawn["stage-held"], held, "x", "share", band)
    names = {"stage-held"}
    kinds = table[table["what"] != "first 1 %"]
    for nth, (_, own) in enumerate(kinds.groupby("what", sort=False), 1):
        series_are(made.drawn[f"stage-mix-{nth}"], own, "x", "share", band)
        names.add(f"stage-mix-{nth}")
    ids = [query.id for query in made.scores.queries if query.group == "factual"]
    wanted: dict[str, list[float]] = {}
    for one in ids:
        gain = np.maximum(made.scores.row(one, "per_nat"), 0)
        for source in dict.fromkeys(made.scores.documents.sources):
            own_D = made.scores.documents.sources == source
            wanted.setdefault(source, []).append(gain[own_D].sum() / gain.sum())
    own = kinds[(kinds["stage"] == "b") & (kinds["label"] == "factual")].set_index("what")["share"]
    assert own.to_dict() == pytest.approx({source: np.mean(shares) for source, shares in wanted.items()})
    return names


def check_relations(made: Rendered) -> set[str]:
    (row,) = made.data["relations"].to_dict("records")
    (figure,) = [f for f in find(made.tree, "figure") if f.get("data-figure") == "relations"]
    shown = [text_of(cell) for cell in find(figure, "td")]
    assert shown == [row["label"], row["relation"], str(row["count"]), str(row["of"]), "50 %", "25–75 %"]
    return set()


def check_source_bars(made: Rendered) -> set[str]:
    """A bar begins at 1 and ends at the multiplier, its thin line spans the interval; zeros end at the left edge."""
    table = made.data["source-bars"]
    plot = made.drawn["source-bars"].axes[0]
    rows = [text.get_text() for text in plot.get_yticklabels()]
    spans = {lines.get_gid(): np.array(lines.get_segments())[:, :, 0] for lines in plot.collections}
    for nth, (_, part) in enumerate(table.groupby("label", sort=False)):
        own = part.set_index("source").loc[rows]
        bars, ranges = spans[f"bars-{nth}-of"], spans[f"bars-{nth}-range"]
        floor = min(bars.min(), ranges.min())
        assert bars.min(axis=1) == pytest.approx(np.minimum(own["multiplier"], 1).clip(lower=floor))
        assert bars.max(axis=1) == pytest.approx(np.maximum(own["multiplier"], 1))
        assert ranges == pytest.approx(own[["low", "high"]].clip(lower=floor).to_numpy(float))
    return {"source-bars"}


CHECKS = {
    "correlation": check_correlation,
    "correlation-distribution": check_distribution,
    "cumulative": check_cumulative,
    "curves": check_curves,
    "answers": check_answers,
    "answers-queries": check_answers_by_query,
    "source-curves": check_sources,
    "source-bars": check_source_bars,
    "pair": check_pair,
    "pair-ratios": check_pair_ratios,
    "stages": check_comparable,
    "stage-overlap": check_stage_overlap,
    "stage-mix": check_stage_mix,
    "relations": check_relations,
}


@pytest.mark.parametrize("key", CHECKS)
def test_the_data_of_a_figure_are_what_is_drawn(rendered: Rendered, key: str) -> None:
    CHECKS[key](rendered)
    (figure,) = [f for f in find(rendered.tree, "figure") if f.get("data-figure") == key]
    (caption,) = find(figure, "figcaption")
    assert re.search(r"\bn[ :=]", text_of(caption)), text_of(caption)
    for svg in figure.iter("{http://www.w3.org/2000/svg}svg"):
        assert svg.get("role") == "img"
        title, description = list(svg)[:2]
        assert (title.tag[-5:], description.tag[-4:]) == ("title", "desc")
        assert title.text
        assert description.text


def test_no_figure_goes_unchecked(rendered: Rendered) -> None:
    keys = {figure.get("data-figure") for figure in find(rendered.tree, "figure")} - {None}
    assert keys == set(CHECKS) == set(rendered.data)
    claimed = set().union(*(check(rendered) for check in CHECKS.values()), {"first"})
    assert {name for name in rendered.drawn if not name.startswith("thumbnail")} == claimed


def test_the_first_picture_draws_the_pairs_of_the_headline(rendered: Rendered) -> None:
    scores = rendered.scores
    tasks = [query.task for query in scores.queries]
    r_QQ = correlation(scores, "normed").to_numpy()
    pairs = [(a, b) for a, b in itertools.combinations(range(len(tasks)), 2) if np.isfinite(r_QQ[a, b])]
    within, between = (
        np.mean([r_QQ[pair] for pair in pairs if (tasks[pair[0]] == tasks[pair[1]]) == same])
        for same in (True, False)
    )
    means = [line.get_xdata()[0] for line in rendered.drawn["first"].axes[0].get_lines()[:2]]
    assert means == pytest.approx([within, between])


def staged(folder: Path, names: str, group_by: Any = "task", **made: Any) -> tuple[ET.Element, pd.DataFrame]:
    """The figure of a report with these stages, and its data; queries and documents as `made`."""
    rng = np.random.default_rng(0)
    queries = made.get("queries") or [make_query(n, **tasks(n), correct=None) for n in range(12)]
    n_documents = len(made["documents"]) if "documents" in made else 60
    stores = [
        (
            name,
            write_scores(
                folder / name, rng.normal(size=(len(queries), n_documents)), **made | {"queries": queries}
            ),
        )
        for name in names
    ]
    run = stores[-1][1].folder
    write_tables(
        checkpoint_tables(stores, "normed", group_by, 50),
        run / "analysis" / "stages",
        [scores for _, scores in stores],
    )
    tree = parse(write_report(run, folder / "r.html"))
    (figure,) = [f for f in find(tree, "figure") if f.get("data-figure") == "stages"]
    block = blocks_of(tree)["f-stages"]
    return figure, pd.DataFrame(block["rows"], columns=block["columns"])


def titles(figure: ET.Element) -> list[str]:
    return [text_of(title) for title in find(figure, "h3")]


@pytest.mark.usefixtures("undrawn")
def test_two_stages_have_no_previous_one_and_no_accuracy_draws_none(tmp_path: Path) -> None:
    figure, table = staged(
        tmp_path, "ab", "group", documents=[make_document(n, source="one") for n in range(60)]
    )
    assert titles(figure) == [
        "overlap of the top 50 with the first stage",
        "RBO with the first stage",
        "R of a query's scores with the first stage",
        "R between the queries of a label",
    ]  # nor are there shares of a single source
    assert not find(figure, "fieldset")
    assert table[table["measure"] == "accuracy"]["value"].isna().all()
    (caption,) = find(figure, "figcaption")
    assert "raw sizes are not comparable" in text_of(caption)
    assert not re.search("Accuracy|Sources|Drawn", text_of(caption))


@pytest.mark.usefixtures("undrawn")
def test_many_labels_sources_and_stages_are_cut_and_said(tmp_path: Path) -> None:
    queries = [make_query(n, id=f"q{n}", task=f"task {n}") for n in range(6)]  # one query a label: no pair
    documents = [make_document(n, source=f"s{n % 9}") for n in range(90)]
    figure, table = staged(tmp_path, "abcdefghi", queries=queries, documents=documents)
    assert len(find(figure, "fieldset")) == 1
    assert len(titles(figure)) == 1 + 2 * 3 + 6
    assert "R between the queries of a label" not in titles(figure)
    assert "Drawn are 4 of 6 labels and 6 of 9 sources" in text_of(find(figure, "figcaption")[0])
    assert table["source"].nunique() == 9
    assert table["label"].nunique() == 6


@pytest.mark.usefixtures("undrawn")
def test_bm25_stands_beside_the_ranks(tmp_path: Path) -> None:
    scores = write_scores(tmp_path / "run", np.random.default_rng(0).normal(size=(2, 40)))
    without = visible(parse(write_report(scores.folder, tmp_path / "r.html", k=3)))
    assert "BM25" not in without
    top = scores.ranking("slopes-01", 1)
    known = {"query": ["slopes-01"], "column": top, "rank_bm25": [7]}
    write_tables({"documents": pd.DataFrame(known)}, scores.folder / "analysis" / "bm25", [scores])
    tree = parse(write_report(scores.folder, tmp_path / "r.html", k=3))
    cells = [[text_of(cell) for cell in row][2] for row in find(tree, "tr") if find(row, "td", "snippet")]
    assert cells == ["–", "–", "–", "7", "–", "–"]
    listed = blocks_of(tree)["meta"]["lists"]
    assert [ranks.count(7) for ranks in (one["b"] for one in listed)] == [0, 1]


@pytest.mark.usefixtures("undrawn")
def test_checks_say_what_was_run_and_what_was_not(tmp_path: Path) -> None:
    facts = {**PROVENANCE, "tokens": {"truncated": 30, "beyond_context": 4}}
    norm = np.r_[0.0, np.ones(39)]
    dot = np.random.default_rng(0).normal(size=(2, 40)) * (norm > 0)
    scores = write_scores(tmp_path / "run", dot, gradient_norm=norm, provenance=facts)

    def states() -> dict[str, str]:
        tree = parse(write_report(scores.folder, tmp_path / "r.html"))
        (listed,) = find(tree, "ul", "checks")
        return {text_of(find(item, "strong")[0]): item.get("class", "") for item in find(listed, "li")}

    before = states()
    assert before["Documents were scored whole"] == before["Every document has a gradient"] == "warn"
    assert before["Token scores add up to the score"] == before["The factors have converged"] == "not-run"
    assert before["Documents are no longer than the texts that the model was trained on"] == "warn"
    rows = [
        ("a text raises itself", "holds", "1 of 1"),
        ("token scores add up to the score", "does not hold", "off"),
    ]
    table = pd.DataFrame(rows, columns=["check", "state", "why"])
    write_tables({"checks": table}, scores.folder / "analysis" / "sanity", [scores])
    after = states()
    assert after["A text raises itself"] == "pass"
    assert after["Token scores add up to the score"] == "warn"
    assert "A memorised passage finds its near copies" not in after  # that table is all that was looked at


def test_sizes_add_up_to_the_page(rendered: Rendered) -> None:
    path = rendered.scores.folder / "r.html"
    (said,) = [e for e in find(rendered.tree, "p") if e.get("id") == "sizes"]
    whole, *parts = re.findall(r"([\d.]+) (kB|MB)", text_of(said))
    sizes = [float(n) * (1e3 if unit == "kB" else 1e6) for n, unit in (whole, *parts)]
    assert sizes[0] == pytest.approx(path.stat().st_size, rel=0.06)
    assert sum(sizes[1:]) == pytest.approx(sizes[0], rel=0.06)


def test_refusals(tmp_path: Path) -> None:
    run = write_scores(tmp_path / "run", [[1.0, 2.0]]).folder
    for arguments in ({"k": 0}, {"by": "cosine"}, {"texts": "some"}):
        with pytest.raises(InputError):
            write_report(run, tmp_path / "r.html", **arguments)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="is a folder"):
        write_report(run, tmp_path)
    bad = write_scores(tmp_path / "bad", [[1.0, np.inf]]).folder
    with pytest.raises(ComputeError):
        write_report(bad, tmp_path / "r.html")
    assert not (tmp_path / "r.html").exists()
    assert claim(tmp_path / "run", "scores", CONFIG)["status"] == "complete"  # the store is as it was


def test_only_three_places_trust_a_string() -> None:
    folder = Path(influence.report.__file__).parent
    sources = {
        path.name: path.read_text()
        for path in folder.rglob("*")
        if path.suffix in (".py", ".html", ".css", ".js")
    }
    assert len(sources) > 8
    trusted = [name for name, text in sources.items() for _ in re.findall(r"\bMarkup\(", text)]
    assert sorted(set(trusted)) == ["drawing.py", "page.py", "pages.py"]
    assert trusted.count("drawing.py") == 1
    program = script()
    for sink in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval",
        "new Function",
        "</",
    ):
        assert sink not in program
    assert "DOMParser" not in program
    for name, text in sources.items():
        assert name.endswith(".js") or not re.search(r"\|\s*safe\b", text), name
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|autoescape false",
            text,
        ), name
        if name.endswith(".html"):  # attributes are quoted; one script, no handler
            assert not re.search(r"=\{\{|\son\w+=", text), name
            assert text.count("<script") == (name == "report.html")


@given(st.text(max_size=60))
def test_pieces_lose_nothing(text: str) -> None:
    back = "".join(chr(int(piece[2:], 16)) if hidden else piece for hidden, piece in pieces(text))
    assert back == text
    shown = plain(text, 1000)
    assert shown.isprintable() or not any(c in shown for c in "\n\t\r\x00\u202e\u200b\u2028\ud800")
    assert "".join(breaks(text)) == text


def test_hidden_characters_are_named() -> None:
    assert (
        plain("a\u202eb\x00\n\ud800\u3164é\u00a0🙂") == "a⟨U+202E⟩b⟨U+0000⟩⟨U+000A⟩⟨U+D800⟩⟨U+3164⟩é\u00a0🙂"
    )
    assert list(pieces("a\r\nb\tc\r", lines=True)) == [(False, "a\nb\tc"), (True, "U+000D")]


def test_numbers() -> None:
    assert column([12.3456, -0.5, 0.0]) == ["12.35", "−0.50", "0"]
    assert column([1234567.0, 1.0]) == ["1,234,567", "1"]
    assert column([1e-9, -2.5e-9]) == ["1.000e−9", "−2.500e−9"]
    assert column([100.0, 1e-5]) == ["100.0", "1.000e−5"]  # never shown as zero
    assert column([float("nan"), 1.0]) == ["not defined", "1.000"]
    assert number(11.809) == "11.81"
    assert [signed(0.123), signed(-0.5), signed(-0.001), signed(float("nan"))] == [
        "+0.12",
        "−0.50",
        "0.00",
        "not defined",
    ]


@pytest.mark.usefixtures("undrawn")
def test_significance_stands_beside_the_means_once_it_was_computed(tmp_path: Path) -> None:
    scores = write_scores(
        tmp_path / "run",
        np.random.default_rng(0).normal(size=(8, 40)),
        queries=[make_query(n, id=f"q{n}", task="ab"[n % 2]) for n in range(8)],
    )
    page = write_report(scores.folder, tmp_path / "before.html").read_text(encoding="utf-8")
    assert "Intervals and permutations of the means of single pairs" in page
    assert "permutations of the tasks" not in page
    tables = influence.analyze("correlation", scores.folder, out=scores.folder / "analysis" / "correlation")
    text = text_of(parse(write_report(scores.folder, tmp_path / "after.html")))
    assert "R comes without a permutation" not in text
    test = tables["permutation"].iloc[0]
    assert f"mean R is {signed(test['within'])} within tasks and {signed(test['between'])} between" in text
    for row in tables["blocks"].to_dict("records"):
        assert f"{signed(row['low'])} to {signed(row['high'])}" in text
