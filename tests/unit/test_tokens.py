"""Text to tokens: BOS once, text in step with tokens, windows, empty documents, where a completion begins."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from texts import LETTERS
from tiny import character_tokenizer
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from influence.data.document_tokens import TokenReport, encode_documents
from influence.data.query_tokens import encode_query
from influence.data.tokens import prefix_ids, tokenise
from influence.errors import InputError
from influence.types import Document, Query

PLAIN, WITH_BOS = character_tokenizer(), character_tokenizer(bos=True)
BOS = 0


def merging_tokenizer() -> PreTrainedTokenizerFast:
    """`ab` is one token: a boundary between a and b falls inside it."""
    vocabulary = {"<s>": 0, "a": 1, "b": 2, "c": 3, "ab": 4}
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.BPE(vocabulary, [("a", "b")])), bos_token="<s>"
    )


def encode(
    texts: list[str], tokenizer: Any = PLAIN, max_length: int = 8, windows: bool = False
) -> tuple[list[tuple[Document, list[int]]], TokenReport]:
    documents = [Document(f"d{i}", text, "wiki", {"n": i}) for i, text in enumerate(texts)]
    report = TokenReport()
    return list(encode_documents(documents, tokenizer, max_length, windows, report)), report


def query(prompt: str, completion: str) -> Query:
    return Query("q7", "task", "factual", prompt, completion)


def ids(text: str) -> list[int]:
    return list(PLAIN(text)["input_ids"])


def test_bos_is_added_exactly_when_the_tokenizer_adds_it() -> None:
    assert prefix_ids(PLAIN) == []
    assert prefix_ids(WITH_BOS) == [BOS]
    ((_, plain),), _ = encode(["abc"])
    ((_, with_bos),), _ = encode(["abc"], WITH_BOS)
    assert plain == ids("abc")
    assert with_bos == [BOS, *ids("abc")]


@given(st.text("abc ", min_size=300, max_size=2000), st.integers(2, 4))
def test_the_first_tokens_of_a_long_text_are_those_of_the_whole(text: str, first: int) -> None:
    (whole,), (beginning,) = (tokenise(merging_tokenizer(), [text], first=n) for n in (None, first))
    assert beginning.ids[:first] == whole.ids[:first]
    assert beginning.ends[:first] == whole.ends[:first]
    assert beginning.text == text


def test_a_record_of_10_megabytes_is_not_tokenised_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    given_characters = []
    real = PreTrainedTokenizerFast.__call__

    def counting(self: Any, text: Any, **settings: Any) -> Any:
        given_characters.append(sum(map(len, text)))
        return real(self, text, **settings)

    monkeypatch.setattr(PreTrainedTokenizerFast, "__call__", counting)
    ((document, tokens),), report = encode(["abc " * 2_500_000], max_length=512)
    assert len(tokens) == 512
    assert document.text == "abc " * 128
    assert report.truncated == 1
    assert sum(given_characters) < 100_000


def test_a_text_that_begins_with_the_bos_string_gets_no_second_bos() -> None:
    ((_, tokens),), _ = encode(["<s>abc"], WITH_BOS)
    assert tokens == [BOS, *ids("abc")]
    tokens, start = encode_query(WITH_BOS, query("<s>ab", "cd"), 20)
    assert tokens == [BOS, *ids("abcd")]
    assert start == 3
    # Where the tokenizer adds none, the writer's own is kept.
    ((_, tokens),), _ = encode(["<s>abc"], PLAIN)
    assert tokens == [BOS, *ids("abc")]
    tokens, start = encode_query(PLAIN, query("<s>ab", "cd"), 20)
    assert tokens == [BOS, *ids("abcd")]
    assert start == 3


@pytest.mark.parametrize("tokenizer", [PLAIN, WITH_BOS], ids=["plain", "bos"])
def test_truncation_keeps_the_text_in_step_with_the_tokens(tokenizer: Any) -> None:
    kept, report = encode(["abcdefghijkl", "abc", "abcdefgh"], tokenizer)
    for document, tokens in kept:
        assert len(tokens) <= 8
        assert tokens[len(prefix_ids(tokenizer)) :] == ids(document.text)
    assert kept[0][0].text == "abcdefgh"[: 8 - len(prefix_ids(tokenizer))]
    assert [document.id for document, _ in kept] == ["d0", "d1", "d2"]
    assert [document.metadata for document, _ in kept] == [{"n": 0}, {"n": 1}, {"n": 2}]
    assert report.truncated == 1 + len(prefix_ids(tokenizer))
    assert report.documents == 3
    assert report.tokens == sum(len(tokens) for _, tokens in kept)


@given(st.text(LETTERS, min_size=2, max_size=60), st.integers(2, 20), st.booleans())
def test_windows_cover_the_document_once(text: str, max_length: int, bos: bool) -> None:
    tokenizer = WITH_BOS if bos else PLAIN
    kept, report = encode([text], tokenizer, max_length, windows=True)
    joined = "".join(document.text for document, _ in kept)
    # A last window of one token predicts nothing and is left out, when no BOS comes before it.
    assert joined == text or (joined == text[:-1] and not bos)
    room = max_length - bos
    expected = [f"d0#{i}" for i in range(len(kept))] if len(text) > room else ["d0"]
    assert [document.id for document, _ in kept] == expected
    for document, tokens in kept:
        assert tokens == [BOS] * bos + ids(document.text)
        assert 2 <= len(tokens) <= max_length
        assert document.source == "wiki"
    assert report.documents == len(kept)
    assert report.windows == (len(kept) if len(text) > room else 0)
    assert report.truncated == 0


def test_windows_cut_between_tokens() -> None:
    kept, _ = encode(["cabab" * 2 + "c"], merging_tokenizer(), 4, windows=True)
    assert [document.text for document, _ in kept] == ["cababc", "ababc"]
    assert [tokens for _, tokens in kept] == [[3, 4, 4, 3], [4, 4, 3]]


def test_documents_with_nothing_to_predict_are_left_out_and_counted() -> None:
    kept, report = encode(["", "a", "ab", ""])
    assert [document.id for document, _ in kept] == ["d2"]
    assert report.empty == 3
    assert "3 left out for having no token to predict" in report.sentence(8)
    kept, report = encode(["", "a", "ab"], WITH_BOS)  # after BOS, one token is predicted
    assert [document.id for document, _ in kept] == ["d1", "d2"]
    assert report.empty == 1


def test_a_corpus_without_text_is_an_error() -> None:
    with pytest.raises(InputError, match="holds no text") as caught:
        encode(["", "a"])
    assert caught.value.have == "2 empty documents"


@pytest.mark.parametrize(("tokenizer", "max_length"), [(WITH_BOS, 1), (PLAIN, 1)], ids=["bos", "plain"])
def test_a_length_that_leaves_nothing_to_predict_is_an_error(tokenizer: Any, max_length: int) -> None:
    with pytest.raises(InputError, match=f"--max-length {max_length} leaves no room"):
        encode(["abc"], tokenizer, max_length)


def test_the_report_counts_what_happened() -> None:
    _, report = encode(["abcdefghijkl", "ab", ""], max_length=5)
    assert report.sentence(5) == (
        "2 documents, 7 tokens; 1 truncated to 5 tokens; 1 left out for having no token to predict"
    )
    _, report = encode(["abcdefghijkl"], max_length=5, windows=True)
    assert report.sentence(5) == "3 documents, 12 tokens; 3 are windows of longer documents"


def test_more_documents_than_one_batch_of_the_tokenizer_stay_in_order() -> None:
    kept, _ = encode([f"{'ab' * (1 + i % 3)}" for i in range(1100)])
    assert [document.id for document, _ in kept] == [f"d{i}" for i in range(1100)]
    assert all(tokens == ids(document.text) for document, tokens in kept)


@pytest.mark.parametrize(
    ("tokenizer", "prompt", "completion", "start"),
    [
        (PLAIN, "abc", "de", 3),
        (WITH_BOS, "abc", "de", 4),
        (WITH_BOS, "", "de", 1),
        (PLAIN, "", "de", 1),  # nothing predicts the very first token
        (merging_tokenizer(), "cab", "c", 2),
        (merging_tokenizer(), "ca", "bc", 1),  # the token ab straddles: it is the completion's
        (merging_tokenizer(), "cc", "ab", 2),
    ],
)
def test_where_the_completion_begins(tokenizer: Any, prompt: str, completion: str, start: int) -> None:
    tokens, found = encode_query(tokenizer, query(prompt, completion), 20)
    assert tokens == prefix_ids(tokenizer) + list(
        tokenizer(prompt + completion, add_special_tokens=False)["input_ids"]
    )
    assert found == start


def test_queries_that_do_not_fit_are_refused_by_name() -> None:
    with pytest.raises(InputError, match="Query q7: the completion has no token") as caught:
        encode_query(PLAIN, query("abc", ""), 20)
    assert caught.value.have == "''"
    with pytest.raises(InputError, match="Query q7: the completion has no token"):
        encode_query(PLAIN, query("", "a"), 20)
    with pytest.raises(InputError, match="Query q7 has 6 tokens, more than --max-length 5") as caught:
        encode_query(PLAIN, query("abc", "def"), 5)
    assert "--max-length" in str(caught.value.fix)
    assert len(encode_query(PLAIN, query("abc", "def"), 6)[0]) == 6


def test_a_tokenizer_without_offsets_is_refused() -> None:
    class Slow:
        is_fast = False

    with pytest.raises(InputError, match="Slow cannot say where its tokens lie"):
        encode(["abc"], Slow())
    with pytest.raises(InputError, match="Slow cannot say where its tokens lie"):
        encode_query(Slow(), query("a", "b"), 5)  # type: ignore[arg-type]


def framed(template: str, bos: str) -> PreTrainedTokenizerFast:
    """A tokenizer of characters that frames every text, whatever it calls its frame."""
    tokenizer = character_tokenizer().backend_tokenizer
    specials = ["<s>", "[gMASK]", "<sop>", "</s>"]
    tokenizer.add_special_tokens(specials)
    pairs = [(name, tokenizer.token_to_id(name)) for name in specials]
    tokenizer.post_processor = processors.TemplateProcessing(single=template, special_tokens=pairs)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=bos, eos_token="</s>", unk_token="<unk>"
    )


@pytest.mark.parametrize(
    ("template", "bos", "prefix"),
    [
        ("[gMASK] <sop> $A", "<s>", ["[gMASK]", "<sop>"]),
        ("</s> $A", "<s>", ["</s>"]),
        ("$A </s>", "</s>", []),  # its bos is its eos, which stands behind
        ("<s> $A </s>", "<s>", ["<s>"]),
    ],
)
def test_what_the_tokenizer_puts_before_a_text_stays(template: str, bos: str, prefix: list[str]) -> None:
    tokenizer = framed(template, bos)
    expected = tokenizer.convert_tokens_to_ids([*prefix, "a", "b"])
    report = TokenReport()
    ((_, ids),) = encode_documents([Document("d", "ab")], tokenizer, 16, False, report)
    assert ids == expected
    assert (
        "the end token that the tokenizer appends is left off" in report.sentence(16)
    ) == template.endswith("</s>")
    query = Query("q", "t", "control", "a", "b")
    assert encode_query(tokenizer, query, 16) == (expected, len(prefix) + 1)
    assert encode_query(tokenizer, query, 16)[0].count(tokenizer.eos_token_id) == prefix.count("</s>")


def test_a_token_that_straddles_belongs_to_the_completion_where_offsets_are_trimmed() -> None:
    vocabulary = {character: index for index, character in enumerate(pre_tokenizers.ByteLevel.alphabet())}
    vocabulary |= {"ĊĊ": 256, ".ĊĊ": 257}
    for trim in (True, False):
        backend = Tokenizer(models.BPE(vocabulary, [("Ċ", "Ċ"), (".", "ĊĊ")]))
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        backend.post_processor = processors.ByteLevel(trim_offsets=trim)
        tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, bos_token=None)
        ids, start = encode_query(tokenizer, Query("q", "t", "control", "ab.\n", "\nc"), 16)
        assert tokenizer.convert_ids_to_tokens(ids) == ["a", "b", ".ĊĊ", "c"]
        assert start == 2
        assert tokenizer.backend_tokenizer.post_processor.trim_offsets == trim
