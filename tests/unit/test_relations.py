"""Labels from a judge, counted by task."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from stores import make_document, make_query, write_scores

from influence.analysis.judges import FunctionJudge, JudgeReplies
from influence.analysis.relations import LABELS, label_relations, relation_counts
from influence.errors import InputError
from influence.store.scores import Scores

TEXTS = ["def slope(a, b): ...", "rise over run", "1 + 1 = 2", "nothing"]
QUERIES = [make_query(0), make_query(1), make_query(2, id="capital", task="capital", group="factual")]


@pytest.fixture
def scores(tmp_path: Path) -> Scores:
    documents = [make_document(n, text=text) for n, text in enumerate(TEXTS)]
    dot = np.array([[4, 3, 2, 1], [4, 1, 3, 2], [1, 2, 3, 4.0]])
    return write_scores(tmp_path / "s", dot, queries=QUERIES, documents=documents)


def generate(prompts: list[str]) -> list[str]:
    replies = []
    for prompt in prompts:
        document = prompt.split("==========")[1]
        label = "Code that implements the procedure " if "def" in document else "explains the procedure"
        label = "similar arithmetic" if "1 + 1" in document else label
        replies.append(json.dumps({"label": label, "why": "it says so"}))
        if "nothing" in document:
            replies[-1] = '{"label": "a poem"}'
    return replies


def test_labels_and_counts(scores: Scores, tmp_path: Path) -> None:
    table = label_relations(scores, FunctionJudge("j", generate), JudgeReplies(tmp_path / "k"), k=2)
    assert table[["query", "document", "rank_normed", "label"]].values.tolist() == [
        ["slopes-00", "doc-0", 1, "code that implements the procedure"],
        ["slopes-00", "doc-1", 2, "explains the procedure"],
        ["slopes-01", "doc-0", 1, "code that implements the procedure"],
        ["slopes-01", "doc-2", 2, "similar arithmetic"],
        ["capital", "doc-3", 1, "unreadable"],
        ["capital", "doc-2", 2, "similar arithmetic"],
    ]
    assert table["justification"].tolist() == ["it says so"] * 4 + ['{"label": "a poem"}', "it says so"]
    counts = relation_counts(table, QUERIES).set_index(["group", "label"])
    assert counts.loc[
        ("slopes", "code that implements the procedure"), ["count", "of", "share"]
    ].tolist() == [2, 4, 0.5]
    similar = counts.loc[("slopes", "similar arithmetic")]
    assert (similar["share"], similar["low"], similar["high"]) == (0.25, 0, 0.5)
    assert counts.loc[("capital", "unreadable"), "count"] == 1
    assert len(counts) == 2 * (len(LABELS) + 1)
    assert counts.groupby("group")["share"].sum().tolist() == pytest.approx([1, 1])


def test_own_labels_and_prompt(scores: Scores, tmp_path: Path) -> None:
    own = tmp_path / "own.txt"
    own.write_text("Pick from:\n$labels\nfor $document")
    seen = []

    def generate(prompts: list[str]) -> list[str]:
        seen.extend(prompts)
        return ['{"label": "YES"}' for _ in prompts]

    judge, kept = FunctionJudge("j", generate), JudgeReplies(tmp_path / "k")
    table = label_relations(
        scores, judge, kept, k=1, labels={"yes": "it does", "no": "it does not"}, prompt=own
    )
    assert set(table["label"]) == {"yes"}
    assert seen[0] == "Pick from:\n- yes: it does\n- no: it does not\nfor def slope(a, b): ..."
    assert len(seen) == 2  # two queries share a document, and this prompt does not tell them apart
    with pytest.raises(InputError):
        label_relations(scores, judge, kept, labels={})
