"""A chat client against a server that sends the key elsewhere, never ends a reply, or sends an absurd one."""

from __future__ import annotations

import asyncio
import gzip
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler

import pytest
from raw_server import GOOD, Respond, Server, send

from influence.analysis.judges import OpenAIJudge
from influence.errors import ComputeError, InputError
from influence.generate.client import ChatClient, Failed
from influence.generate.request import Request, Sampling
from influence.generate.server import ServerGenerator, content


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Respond], Server]]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("OPENAI_API_KEY", "sesame")
    servers: list[Server] = []

    def start(respond: Respond) -> Server:
        servers.append(Server(respond))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


def ask(client: ChatClient) -> list[str | Failed]:
    return [reply for _, reply in client.chat(["hello"], [{"max_tokens": 3}], content)]


@pytest.mark.parametrize("model", ["", "tiny"])  # the listing of models, and the question itself
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(serve: Callable[[Respond], Server], status: int, model: str) -> None:
    thief = serve(lambda handler: send(handler, 200))
    server = serve(lambda handler: send(handler, status, Location=f"{thief.url}/chat/completions"))
    with pytest.raises(InputError, match=r"redirects are not followed(.|\n)*name it"):
        ask(ChatClient(server.url, model))
    assert thief.headers == []
    assert [headers["Authorization"] for headers in server.headers] == ["Bearer sesame"]


@pytest.mark.parametrize("location", ["ftp://127.0.0.1:1/x", "file:///etc/passwd", "//other/v1", "\x1b[2J"])
def test_a_redirect_to_anything_is_refused(serve: Callable[[Respond], Server], location: str) -> None:
    server = serve(lambda handler: send(handler, 302, Location=location))
    with pytest.raises(InputError, match="redirects are not followed") as caught:
        ask(ChatClient(server.url, "tiny"))
    assert "\x1b" not in str(caught.value)


def test_generator_and_judge_keep_the_key(serve: Callable[[Respond], Server]) -> None:
    thief = serve(lambda handler: send(handler, 200))
    server = serve(lambda handler: send(handler, 307, Location=thief.url))
    with pytest.raises(InputError, match="redirects are not followed"):
        list(ServerGenerator(ChatClient(server.url, "tiny")).replies([Request("hello", Sampling())]))
    with pytest.raises(InputError, match="redirects are not followed"):
        list(OpenAIJudge(server.url, "tiny").replies(["hello"]))
    assert thief.headers == []


def drip(handler: BaseHTTPRequestHandler, headers_too: bool) -> None:
    if not headers_too:
        handler.send_response(200)
        handler.end_headers()
    for _ in range(200):  # a byte every 50 ms, for 10 seconds
        handler.wfile.write(b" " if not headers_too else b"H")
        handler.wfile.flush()
        time.sleep(0.05)


@pytest.mark.parametrize("headers_too", [False, True])
def test_a_reply_that_drips_ends_in_time(serve: Callable[[Respond], Server], headers_too: bool) -> None:
    server = serve(lambda handler: drip(handler, headers_too))
    start = time.monotonic()
    with pytest.raises(ComputeError, match=r"no whole reply within 0\.4 seconds"):
        ask(ChatClient(server.url, "tiny", timeout=0.4, attempts=2, sleep=lambda seconds: None))
    assert time.monotonic() - start < 4


def endless(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.end_headers()
    for _ in range(100):
        handler.wfile.write(b" " * 2**20)


@pytest.mark.parametrize(
    ("respond", "reason"),
    [
        (endless, "larger than"),
        (lambda handler: send(handler, 200, b"[" * 10**6), "not JSON"),
        (lambda handler: send(handler, 200, b'{"a":' * 10**6), "not JSON"),
        (lambda handler: send(handler, 200, b'{"a": ' + b"9" * 10**5 + b"}"), "not JSON"),
        (lambda handler: send(handler, 200, b"\xff\xfe\x00"), "not JSON"),
        (lambda handler: send(handler, 200, gzip.compress(GOOD), Content_Encoding="gzip"), "not JSON"),
    ],
)
def test_an_absurd_reply_is_unreadable(
    serve: Callable[[Respond], Server], respond: Respond, reason: str
) -> None:
    server = serve(respond)
    (failed,) = ask(ChatClient(server.url, "tiny", attempts=2, sleep=lambda seconds: None))
    assert isinstance(failed, Failed)
    assert failed.failure == "unreadable"
    assert reason in failed.reason


def test_what_speaks_no_http_is_gone(serve: Callable[[Respond], Server]) -> None:
    server = serve(lambda handler: handler.wfile.write(b"SSH-2.0-OpenSSH_9.2\r\n"))
    with pytest.raises(ComputeError, match="ProtocolError"):
        ask(ChatClient(server.url, "tiny", attempts=2, sleep=lambda seconds: None))


def test_an_absurd_count_of_tokens_is_unreadable(serve: Callable[[Respond], Server]) -> None:
    body = GOOD.replace(b'"completion_tokens": 1', b'"completion_tokens": 1' + b"0" * 99)
    server = serve(lambda handler: send(handler, 200, body))
    client = ChatClient(server.url, "tiny", attempts=1)
    ((_, reply),) = ServerGenerator(client).replies([Request("hello", Sampling())])
    assert reply.failure == "unreadable"
    assert "how many tokens" in reply.reason


@pytest.mark.parametrize("url", ["ftp://host/v1", "http://", "https:///v1", "http://[::1", "HTTP", "http:/x"])
def test_only_addresses_of_a_server(url: str) -> None:
    with pytest.raises(InputError, match="http"):
        ChatClient(url)


def test_a_notebook_may_ask_while_its_event_loop_runs(serve: Callable[[Respond], Server]) -> None:
    server = serve(lambda handler: send(handler, 200))

    async def cell() -> list[str | Failed]:
        return ask(ChatClient(server.url))

    assert asyncio.run(cell()) == ["stolen"]
