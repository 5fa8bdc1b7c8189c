"""Take the picture of the README, docs/images/report.png, from the report of `make demo`. Needs Chromium."""

from __future__ import annotations

import shutil
from pathlib import Path

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[1]
REPORT = ROOT / "runs" / "demo" / "report.html"
PICTURE = ROOT / "docs" / "images" / "report.png"
BROWSERS = ("chromium", "google-chrome")

if __name__ == "__main__":
    PICTURE.parent.mkdir(exist_ok=True)
    browser_path = next(path for name in BROWSERS if (path := shutil.which(name)))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1440, "height": 1240})
        page.goto(REPORT.as_uri() + "#/q/slopes-07")
        page.wait_for_selector("body[data-ready='1']")
        page.screenshot(path=PICTURE)
        browser.close()
