"""Fine-tuning examples as documents: their tokens, and which of them the loss counts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chats import FORGETFUL, MARKED, MESSAGES, PLAIN, WITH_TOOLS, chat_tokenizer
from hypothesis import given
from hypothesis import strategies as st

from influence.data.corpus import read_corpus
from influence.data.document_tokens import TokenReport, encode_documents
from influence.data.examples import read_examples
from influence.errors import InputError
from influence.train.sft import example_rows
from influence.types import Chat, Document, Loss, TokenIds

LONG = 200


def encoded(
    document: Document, tokenizer: Any, max_length: int = LONG, windows: bool = False
) -> tuple[list[tuple[Document, list[int]]], TokenReport]:
    report = TokenReport()
    return list(encode_documents([document], tokenizer, max_length, windows, report, True)), report


def learnt(tokenizer: Any, document: Document, ids: list[int]) -> str:
    """What the loss counts, as text."""
    mask = document.loss_mask or (True,) * len(ids)
    return "".join(
        tokenizer.convert_ids_to_tokens([i for i, counts in zip(ids, mask, strict=True) if counts])
    )


def chat(loss: Loss = "assistant", **fields: Any) -> Document:
    return Document("c", "", example=Chat(tuple(fields.pop("messages", MESSAGES)), loss=loss, **fields))


def write(path: Path, *records: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


@pytest.mark.parametrize("template", [PLAIN, MARKED], ids=["prefixes", "marks"])
@pytest.mark.parametrize(
    ("loss", "expected"),
    [("assistant", "it is 4.\nit is 4.\n"), ("last", "it is 4.\n"), ("all", None)],
)
def test_the_assistants_turns_count(template: str, loss: Loss, expected: str | None) -> None:
    tokenizer = chat_tokenizer(template)
    ((document, ids),), report = encoded(chat(loss), tokenizer)
    assert ids == tokenizer.apply_chat_template(MESSAGES)["input_ids"]
    assert document.text == tokenizer.apply_chat_template(MESSAGES, tokenize=False)
    assert document.example is None
    if expected is None:
        assert document.loss_mask is None
        assert report.counted == len(ids) - 1
    else:
        assert learnt(tokenizer, document, ids) == expected
        assert report.counted == len(expected)
    if loss == "last":  # the same words stand in both answers: it is the later ones that count
        assert document.loss_mask is not None
        assert all(document.loss_mask[-len("it is 4.\n") :])


@pytest.mark.parametrize("adds_bos", [False, True])
@pytest.mark.parametrize("template", [PLAIN, MARKED])
def test_the_template_alone_decides_about_bos(template: str, adds_bos: bool) -> None:
    tokenizer = chat_tokenizer(template, adds_bos)
    ((_, ids),), _ = encoded(chat(), tokenizer)
    assert ids.count(tokenizer.bos_token_id) == (template == MARKED)


def test_a_template_that_rewrites_earlier_turns_is_refused_unless_all_counts() -> None:
    tokenizer = chat_tokenizer(FORGETFUL)
    messages = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "(hm)b"},
        {"role": "user", "content": "c"},
        {"role": "assistant", "content": "d"},
    ]
    with pytest.raises(InputError, match="writes the first 2 messages of document c otherwise") as refusal:
        encoded(chat(messages=messages), tokenizer)
    assert "--loss all" in (refusal.value.fix or "")
    encoded(chat("all", messages=messages), tokenizer)
    ((document, ids),), _ = encoded(chat("last", messages=messages), tokenizer)
    assert learnt(tokenizer, document, ids) == "d\n"


def test_prompt_and_completion_of_messages() -> None:
    tokenizer = chat_tokenizer(PLAIN)
    ((document, ids),), _ = encoded(chat(prompt_messages=2), tokenizer)
    assert learnt(tokenizer, document, ids) == "it is 4.\nuser: and 3+3?\nassistant: it is 4.\n"


def test_tools_reach_the_template_and_its_refusal_is_told() -> None:
    tokenizer = chat_tokenizer(WITH_TOOLS)
    tool = {"type": "function", "function": {"name": "sum", "parameters": {}}}
    ((document, ids),), _ = encoded(chat(messages=MESSAGES[1:3], tools=(tool,)), tokenizer)
    assert document.text.startswith("tool sum\nuser:")
    assert learnt(tokenizer, document, ids) == "it is 4.\n"
    with pytest.raises(InputError, match="refuses 5 messages of document c") as refusal:
        encoded(chat(), tokenizer)
    assert refusal.value.have == "No system message, please."
    with pytest.raises(InputError, match="tokenizer has none"):
        encoded(chat(), chat_tokenizer(None))


@pytest.mark.parametrize("adds_bos", [False, True])
def test_the_file_that_sft_reads_has_the_tokens_and_labels_of_its_training(
    tmp_path: Path, adds_bos: bool
) -> None:
    tokenizer = chat_tokenizer(None, adds_bos)
    path = write(
        tmp_path / "x.jsonl",
        {"prompt": "2+2=", "completion": "4", "topic": "sums"},
        {"prompt": "<s>say a", "completion": "a="},  # has its own BOS, which is added once, and its own EOS
    )
    rows = example_rows(read_examples(path), tokenizer, None)
    for document, row in zip(read_corpus(path), rows, strict=True):
        ((piece, ids),), _ = encoded(document, tokenizer)
        assert ids == row.tokens.tolist()
        assert piece.loss_mask == tuple(n >= row.start for n in range(len(ids)))
        assert ids.count(tokenizer.bos_token_id) <= 1
        assert ids[-1] == tokenizer.eos_token_id
        assert ids[-2] != tokenizer.eos_token_id
        assert ids[adds_bos:] == encoded(Document("t", piece.text), tokenizer)[0][0][1][adds_bos:]
    assert [document.metadata for document in read_corpus(path)] == [{"topic": "sums"}, {}]


@given(st.lists(st.booleans(), min_size=2, max_size=40), st.integers(2, 12), st.booleans(), st.booleans())
def test_a_random_mask_is_kept_through_windows(
    counts: list[bool], max_length: int, windows: bool, bos: bool
) -> None:
    tokenizer = chat_tokenizer(None, bos)
    ids = [2 + n % 26 for n in range(len(counts))]
    document = Document("d", "", example=TokenIds(tuple(ids), tuple(counts)))
    pieces, report = encoded(document, tokenizer, max_length, windows)
    starts = range(0, len(ids), max_length) if windows else range(1)
    expected = [
        (ids[start : start + max_length], tuple(counts[start : start + max_length]))
        for start in starts
        if any(counts[start + 1 : start + max_length])
    ]
    assert [(tokens, piece.loss_mask) for piece, tokens in pieces] == expected
    lone = sum(len(ids[start : start + max_length]) < 2 for start in starts)
    assert report.without_loss == len(starts) - lone - len(expected)
    assert report.counted == sum(sum(mask[1:]) for _, mask in expected)
    assert report.examples == report.documents == len(expected)


def test_every_window_of_a_chat_begins_with_the_templates_bos() -> None:
    tokenizer = chat_tokenizer(MARKED, bos=True)
    pieces, report = encoded(chat(), tokenizer, 30, windows=True)
    whole = encoded(chat(), tokenizer)[0][0][1]
    assert all(ids[0] == tokenizer.bos_token_id for _, ids in pieces)
    assert {len(ids) for _, ids in pieces[:-1]} == {30}
    assert "".join(learnt(tokenizer, piece, ids) for piece, ids in pieces) == "it is 4.\nit is 4.\n"
    assert report.documents + report.without_loss == -(-(len(whole) - 1) // 29)


def test_what_has_nothing_to_learn_is_left_out_and_counted() -> None:
    tokenizer = chat_tokenizer(PLAIN)
    pieces, report = encoded(chat(messages=MESSAGES[:2]), tokenizer)
    assert (pieces, report.without_loss, report.empty) == ([], 1, 0)
    assert "1 left out for having no token whose loss counts" in report.sentence(LONG)
    with pytest.raises(InputError, match="nothing to learn") as refusal:
        list(encode_documents([chat()], tokenizer, 20, False, TokenReport()))
    assert "--max-length" in (refusal.value.fix or "")


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"input_ids": [1, 2], "labels": [-100]}, "labels of another length"),
        ({"input_ids": [1, 2], "labels": [2, -100]}, "a label that is not the token at its place"),
        ({"input_ids": [1, 2], "labels": [1, 2], "loss_mask": [1, 1]}, "both labels and a loss_mask"),
        ({"input_ids": [1, 2], "loss_mask": [1, 2]}, "a loss_mask that is not of 0 and 1"),
        ({"input_ids": [1, -2]}, "a token id below 0"),
        ({"input_ids": "12"}, "'input_ids' that is no list of integers"),
        ({"messages": []}, "no list of messages in the field 'messages'"),
        ({"messages": [{"content": "a"}]}, "a message without a role: messages[0]"),
        (
            {"messages": [{"role": "user", "content": "a"}], "tools": ["x"]},
            "tools that are no list of objects",
        ),
        (
            {"prompt": "a", "completion": [{"role": "user"}]},
            "a prompt and a completion that do not go together",
        ),
        ({"prompt": "a"}, "no text in the field 'text'"),
    ],
)
def test_what_is_no_example_is_refused(tmp_path: Path, record: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as refusal:
        list(read_corpus(write(tmp_path / "x.jsonl", record)))
    assert message in refusal.value.message
    assert "x.jsonl:1" in refusal.value.message


def test_a_text_wins_and_a_named_field_must_be_there(tmp_path: Path) -> None:
    record = {"text": "t", "prompt": "a", "completion": "b", "messages": MESSAGES}
    (document,) = read_corpus(write(tmp_path / "x.jsonl", record))
    assert (document.text, document.example) == ("t", None)
    del record["text"]
    with pytest.raises(InputError, match="no text in the field 'body'"):
        list(read_corpus(write(tmp_path / "x.jsonl", record), text_field="body"))


def test_parquet_messages_lose_the_fields_that_only_others_have(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    messages = [
        {"role": "user", "content": "a", "name": None},
        {"role": "assistant", "content": "b", "name": "x"},
    ]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([{"messages": messages}]), tmp_path / "x.parquet")
    (document,) = read_corpus(tmp_path / "x.parquet")
    assert document.example == Chat(
        ({"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "name": "x"})
    )


def test_ids_the_tokenizer_lacks_are_refused() -> None:
    with pytest.raises(InputError, match="a token id that the model's tokenizer has not"):
        encoded(Document("d", "", example=TokenIds((1, 999))), chat_tokenizer(None))


def test_given_ids_are_not_tokenised_again() -> None:
    tokenizer = chat_tokenizer(None, bos=True)
    ids = np.arange(2, 12).tolist()
    ((piece, tokens),), _ = encoded(Document("d", "", example=TokenIds(tuple(ids))), tokenizer)
    assert tokens == ids
    assert piece.loss_mask is None
