"""The judge behind a server, against a local server that fails in every way servers fail."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from influence.analysis.judges import JudgeReplies, OpenAIJudge
from influence.errors import ComputeError, InputError


class Server:
    """Answers a prompt with its upper case, after the faults that `fault(prompt, attempt)` names."""

    def __init__(self) -> None:
        self.fault: Callable[[str, int], str] = lambda prompt, attempt: ""
        self.models = ["tiny"]
        self.tries: dict[str, int] = {}
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.busy = self.most_busy = 0
        self.lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *arguments: Any) -> None: ...

            def reply(self, status: int, body: bytes, **headers: str) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name.replace("_", "-"), value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self) -> None:
                self.reply(200, json.dumps({"data": [{"id": name} for name in outer.models]}).encode())

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                prompt = body["messages"][0]["content"]
                with outer.lock:
                    outer.tries[prompt] = attempt = outer.tries.get(prompt, 0) + 1
                    outer.bodies.append(body)
                    outer.headers.append(dict(self.headers))
                    outer.busy += 1
                    outer.most_busy = max(outer.most_busy, outer.busy)
                fault = outer.fault(prompt, attempt)
                time.sleep({"slow": 0.6, "busy": 0.05}.get(fault, 0))
                with outer.lock:  # before the reply leaves: whoever has it may ask again at once
                    outer.busy -= 1
                self.answer(prompt, fault)

            def answer(self, prompt: str, fault: str) -> None:
                good = json.dumps({"choices": [{"message": {"content": prompt.upper()}}]}).encode()
                if fault.isdecimal():
                    self.reply(int(fault), b'{"error": "told so"}', Retry_After="7")
                elif fault == "malformed":
                    self.reply(200, good[:-9])
                elif fault == "empty":
                    self.reply(200, b'{"choices": []}')
                elif fault == "cut":
                    self.send_response(200)
                    self.send_header("Content-Length", str(len(good)))
                    self.end_headers()
                    self.wfile.write(good[:10])
                    self.close_connection = True
                elif fault == "hang up":
                    self.close_connection = True
                    self.connection.close()
                else:
                    self.reply(200, good)

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.handle_error = lambda *arguments: None  # type: ignore[method-assign]
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    server = Server()
    yield server
    server.http.shutdown()
    server.http.server_close()


def judge_of(server: Server, **settings: Any) -> tuple[OpenAIJudge, list[float]]:
    pauses: list[float] = []
    return OpenAIJudge(server.url, sleep=pauses.append, **settings), pauses


def test_replies_in_order_of_the_prompts_and_several_at_a_time(server: Server, tmp_path: Path) -> None:
    server.fault = lambda prompt, attempt: "busy"
    judge, pauses = judge_of(server, concurrency=4)
    prompts = [f"p{n}" for n in range(24)]
    replies = JudgeReplies(tmp_path / "k.jsonl").ask(judge, prompts)
    assert replies == [prompt.upper() for prompt in prompts]
    assert 1 < server.most_busy <= 4
    assert judge.name == "openai:tiny:600"
    assert server.bodies[0]["model"] == "tiny"
    assert server.bodies[0]["temperature"] == 0
    assert "Authorization" not in server.headers[0]
    assert not pauses


@pytest.mark.parametrize("fault", ["429", "500", "503", "malformed", "empty", "cut", "hang up", "slow"])
def test_passing_failures_are_tried_again(server: Server, fault: str) -> None:
    server.fault = lambda prompt, attempt: fault if attempt <= 2 else ""
    judge, pauses = judge_of(server, timeout=0.3)
    assert dict(judge.replies(["one", "two"])) == {0: "ONE", 1: "TWO"}
    assert server.tries == {"one": 3, "two": 3}
    assert len(pauses) == 4
    assert all(pause >= 7 for pause in pauses) == fault.isdecimal()  # Retry-After: 7


def test_pauses_grow() -> None:
    pauses: list[float] = []
    judge = OpenAIJudge("http://127.0.0.1:1/v1", "m", attempts=8, timeout=0.2, sleep=pauses.append)
    with pytest.raises(ComputeError, match="8 times"):
        list(judge.replies(["x"]))
    assert len(pauses) == 7
    assert all(
        low <= pause <= high for pause, low, high in zip(pauses, (0.5, 1, 2, 4), (1, 2, 4, 8), strict=False)
    )
    assert max(pauses) <= 60


def test_a_lasting_failure_keeps_the_other_replies_and_resumes(server: Server, tmp_path: Path) -> None:
    server.fault = lambda prompt, attempt: "500" if prompt == "p7" else ""
    judge, _ = judge_of(server, attempts=3, concurrency=2)
    kept = JudgeReplies(tmp_path / "k.jsonl")
    prompts = [f"p{n}" for n in range(8)]
    with pytest.raises(ComputeError, match="3 times"):
        kept.ask(judge, prompts)
    before = sum(server.tries.values())
    server.fault = lambda prompt, attempt: ""
    assert kept.ask(judge, prompts) == [prompt.upper() for prompt in prompts]
    assert sum(server.tries.values()) - before == 1
    assert kept.ask(judge_of(server)[0], prompts) == [
        prompt.upper() for prompt in prompts
    ]  # nothing asked anew
    assert sum(server.tries.values()) - before == 1


def test_a_prompt_that_is_refused_has_an_empty_reply(server: Server) -> None:
    server.fault = lambda prompt, attempt: "400" if prompt == "x" else ""
    assert dict(judge_of(server)[0].replies(["x", "y"])) == {0: "", 1: "Y"}
    assert server.tries == {"x": 1, "y": 1}


@pytest.mark.parametrize("status", ["401", "404"])
def test_a_refusal_is_not_tried_again(server: Server, status: str) -> None:
    server.fault = lambda prompt, attempt: status
    with pytest.raises(InputError, match="told so"):
        list(judge_of(server)[0].replies(["x"]))
    assert server.tries == {"x": 1}


def test_the_key_is_sent_and_not_shown(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sesame")
    judge, _ = judge_of(server)
    list(judge.replies(["x"]))
    assert server.headers[0]["Authorization"] == "Bearer sesame"
    assert "sesame" not in repr(judge) + judge.name
    assert "other" not in repr(OpenAIJudge(server.url, api_key="other"))


def test_which_model(server: Server) -> None:
    server.models = ["a", "b"]
    with pytest.raises(InputError, match="a, b"):
        _ = judge_of(server)[0].name
    assert judge_of(server, model="b")[0].name == "openai:b:600"


@pytest.mark.parametrize("url", ["file:///etc/passwd", "localhost:8000", ""])
def test_only_http(url: str) -> None:
    with pytest.raises(InputError, match="http"):
        OpenAIJudge(url)
