"""Chat completions of any OpenAI-compatible server (vLLM, llama.cpp, a hosted one), and a generator behind it.

Several requests run at a time. What fails for a passing reason (429, 5xx, a timeout, a cut connection, a body that is
not JSON) is tried again with growing pauses, as long as the server asks for where it does.

The server is not trusted. No redirect is followed, so the API key reaches the address it was given for and no other;
one try has a total time, and a reply a largest size.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any, TypeVar

import httpx2

from influence.errors import ComputeError, InputError
from influence.generate.request import Reply, Request

T = TypeVar("T")
Json = Mapping[str, Any]

_PASSING = {408, 409, 425, 429, 500, 502, 503, 504}
_LONGEST_PAUSE = 60.0
_LARGEST_REPLY = 16 * 2**20  # bytes: a reply of 100,000 tokens with all its fields is below 1 MB


class TryAgain(Exception):
    """A failure that may pass; `pause` is how many seconds the server asks to wait."""

    def __init__(self, reason: str, pause: float = 0.0) -> None:
        super().__init__(reason)
        self.pause = pause


class _Pace:
    """Lets callers through at even intervals."""

    def __init__(self, per_minute: float | None, sleep: Callable[[float], None]) -> None:
        self._interval = 60 / per_minute if per_minute else 0.0
        self._sleep = sleep
        self._next = 0.0
        self._lock = threading.Lock()

    def wait(self) -> None:
        """Until it is this caller's turn."""
        if not self._interval:
            return
        with self._lock:
            now = time.monotonic()
            turn = max(now, self._next)
            self._next = turn + self._interval
        if turn > now:
            self._sleep(turn - now)


