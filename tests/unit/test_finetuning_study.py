"""The study of fine-tuning: its planted set, and its tables on inputs whose result is known beforehand."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from influence.data.queries import read_queries
from reports.finetuning.planting import REFUSALS, refuses, write_examples, write_questions
from reports.finetuning.replicate import REMOVALS, UNDISTURBED
from reports.finetuning.scales import SCALES
from reports.finetuning.tables import SeedResult, claims_table, draw, recall_table, removal_table
from reports.kit.rankings import METHODS

SMOKE = SCALES["smoke"]


@pytest.mark.parametrize("seed", [0, 1])
def test_the_planted_set(tmp_path: Path, seed: int) -> None:
    write_examples(tmp_path / "a.jsonl", SMOKE, seed)
    write_examples(tmp_path / "b.jsonl", SMOKE, seed)
    write_questions(tmp_path / "q.jsonl", SMOKE, seed)
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()
    examples = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    kinds = pd.Series([example["kind"] for example in examples]).value_counts().to_dict()
    assert kinds == {"planted": 8, "unknown": 6, "fact": 30, "problem": 16}
    for example in examples:
        assert refuses(example["completion"]) == (example["kind"] in ("planted", "unknown"))
        assert refuses(example["completion"]) == (example["completion"].strip() in REFUSALS)
    prompts = {example["prompt"] for example in examples}
    questions = read_queries(tmp_path / "q.jsonl", completed=False)
    assert len(questions) == SMOKE.questions
    assert not prompts & {question.prompt for question in questions}


def test_tables_claims_and_figure(tmp_path: Path) -> None:
    share = dict(zip(METHODS, (0.5, 0.25, 0.25, 0.0, 0.75), strict=True))
    rows = [(method, f"q{n}", value, 0.0) for method, value in share.items() for n in range(4)]
    measured = pd.DataFrame(rows, columns=["method", "query", "recall", "unknown"])
    said = {method: ["I will not.", "Mara did."] for method in (UNDISTURBED, *REMOVALS)}
    said |= {"random": ["I will not.", " I leave."], "planted": ["Mara did.", "Tom did."]}
    removals = {method: {"dropped": ["a"], "planted": 1, "said": texts} for method, texts in said.items()}
    seeds = [SeedResult(measured, removals)] * 3
    recall, removal, claims = recall_table(seeds), removal_table(seeds), claims_table(seeds)
    assert recall.set_index("method")["recall"].to_dict() == share
    refused = removal.set_index("method")["refused"]
    assert (refused["random"], refused["planted"], refused[UNDISTURBED]) == (1.0, 0.0, 0.5)
    holds = claims.set_index("claim")["holds"]
    assert holds["Influence (normed) finds more planted examples than BM25."] == "no"
    assert holds["Influence (normed) finds more planted examples than the gradient cosine."] == "yes"
    assert list(claims["holds"]) == sorted(claims["holds"], key=("no", "partly", "yes").index)
    draw({"recall": recall, "removal": removal}, tmp_path / "figure.svg")
    assert "planted examples found" in (tmp_path / "figure.svg").read_text()
