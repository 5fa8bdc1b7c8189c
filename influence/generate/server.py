"""A generator behind a server, and how the completions of today's servers are read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from influence.generate.client import ChatClient, Failed
from influence.generate.connection import Json, TryAgain
from influence.generate.request import Reply, Request

#: Where servers put what a model thought before its answer: vLLM and DeepSeek, and OpenRouter and newer vLLM.
_THOUGHTS = ("reasoning_content", "reasoning")


@dataclass(frozen=True)
class ServerGenerator:
    """Chat completions of one model of a server, several at a time.

    The seed of a request is sent along; whether the same seed gives the same reply is the server's affair. Kept replies
    do not change.

    Raises (on use):
        InputError, ComputeError: as `ChatClient`; a single request that fails ends nothing.
    """

    client: ChatClient

    @property
    def name(self) -> str:
        """The model and the extra fields of its requests; the server's address is not part of it."""
        return self.client.identity

    def replies(self, requests: Sequence[Request]) -> Iterator[tuple[int, Reply]]:
        """(number of the request, reply), as they come; a request that failed has a reply that says so."""
        prompts = [request.prompt for request in requests]
        for number, reply in self.client.chat(prompts, [_settings(request) for request in requests], _reply):
            if isinstance(reply, Failed):
                reply = Reply("", 0, 0, failure=reply.failure, reason=reply.reason)
            yield number, reply


def _settings(request: Request) -> Json:
    sampling = request.sampling
    drawn = {} if sampling.greedy else {"top_p": sampling.top_p, "seed": request.seed % 2**31}
    stop = {"stop": list(sampling.stop)} if sampling.stop else {}
    return {"temperature": sampling.temperature, "max_tokens": sampling.max_tokens, **drawn, **stop}


def _reply(answer: Json) -> Reply:
    choice, message = _message(answer)
    refusal = message.get("refusal") or ""
    declined = bool(refusal) or choice.get("finish_reason") == "content_filter"
    return Reply(
        (str(refusal) if declined else content(answer)).encode("utf-8", "replace").decode(),
        tokens=_count(answer, "completion_tokens"),
        prompt_tokens=_count(answer, "prompt_tokens"),
        finished=choice.get("finish_reason") != "length",
        failure="refused" if declined else None,
        reason="The model or a filter of its server declined." if declined else "",
    )


def content(answer: Json) -> str:
    """The text of a chat completion; thoughts that the server sends apart stand before it, in `<think>…</think>`.

    Raises:
        TryAgain: there is none.
    """
    choice, message = _message(answer)
    text = message.get("content")
    thoughts = next((message[name] for name in _THOUGHTS if isinstance(message.get(name), str)), "")
    if text is None and choice.get("finish_reason") == "length":
        return f"<think>\n{thoughts}" if thoughts else ""  # all tokens went into thoughts
    if text is None:
        raise TryAgain("The reply holds no text.", failure="null")
    if not isinstance(text, str):
        raise TryAgain("The reply's content is no text.", failure="unreadable")
    return f"<think>\n{thoughts}\n</think>\n\n{text}" if thoughts else text


def _message(answer: Json) -> tuple[Json, Json]:
    """The first choice of a completion, and its message."""
    try:
        choice = answer["choices"][0]
        message = choice["message"]
    except (KeyError, IndexError, TypeError) as error:
        raise TryAgain("The reply holds no message.", failure="unreadable") from error
    if not isinstance(message, dict):
        raise TryAgain("The reply holds no message.", failure="unreadable")
    return choice, message


def _count(answer: Json, name: str) -> int:
    usage = answer.get("usage")
    count = usage.get(name) if isinstance(usage, dict) else None
    if not isinstance(count, int) or not 0 <= count < 2**31:
        raise TryAgain(f"The reply does not say how many tokens it has (usage.{name}).", failure="unreadable")
    return count
