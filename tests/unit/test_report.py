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
from pathlib import Path
from typing import Any

import html5lib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stores import CONFIG, PROVENANCE, make_document, make_query, write_scores

import influence.report
from influence.analysis.concentration import concentration
from influence.analysis.ranking import top_table
from influence.analysis.tables import answer_tables, stage_tables, write_tables
from influence.errors import ComputeError, InputError
from influence.report.inks import PAPER
from influence.report.pages import report
from influence.report.text import breaks, column, number, pieces, plain, signed
from influence.store.artefact import claim
from influence.store.scores import Scores
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
    report(hostile_store(folder).folder, out, texts="full")
    return out, parse(out)


def test_hostile_text_makes_no_element_and_no_attribute(hostile: tuple[Path, ET.Element]) -> None:
    _, tree = hostile
    tags = {element.tag.split("}")[1] for element in tree.iter() if isinstance(element.tag, str)}
    assert not tags & {"img", "iframe", "object", "embed", "form", "base", "b"}
    assert {e.get("type") for e in find(tree, "input")} == {"radio"}
    (program,) = [e for e in find(tree, "script") if e.get("type") != "text/plain"]
    assert program.text == (Path(influence.report.__file__).parent / "assets" / "report.js").read_text()
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
    assert bodies.count(SURROGATE) == 6  # prompt and completion of three queries
    assert len(bodies) == 6
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


@pytest.mark.parametrize("case", EDGE_CASES)
@pytest.mark.filterwarnings("error")
def test_edge_cases_say_why_and_show_no_nan(tmp_path: Path, case: str) -> None:
    dot, fields = EDGE_CASES[case]
    run = write_scores(tmp_path / "run", dot, **fields).folder
    for texts in ("full", "snippet", "none"):
        tree = parse(report(run, tmp_path / "r.html", texts=texts, k=3))  # type: ignore[arg-type]
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


def test_shows_what_the_store_holds(tmp_path: Path) -> None:
    dot = np.random.default_rng(5).normal(size=(2, 400))
    norm = np.random.default_rng(6).uniform(0.2, 5, 400)
    scores = write_scores(tmp_path / "my run", dot, gradient_norm=norm, query_nll=np.array([2.0, 4.0]))
    tree = parse(report(scores.folder, tmp_path / "r.html", k=5))
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
        assert row[6:] == [record["source"], record["document"], record["snippet"]]
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
    manifest = json.loads((scores.folder / "manifest.json").read_text())
    assert json.loads(find(tree, "pre")[0].text or "") == manifest


def test_the_order_follows_the_reading(tmp_path: Path) -> None:
    norm = np.geomspace(0.01, 100, 50)
    scores = write_scores(tmp_path / "run", np.linspace(1, 2, 50)[None], gradient_norm=norm)
    for by, place in (("normed", 0), ("dot", 1), ("per_nat", 1)):
        tree = parse(report(scores.folder, tmp_path / "r.html", k=4, by=by))  # type: ignore[arg-type]
        ranks = [int(text_of(row[place])) for row in find(tree, "tr") if find(row, "td", "snippet")]
        assert len(ranks) == 4
        assert ranks == sorted(ranks)


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
    path = report(scores.folder, tmp_path / "none.html", texts="none")
    assert secret not in path.read_text()
    assert secret not in json.dumps(blocks_of(parse(path)))
    shown = visible(parse(path))
    for said in ("doc-3", "slopes-01", "licence or privacy"):
        assert said in shown
    for texts in ("full", "snippet"):
        tree = parse(report(scores.folder, tmp_path / "r.html", texts=texts))  # type: ignore[arg-type]
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
    code = "import sys, influence.report.pages as p; p.report(sys.argv[1], sys.argv[2], texts='full')"
    for seed in ("1", "2"):
        command = [sys.executable, "-c", code, str(run), str(tmp_path / f"{seed}.html")]
        subprocess.run(command, check=True, env={**os.environ, "PYTHONHASHSEED": seed})
    assert (tmp_path / "1.html").read_bytes() == (tmp_path / "2.html").read_bytes()


