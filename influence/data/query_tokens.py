"""Queries as token ids: a prompt with its completion, as one text or by the model's chat template."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from influence.data.chats import encode_chat, render
from influence.data.tokens import require_offsets, tokenise, tokenise_completions
from influence.errors import InputError
from influence.types import Chat, Query

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def prompt_tokens(tokenizer: PreTrainedTokenizerBase, query: Query) -> list[int]:
    """Return the token ids of a prompt, up to where the completion begins."""
    if query.messages:
        text = render(tokenizer, query.messages, prompted=True, where=f"query {query.id}").text
        (tokens,) = tokenise(tokenizer, [text], as_written=True, ends=False)
    else:
        (tokens,) = tokenise(tokenizer, [query.prompt], ends=False)
    return tokens.whole


def as_chats(queries: Sequence[Query]) -> list[Query]:
    """Return the queries with each prompt as what a user says, for a chat template; a query without a prompt stays."""
    return [
        replace(query, messages=({"role": "user", "content": query.prompt},))
        if query.prompt and not query.messages
        else query
        for query in queries
    ]


def encode_query(tokenizer: PreTrainedTokenizerBase, query: Query, max_length: int) -> tuple[list[int], int]:
    """Token ids of prompt + completion, and the position where the completion begins.

    Prompt and completion are tokenised as one text; a token that straddles the boundary belongs to the completion. Of
    a chat, what the template puts at the end of an answer belongs to the completion.

    Raises:
        InputError: the two do not fit into `max_length`, or the completion has no token of its own.
    """
    return _encode(tokenizer, query, query.completion, max_length)


def encode_contrast(
    tokenizer: PreTrainedTokenizerBase, query: Query, max_length: int
) -> tuple[list[int], int]:
    """The same of the prompt and the contrast."""
    return _encode(tokenizer, query, query.contrast, max_length)


def _encode(
    tokenizer: PreTrainedTokenizerBase, query: Query, completion: str, max_length: int
) -> tuple[list[int], int]:
    require_offsets(tokenizer)
    if query.messages:
        answer = {"role": "assistant", "content": completion}
        chat = Chat((*query.messages, answer), prompt_messages=len(query.messages))
        encoded, counts = encode_chat(tokenizer, chat, f"query {query.id}")
        start = next((n for n, count in enumerate(counts or ()) if count), len(encoded.ids))
    else:
        ((encoded, start),) = tokenise_completions(tokenizer, [(query.prompt, completion)], ended=False)
    tokens, start = encoded.whole, max(start, 1)
    if start >= len(tokens):
        raise InputError(f"Query {query.id}: the completion has no token to score.", have=repr(completion))
    if len(tokens) > max_length:
        raise InputError(
            f"Query {query.id} has {len(tokens)} tokens, more than --max-length {max_length}.",
            fix="Raise --max-length, or shorten the query.",
        )
    return tokens, start
