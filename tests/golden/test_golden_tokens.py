"""Every way from text to token ids gives the ids, masks and windows that it gave before the ways were made one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from measure import compare, numbers
from transformers import AutoTokenizer

from influence.data.corpus import read_corpus
from influence.data.document_tokens import TokenReport, encode_documents
from influence.data.examples import PromptCompletion
from influence.data.query_tokens import encode_query, prompt_tokens
from influence.data.tasks.task import Example, Task
from influence.ready import ready_path
from influence.train.pretrain import tokenize_rows
from influence.train.sft import example_rows
from influence.train.stepwise.sequences import prompt_ids, tokenize_task
from influence.types import Query

MODEL = Path(__file__).parents[2] / "models/miniworld/tuned"
TEMPLATE = (
    "{% for m in messages %}<{{ m['role'] }}> {{ m['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant> {% endif %}"
)
PAIRS = [
    ("What is the slope?", " It is 3."),
    ("Who wrote it?\n\n", "Mara Ové did.\n"),
    ("<bos>One", " <eos>"),
    ("数は何ですか。", "三です。"),
    ("a.\n", "\nb"),
]
RECORDS: list[dict[str, Any]] = [
    {"text": "A line through (1, 2) and (3, 8) has a slope. " * 9},
    {"text": "<bos>Mara Ové wrote 1,234,567 letters,\tnaïvely."},
    {"text": ""},
    {"text": "x" * 40_000},
    *({"prompt": prompt, "completion": completion} for prompt, completion in PAIRS),
    {"messages": [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "Mara did. " * 20}]},
    {"input_ids": [1, 70, 71, 300, 301, 2], "labels": [-100, -100, 71, 300, -100, 2]},
]


@pytest.mark.parametrize("windows", [False, True])
def test_documents(tmp_path: Path, windows: bool) -> None:
    path = tmp_path / "corpus.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in RECORDS))
    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    tokenizer.chat_template = TEMPLATE
    documents = list(encode_documents(read_corpus(path), tokenizer, 48, windows, TokenReport()))
    compare(
        f"tokens-{'windows' if windows else 'documents'}",
        {
            document.id: [numbers(ids), document.text[:80], numbers(document.loss_mask or ())]
            for document, ids in documents[:40]
        },
    )


def test_queries_examples_tasks_and_texts_to_train_on() -> None:
    tokenizer: Any = AutoTokenizer.from_pretrained(MODEL)
    queries = [Query(str(n), "t", "other", *pair) for n, pair in enumerate(PAIRS)]
    rows = example_rows([PromptCompletion(*pair) for pair in PAIRS], tokenizer, None)
    examples = [Example(str(n), f"{n} + {n}", f"{n} {n} ( {2 * n} )", str(2 * n)) for n in range(20)]
    task = Task("own", "number", {"train": examples}, step_pattern=r"\d+|\(|\)")
    sequences = tokenize_task(examples, task, tokenizer, by_step=True)
    corpus = read_corpus(str(ready_path("corpora", "miniworld")))
    few = tokenize_rows(_Few(corpus), tokenizer, 64)  # type: ignore[arg-type]
    compare(
        "tokens-other",
        {
            "queries": [encode_query(tokenizer, query, 512) for query in queries],
            "prompts": [prompt_tokens(tokenizer, query) for query in queries],
            "examples": [[row.tokens.tolist(), row.start] for row in rows],
            "asked": prompt_ids([example.input for example in examples], tokenizer),
            "tasks": [numbers(sequences.tokens), numbers(sequences.starts), numbers(sequences.step_ends)],
            "texts": [[numbers(row.tokens) for row in few.windows], few.documents, few.chunked],
        },
    )


class _Few:
    """The first documents of a corpus."""

    name = "few"

    def __init__(self, corpus: Any) -> None:
        self._corpus = corpus

    def __iter__(self) -> Any:
        for _, document in zip(range(30), self._corpus, strict=False):
            yield document
