"""A generator behind any OpenAI-compatible server."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from influence.generate.client import ChatClient, Json, TryAgain, content
from influence.generate.request import Reply, Request


@dataclass(frozen=True)
class ServerGenerator:
    """Chat completions of one model of a server, several at a time.

    The seed of a request is sent along; whether the same seed gives the same reply is the server's affair. Kept replies
    do not change.

    Raises (on use):
        InputError: the server refuses a request for good, such as one that is too long for its model.
        ComputeError: a request failed in every attempt, or the server does not say how many tokens a reply has.
    """

    client: ChatClient

    @property
    def name(self) -> str:
        """The model; the server's address is not part of it."""
        return f"openai:{self.client.model_name}"

    def replies(self, requests: Sequence[Request]) -> Iterator[tuple[int, Reply]]:
        """(number of the request, reply), as they come."""
        return self.client.chat(
            [request.prompt for request in requests], [_settings(request) for request in requests], _reply
        )


def _settings(request: Request) -> Json:
    sampling = request.sampling
    drawn = {} if sampling.greedy else {"top_p": sampling.top_p, "seed": request.seed % 2**31}
    stop = {"stop": list(sampling.stop)} if sampling.stop else {}
    return {"temperature": sampling.temperature, "max_tokens": sampling.max_tokens, **drawn, **stop}


def _reply(answer: Json) -> Reply:
    return Reply(
        content(answer).encode("utf-8", "replace").decode(),  # half a surrogate pair fits into no file
        tokens=_count(answer, "completion_tokens"),
        prompt_tokens=_count(answer, "prompt_tokens"),
        finished=answer["choices"][0].get("finish_reason") != "length",
    )


def _count(answer: Json, name: str) -> int:
    usage = answer.get("usage")
    count = usage.get(name) if isinstance(usage, dict) else None
    if not isinstance(count, int) or not 0 <= count < 2**31:
        raise TryAgain(f"The reply does not say how many tokens it has (usage.{name}).")
    return count
