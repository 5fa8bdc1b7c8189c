"""Filters that reach every view or say that they do not, checkpoints, and tokens without a character of their own."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd
import pytest
from browser_reports import HOSTILE, Made
from stores import make_document, make_query, write_scores

from influence.report.pages import write_report
from influence.store.token_scores import write_token_scores

BACK = """e => { const c = e.cloneNode(true); c.querySelectorAll('.chip').forEach(x =>
  x.replaceWith(String.fromCodePoint(parseInt(x.textContent.slice(2), 16)))); return c.textContent }"""
FILTERED = [
    "#/stages?q=q001&a=first&b=middle",
    "#/q/q001?ckpt=first",
    "#/curves?group=slopes&ok=right",
    "#/sources?source=wiki&group=factual",
    "#/answers?ok=wrong",
    "#/correlation?group=slopes&source=wiki",
    "#/q/q001?beside=1&source=wiki",
]


def go(page: Any, at: str) -> None:
    page.evaluate("at => { location.hash = at }", at)
    page.wait_for_timeout(120)


def scope_notes(page: Any) -> list[str]:
    return page.eval_on_selector_all(  # type: ignore[no-any-return]
        "section.on .scope", "all => all.filter(e => e.checkVisibility()).map(e => e.textContent)"
    )


# -- filters


def test_no_figure_differs_from_the_filters_without_saying_so(visit: Any, made: Made) -> None:
    page = visit(made.page, "#/curves")
    assert scope_notes(page) == []
    go(page, "#/curves?group=reasoning")  # a line is a group: all of it passes
    assert scope_notes(page) == []
    assert page.locator("svg [data-label=factual]").first.is_hidden()
    go(page, "#/curves?group=slopes")  # a line is more than what passes
    cumulative, *rest = scope_notes(page)
    assert cumulative == "Not filtered: this figure is over 32 queries, of which the filters keep 16."
    assert rest == []  # the panels of the other figure are tasks
    go(page, "#/curves?group=facts&ok=wrong")
    wrong = [q for q in made.scores.queries if q.task == "facts" and q.correct is False]
    assert scope_notes(page) == [
        f"Not filtered: this figure is over 32 queries, of which the filters keep {len(wrong)}.",
        f"Not filtered: this figure is over 16 queries, of which the filters keep {len(wrong)}.",
    ]
    lines = page.locator("figure[data-figure=curves] svg [data-query]:not(.off)")
    assert {line.get_attribute("data-query") for line in lines.all() if line.is_visible()} == {
        query.id for query in wrong
    }
    for view in ("#/correlation", "#/relations", "#/stages", "#/"):
        go(page, f"{view}?group=facts&ok=wrong")
        assert any(f"keep {len(wrong)}." in said for said in scope_notes(page)), view
        assert page.locator("#shown").inner_text() == f"{len(wrong)} of 80 queries"
    page.locator("#clear").click()
    assert page.locator("#shown").inner_text() == "80 of 80 queries"
    assert "group=" not in page.url
    assert "ok=" not in page.url
    assert page.locator(".off, .away").count() == 0
    assert scope_notes(page) == []


def test_answered_right_switches_the_figures_that_can(visit: Any, made: Made) -> None:
    page = visit(made.page, "#/curves")
    right = page.locator("figure[data-figure=cumulative] input[data-of=right]")
    assert not right.is_checked()
    page.get_by_role("button", name="✓ answered right").click()
    assert right.is_checked()
    assert not page.locator("figure[data-figure=cumulative] .scope").is_visible()
    assert scope_notes(page) == [
        "Not filtered: this figure is over 80 queries, of which the filters keep 48."
    ]
    page.locator("figure[data-figure=cumulative] input[data-of=all]").check()
    assert "over 80 queries" in page.locator("figure[data-figure=cumulative] .scope").inner_text()
    page.get_by_role("button", name="✓ answered right").click()
    assert not right.is_checked()
    go(page, "#/answers?ok=right")  # this figure is over the right answers anyway
    assert scope_notes(page) == []
    go(page, "#/answers?ok=wrong")
    assert "answered right, of which the filters keep 0." in scope_notes(page)[0]


def test_a_source_filters_documents_in_every_view(visit: Any, made: Made) -> None:
    scores = made.scores
    page = visit(made.page, "#/q/q001")
    page.locator("#source").select_option("wiki")
    page.wait_for_selector("#app .documents")
    top = np.union1d(scores.ranking("q001", 50), scores.ranking("q001", 50, "dot"))
    wanted = sorted(str(scores.documents.ids[c]) for c in top if scores.documents.sources[c] == "wiki")
    shown = page.eval_on_selector_all("#app .documents td.id", "all => all.map(e => e.textContent)")
    assert sorted(shown) == wanted
    assert f"{len(wanted)} of {len(top)} documents" in page.locator("#app .data .tools").inner_text()
    assert "source=wiki" in page.url
    go(page, page.url.split("#")[1].join(["#", ""]).replace("/q/q001", "/sources"))
    rows = page.locator("table.sources tbody tr:visible")
    assert rows.count() == 1
    assert rows.locator("th").inner_text() == "wiki"
    charts = page.locator("figure[data-figure=source-curves] .panel:visible h3 bdi")
    assert charts.all_inner_texts() == ["wiki"]
    go(page, "#/correlation?source=wiki")
    assert "it counts documents of every source." in scope_notes(page)[0]
    page.locator('#grid td[data-a="2"][data-b="5"]').click()
    sources = page.locator("#panel td.source")
    assert set(sources.all_inner_texts()) <= {"wiki"}
    go(page, "#/q?source=nowhere")
    assert "Source nowhere is not in this report." in page.locator("#bar-note").inner_text()


def test_data_of_a_figure_follow_the_filters(visit: Any, made: Made) -> None:
    page = visit(made.page, "#/curves?group=reasoning")
    page.locator("figure[data-figure=cumulative] summary").click()
    with page.expect_download() as download:
        page.locator("figure[data-figure=cumulative] [data-csv]").click()
    text = Path(download.value.path()).read_bytes().decode("utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert {row["label"] for row in rows} == {"reasoning"}
    with page.expect_download() as download:
        page.locator("figure[data-figure=cumulative]").get_by_role("button", name="SVG").click()
    svg = Path(download.value.path()).read_text(encoding="utf-8")
    assert "reasoning" in svg
    assert 'data-label="factual"' not in svg
    assert "currentColor" not in svg
    assert "var(--" not in svg


def test_focus_stays_on_the_control_that_was_used(visit: Any, made: Made) -> None:
    page = visit(made.page, "#/q")
    page.get_by_role("button", name="nats", exact=True).focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("th[aria-sort=ascending]")
    assert page.evaluate("document.activeElement.textContent").startswith("nats")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.closest('th').ariaSort") == "descending"
    page.get_by_role("button", name="slopes", exact=True).focus()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.textContent") == "slopes"
    page.keyboard.press("/")
    page.keyboard.type("q00")
    assert page.locator("#find").input_value() == "q00"
    assert page.evaluate("document.activeElement.id") == "find"


# -- checkpoints


def ranks_of(made: Made) -> pd.DataFrame:
    return pd.read_parquet(made.scores.folder / "analysis" / "stages" / "tops.parquet")


def test_overlap_of_stages_is_there_without_scripts(visit: Any, made: Made) -> None:
    page = visit(made.page, java_script_enabled=False)
    agreement = pd.read_parquet(made.scores.folder / "analysis" / "stages" / "agreement.parquet")
    means = agreement.groupby(["a", "b"])["overlap@10"].mean()
    table = page.locator("figure[data-figure=stage-overlap] table.matrix").first
    assert table.is_visible()
    cells = [row.locator("td").all_inner_texts() for row in table.locator("tbody tr").all()]
    assert cells[0] == ["1", f"{means['first', 'middle']:.2f}", f"{means['first', 'last']:.2f}"]
    assert cells[2][0] == cells[0][2]  # symmetric
    assert page.locator("figure[data-figure=stage-overlap] table.matrix:visible").count() == 1
    page.locator("figure[data-figure=stage-overlap]").get_by_role("radio", name="RBO").check()
    assert page.locator("figure[data-figure=stage-overlap] .panel:visible h3").inner_text() == "RBO"
    assert "different curvature" in page.locator("figure[data-figure=stage-overlap] figcaption").inner_text()


@pytest.mark.parametrize(("a", "b"), [("first", "last"), ("last", "middle")])
def test_two_stages_side_by_side(visit: Any, made: Made, a: str, b: str) -> None:
    page = visit(made.page, f"#/stages?q=q001&a={a}&b={b}")
    page.wait_for_selector(".beside-lists")
    table = ranks_of(made)
    rank = table[table["query"] == "q001"].pivot(index="document", columns="stage", values="rank")
    lists = page.eval_on_selector_all(
        "#stage-place .ranks",
        "all => all.map(l => [...l.children].map(i => [i.querySelector('code').textContent, "
        "i.querySelector('.mark')?.textContent ?? '']))",
    )
    top_a, top_b = (rank.sort_values(stage).index[:10].tolist() for stage in (a, b))
    assert [[name for name, _ in own] for own in lists] == [top_a, top_b]
    for name, mark in lists[0]:
        assert mark == ("" if name in top_b else f"gone, now {rank.loc[name, b]:,}")
    for name, mark in lists[1]:
        step = rank.loc[name, a] - rank.loc[name, b]
        if name not in top_a:
            assert mark == f"new, was {rank.loc[name, a]:,}"
        else:
            assert re.sub(r"(up|down) ?", "", mark) == (
                "=" if not step else "▲▼"[int(step < 0)] + str(abs(step))
            )
    assert page.locator("#stage-place .links line").count() == len(set(top_a) & set(top_b))


def test_ranks_along_the_stages(visit: Any, made: Made) -> None:
    page = visit(made.page, "#/stages?q=q001")
    page.wait_for_selector(".bumps")
    table = ranks_of(made)
    rank = table[table["query"] == "q001"].pivot(index="document", columns="stage", values="rank")
    rank = rank[(rank["first"] <= 10) | (rank["last"] <= 10)][["first", "middle", "last"]]
    rows = page.eval_on_selector_all(
        "#stage-place .data tbody tr",
        "rows => rows.map(r => [...r.cells].map(c => c.textContent.replace(',', '')))",
    )
    assert {row[1]: [int(n) for n in row[2:]] for row in rows} == {
        name: list(map(int, own)) for name, own in zip(rank.index, rank.to_numpy(), strict=True)
    }
    kinds = {kind: page.locator(f".bump.{kind}").count() for kind in ("kept", "new", "gone")}
    first, last = rank["first"] <= 10, rank["last"] <= 10
    assert kinds == {"kept": (first & last).sum(), "new": (~first).sum(), "gone": (~last).sum()}
    assert "different curvature" in page.locator(".bumps figcaption").inner_text()


def test_a_checkpoint_is_kept_in_the_address(visit: Any, made: Made) -> None:
    page = visit(made.page, "#/q/q001")
    page.locator("#ckpt").select_option("first")
    page.wait_for_selector("text=Top 10 at first")
    assert "ckpt=first" in page.url
    top = ranks_of(made)
    top = top[(top["query"] == "q001") & (top["stage"] == "first") & (top["rank"] <= 10)].sort_values("rank")
    shown = page.eval_on_selector_all("#app .documents td.id", "all => all.map(e => e.textContent)")
    assert shown == top["document"].tolist()
    assert "Scores, tokens and figures are those of last" in page.locator("#bar-note").inner_text()
    page.reload()
    page.wait_for_selector("text=Top 10 at first")
    assert page.locator("#ckpt option:checked").inner_text() == "first"
    page.locator("#ckpt").select_option("last")
    page.wait_for_selector("#app .tabs")
    assert "ckpt" not in page.url
    assert not page.locator("#bar-note").is_visible()
    go(page, "#/q/q001?ckpt=s99")
    assert "Checkpoint s99 is not in this report." in page.locator("#bar-note").inner_text()


def test_hostile_stages_are_text(visit: Any, evil: Made) -> None:
    page = visit(evil.page, "#/stages")
    page.wait_for_selector(".bumps")
    heads = page.eval_on_selector_all(
        "#stage-place .ranks", f"all => all.map(l => ({BACK})(l.previousSibling))"
    )
    clipped = f"0{HOSTILE}"[:119] + "…"
    assert heads == [f"A: {clipped}", f"B: 1{clipped[1:]}"]
    assert page.locator("#stage-place img, #stage-place script").count() == 0
    stage = quote(f"0{HOSTILE}", safe="")
    go(page, f"#/q/{quote(f'0{HOSTILE}', safe='')}?ckpt={stage}")
    page.wait_for_selector("#app h3")
    assert page.locator("#app .documents tbody tr").count() == 10
    assert page.eval_on_selector("#app h3", BACK) == f"Top 10 at {clipped}"


# -- tokens without a character, accessibility, sizes


def test_special_tokens_are_chips_and_count(visit: Any, tmp_path: Path) -> None:
    text = "ab 👩‍🚀 cd"
    scores = write_scores(
        tmp_path / "run", [[10.0, 1.0]], documents=[make_document(0, text=text), make_document(1)]
    )
    lengths = np.array([0, 2, 1, 1, 0, 2, 3])
    value = np.array([4.0, -2, 1, 3, 2.5, 0.5, 1])
    write_token_scores(scores.folder, [(0, 0, value)], {0: lengths})
    page = visit(write_report(scores.folder, tmp_path / "r.html"), "#/d/doc-0?q=slopes-00&tok=1")
    page.wait_for_selector("#text .tk")
    assert page.eval_on_selector_all("#text .tk", f"all => all.map({BACK}).join('')") == text
    specials = page.locator("#text .tk.special")
    names = specials.evaluate_all("all => all.map(e => getComputedStyle(e, '::before').content)")
    assert names == ['"start"', '"part"']
    assert specials.evaluate_all("all => all.map(e => e.dataset.n)") == ["0", "4"]
    assert specials.first.get_attribute("class") == "tk p8 special"
    assert "Sum of 7 tokens = 10" in page.locator("#sum").inner_text()
    assert "document score (dot) = 10" in page.locator("#sum").inner_text()
    first = page.locator("#app .data .documents tbody tr").first
    assert "start of the text" in first.inner_text()
    page.keyboard.press("t")
    assert page.evaluate("document.activeElement.dataset.n") == "0"
    assert "Token 1 of 7: 4.000 nats" in page.locator("#status").inner_text()


def test_axe_finds_no_violation_in_filtered_views(visit: Any, small: Made) -> None:
    axe = pytest.importorskip("axe_playwright_python.base", reason="axe is not installed (dev extra)")
    page = visit(small.page)
    page.evaluate(Path(axe.AXE_FILE_PATH).read_text(encoding="utf-8"))
    for view in FILTERED:
        go(page, view)
        page.wait_for_timeout(150)
        found = page.evaluate("axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa']})")
        said = [(v["id"], v["help"], [n["html"][:160] for n in v["nodes"][:3]]) for v in found["violations"]]
        assert said == [], view


@pytest.mark.parametrize("size", [(360, 780), (768, 1000), (1440, 900)])
def test_filtered_views_never_scroll_sideways(visit: Any, made: Made, size: tuple[int, int]) -> None:
    page = visit(made.page, "#/", size)
    for view in FILTERED:
        go(page, view)
        assert page.evaluate("document.documentElement.scrollWidth") <= size[0], view


def test_a_grid_of_a_hundred_queries_fits_the_page(visit: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    queries = [make_query(n, id=f"q{n:03d}", task=f"task {n // 20}") for n in range(100)]
    documents = [make_document(n) for n in range(120)]
    scores = write_scores(tmp_path / "run", rng.normal(size=(100, 120)), queries=queries, documents=documents)
    page = visit(write_report(scores.folder, tmp_path / "r.html", k=5), "#/correlation", (1440, 900))
    page.wait_for_selector("#grid")
    measure = """() => { const region = document.querySelector('.grid-figure .scroll');
      const cell = region.querySelector('td').getBoundingClientRect();
      return [region.scrollWidth - region.clientWidth, cell.width, cell.height] }"""
    over, width, height = page.evaluate(measure)
    assert over == 0
    assert width == pytest.approx(height, abs=0.1)
    assert width > 4
    page.set_viewport_size({"width": 360, "height": 780})
    over, width, _ = page.evaluate(measure)
    assert over > 0  # cells stay large enough to point at: here the region scrolls, not the page
    assert width >= 3.4
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
