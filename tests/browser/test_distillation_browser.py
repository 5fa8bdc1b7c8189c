"""The page of a distillation in a browser: nothing loads, nothing is logged, nothing runs, both themes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser_reports import HOSTILE, HOSTILE_NAME
from distillations import write_distillation

from influence.report.distillation import distillation_page


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("distillation")
    run = write_distillation(folder / HOSTILE_NAME, hostile=HOSTILE, judged=True)
    return distillation_page(run, folder / f"{HOSTILE_NAME}.html")


@pytest.fixture
def view(browser: Any, page_file: Path) -> Iterator[Any]:
    """Opens the page offline; afterwards there was no request but the page, no message, and no script ran."""
    requests: list[str] = []
    messages: list[str] = []
    contexts: list[Any] = []

    def open_it(width: int = 1280, **options: Any) -> Any:
        context = browser.new_context(viewport={"width": width, "height": 900}, offline=True, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("request", lambda request: requests.append(request.url))
        page.on("console", lambda message: messages.append(message.text))
        page.on("pageerror", lambda error: messages.append(str(error)))
        page.goto(page_file.as_uri())
        return page

    yield open_it
    for context in contexts:
        assert context.pages[0].evaluate("window.PWN") is None
        context.close()
    assert {url for url in requests if not url.startswith("data:")} == {page_file.as_uri()}
    assert messages == []


@pytest.mark.parametrize("width", [360, 1440])
def test_the_page_never_scrolls_sideways(view: Any, width: int) -> None:
    page = view(width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator("svg").count() == 3
    assert page.locator("nav a").count() == 7
    for link in page.locator("nav a").all():
        assert page.locator(link.get_attribute("href")).count() == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_accessible_in_both_themes(view: Any, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = view(color_scheme=scheme)
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(15, 18, 21)"
    assert dark == (scheme == "dark")
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
    found = axe.run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21aa"]})
    assert found.violations_count == 0, found.generate_report()


def test_hostile_texts_are_shown_as_texts(view: Any) -> None:
    page = view()
    shown = page.locator("#examples details[open] dd").first
    assert "<script>window.PWN=1</script>" in shown.text_content()
    assert page.locator("#examples script, #examples img").count() == 0


def test_numbers_of_the_table(view: Any) -> None:
    page = view()
    cells = page.locator("#cost tbody tr").nth(3).locator("td").all_text_contents()
    assert cells[:5] == ["0.925", "0.801 to 0.974", "37/40", "0", "2.0"]
