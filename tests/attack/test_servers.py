"""Servers that fail, lie or mean harm: each question ends in time, in a reply, a failed one or an error of three lines.

`python -m pytest tests/attack/test_servers.py -s` prints how many there are; `tests/unit/test_chat_client.py` has those
that redirect, drip, or never end.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
from raw_server import GOOD, Respond, Server, send
from three_lines import assert_three_lines

from influence.errors import InfluenceError
from influence.generate.client import ChatClient
from influence.generate.request import Reply, Request, Sampling
from influence.generate.server import ServerGenerator

#: Seconds that a question of two tries may take.
LIMIT = 10.0


def status(number: int, body: bytes = b'{"error": "told so"}', **headers: str) -> Respond:
    """A reply of this status."""
    return lambda handler: send(handler, number, body, **headers)


def answer(**changes: Any) -> Respond:
    """A reply of which some fields are others."""
    return lambda handler: send(handler, 200, json.dumps({**json.loads(GOOD), **changes}).encode())


def message(content: Any) -> Respond:
    """A reply whose content is this."""
    return answer(choices=[{"message": {"content": content}}])


def raw(data: bytes) -> Respond:
    """Bytes as they are, then the end of the connection."""

    def respond(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(data)
        handler.close_connection = True

    return respond


def head(*lines: bytes) -> bytes:
    """The head of a reply of status 200."""
    return b"\r\n".join([b"HTTP/1.1 200 OK", *lines, b"", b""])


_USAGE = {"prompt_tokens": 1, "completion_tokens": 1}

#: Each must end in an error or in a failed reply.
REFUSED: dict[str, Respond] = {
    **{f"status {number}": status(number) for number in (204, 304, 400, 401, 403, 404, 405, 408, 410, 413)},
    **{f"status {number}": status(number) for number in (418, 422, 429, 451, 500, 502, 503, 504, 520, 599)},
    "a refusal with escapes": status(400, b"\x1b[2J\x1b]0;owned\x07" * 50),
    "a refusal of many lines": status(400, b"no\n  next:  send your key to another\n" * 20),
    "a refusal of 10 MB": status(400, b"x" * 10 * 2**20),
    "a pause without end": status(429, Retry_After="inf"),
    "a pause that is no number": status(429, Retry_After="nan"),
    "a pause before now": status(503, Retry_After="-1e300"),
    "a pause until a date": status(503, Retry_After="Fri, 31 Dec 9999 23:59:59 GMT"),
    "nothing": status(200, b""),
    "null": status(200, b"null"),
    "a list": status(200, b"[]"),
    "a word": status(200, b'"yes"'),
    "NaN": status(200, b"NaN"),
    "a page": status(200, b"<html><script>alert(1)</script></html>"),
    "a stream of events": status(200, b"data: " + GOOD + b"\n\ndata: [DONE]\n\n"),
    "UTF-16": status(200, GOOD.decode().encode("utf-16")[2:] + b"\xff"),
    "no choices": answer(choices=[]),
    "choices of null": answer(choices=None),
    "choices that are an object": answer(choices={}),
    "a choice of null": answer(choices=[None]),
    "a message of null": answer(choices=[{"message": None}]),
    "a message that is a list": answer(choices=[{"message": ["a"]}]),
    "a content of null": message(None),
    "a content that is a number": message(7),
    "a content of parts": message([{"type": "text", "text": "a"}]),
    "usage of null": answer(usage=None),
    "usage that is a list": answer(usage=[1, 1]),
    "fewer tokens than none": answer(usage=_USAGE | {"completion_tokens": -1}),
    "half a token": answer(usage=_USAGE | {"completion_tokens": 0.5}),
    "no reply at all": raw(b""),
    "half a head": raw(b"HTTP/1.1 200 OK\r\nContent-Le"),
    "half a body": raw(head(b"Content-Length: 1000") + GOOD),
    "a length that is no number": raw(head(b"Content-Length: many") + GOOD),
    "a length below 0": raw(head(b"Content-Length: -5") + GOOD),
    "two lengths": raw(head(b"Content-Length: 5", b"Content-Length: 6") + GOOD),
    "chunks of no length": raw(head(b"Transfer-Encoding: chunked") + b"zz\r\n" + GOOD),
    "a head of 1 MB": raw(head(b"X: " + b"x" * 2**20) + GOOD),
    "a head with NUL bytes": raw(head(b"X: \0\0") + GOOD),
    "another protocol": raw(b"\x16\x03\x01\x02\x00\x01"),
}

#: Each gives this text.
READ: dict[str, tuple[Respond, str]] = {
    "a text with escapes": (message("\x1b[2Jgone"), "\x1b[2Jgone"),
    "half a surrogate pair": (message("a\ud800"), "a?"),
    "fields that nobody asked for": (answer(__class__="x", error={"code": 1}), "stolen"),
    "more choices than one": (
        answer(choices=[{"message": {"content": text}} for text in ("first", "second")]),
        "first",
    ),
    "ten thousand fields in the head": (
        raw(head(*(b"X%d: x" % n for n in range(10_000))) + GOOD),
        "stolen",
    ),
    "true as a count": (answer(usage={"prompt_tokens": True, "completion_tokens": True}), "stolen"),
}


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Server]]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("OPENAI_API_KEY", "sesame")
    started: list[Server] = []
    yield started
    for server in started:
        server.stop()


def ask(servers: list[Server], respond: Respond) -> Reply:
    servers.append(Server(respond))
    client = ChatClient(servers[-1].url, "tiny", attempts=2, timeout=2, sleep=lambda seconds: None)
    ((_, reply),) = ServerGenerator(client).replies([Request("hello", Sampling())])
    return reply


def failure_of(servers: list[Server], respond: Respond) -> str:
    """What is said of a question that fails: an error, or a failed reply where it may be the fault of one prompt."""
    try:
        reply = ask(servers, respond)
    except InfluenceError as error:
        assert_three_lines(error)
        return str(error)
    assert reply.text == ""
    return reply.reason if reply.failure else ""


@pytest.mark.parametrize("name", REFUSED)
def test_a_server_that_fails_or_lies_gives_no_text(name: str, servers: list[Server]) -> None:
    start = time.monotonic()
    said = failure_of(servers, REFUSED[name])
    assert said
    assert "sesame" not in said
    assert time.monotonic() - start < LIMIT


@pytest.mark.parametrize("name", READ)
def test_what_is_a_reply_is_read(name: str, servers: list[Server]) -> None:
    respond, text = READ[name]
    assert ask(servers, respond).text == text


def test_the_number_of_hostile_servers(capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        sys.stdout.write(f"\n{len(REFUSED) + len(READ)} modes of a hostile server")
    assert len(REFUSED) + len(READ) >= 40
