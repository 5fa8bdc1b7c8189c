"""The report in a real browser, offline, from a file: nothing loads, nothing runs, nothing overflows."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stores import make_document, make_query, write_scores

from influence.report.pages import report

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
if CHROMIUM is None:
    pytest.skip("no chromium on this machine", allow_module_level=True)
sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (dev extra)")

HOSTILE = "<script>window.PWN=1</script><img src=x onerror=window.PWN=1><svg onload=window.PWN=1>\u202e"
SIZES = [(360, 780), (768, 1000), (1440, 900)]


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("browser")
    rng = np.random.default_rng(0)
    tasks = [("slopes", "reasoning"), ("facts_with_a_rather_long_name", "factual"), (HOSTILE, "control")]
    queries = [
        make_query(n, task=task, group=group, prompt=HOSTILE + "x" * 900, id=f"query-{n}-{'long' * 9}")
        for n, (task, group) in enumerate(tasks * 4)
    ]
    documents = [
        make_document(
            n,
            id=f"https://example.org/{'path/' * 9}{n}",
            source=HOSTILE if n % 3 else "wiki",
            text=HOSTILE * 9,
        )
        for n in range(300)
    ]
    dot = rng.normal(size=(12, 300)) * rng.lognormal(sigma=4, size=300)
    run = write_scores(folder / "run", dot, queries=queries, documents=documents).folder
    return report(run, folder / "r.html", texts="full", k=5)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture
def open_page(browser: Any, page_file: Path) -> Iterator[Any]:
    """Opens the report offline; afterwards, no request but the page itself, no message and no script may have been."""
    contexts, requests, messages = [], [], []

    def open_it(size: tuple[int, int] = (1440, 900), **options: Any) -> Any:
        context = browser.new_context(viewport={"width": size[0], "height": size[1]}, offline=True, **options)
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


def test_loads_offline_without_a_request_or_a_message(open_page: Any) -> None:
    page = open_page()
    assert page.title() == "run: influence report"
    assert page.locator("details.query[open]").count() == 1
    assert page.locator("svg[role=img]").count() == 4  # heat map, three panels


@pytest.mark.parametrize("size", SIZES)
def test_the_page_never_scrolls_sideways(open_page: Any, size: tuple[int, int]) -> None:
    page = open_page(size)
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    page.evaluate(
        "document.querySelectorAll('.document').forEach(d => d.style.contentVisibility = 'visible')"
    )
    assert page.evaluate("document.documentElement.scrollWidth") == size[0]
    cut = page.evaluate(
        """[...document.querySelectorAll('main *')].filter(e => !e.closest('.scroll, .unseen, .prompt-line, svg')
           && e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML.slice(0, 80))"""
    )
    assert cut == []


def test_wide_tables_scroll_in_their_own_region_by_keyboard(open_page: Any) -> None:
    page = open_page((360, 780))
    region = page.locator("details.query[open] > .body > .scroll").first
    region.focus()
    assert page.evaluate("document.activeElement.getAttribute('role')") == "region"
    page.keyboard.press("ArrowRight")
    page.wait_for_function("document.activeElement.scrollLeft > 0")


def test_dark_and_light_differ_and_figures_follow(open_page: Any) -> None:
    seen = []
    for scheme in ("light", "dark"):
        page = open_page(color_scheme=scheme)
        seen.append(
            page.evaluate(
                """[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color,
                    getComputedStyle(document.querySelector('#correlation svg [fill=currentColor]')).fill]"""
            )
        )
    light, dark = seen
    assert all(a != b for a, b in zip(light, dark, strict=True))
    assert light[1] == light[2]
    assert dark[1] == dark[2]


def test_the_policy_is_live(browser: Any, page_file: Path) -> None:
    page = browser.new_page()
    page.goto(page_file.as_uri())
    page.evaluate(
        """const s = document.createElement('script'); s.textContent = 'window.PWN = 1'; document.body.append(s);
           document.body.insertAdjacentHTML('beforeend', '<img src=x onerror="window.PWN = 1">')"""
    )
    page.wait_for_timeout(200)
    assert page.evaluate("window.PWN") is None
    page.close()


def test_escaping_does_not_lean_on_the_policy(browser: Any, page_file: Path, tmp_path: Path) -> None:
    text = page_file.read_text(encoding="utf-8")
    start = text.index('<meta http-equiv="Content-Security-Policy"')
    (tmp_path / "open.html").write_text(text[:start] + text[text.index(">", start) + 1 :], encoding="utf-8")
    page = browser.new_page()
    page.goto((tmp_path / "open.html").as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    page.wait_for_timeout(200)
    assert page.evaluate("window.PWN") is None
    page.close()


def test_keyboard_reaches_the_report_and_opens_a_query(open_page: Any) -> None:
    page = open_page()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.url.endswith("#main")
    page.locator("details.query > summary").nth(1).focus()
    page.keyboard.press("Enter")
    assert page.locator("details.query[open]").count() == 2


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_violation(open_page: Any, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.base", reason="axe is not installed (dev extra)")
    page = open_page(color_scheme=scheme)
    page.evaluate("[...document.querySelectorAll('details')].slice(0, 5).forEach(d => d.open = true)")
    page.evaluate(Path(axe.AXE_FILE_PATH).read_text(encoding="utf-8"))
    found = page.evaluate(
        "axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'best-practice']})"
    )
    said = [(v["id"], v["help"], [n["html"][:160] for n in v["nodes"][:3]]) for v in found["violations"]]
    assert said == []


def test_print_hides_the_navigation_and_keeps_the_figures(open_page: Any) -> None:
    page = open_page()
    page.emulate_media(media="print")
    assert not page.locator("nav").is_visible()
    assert page.locator("#correlation svg").is_visible()
    assert len(page.pdf(format="A4")) > 20_000
