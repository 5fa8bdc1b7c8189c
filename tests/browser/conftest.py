"""One browser and one set of reports; a test that loads, logs or runs anything it should not fails."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser_reports import Made, hostile, ordinary

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine")
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (dev extra)")
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture(scope="session")
def made(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Made:
    return ordinary(tmp_path_factory.mktemp("ordinary"))


@pytest.fixture(scope="session")
def small(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Made:
    return ordinary(tmp_path_factory.mktemp("small"), 10, 30)


@pytest.fixture(scope="session")
def evil(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Made:
    return hostile(tmp_path_factory.mktemp("evil"))


@pytest.fixture
def visit(browser: Any) -> Iterator[Any]:
    """Opens a report offline at a hash; afterwards, no request but the page, no message and no script may have been."""
    contexts, requests, messages, pages = [], [], [], set()

    def open_it(page_file: Path, at: str = "", size: tuple[int, int] = (1440, 900), **options: Any) -> Any:
        context = browser.new_context(
            viewport={"width": size[0], "height": size[1]}, offline=True, accept_downloads=True, **options
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(5_000)
        pages.add(page_file.as_uri())
        page.on("request", lambda request: requests.append(request.url.split("#")[0]))
        page.on("console", lambda message: messages.append(message.text))
        page.on("pageerror", lambda error: messages.append(str(error)))
        page.goto(page_file.as_uri() + at)
        if options.get("java_script_enabled", True):
            page.wait_for_selector("body[data-ready='1']", timeout=10_000)
        return page

    yield open_it
    for context in contexts:
        assert context.pages[0].evaluate("window.PWN") is None
        context.close()
    assert {url for url in requests if not url.startswith(("data:", "blob:"))} <= pages
    assert messages == []
