"""The parts of reports.real_text that decide what counts as an answer, and its published table."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

from reports.real_text import build, evaluate


def test_a_step_knows_the_spellings_of_its_equation_but_not_its_bare_value() -> None:
    step = build.step("9 * 2", "18")
    assert step.text == "9*2=18"
    assert {"9*2=18", "9 * 2 = 18", "9 x 2 = 18", "9×2 = 18"} <= set(step.keywords)
    assert "18" not in step.keywords
    assert len(set(step.keywords)) == len(step.keywords)
    assert "10 - -3 = 13" in build.step("10--3", "13").keywords


def test_marks_leave_the_solution_as_people_write_it() -> None:
    solution = "She makes 9 * 2 = $<<9*2=18>>18 every day.\n#### 18"
    assert build.without_marks(solution) == "She makes 9 * 2 = $18 every day.\n#### 18"
    assert build.MARK.findall(solution) == [("9*2", "18")]


def test_the_sample_is_seeded_and_uniform() -> None:
    rows = [{"id": i} for i in range(10)]
    assert build.sample(iter(rows), 3, "s") == build.sample(iter(rows), 3, "s")
    counts = Counter(row["id"] for seed in range(2000) for row in build.sample(iter(rows), 3, str(seed)))
    assert all(500 < counts[i] < 700 for i in range(10))  # 600 expected, standard deviation 20
    with pytest.raises(SystemExit, match="Only 10 rows"):
        build.sample(iter(rows), 11, "s")


def test_the_published_page_is_made_from_the_published_table() -> None:
    folder = Path(evaluate.__file__).parent
    table = pd.read_csv(folder / "recall.csv")
    assert evaluate.markdown(table, documents=10_060) == (folder / "recall.md").read_text(encoding="utf-8")