@dataclass(frozen=True)
class ChatClient:
    """One model of a server.

    Args:
        url: Base of the API, such as `http://localhost:8000/v1`.
        model: Asked from the server where it has only one.
        api_key: Sent as a bearer token; by default the environment's OPENAI_API_KEY, if it is set.
        concurrency: Requests at a time.
        attempts: Tries of one request.
        timeout: Seconds one try may take from its start to the last byte of the reply.
        per_minute: Most requests a minute, retries included; no limit by default.

    Raises (on use):
        InputError: the URL is no http(s) address, the model must be chosen, or the server refuses the request for good.
        ComputeError: a request failed in every attempt; the replies that came are yielded first.
    """

    url: str
    model: str = ""
    api_key: str | None = field(default=None, repr=False)
    concurrency: int = 8
    attempts: int = 6
    timeout: float = 120.0
    per_minute: float | None = None
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False)
    _pace: _Pace = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        try:
            url = httpx2.URL(self.url)
        except httpx2.InvalidURL:
            url = httpx2.URL("")
        if url.scheme not in ("http", "https") or not url.host:
            raise InputError(
                f"{self.url!r} is not the address of a server.", fix="It starts with http:// or https://."
            )
        for name in ("concurrency", "attempts"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is 1 at least.", have=str(getattr(self, name)))
        if self.per_minute is not None and not self.per_minute > 0:
            raise InputError("The requests a minute are more than 0.", have=str(self.per_minute))
        object.__setattr__(self, "_pace", _Pace(self.per_minute, self.sleep))

    @cached_property
    def model_name(self) -> str:
        """The model given, or the only one the server has."""
        if self.model:
            return self.model
        listing = self._persist("/models", None, dict)
        models = [
            str(entry["id"]) for entry in listing.get("data", []) if isinstance(entry, dict) and "id" in entry
        ]
        if len(models) != 1:
            raise InputError(
                f"The server at {self.url} has {len(models)} models.",
                have=", ".join(models[:8]) or "an empty list",
                fix=f"Choose one: openai:{self.url}#NAME",
            )
        return models[0]

    def chat(
        self, prompts: Sequence[str], settings: Sequence[Json], read: Callable[[Json], T]
    ) -> Iterator[tuple[int, T]]:
        """(number of the prompt, what `read` makes of the server's answer), as they come.

        Args:
            prompts: Each is the message of a user.
            settings: Fields of the request, such as `temperature`, one mapping a prompt.
            read: Raises `TryAgain` where the answer is not whole.
        """
        failed: BaseException | None = None
        model = self.model_name
        with ThreadPoolExecutor(self.concurrency) as pool:
            jobs = {
                pool.submit(self._ask, {"model": model, **more}, prompt, read): number
                for number, (prompt, more) in enumerate(zip(prompts, settings, strict=True))
            }
            try:
                for job in as_completed(jobs):
                    if job.cancelled():
                        continue
                    error = job.exception()
                    if error is None:
                        yield jobs[job], job.result()
                    elif failed is None:
                        failed = error
                        for waiting in jobs:  # shutdown(cancel_futures=True) would leave as_completed waiting
                            waiting.cancel()
            finally:
                pool.shutdown(wait=False, cancel_futures=True)
        if failed is not None:
            raise failed

    def _ask(self, settings: Json, prompt: str, read: Callable[[Json], T]) -> T:
        body = {**settings, "messages": [{"role": "user", "content": prompt}]}
        return self._persist("/chat/completions", body, read)

    def _persist(self, path: str, body: Json | None, read: Callable[[Json], T]) -> T:
        for attempt in range(1, self.attempts + 1):
            try:
                return read(self._request(path, body))
            except TryAgain as error:
                if attempt == self.attempts:
                    raise ComputeError(
                        f"The server at {self.url} failed {attempt} times in a row.",
                        have=str(error),
                        fix="Run the same command again when the server is back: replies so far are kept.",
                    ) from error
                pause = max(error.pause, min(_LONGEST_PAUSE, 0.5 * 2**attempt) * random.uniform(0.5, 1.0))
                self.sleep(min(pause, _LONGEST_PAUSE))
        raise AssertionError("attempts is at least 1")

    def _request(self, path: str, body: Json | None) -> dict[str, Any]:
        self._pace.wait()
        try:
            with ThreadPoolExecutor(1) as thread:  # a notebook's own thread runs an event loop already
                response, text = thread.submit(asyncio.run, self._exchange(path, body)).result()
        except TimeoutError as error:
            raise TryAgain(f"no whole reply within {self.timeout:g} seconds") from error
        except httpx2.HTTPError as error:  # no connection, a cut one, a reply that is not HTTP
            raise TryAgain(f"{type(error).__name__}: {error}") from error
        start = text[:400].decode("utf-8", "replace")
        if response.is_redirect:
            raise InputError(
                f"The server at {self.url} sends requests elsewhere, and redirects are not followed: "
                "the API key would go to another address.",
                have=f"HTTP {response.status_code} to {response.headers.get('Location', '')[:200]!r}",
                fix="If you trust that address, name it in the place of this one.",
            )
        if response.status_code in _PASSING:
            raise TryAgain(
                f"HTTP {response.status_code}: {start[:200]}", _seconds(response.headers.get("Retry-After"))
            )
        if not response.is_success:
            raise InputError(
                f"The server at {self.url} refused the request.",
                have=f"HTTP {response.status_code}: {start}",
                fix="Look at what it says: most often it is the name of the model, the key or the length.",
            )
        try:
            answer = json.loads(text)
        except (ValueError, RecursionError) as error:  # RecursionError: nested thousands of levels deep
            raise TryAgain(f"The reply is not JSON: {error}") from error
        if not isinstance(answer, dict):
            raise TryAgain("The reply is not a JSON object.")
        return answer

    async def _exchange(self, path: str, body: Json | None) -> tuple[httpx2.Response, bytes]:
        key = self.api_key or os.environ.get("OPENAI_API_KEY")
        # A compressed reply could unpack to any size: none is asked for, and none would be unpacked.
        headers = {"Accept-Encoding": "identity"} | ({"Authorization": f"Bearer {key}"} if key else {})
        method, url = "GET" if body is None else "POST", self.url.rstrip("/") + path
        async with (
            asyncio.timeout(self.timeout),
            httpx2.AsyncClient(verify=_certificates(), timeout=None, follow_redirects=False) as client,
            client.stream(method, url, json=body, headers=headers) as response,
        ):
            text = bytearray()
            async for part in response.aiter_raw():
                text += part
                if len(text) > _LARGEST_REPLY:
                    raise TryAgain(f"the reply is larger than {_LARGEST_REPLY:,} bytes")
            return response, bytes(text)


@cache
def _certificates() -> ssl.SSLContext:
    return httpx2.create_ssl_context()


def _seconds(retry_after: str | None) -> float:
    try:
        return max(0.0, float(retry_after or 0))
    except ValueError:  # a date: our own pauses will do
        return 0.0


def content(answer: Json) -> str:
    """The text of a chat completion.

    Raises:
        TryAgain: there is none.
    """
    try:
        text = answer["choices"][0]["message"]["content"]
    except (KeyError, IndexError, TypeError) as error:
        raise TryAgain("The reply holds no message.") from error
    if not isinstance(text, str):
        raise TryAgain("The reply holds no text.")
    return text


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
