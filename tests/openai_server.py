"""A local server that speaks the OpenAI protocol, and fails in the ways servers fail."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any

from raw_server import LocalServer

#: From the body of a request to its reply.
Answer = Callable[[dict[str, Any]], str]

#: The ways to fail that pass.
FAULTS = ("429", "500", "slow", "cut", "hang up", "malformed", "no usage", "null")


#: Completions that are whole and yet not a plain text: what they change of an ordinary one.
SHAPES: dict[str, dict[str, Any]] = {
    "no text": {"message": {"content": None}, "finish_reason": "stop"},
    "parts": {"message": {"content": [{"type": "text", "text": "x"}]}},
    "filtered": {"finish_reason": "content_filter", "message": {"content": ""}},
    "declined": {"message": {"content": None, "refusal": "I will not."}},
    "thought": {"message": {"reasoning_content": "I think 99.", "content": "18"}},
    "thought anew": {"message": {"reasoning": "I think 99.", "content": "18"}},
    "only thought": {"message": {"content": None, "reasoning": "I think"}, "finish_reason": "length"},
    "cut off": {"message": {"content": None}, "finish_reason": "length"},
}


class OpenAIServer(LocalServer):
    """Serves `answer` as the model `tiny`.

    `fault(number)` names what goes wrong with the n-th request, from 0; `fault_of(body)` what does with its body.

    Attributes:
        bodies: Of all requests, those that failed too.
        served: Bodies of the requests that were answered well.
        times: When each request came, seconds.
        slow: Seconds a slow reply takes.
    """

    def __init__(self, answer: Answer, fault: Callable[[int], str] = lambda number: "") -> None:
        self.answer, self.fault = answer, fault
        self.fault_of: Callable[[dict[str, Any]], str] = lambda body: ""
        self.slow, self.retry_after, self.latency = 1.0, "0", 0.0
        self.bodies: list[dict[str, Any]] = []
        self.served: list[dict[str, Any]] = []
        self.times: list[float] = []
        self._lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *arguments: Any) -> None: ...

            def do_GET(self) -> None:
                self.send(200, json.dumps({"data": [{"id": "tiny"}]}).encode())

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with outer._lock:
                    fault = outer.fault(len(outer.bodies)) or outer.fault_of(body)
                    outer.bodies.append(body)
                    outer.times.append(time.monotonic())
                time.sleep(outer.latency)
                self.respond(body, fault)

            def respond(self, body: dict[str, Any], fault: str) -> None:
                whole = completion(body, outer.answer(body))
                good = json.dumps(whole).encode()
                match fault:
                    case "429" | "500" | "503" | "400" | "413" | "401":
                        self.send(int(fault), b'{"error": "told so"}', Retry_After=outer.retry_after)
                    case "slow":
                        time.sleep(outer.slow)
                        self.send(200, good)
                    case "cut":
                        self.send_response(200)
                        self.send_header("Content-Length", str(len(good)))
                        self.end_headers()
                        self.wfile.write(good[:10])
                        self.close_connection = True
                    case "hang up":
                        self.close_connection = True
                        self.connection.close()
                    case "malformed":
                        self.send(200, good[:-9])
                    case "no usage":
                        self.send(200, json.dumps({"choices": whole["choices"]}).encode())
                    case "null":
                        self.send(200, b"null")
                    case fault if fault in SHAPES:
                        choice = whole["choices"][0]
                        choice["message"] |= SHAPES[fault].get("message", {})
                        choice |= {k: v for k, v in SHAPES[fault].items() if k != "message"}
                        self.send(200, json.dumps(whole).encode())
                    case _:
                        with outer._lock:
                            outer.served.append(body)
                        self.send(200, good)

            def send(self, status: int, body: bytes, **headers: str) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name.replace("_", "-"), value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        self.listen(Handler)


def prompt_of(body: dict[str, Any]) -> str:
    """What the user said."""
    return str(body["messages"][0]["content"])


def completion(body: dict[str, Any], text: str) -> dict[str, Any]:
    """A reply in the protocol; a word is a token, and one more ends the text."""
    words = text.split(" ")
    most = body.get("max_tokens") or body["max_completion_tokens"]
    finished = len(words) < most
    return {
        "choices": [
            {
                "message": {"role": "assistant", "content": " ".join(words[:most])},
                "finish_reason": "stop" if finished else "length",
            }
        ],
        "usage": {
            "prompt_tokens": len(prompt_of(body).split()),
            "completion_tokens": len(words) + 1 if finished else most,
        },
    }
