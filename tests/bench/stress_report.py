"""A report of 100 queries × 200,000 documents: time to make it, its size, time until a browser shows it.

The documents are the miniworld's, the scores drawn: heavy-tailed, alike within a task. Run from the repository root:
python tests/bench/stress_report.py [--folder FOLDER]
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from stores import make_query, write_scores

from influence.data.miniworld import generate
from influence.report.pages import write_report
from influence.types import Query

N_DOCUMENTS = 200_000
TASKS = (
    ("slopes", "reasoning"),
    ("arithmetic", "reasoning"),
    ("facts", "factual"),
    ("wrong facts", "factual"),
)
PER_TASK = 25
OPENINGS = 5


def store(folder: Path) -> Path:
    """The score store."""
    rng = np.random.default_rng(0)
    queries: list[Query] = []
    dot_QD = np.empty((len(TASKS) * PER_TASK, N_DOCUMENTS), np.float32)
    for task, group in TASKS:
        shared_D = rng.standard_t(3, N_DOCUMENTS)
        for number in range(PER_TASK):
            dot_QD[len(queries)] = shared_D + rng.standard_t(3, N_DOCUMENTS)
            queries.append(
                make_query(
                    len(queries), id=f"{task}-{number}", task=task, group=group, correct=bool(number % 2)
                )
            )
    documents = list(generate(N_DOCUMENTS, seed=0))
    return write_scores(folder / "scores", dot_QD, queries=queries, documents=documents).folder


def main() -> None:
    """Make the store and its report, open it, print the times."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--folder", type=Path, help="where to write; by default a folder that is deleted afterwards"
    )
    folder = parser.parse_args().folder
    with tempfile.TemporaryDirectory() as temporary:
        folder = folder or Path(temporary)
        run = store(folder)
        start = time.perf_counter()
        page = write_report(run, folder / "report.html")
        print(f"made in {time.perf_counter() - start:.1f} s, {page.stat().st_size / 1e6:.2f} MB")
        print(f"ready after {_opening(page)} s ({OPENINGS} openings)")


def _opening(page: Path) -> str:
    browser_path = shutil.which("chromium") or shutil.which("google-chrome")
    if browser_path is None:
        return "no browser here, so no"
    from playwright.sync_api import sync_playwright

    times = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
        for _ in range(OPENINGS):
            view = browser.new_context().new_page()
            start = time.perf_counter()
            view.goto(page.as_uri())
            view.wait_for_selector("body[data-ready='1']", state="attached")
            times.append(time.perf_counter() - start)
            view.close()
        browser.close()
    return ", ".join(f"{seconds:.2f}" for seconds in times)


if __name__ == "__main__":
    main()
