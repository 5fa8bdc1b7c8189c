"""Chats as the model's chat template writes them, and which of their tokens the loss of fine-tuning counts.

The template's own marks (`{% generation %}`) say what the assistant wrote, where it has them. Without them a turn of
the assistant is what the template adds to the messages before it, prompted for an answer: each of these beginnings
must be a beginning of the whole chat, or the chat is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from influence.data.template_sandbox import Rendering, sandbox
from influence.data.tokens import Tokens, tokenise
from influence.errors import InputError
from influence.types import Chat

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def chat_template(tokenizer: PreTrainedTokenizerBase, tools: Sequence[Any] | None = None) -> str:
    """Return the template of a tokenizer; InputError where it has none."""
    try:
        return str(tokenizer.get_chat_template(tools=list(tools) if tools else None))
    except ValueError as error:
        raise InputError(
            "A chat needs a chat template, and the model's tokenizer has none.",
            have=str(error).splitlines()[0],
            fix="Use a model whose tokenizer has one, or give the chats as prompt and completion.",
        ) from error


def render(
    tokenizer: PreTrainedTokenizerBase,
    messages: Sequence[dict[str, Any]],
    tools: Sequence[dict[str, Any]] | None = None,
    *,
    prompted: bool = False,
    where: str,
) -> Rendering:
    """Return messages as the template writes them, special tokens included.

    Args:
        prompted: End with what the template writes before an answer of the assistant.
        where: Names the chat in an error.

    Raises:
        InputError: the tokenizer has no template, or its template refuses these messages or takes too much.
    """
    template = chat_template(tokenizer, tools)
    special = tokenizer.special_tokens_map
    return sandbox.render(template, messages, tools, special, prompted=prompted, where=where)


def as_message(tokenizer: PreTrainedTokenizerBase, prompt: str) -> str:
    """Return the prompt as the message of a user where the tokenizer has a chat template, else as it is."""
    if not tokenizer.chat_template:
        return prompt
    return render(tokenizer, [{"role": "user", "content": prompt}], prompted=True, where="a prompt").text


def prompt_ids(tokenizer: PreTrainedTokenizerBase, prompt: str) -> list[int]:
    """Return the tokens of a prompt as a model is asked it; a chat template brings its own special tokens."""
    as_written = bool(tokenizer.chat_template)
    (tokens,) = tokenise(tokenizer, [as_message(tokenizer, prompt)], as_written=as_written, ends=False)
    return tokens.whole


def encode_chat(
    tokenizer: PreTrainedTokenizerBase, chat: Chat, where: str
) -> tuple[Tokens, list[bool] | None]:
    """Return the tokens of a chat as the template writes it, which alone decides about BOS and EOS.

    Also returns whether the loss of each token counts; None: that of every token. A token belongs to the turn in which
    it ends.

    Raises:
        InputError: see `render`; or the template writes the beginning of a chat otherwise than the whole chat, so that
            it cannot be said what the assistant wrote.
    """
    rendering = render(tokenizer, chat.messages, chat.tools, where=where)
    text = rendering.text
    (tokens,) = tokenise(tokenizer, [text], as_written=True)
    if chat.loss == "all":
        return tokens, None
    if rendering.generated is not None and not chat.prompt_messages:
        counts = _marked(tokenizer, rendering, len(tokens.ids))
        return tokens, _last_run(counts) if chat.loss == "last" else counts
    spans = _spans(tokenizer, chat, text, where)
    return tokens, [any(begin < end <= stop for begin, stop in spans) for end in tokens.ends]


def _marked(tokenizer: PreTrainedTokenizerBase, rendering: Rendering, tokens: int) -> list[bool]:
    """Of each token whether it stands between the template's marks: those of the first and last character included."""
    encoding: Any = tokenizer(rendering.text, add_special_tokens=False)
    counts = [False] * tokens
    for start, end in rendering.generated or ():
        first, last = encoding.char_to_token(start), encoding.char_to_token(end - 1)
        if first is None:
            break
        end_token = last + 1 if last else tokens
        counts[first:end_token] = [True] * (end_token - first)
    return counts


def _spans(tokenizer: PreTrainedTokenizerBase, chat: Chat, text: str, where: str) -> list[tuple[int, int]]:
    """Characters of the turns whose loss counts, found by writing the messages before and up to each."""

    def characters(messages: int, prompted: bool) -> int:
        beginning = render(
            tokenizer, chat.messages[:messages], chat.tools, prompted=prompted, where=where
        ).text
        if not text.startswith(beginning):
            raise InputError(
                f"The chat template writes the first {messages} messages of {where} otherwise when others follow, "
                "so what the assistant wrote cannot be found.",
                have=f"the first {messages} alone end in {beginning[-40:]!r}",
                fix="Use a template with {% generation %} marks, give prompt and completion as texts, or --loss all.",
            )
        return len(beginning)

    if chat.prompt_messages and chat.loss == "assistant":
        return [(characters(chat.prompt_messages, True), len(text))]
    turns = [n for n, message in enumerate(chat.messages) if message["role"] == "assistant"]
    if chat.loss == "last":
        turns = turns[-1:]
    return [
        (characters(n, True), len(text) if n + 1 == len(chat.messages) else characters(n + 1, False))
        for n in turns
    ]


def _last_run(counts: list[bool]) -> list[bool]:
    """The last run of tokens that count."""
    end = max((n + 1 for n, count in enumerate(counts) if count), default=0)
    start = max((n + 1 for n, count in enumerate(counts[:end]) if not count), default=0)
    return [start <= n < end for n in range(len(counts))]
