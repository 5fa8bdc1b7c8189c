"""The page of a distillation: whole, escaped, the same bytes twice, and the tables it is drawn from."""

from __future__ import annotations

import json
from pathlib import Path

import html5lib
import pandas as pd
import pytest
from distillations import MODELS, write_distillation

from influence.errors import StoreError
from influence.report.distillation import distillation_page, write_results

HOSTILE = "<script>window.PWN=1</script><img src=x onerror=alert(1)> {{7*7}} \u202e =1+1"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_distillation(tmp_path_factory.mktemp("runs") / "ll", judged=True)


def test_tables_figures_and_page(run: Path) -> None:
    page = write_results(run).read_text(encoding="utf-8")
    results = json.loads((run / "results.json").read_text())
    assert results["verdict"]["outcome"] == "internalised"
    assert set(results["tables"]) == {"models", "differences", "wordings", "sensitivity", "judges"}
    models = pd.read_parquet(run / "tables" / "models.parquet").set_index("model")
    assert list(models.index) == list(MODELS)
    assert models.loc["distilled", "accuracy"] == 37 / 40
    pd.testing.assert_frame_equal(
        pd.read_csv(run / "tables" / "models.csv"), models.reset_index(), check_dtype=False
    )
    for text in ("Internalised.", "95.0×", "0.925", "kept, right", "Which letters do the words", "Judges"):
        assert text in page
    assert "NaN" not in page
    assert (run / "figures" / "cost.svg").exists()
    html5lib.HTMLParser(strict=True).parse(page)
    assert "http:" not in page.replace("http://www.w3.org", "")
    assert "<script" not in page


def test_same_bytes_twice(run: Path, tmp_path: Path) -> None:
    first, second = (distillation_page(run, tmp_path / name).read_bytes() for name in ("a.html", "b.html"))
    assert first == second


def test_a_failure_says_what_to_do(tmp_path: Path) -> None:
    run = write_distillation(tmp_path / "run", right={"distilled": 8})
    page = distillation_page(run, tmp_path / "page.html").read_text(encoding="utf-8")
    assert "Failed." in page
    assert "--way stepwise" in page


def test_texts_of_models_and_tasks_are_escaped(tmp_path: Path) -> None:
    run = write_distillation(tmp_path / "run", hostile=HOSTILE)
    page = distillation_page(run, tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "<img" not in page
    assert "&lt;script&gt;" in page
    assert "{{7*7}}" in page
    assert "\u202e" not in page
    assert "U+202E" in page
    html5lib.HTMLParser(strict=True).parse(page)


def test_an_unfinished_or_damaged_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError):
        distillation_page(tmp_path, tmp_path / "page.html")
    run = write_distillation(tmp_path / "run")
    (run / "pairs" / "outcomes.jsonl").write_text("{")
    with pytest.raises(StoreError, match="cannot be read"):
        distillation_page(run, tmp_path / "page.html")
