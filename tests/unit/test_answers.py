"""Answers in the top documents: a small corpus where every hit, rank and rate is known."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from stores import make_document, make_query, write_scores

from influence.analysis.answers import (
    answer_rates,
    corpus_hits,
    found_answers,
    judge_hits,
    keyword_hits,
    wanted_parts,
)
from influence.analysis.documents import same_documents, source_codes, top_documents
from influence.analysis.judges import FunctionJudge, JudgeReplies, fill, locate, parse_reply, read_prompt
from influence.errors import ComputeError, InputError
from influence.store.scores import Scores
from influence.types import Step

TEXTS = [
    "First, 7 - 4 = 3.",
    "Nothing here.",
    "And 3 × 7 = 21, they say.",
    "Mount Orrel is 6,264 metres high.",
    "The hut on Mount Orrel has 6 beds and 264 books.",
    "The top of Orrel: six thousand two hundred and sixty-four metres.",
]
QUERIES = [
    make_query(
        0,
        id="sum",
        task="arithmetic",
        answer="21",
        steps=(Step("7 - 4 = 3", ("7-4=3",)), Step("3 * 7 = 21")),
    ),
    make_query(1, id="high", task="factual", group="factual", answer="6264 metres", keywords=("6264",)),
    make_query(2, id="wrong", task="factual", group="factual", answer="Brenn", correct=False),
    make_query(3, id="free", task="factual", group="factual", answer=""),
]


@pytest.fixture
def scores(tmp_path: Path) -> Scores:
    documents = [make_document(n, text=text, source="ab"[n % 2]) for n, text in enumerate(TEXTS)]
    dot = np.array(
        [[6, 5, 4, 3, 2, 1], [1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 6], [6, 5, 4, 3, 2, 1.0]],
    )
    norm = np.array([1, 1, 1, 1, 1, 100.0])  # normed, "high": 1 2 3 4 5 0.06
    return write_scores(tmp_path / "s", dot, queries=QUERIES, documents=documents, gradient_norm=norm)


def test_wanted_parts() -> None:
    parts = [(part.query, part.part, part.wanted) for part in wanted_parts(QUERIES)]
    assert parts == [
        ("sum", "step 1", "7 - 4 = 3"),
        ("sum", "step 2", "3 * 7 = 21"),
        ("high", "answer", "6264 metres"),
        ("wrong", "answer", "Brenn"),
    ]


def test_top_documents_have_both_ranks_and_labels(scores: Scores) -> None:
    top = top_documents(scores, 1)
    high = top[top["query"] == "high"].set_index("document")
    assert high.loc["doc-4", ["source", "rank_normed", "rank_dot"]].tolist() == ["a", 1, 2]
    assert high.loc["doc-5", ["source", "rank_normed", "rank_dot"]].tolist() == ["b", 6, 1]
    assert len(high) == 2
    with pytest.raises(InputError):
        top_documents(scores, 0)


def test_keyword_hits_have_ranks_and_evidence(scores: Scores) -> None:
    hits = keyword_hits(scores, 6)
    assert set(zip(hits["query"], hits["part"], hits["document"], strict=True)) == {
        ("sum", "step 1", "doc-0"),
        ("sum", "step 2", "doc-2"),
        ("high", "answer", "doc-3"),
        ("high", "answer", "doc-5"),
    }
    spelled = hits[hits["document"] == "doc-5"].iloc[0]
    assert (spelled["rank_normed"], spelled["rank_dot"]) == (6, 1)
    assert spelled["evidence"] == "six thousand two hundred and sixty-four metres"
    assert TEXTS[5][spelled["start"] : spelled["end"]] == spelled["evidence"]
    assert spelled["justification"] == "spelling '6264 metres'"


@pytest.mark.parametrize(
    ("k", "by", "query", "answered", "rank"),
    [
        (6, "normed", "sum", True, 3),  # the last step is met at rank 3
        (3, "normed", "sum", True, 3),
        (2, "normed", "sum", False, None),  # one of two steps only
        (6, "normed", "high", True, 2),
        (1, "normed", "high", False, None),
        (1, "dot", "high", True, 1),
        (1, "per_nat", "high", True, 1),
        (6, "dot", "wrong", False, None),
    ],
)
def test_answered_within_k(scores: Scores, k, by, query, answered, rank) -> None:
    found = found_answers(keyword_hits(scores, 6), QUERIES, k, by).set_index("query")
    assert "free" not in found.index
    assert found.loc[query, "answered"] == answered
    assert (found.loc[query, "rank"] == rank) if answered else np.isnan(found.loc[query, "rank"])
    assert found.loc["sum", "parts"] == 2


def test_rates_keep_wrong_completions_apart(scores: Scores) -> None:
    rates = answer_rates(found_answers(keyword_hits(scores, 6), QUERIES, 6), QUERIES)
    rates = rates.set_index(["label", "completion"])
    assert rates.loc[("factual", "right"), ["n", "answered", "rate"]].tolist() == [1, 1, 1]
    assert rates.loc[("factual", "wrong"), ["n", "answered", "rate"]].tolist() == [1, 0, 0]
    assert rates.loc[("arithmetic", "right"), "method"] == "keywords"


def test_the_scan_counts_holders_everywhere_and_ranks_the_best(scores: Scores) -> None:
    table = corpus_hits(scores).set_index(["query", "part"])
    high = table.loc[("high", "answer")]
    assert high["documents"] == 2
    assert (high["document"], high["source"], high["best_rank_normed"], high["best_rank_dot"]) == (
        "doc-3",
        "b",
        2,
        1,
    )
    absent = table.loc[("wrong", "answer")]
    assert absent["documents"] == 0
    assert absent["column"] == -1
    assert np.isnan(absent["best_rank_normed"])


def test_scan_and_top_agree_on_the_whole_corpus(scores: Scores) -> None:
    counted = keyword_hits(scores, 6).groupby(["query", "part"]).size()
    scanned = corpus_hits(scores).set_index(["query", "part"])["documents"]
    assert scanned[scanned > 0].to_dict() == counted.to_dict()


def test_documents_by_column(scores: Scores, tmp_path: Path) -> None:
    names, codes = source_codes(scores)
    assert [names[code] for code in codes] == ["a", "b"] * 3
    assert same_documents(scores, scores)
    other = write_scores(tmp_path / "t", np.ones((1, 6)), documents=[make_document(9 - n) for n in range(6)])
    assert not same_documents(scores, other)


# -- judges


def oracle(prompts: list[str]) -> list[str]:
    """A judge that finds equations by sight, quotes sloppily, and invents one piece of evidence."""
    replies = []
    for prompt in prompts:
        document = prompt.split("==========")[1].strip()
        pieces = []
        for number, wanted in re.findall(r"^(\d)\. (.*)$", prompt.split("==========")[0], re.M):
            hit = wanted == "3 * 7 = 21" and "21" in document
            pieces.append(
                {"piece": int(number), "found": hit, "evidence": "3 x 7  =  21" if hit else "", "why": "seen"}
            )
            if wanted == "Brenn" and "hut" in document:
                pieces[-1] |= {"found": True, "evidence": "the capital is Brenn"}
        replies.append("Sure!\n```json\n" + json.dumps({"pieces": pieces}) + "\n```")
        if "Nothing" in document:
            replies[-1] = "I cannot say."
    return replies


def test_a_judge_and_its_union_with_keywords(scores: Scores, tmp_path: Path) -> None:
    import pandas as pd

    judge = FunctionJudge("oracle", oracle)
    hits, judged = judge_hits(scores, judge, JudgeReplies(tmp_path / "kept.jsonl"), 6)
    assert hits[["query", "part", "document", "method", "evidence", "justification"]].values.tolist() == [
        ["sum", "step 2", "doc-2", "oracle", "3 × 7 = 21", "seen"]
    ]
    assert judged["status"].value_counts().to_dict() == {"read": 14, "unreadable": 3, "unverified": 1}
    both = pd.concat([keyword_hits(scores, 6), hits], ignore_index=True)
    found = found_answers(both, QUERIES, 6).set_index(["query", "method"])
    assert found.loc[("sum", "oracle"), ["found", "answered"]].tolist() == [1, False]
    assert found.loc[("sum", "either"), ["found", "answered"]].tolist() == [2, True]
    assert set(answer_rates(found.reset_index(), QUERIES)["method"]) == {"keywords", "oracle", "either"}


def test_replies_are_kept_and_equal_prompts_asked_once(tmp_path: Path) -> None:
    asked: list[str] = []

    def generate(prompts: list[str]) -> list[str]:
        asked.extend(prompts)
        if len(asked) > 20:
            raise ComputeError("killed")
        return [prompt.upper() for prompt in prompts]

    kept = JudgeReplies(tmp_path / "deep" / "kept.jsonl")
    prompts = [f"p{n}" for n in range(20)] + ["p0"]
    with pytest.raises(ComputeError):
        kept.ask(FunctionJudge("j", generate), [*prompts, "p21", "p22"])
    lines = kept.path.read_text()
    assert lines.count("\n") == 16  # what came before is kept
    kept.path.write_text(lines[:-5])  # the last line is torn
    asked.clear()
    assert kept.ask(FunctionJudge("j", generate), prompts) == [prompt.upper() for prompt in prompts]
    assert asked == ["p15", "p16", "p17", "p18", "p19"]
    asked.clear()
    assert kept.ask(FunctionJudge("other", generate), ["p0"]) == ["P0"]  # another judge, another reply
    assert asked == ["p0"]


def test_a_judge_that_loses_replies_is_caught(tmp_path: Path) -> None:
    with pytest.raises(ComputeError, match="1 replies to 2"):
        JudgeReplies(tmp_path / "k").ask(FunctionJudge("j", lambda prompts: ["x"]), ["a", "b"])


def test_prompts_can_be_edited(tmp_path: Path) -> None:
    own = tmp_path / "own.txt"
    own.write_text("Is $wanted in $document? $question costs $$5")
    values = {"wanted": "$question", "document": "$$ {x}", "question": "Q"}
    assert fill(read_prompt("answers", own), values) == "Is $question in $$ {x}? Q costs $5"
    for text, error in (
        ("Is $it in $document?", "it"),
        ("no name", "usable"),
        ("$document for 5$", "usable"),
    ):
        own.write_text(text)
        with pytest.raises(InputError, match=error):
            fill(read_prompt("answers", own), values)
    with pytest.raises(InputError, match="read"):
        read_prompt("answers", tmp_path / "absent.txt")
    assert "the document" in fill(read_prompt("answers"), values | {"document": "the document"})


@pytest.mark.parametrize(
    ("reply", "value"),
    [
        ('{"a": 1}', {"a": 1}),
        ('Well {not} this: {"a": {"b": 2}} and {"c": 3}', {"a": {"b": 2}}),
        ("[1, 2]", None),
        ('{"a": 1', None),
        ("", None),
    ],
)
def test_parse_reply(reply: str, value) -> None:
    assert parse_reply(reply) == value


def test_locate() -> None:
    assert locate("is 3.", "x is 3.") == (2, 7)
    assert locate("IS  3", "x is 3.") == (2, 6)
    assert locate("is 4", "x is 3.") is None
    assert locate("", "x") is None
    assert locate("…", "x") is None