def test_a_page_too_large_is_cut_and_says_so(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    run = write_scores(
        tmp_path / "run",
        rng.normal(size=(6, 80)),
        documents=[make_document(n, text=rng.bytes(9_000).hex()) for n in range(80)],
    ).folder
    sizes = [report(run, tmp_path / "whole.html", k=30).stat().st_size]
    assert sizes[0] > 600_000
    assert "Cut, to stay under" not in visible(parse(tmp_path / "whole.html"))
    said = []
    for _ in range(5):
        path = report(run, tmp_path / "cut.html", k=30, max_mb=(sizes[-1] - 1) / 1e6)
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
        report(run, tmp_path / "none.html", max_mb=0.01)
    assert "static page" in str(caught.value)
    assert "queries and lists" in str(caught.value)
    assert not (tmp_path / "none.html").exists()


def test_json_holds_what_the_page_shows(tmp_path: Path) -> None:
    scores = write_scores(tmp_path / "run", np.random.default_rng(0).normal(size=(3, 60)))
    page = blocks_of(parse(report(scores.folder, tmp_path / "r.html")))
    data = json.loads(report(scores.folder, tmp_path / "r.json", format="json").read_text())
    assert data["schema"] == 1
    assert data["manifest"] == json.loads((scores.folder / "manifest.json").read_text())
    assert data["queries"] == page["meta"]["queries"]
    assert data["lists"] == page["meta"]["lists"]
    assert data["figures"]["cumulative"] == page["f-cumulative"]
    assert data["texts"] == {
        k: v for key, shard in page.items() if key.startswith("t-") for k, v in shard.items()
    }


def test_figures_for_papers(tmp_path: Path) -> None:
    run = write_scores(tmp_path / "run", np.random.default_rng(0).normal(size=(3, 60))).folder
    report(run, tmp_path / "r.html", figures=tmp_path / "figures")
    names = {path.name for path in (tmp_path / "figures").iterdir()}
    assert {"correlation.svg", "correlation.pdf", "cumulative-positive-1-1.svg", "curve-1.pdf"} <= names
    drawn = (tmp_path / "figures" / "cumulative-positive-1-1.svg").read_text()
    assert "#0072b2" in drawn
    assert not [ink for ink in PAPER if ink in drawn]


def test_figures_show_their_tables(tmp_path: Path) -> None:
    scores = write_scores(
        tmp_path / "run",
        np.random.default_rng(0).normal(size=(6, 300)),
        queries=[make_query(n, **tasks(n)) for n in range(6)],
        documents=[make_document(n, source=f"s{n % 3}") for n in range(300)],
        query_nll=np.arange(1.0, 7.0),
    )
    tables = {
        "answers": answer_tables(scores, "normed", "task", 100, scan=False),
        "stages": stage_tables([("a", scores), ("b", scores)], "normed", "task", 50),
    }
    for name, made in tables.items():
        write_tables(made, scores.folder / "analysis" / name, {})
    tree = parse(report(scores.folder, tmp_path / "r.html"))
    blocks = blocks_of(tree)
    for figure in find(tree, "figure"):
        (caption,) = find(figure, "figcaption")
        assert re.search(r"\bn[ :=]", text_of(caption)), text_of(caption)
        key = figure.get("data-figure")
        assert key is None or f"f-{key}" in blocks
    keys = {key for key in blocks if key.startswith("f-")}
    assert keys == {"f-cumulative", "f-source-curves", "f-answers", "f-stages", "f-curves"}
    curves = concentration(scores, "per_nat")
    for side, unit, at, label in (
        ("positive", "percent", 10.0, "reasoning"),
        ("negative", "percent", 100.0, "factual"),
    ):
        ids = [query.id for query in scores.queries if query.group == label]
        part = curves[(curves["side"] == side) & (curves["unit"] == unit) & (curves["at"] == at)]
        wanted = part[part["query"].isin(ids)]["cumulative"].mean()
        columns, rows = blocks["f-cumulative"]["columns"], blocks["f-cumulative"]["rows"]
        records = [dict(zip(columns, row, strict=True)) for row in rows]
        (record,) = [
            r for r in records if (r["side"], r["unit"], r["at"], r["label"]) == (side, unit, at, label)
        ]
        assert record["mean"] == pytest.approx(wanted)
        assert record["n"] == 3
    found = tables["answers"]["found"]
    ids = [query.id for query in scores.queries if query.group == "reasoning"]
    rate = (found[found["query"].isin(ids)]["rank"] <= 20).mean()
    records = [
        dict(zip(blocks["f-answers"]["columns"], row, strict=True)) for row in blocks["f-answers"]["rows"]
    ]
    (record,) = [r for r in records if r["k"] == 20 and r["label"] == "reasoning"]
    assert record["share"] == pytest.approx(rate)
    assert record["low"] <= record["share"] <= record["high"]


def test_refusals(tmp_path: Path) -> None:
    run = write_scores(tmp_path / "run", [[1.0, 2.0]]).folder
    for arguments in ({"k": 0}, {"by": "cosine"}, {"texts": "some"}):
        with pytest.raises(InputError):
            report(run, tmp_path / "r.html", **arguments)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="is a folder"):
        report(run, tmp_path)
    bad = write_scores(tmp_path / "bad", [[1.0, np.inf]]).folder
    with pytest.raises(ComputeError):
        report(bad, tmp_path / "r.html")
    assert not (tmp_path / "r.html").exists()
    assert claim(tmp_path / "run", "scores", CONFIG)["status"] == "complete"  # the store is as it was


def test_only_two_places_trust_a_string() -> None:
    folder = Path(influence.report.__file__).parent
    sources = {
        path.name: path.read_text()
        for path in folder.rglob("*")
        if path.suffix in (".py", ".html", ".css", ".js")
    }
    assert len(sources) > 8
    trusted = [name for name, text in sources.items() for _ in re.findall(r"\bMarkup\(", text)]
    assert sorted(set(trusted)) == ["charts.py", "pages.py"]
    assert trusted.count("charts.py") == 1
    program = (folder / "assets" / "report.js").read_text()
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
        assert not re.search(
            r"\|\s*safe\b|innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|autoescape false",
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
