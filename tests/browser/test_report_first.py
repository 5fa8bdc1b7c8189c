"""What a reader sees first agrees with what it opens, and stands whole on the picture."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from browser_reports import Made, ordinary

#: Texts of the charts in view that the picture cuts.
CUT = """() => [...document.querySelectorAll("section.on svg[role=img] text")].filter((text) => {
  const own = text.getBoundingClientRect(), svg = text.closest("svg").getBoundingClientRect();
  return own.width > 0 && (own.left < svg.left - 1 || own.right > svg.right + 1
    || own.top < svg.top - 1 || own.bottom > svg.bottom + 1);
}).map((text) => text.textContent)"""


def option(page: Any, text: str) -> Any:
    """A choice of the first figure on concentration."""
    return page.locator('[data-figure="cumulative"] label', has_text=text).locator("input")


def test_no_text_of_a_figure_is_cut(visit: Any, small: Made) -> None:
    page = visit(small.page)
    for view in (
        "overview",
        "correlation",
        "curves",
        "curves?c-cumulative=2.1",
        "sources",
        "answers",
        "stages",
        "pair",
    ):
        page.evaluate("view => { location.hash = '#/' + view; }", view)
        page.wait_for_timeout(150)
        assert page.evaluate(CUT) == [], view


def test_choices_of_a_figure_are_in_the_address(visit: Any, small: Made) -> None:
    page = visit(small.page, "#/curves?c-cumulative=2.1")
    assert option(page, "summed score").is_checked()
    assert option(page, "top %").is_checked()
    option(page, "number of documents").check()
    assert "c-cumulative=2.2" in page.evaluate("location.hash").replace("%2E", ".")
    page.reload()
    page.wait_for_selector("body[data-ready='1']")
    assert option(page, "number of documents").is_checked()
    option(page, "share of the total").check()
    option(page, "top %").check()
    assert "c-cumulative" not in page.evaluate("location.hash")


def test_a_card_opens_the_figure_it_speaks_of(visit: Any, tmp_path: Path) -> None:
    page = visit(ordinary(tmp_path, 10, 120).page)  # with fewer documents the card says: too few
    card = page.locator(".findings a", has_text="How concentrated is influence?")
    assert re.search(r"hold \d+ % \(reasoning, n = 4\)", card.inner_text())
    assert card.locator(".key").inner_text().split() == ["reasoning", "factual", "control"]
    card.click()
    assert option(page, "share of the total").is_checked()
    assert option(page, "top %").is_checked()


def test_one_line_says_whether_to_believe_it(visit: Any, small: Made) -> None:
    page = visit(small.page)
    assert (
        page.locator("#verdict")
        .inner_text()
        .startswith("As far as checked: the one check that was run passes")
    )
    assert "Completions written by: not recorded" in page.locator("#authors").inner_text()
    assert "at most" not in page.locator(".checks").inner_text()
