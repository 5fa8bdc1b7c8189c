"""One exchange with a server that is not trusted, and what can go wrong with it.

No redirect is followed, so the API key reaches the address it was given for and no other; one try has a total time, and
a reply a largest size.
"""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Any

import httpx2

from influence.errors import InputError
from influence.generate.request import Failure

Json = Mapping[str, Any]

_PASSING = {408, 409, 425, 429, 500, 502, 503, 504}
#: The server refuses this one request: it is too long, has an unknown field, or breaks a rule of content.
_REFUSED = {400, 413, 422}
_LARGEST_REPLY = 16 * 2**20  # bytes: a reply of 100,000 tokens with all its fields is below 1 MB


class TryAgain(Exception):
    """A failure that may pass.

    Args:
        reason: What was wrong with this try.
        pause: Seconds the server asks to wait.
        failure: What it is called where it does not pass.
    """

    def __init__(self, reason: str, pause: float = 0.0, failure: Failure = "no reply") -> None:
        super().__init__(reason)
        self.pause, self.failure = pause, failure


class Busy(TryAgain):
    """The server asks to come back later: no fault of the request."""


class Refusal(Exception):
    """The server refuses one request for good."""


class Pace:
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
class Connection:
    """The address of a server with all that an exchange needs.

    Raises (on use):
        TryAgain: This try failed.
        Refusal: The server refuses this one request.
        InputError: It is no http(s) address, or the server refuses all requests.
    """

    url: str
    api_key: str | None
    timeout: float
    pace: Pace

    def __post_init__(self) -> None:
        try:
            url = httpx2.URL(self.url)
        except httpx2.InvalidURL:
            url = httpx2.URL("")
        if url.scheme not in ("http", "https") or not url.host:
            raise InputError(
                f"{self.url!r} is not the address of a server.", fix="It starts with http:// or https://."
            )

    def request(self, path: str, body: Json | None) -> dict[str, Any]:
        """The JSON object that the server answers; a GET where there is no body."""
        self.pace.wait()
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
        said = f"HTTP {response.status_code}: {start}"
        if response.status_code in _PASSING:
            again = Busy if response.status_code == 429 else TryAgain
            raise again(said[:200], _seconds(response.headers.get("Retry-After")))
        if response.status_code in _REFUSED:
            raise Refusal(said)
        if not response.is_success:
            raise InputError(
                f"The server at {self.url} refuses all requests.",
                have=said,
                fix="Check the address, the name of the model and OPENAI_API_KEY.",
            )
        try:
            answer = json.loads(text)
        except (ValueError, RecursionError) as error:  # RecursionError: nested thousands of levels deep
            raise TryAgain(f"The reply is not JSON: {error}", failure="unreadable") from error
        if not isinstance(answer, dict):
            raise TryAgain("The reply is not a JSON object.", failure="unreadable")
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
                    raise TryAgain(f"the reply is larger than {_LARGEST_REPLY:,} bytes", failure="unreadable")
            return response, bytes(text)


@cache
def _certificates() -> ssl.SSLContext:
    return httpx2.create_ssl_context()


def _seconds(retry_after: str | None) -> float:
    try:
        return max(0.0, float(retry_after or 0))
    except ValueError:  # a date: our own pauses will do
        return 0.0
