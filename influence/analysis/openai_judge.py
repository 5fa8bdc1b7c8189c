"""A judge behind any OpenAI-compatible server (vLLM, llama.cpp, a hosted one), with the standard library alone.

Temperature 0. Several requests run at a time; what fails for a passing reason (429, 5xx, a timeout, a cut connection, a
body that is not JSON) is tried again with growing pauses, as long as the server asks for where it does.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from influence.errors import ComputeError, InputError

_PASSING = {408, 409, 425, 429, 500, 502, 503, 504}
_LONGEST_PAUSE = 60.0


class _TryAgain(Exception):
    """A failure that may pass."""

    def __init__(self, reason: str, pause: float = 0.0) -> None:
        super().__init__(reason)
        self.pause = pause


@dataclass(frozen=True)
class OpenAIJudge:
    """Chat completions of one model of a server.

    Args:
        url: Base of the API, such as `http://localhost:8000/v1`.
        model: Asked from the server where it has only one.
        api_key: Sent as a bearer token; by default the environment's OPENAI_API_KEY, if it is set.
        concurrency: Requests at a time.
        attempts: Tries of one request.
        timeout: Seconds one try may take.
        max_tokens: Most tokens of a reply.

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
    max_tokens: int = 600
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False)

    def __post_init__(self) -> None:
        if not self.url.startswith(("http://", "https://")):
            raise InputError(
                f"{self.url!r} is not the address of a server.", fix="It starts with http:// or https://."
            )

    @cached_property
    def _model(self) -> str:
        if self.model:
            return self.model
        listing = self._persist("/models", None)
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

    @property
    def name(self) -> str:
        """The model and the length its replies may have; the server's address is not part of it."""
        return f"openai:{self._model}:{self.max_tokens}"

    def replies(self, prompts: Sequence[str]) -> Iterator[tuple[int, str]]:
        """(number of the prompt, reply), as they come."""
        failed: BaseException | None = None
        with ThreadPoolExecutor(self.concurrency) as pool:
            jobs = {pool.submit(self._reply, prompt): number for number, prompt in enumerate(prompts)}
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

    def _reply(self, prompt: str) -> str:
        body = {
            "model": self._model,
            "messages": [{"role": "user", "content": prompt}],
            "temperature": 0,
            "max_tokens": self.max_tokens,
        }
        return str(self._persist("/chat/completions", body, _content))

    def _persist(
        self, path: str, body: dict[str, Any] | None, read: Callable[[Any], Any] | None = None
    ) -> Any:
        for attempt in range(1, self.attempts + 1):
            try:
                answer = self._request(path, body)
                return read(answer) if read else answer
            except _TryAgain as error:
                if attempt == self.attempts:
                    raise ComputeError(
                        f"The judge at {self.url} failed {attempt} times in a row.",
                        have=str(error),
                        fix="Run the same command again when the server is back: replies so far are kept.",
                    ) from error
                pause = max(error.pause, min(_LONGEST_PAUSE, 0.5 * 2**attempt) * random.uniform(0.5, 1.0))
                self.sleep(min(pause, _LONGEST_PAUSE))
        raise AssertionError("attempts is at least 1")

    def _request(self, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        key = self.api_key or os.environ.get("OPENAI_API_KEY")
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url.rstrip("/") + path, data, headers)
        try:
            with urllib.request.urlopen(request, timeout=self.timeout) as response:
                answer = json.loads(response.read())
        except urllib.error.HTTPError as error:
            with error:
                text = error.read(2000).decode("utf-8", "replace")
            if error.code in _PASSING:
                raise _TryAgain(
                    f"HTTP {error.code}: {text[:200]}", _seconds(error.headers.get("Retry-After"))
                ) from error
            raise InputError(
                f"The judge at {self.url} refused the request.", have=f"HTTP {error.code}: {text[:400]}"
            ) from error
        except (OSError, http.client.HTTPException) as error:  # URLError, timeouts, cut connections
            raise _TryAgain(f"{type(error).__name__}: {error}") from error
        except ValueError as error:
            raise _TryAgain(f"The reply is not JSON: {error}") from error
        if not isinstance(answer, dict):
            raise _TryAgain("The reply is not a JSON object.")
        return answer


def _seconds(retry_after: str | None) -> float:
    try:
        return max(0.0, float(retry_after or 0))
    except ValueError:  # a date: our own pauses will do
        return 0.0


def _content(answer: Any) -> str:
    try:
        content = answer["choices"][0]["message"]["content"]
    except (KeyError, IndexError, TypeError) as error:
        raise _TryAgain("The reply holds no message.") from error
    if not isinstance(content, str):
        raise _TryAgain("The reply holds no text.")
    return content
