"""The report in a real browser, offline, from a file; numbers are those of the design's acceptance list."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from browser_reports import HOSTILE, SURROGATE, Made

from influence.analysis.agreement import overlap
from influence.report.concentration import cumulative
from influence.store.token_scores import open_token_scores

VIEWS = [
    "#/",
    "#/q",
    "#/q/q001",
    "#/q/q001?beside=1",
    "#/correlation",
    "#/curves",
    "#/sources",
    "#/answers",
    "#/relations",
    "#/stages",
    "#/provenance",
]
SIZES = [(360, 780), (768, 1000), (1440, 900)]
#: Text of an element with the chips of hidden characters mapped back.
BACK = """e => { const c = e.cloneNode(true); c.querySelectorAll('.chip').forEach(x =>
  x.replaceWith(String.fromCodePoint(parseInt(x.textContent.slice(2), 16)))); return c.textContent }"""


def first_document(made: Made, query: int = 1) -> tuple[int, str]:
    """Column and id of the first document of a query."""
    column = int(made.scores.ranking(made.scores.queries[query].id, 1)[0])
    return column, str(made.scores.documents.ids[column])


# -- 1, 2: loading


def test_1_loads_offline_without_a_request_or_a_message(visit: Any, made: Made) -> None:
    page = visit(made.page)
    assert page.title() == "run: influence report"
    for view in VIEWS:
        page.goto(made.page.as_uri() + view)
        page.wait_for_timeout(50)
    text = made.page.read_text(encoding="utf-8")
    for attribute in re.findall(r"""\s(?:src|href|action|srcset)=["']([^"']*)""", text):
        assert attribute.startswith(("#", "data:")), attribute
    assert "url(http" not in text
    assert "@import" not in text
    assert (
        page.evaluate(
            "performance.getEntriesByType('resource').filter(e => !e.name.startsWith('data:')).length"
        )
        == 0
    )


def test_3_hostile_text_is_text(visit: Any, evil: Made) -> None:
    page = visit(evil.page, "#/q")
    ids = page.eval_on_selector_all("#app td.id", f"cells => cells.map({BACK})")
    assert ids == [f"{n}{HOSTILE}"[:119] + "…" if len(HOSTILE) > 119 else f"{n}{HOSTILE}" for n in range(3)]
    page.locator("#app td.id a").first.click()
    page.wait_for_selector("#app dd.text")
    assert page.eval_on_selector_all("#app dd.text", f"cells => cells.map({BACK})") == [SURROGATE] * 2
    assert "{{7*7}}" in page.locator("#app").inner_text()
    page.locator("#app .documents td.id a").first.click()
    page.wait_for_selector("#text")
    assert page.eval_on_selector("#text", BACK) == HOSTILE
    assert "{{7*7}}" in page.locator("#app .found").first.inner_text()
    justified = page.eval_on_selector_all("#app .found .muted", f"cells => cells.map({BACK})")
    assert justified
    assert set(justified) == {HOSTILE}
    for view in (
        "#/",
        "#/sources",
        "#/answers",
        "#/relations",
        "#/stages",
        "#/correlation",
        "#/provenance",
        "#/curves",
    ):
        page.goto(evil.page.as_uri() + view)
        page.eval_on_selector_all("section.on details", "all => all.forEach(d => d.open = true)")
        page.wait_for_timeout(100)
    assert page.evaluate("document.querySelectorAll('img, iframe, object, embed').length") == 0
    page.keyboard.press("?")
    page.keyboard.press("Escape")


def test_4_a_hostile_hash_is_not_in_this_report(visit: Any, evil: Made) -> None:
    page = visit(evil.page)
    for at in (
        "#/q/<img src=x onerror=window.PWN=1>",
        "#/<img src=x onerror=window.PWN=1>",
        "#/d/%3Cscript%3E",
        "#/q/%E0%A4",
    ):
        page.goto(evil.page.as_uri() + at)
        page.wait_for_selector("text=not in this report")
        assert page.evaluate("document.querySelectorAll('#app img, #app script').length") == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_8_axe_finds_no_violation(visit: Any, small: Made, scheme: str) -> None:
    """All rules in the light theme; in the dark one that of colours, since nothing else differs."""
    rules = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"] if scheme == "light" else ["color-contrast"]
    axe = pytest.importorskip("axe_playwright_python.base", reason="axe is not installed (dev extra)")
    page = visit(small.page, color_scheme=scheme)
    page.evaluate(Path(axe.AXE_FILE_PATH).read_text(encoding="utf-8"))
    document = first_document(small)[1]
    for view in [*VIEWS, f"#/d/{document}?q=q001&tok=1", "#/q/nothing"]:
        page.evaluate("at => { location.hash = at }", view)
        page.wait_for_timeout(250)
        found = page.evaluate("rules => axe.run(document, {runOnly: rules})", rules)
        said = [(v["id"], v["help"], [n["html"][:160] for n in v["nodes"][:3]]) for v in found["violations"]]
        assert said == [], view


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_8_every_level_of_the_heat_map_can_be_read(visit: Any, made: Made, scheme: str) -> None:
    page = visit(made.page, f"#/d/{first_document(made)[1]}?q=q001&tok=1", color_scheme=scheme)
    page.wait_for_selector("#text .tk")
    ratios = page.evaluate(
        """() => { const lum = c => { const f = c.map(v => v / 255)
             .map(v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
             return .2126 * f[0] + .7152 * f[1] + .0722 * f[2] };
           const nums = s => s.match(/[\\d.]+/g).map(Number);
           const page = nums(getComputedStyle(document.getElementById('text')).backgroundColor);
           const ink = nums(getComputedStyle(document.getElementById('text')).color);
           const out = []; for (let s = -8; s <= 8; s++) { const t = document.querySelector('#text .tk').cloneNode();
             t.className = 'tk ' + (s < 0 ? 'n' + -s : s ? 'p' + s : 'z'); document.getElementById('text').append(t);
             const b = nums(getComputedStyle(t).backgroundColor), a = b.length > 3 ? b[3] : 1;
             const over = [0, 1, 2].map(n => b[n] * a + page[n] * (1 - a)); t.remove();
             const [x, y] = [lum(ink), lum(over)].sort((p, q) => q - p);
             out.push((x + .05) / (y + .05)) } return out }"""
    )
    assert len(ratios) == 17
    assert min(ratios) >= 4.5


def test_9_keyboard(visit: Any, small: Made) -> None:
    page = visit(small.page, "#/correlation")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    wanted = page.evaluate(
        """[...document.querySelectorAll('a[href], button, input, select, summary, [tabindex="0"]')]
           .filter(e => e.checkVisibility({visibilityProperty: true}) && !e.closest('dialog')
             && e.className !== 'skip' && e.type !== 'radio').length"""
    )
    seen = set()
    page.evaluate("document.body.focus(); document.activeElement.blur()")
    for _ in range(wanted + 30):
        page.keyboard.press("Tab")
        found = page.evaluate(
            """() => { const e = document.activeElement; if (e === document.body) return null;
               window.seen = window.seen || new Map(); if (!window.seen.has(e)) window.seen.set(e, window.seen.size);
               const s = getComputedStyle(e); 
               return [window.seen.get(e), s.outlineStyle !== 'none', e.className, e.type || ''] }"""
        )
        if found:
            assert found[1], found
            if found[2] != "skip" and found[3] != "radio":
                seen.add(found[0])
    assert len(seen) >= wanted
    page.locator("#grid td").first.focus()
    for key in ("ArrowRight", "ArrowDown"):
        page.keyboard.press(key)
    place = "[document.activeElement.dataset.a, document.activeElement.dataset.b]"
    assert page.evaluate(place) == ["1", "1"]
    page.keyboard.press("Enter")  # the diagonal is inert
    assert not page.locator("#panel").is_visible()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    assert page.locator("#panel").is_visible()
    assert page.evaluate("document.activeElement.id") == "panel"
    page.keyboard.press("Escape")
    assert not page.locator("#panel").is_visible()
    assert page.evaluate(place) == ["1", "2"]
    page.keyboard.press("Home")
    assert page.evaluate(place) == ["1", "0"]
    page.keyboard.press("PageDown")
    assert page.evaluate(place) == ["9", "0"]  # ten queries: the last row
    page.goto(small.page.as_uri() + "#/q")
    page.locator("#find").fill("")
    page.locator("#find").press_sequentially("r?np")
    assert page.locator("#rank-norm").is_checked()
    assert not page.locator("#help").is_visible()
    page.locator("#app h2").click()
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("r")
    assert page.locator("#rank-dot").is_checked()
    page.keyboard.press("?")
    assert page.locator("#help").is_visible()
    page.locator("#keys").uncheck()
    page.keyboard.press("Escape")
    page.keyboard.press("r")
    assert page.locator("#rank-dot").is_checked()


# -- 10, 11, 12: state, filters, correlation


def test_10_permalinks(visit: Any, made: Made) -> None:
    document = first_document(made)[1]
    cold = visit(made.page, f"#/d/{document}?q=q001&rank=dot&group=slopes&tok=1")
    cold.wait_for_selector("#text")
    assert document in cold.locator("#app h2").inner_text()
    assert cold.locator("#rank-dot").is_checked()
    assert cold.locator("#shown").inner_text() == "16 of 80 queries"
    cold.reload()
    cold.wait_for_selector("#text .tk")
    assert cold.locator("#rank-dot").is_checked()
    cold = visit(made.page, "#/q?group=factual&find=q04&sort=-nats")
    assert cold.locator("#find").input_value() == "q04"
    assert cold.locator("#app th[aria-sort=descending]").inner_text().startswith("nats")
    rows = cold.locator("#app tbody tr").count()
    assert 0 < rows < 11
    cold.locator("#app td.id a").first.click()
    cold.wait_for_selector("#app dd.text")
    here = cold.url
    assert "group=factual" in here
    cold.locator("#app .documents td.id a").first.click()
    cold.wait_for_selector("#text")
    cold.go_back()
    cold.wait_for_selector("#app dd.text")
    assert cold.url == here
    cold.go_back()
    cold.wait_for_selector("#find")
    assert cold.locator("#app tbody tr").count() == rows
    cold.go_forward()
    cold.wait_for_selector("#app dd.text")
    assert cold.url == here


def test_11_filters_and_ranking(visit: Any, made: Made) -> None:
    page = visit(made.page, "#/q")
    assert page.locator("#app tbody tr").count() == 80
    page.get_by_role("button", name="slopes", exact=True).click()
    assert page.locator("#shown").inner_text() == "16 of 80 queries"
    assert page.locator("#app tbody tr").count() == 16
    page.goto(page.url.replace("#/q", "#/correlation"))
    page.wait_for_selector("#grid")
    assert page.locator("#grid td").count() == 16 * 16
    page.goto(made.page.as_uri() + "#/curves?group=slopes")
    page.wait_for_timeout(100)
    shown = page.locator("figure[data-figure=curves] .panel:visible")
    assert shown.count() == 1
    assert page.locator("svg [data-label=factual]").first.is_hidden()
    page.goto(made.page.as_uri() + "#/q/q001?end=both&cols=all")
    page.wait_for_selector("#app .documents")
    for key, by in (("norm", "normed"), ("dot", "dot")):
        page.locator(f"#rank-{key}").check()
        page.wait_for_timeout(50)
        ids = page.eval_on_selector_all("#app .documents td.id", "cells => cells.map(c => c.textContent)")
        columns = made.scores.ranking("q001", 50, by)  # type: ignore[arg-type]
        assert ids[:50] == made.scores.documents.ids[columns].tolist()
    cells = page.eval_on_selector_all(
        "#app .documents tbody tr", "rows => rows.map(r => [...r.cells].slice(0, 3).map(c => c.textContent))"
    )
    for normed, dot, delta in cells:
        values = [int(c.replace(",", "").replace("−", "-").replace("+", "")) for c in (normed, dot, delta)]
        assert values[2] == values[1] - values[0]


def test_side_by_side_prints_the_overlap(visit: Any, made: Made) -> None:
    page = visit(made.page, "#/q/q001?beside=1")
    tops = [made.scores.ranking("q001", 50, by) for by in ("normed", "dot")]  # type: ignore[arg-type]
    facts = page.locator("#app .facts").inner_text().replace("\n", " ")
    for k in (10, 50):
        assert f"overlap@{k} of normed and dot {100 * overlap(tops[0], tops[1], k):.0f} %" in facts
    ids = page.eval_on_selector_all(
        "#app .ranks", "lists => lists.map(l => [...l.querySelectorAll('a')].map(a => a.textContent))"
    )
    assert [made.scores.documents.ids[top[:20]].tolist() for top in tops] == ids
    assert page.locator("#app .links line").count() == len(set(ids[0]) & set(ids[1]))


# -- 13: tokens


def test_13_tokens(visit: Any, made: Made) -> None:
    tokens = open_token_scores(made.scores)
    assert tokens is not None
    columns = [c for c in made.scores.ranking("q001", 10).tolist() if "🙂" in made.scores.documents.text(c)]
    column = columns[0]
    name = str(made.scores.documents.ids[column])
    page = visit(made.page, f"#/d/{name}?q=q001&tok=1")
    page.wait_for_selector("#text .tk")
    text = page.eval_on_selector_all("#text .tk", f"spans => spans.map({BACK}).join('')")
    assert text.replace("\r", "") == made.scores.documents.text(column).replace("\r", "")
    value = tokens.values(1, column)
    dot = float(made.scores.dot[1, column])
    said = page.locator("#sum").inner_text()
    printed = [float(x.replace("−", "-").replace(",", "")) for x in re.findall(r"= ([−\d.,e]+\d)", said)]
    assert printed[0] == pytest.approx(float(value.sum()), rel=1e-3)
    assert printed[0] == pytest.approx(dot, rel=1e-3)
    first, second = page.locator("#text .tk").nth(0), page.locator("#text .tk").nth(1)
    assert first.get_attribute("class") == "tk p8"
    assert second.get_attribute("class") == "tk n6"
    assert "underline" in second.evaluate("e => getComputedStyle(e).textDecorationLine")
    assert "underline" not in first.evaluate("e => getComputedStyle(e).textDecorationLine")
    legend = page.locator(".legend-bar").inner_text()
    ends = re.findall(r"[−+][\d.]+", legend)
    assert len(ends) == 2
    assert float(ends[1]) == pytest.approx(float(np.abs(value).max()), rel=2e-3)
    assert "raise log p" in page.locator("#app").inner_text()
    page.keyboard.press("t")
    assert page.evaluate("document.activeElement.dataset.n") == "0"
    page.keyboard.press("]")
    assert page.evaluate("document.activeElement.dataset.n") == "1"
    assert "Token 2 of" in page.locator("#status").inner_text()
    page.locator("#scale").check()
    page.wait_for_selector("#text .tk")
    assert "scale=query" in page.url


# -- 14: without scripts


def test_14_static_part(visit: Any, made: Made) -> None:
    page = visit(made.page, java_script_enabled=False)
    page.locator("#meaning summary").click()
    text = page.locator("main").inner_text()
    assert "predicted to raise log p(completion | prompt)" in text
    assert page.locator("h1").inner_text() == "run"
    assert page.locator("svg[role=img]").count() >= 10
    for figure in page.locator("svg[role=img]").all():
        assert figure.locator("> title").count() == figure.locator("> desc").count() == 1
    tables = page.locator("details.query table.documents")
    assert tables.count() == 80
    assert tables.first.locator("tbody tr").count() == 10
    assert tables.first.locator("tbody tr").first.locator("td.id").inner_text() == first_document(made, 0)[1]
    assert json.loads(page.locator("#manifest").text_content())["kind"] == "scores"
    assert not page.locator("#bar").is_visible()


def test_14_and_25_without_decompression_the_static_part_stays(browser: Any, made: Made) -> None:
    page = browser.new_page()
    page.add_init_script("delete window.DecompressionStream")
    page.goto(made.page.as_uri())
    assert "cannot unpack" in page.locator("[role=alert]").inner_text()
    assert page.locator("#queries details.query").first.is_visible()
    assert page.locator("#heat-map svg").is_visible()
    page.close()


# -- 15: CSV


def test_15_csv(visit: Any, made: Made) -> None:
    page = visit(made.page, "#/q?group=slopes")
    with page.expect_download() as download:
        page.locator("#app [data-csv=queries]").click()
    assert download.value.suggested_filename == "run_queries.csv"
    raw = Path(download.value.path()).read_bytes()
    assert raw.startswith(b"\xef\xbb\xbf")
    assert raw.count(b"\r\n") == 17
    rows = list(csv.DictReader(io.StringIO(raw.decode("utf-8-sig"), newline="")))
    assert len(rows) == page.locator("#app tbody tr").count() == 16
    assert rows[3]["prompt"] == "'=1+1"
    assert rows[3]["completion"] == '\'-0.5, "quoted"\nand a second line'
    assert np.float32(rows[5]["nats"]) == made.scores.query_nll[5]
    page.goto(made.page.as_uri() + "#/q/q001?end=bottom")
    page.wait_for_selector("#app .documents")
    with page.expect_download() as download:
        page.locator("#app [data-csv^=documents]").click()
    text = Path(download.value.path()).read_bytes().decode("utf-8-sig")
    lowest = next(csv.DictReader(io.StringIO(text, newline="")))
    column = int(made.scores.ranking("q001", 1, bottom=True)[0])
    assert float(lowest["dot"]) == pytest.approx(float(made.scores.dot[1, column]), rel=1e-8)
    assert lowest["dot"].startswith("-")  # a number keeps its minus
    page.goto(made.page.as_uri() + "#/curves")
    page.locator("figure[data-figure=cumulative] summary").click()
    with page.expect_download() as download:
        page.locator("figure[data-figure=cumulative] [data-csv]").click()
    text = Path(download.value.path()).read_bytes().decode("utf-8-sig")
    assert len(list(csv.reader(io.StringIO(text, newline="")))) == 1 + len(cumulative(made.scores).table)


# -- 16, 17, 18: print, themes, sizes


def test_17_themes(visit: Any, made: Made) -> None:
    seen = []
    for scheme in ("light", "dark"):
        page = visit(made.page, "#/curves", color_scheme=scheme)
        seen.append(
            page.evaluate(
                """[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color,
                    getComputedStyle(document.querySelector('#curves svg [fill=currentColor]')).fill]"""
            )
        )
    light, dark = seen
    assert all(a != b for a, b in zip(light, dark, strict=True))
    assert light[1] == light[2]
    assert dark[1] == dark[2]
    page = visit(made.page, color_scheme="light")
    page.locator("#theme").select_option("dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == dark[0]
    page.reload()
    page.wait_for_selector("body[data-ready]")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == dark[0]
    page = visit(made.page, "#/correlation", forced_colors="active", reduced_motion="reduce")
    glyphs = page.eval_on_selector_all(
        "#grid td", "all => all.map(cell => getComputedStyle(cell, '::before').content.replaceAll('\"', ''))"
    )
    assert {"+", "−"} <= set(glyphs)
    assert page.evaluate(
        "[...document.querySelectorAll('*')].every(e => parseFloat(getComputedStyle(e).transitionDuration) === 0)"
    )


@pytest.mark.parametrize("size", SIZES)
def test_18_the_page_never_scrolls_sideways(
    visit: Any, made: Made, evil: Made, size: tuple[int, int]
) -> None:
    for one in (made, evil):
        views = list(VIEWS)
        if one is evil:
            views = [v for v in views if "q001" not in v] + ["#/q/" + quote(f"0{HOSTILE}", safe="")]
        page = visit(one.page, "#/", size)
        for view in views:
            page.evaluate("at => { location.hash = at }", view)
            page.wait_for_timeout(80)
            assert page.evaluate("document.documentElement.scrollWidth") <= size[0], view
            for region in page.locator("section.on .scroll:visible").all()[:3]:
                assert region.get_attribute("role") == "region"


def test_21_provenance(visit: Any, made: Made) -> None:
    page = visit(made.page, "#/provenance", permissions=["clipboard-read", "clipboard-write"])
    manifest = json.loads((made.scores.folder / "manifest.json").read_text())
    manifest.pop("sha256")  # it stands for the file, and the page shows what the file says
    assert json.loads(page.locator("#manifest").text_content()) == manifest
    page.get_by_role("button", name="Copy as JSON").click()
    page.wait_for_selector("text=Copied")
    assert json.loads(page.evaluate("navigator.clipboard.readText()")) == manifest
