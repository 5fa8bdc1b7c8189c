"""The frame that every page has: one security policy, one style sheet, what it leaves out, and its provenance."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import html5lib
import numpy as np
import pytest
from distillations import write_distillation
from internalization_runs import write_run
from stores import write_scores

import influence.report
from influence.report.distillation import distillation_page
from influence.report.internalization import internalization_page
from influence.report.pages import write_report

HTML = "{http://www.w3.org/1999/xhtml}"
TEMPLATES = Path(influence.report.__file__).parent / "templates"


def scores_page(folder: Path) -> Path:
    dot = np.random.default_rng(0).normal(size=(3, 20))
    return write_report(write_scores(folder / "run", dot).folder, folder / "page.html")


def internalisation(folder: Path) -> Path:
    return internalization_page(write_run(folder / "run", {0: 1.0, 8: 0.5}), folder / "page.html")


def distillation(folder: Path) -> Path:
    return distillation_page(write_distillation(folder / "run", judged=True), folder / "page.html")


PAGES = (scores_page, internalisation, distillation)


@pytest.fixture(scope="module", params=PAGES, ids=lambda make: make.__name__)
def page(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ET.Element:
    make: Callable[[Path], Path] = request.param
    text = make(tmp_path_factory.mktemp("page")).read_text(encoding="utf-8")
    tree: ET.Element = html5lib.HTMLParser(strict=True).parse(text)
    return tree


def hashed(text: str | None) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256((text or '').encode()).digest()).decode()}'"


def test_it_may_load_and_run_what_it_holds_and_nothing_else(page: ET.Element) -> None:
    metas = list(page.iter(f"{HTML}meta"))
    assert metas[0].get("charset") == "utf-8"
    assert [meta.get("http-equiv") for meta in metas].count("Content-Security-Policy") == 1
    assert metas[1].get("http-equiv") == "Content-Security-Policy"  # before anything that it is to hold back
    (style,) = page.iter(f"{HTML}style")
    programs = [script for script in page.iter(f"{HTML}script") if script.get("type") != "text/plain"]
    assert len(programs) <= 1
    allowed = hashed(programs[0].text) if programs else "'none'"
    assert metas[1].get("content") == (
        f"default-src 'none'; script-src {allowed}; style-src {hashed(style.text)}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    assert not re.search(r"url\(|@import|https?:", style.text or "")
    assert not [element for element in page.iter() if element.get("style") is not None]


def test_its_frame(page: ET.Element) -> None:
    ids = {element.get("id") for element in page.iter() if element.get("id")}
    assert {"main", "overview", "left-out", "provenance", "manifest"} <= ids
    (manifest,) = [element for element in page.iter(f"{HTML}pre") if element.get("id") == "manifest"]
    assert isinstance(json.loads(manifest.text or ""), dict)
    links = [a.get("href", "")[1:] for nav in page.iter(f"{HTML}nav") for a in nav.iter(f"{HTML}a")]
    assert links[0] == "overview"
    assert links[-1] == "provenance"
    assert set(links) <= ids
    assert len(list(page.iter(f"{HTML}h1"))) == 1


def test_no_template_has_a_head_of_its_own() -> None:
    heads = [path.name for path in TEMPLATES.glob("*.html") if "<head>" in path.read_text(encoding="utf-8")]
    assert heads == ["base.html"]
