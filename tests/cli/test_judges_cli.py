"""Judges from the command line: a server with faults, a kill in the middle, and a local model with a chat template."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from stores import make_document, make_query, write_scores

from influence.analysis.judges import JudgeReplies, OpenAIJudge
from influence.cli.main import cli
from influence.errors import ComputeError

FAULTS = ("429", "500", "slow", "cut", "malformed", "hang up")
LABEL = json.dumps({"label": "worked example", "why": "other numbers"})


class Judging:
    """Labels every document, after one fault each if there are any; at most `limit` replies leave it."""

    def __init__(self, faults: tuple[str, ...] = (), seconds: float = 0.0) -> None:
        self.asked: list[str] = []
        self.lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *arguments: Any) -> None: ...

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                prompt = body["messages"][0]["content"]
                with outer.lock:
                    first = prompt not in outer.asked
                    number = len(set(outer.asked))
                    outer.asked.append(prompt)
                time.sleep(seconds)
                self.answer(faults[number % len(faults)] if faults and first else "")

            def answer(self, fault: str) -> None:
                good = json.dumps({"choices": [{"message": {"content": LABEL}}]}).encode()
                if fault == "hang up":
                    self.connection.close()
                    return
                if fault == "slow":
                    time.sleep(0.3)
                self.send_response(int(fault) if fault.isdecimal() else 200)
                if fault == "429":
                    self.send_header("Retry-After", "1.5")
                self.send_header("Content-Length", str(len(good)))
                self.end_headers()
                self.wfile.write({"cut": good[:10], "malformed": good[:-1] + b"!"}.get(fault, good))
                self.close_connection = True

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.handle_error = lambda *arguments: None  # type: ignore[method-assign]
        self.spec = f"openai:http://127.0.0.1:{self.http.server_port}/v1#m"
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        self.http.shutdown()
        self.http.server_close()


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    documents = [make_document(n) for n in range(30)]
    queries = [make_query(n) for n in range(2)]
    values = np.random.default_rng(0).normal(size=(2, 30))
    return write_scores(tmp_path / "run", values, queries=queries, documents=documents).folder


@pytest.fixture
def faulty() -> Iterator[Judging]:
    server = Judging(FAULTS)
    yield server
    server.stop()


@pytest.fixture
def patient() -> Iterator[Judging]:
    server = Judging(seconds=0.1)
    yield server
    server.stop()


def command(run: Path, judge: str) -> list[str]:
    return ["analyze", "relations", str(run), "--k", "30", "--judge", judge]


def test_a_server_that_fails_once_in_every_way(run: Path, faulty: Judging) -> None:
    start = time.perf_counter()
    result = CliRunner().invoke(cli, [*command(run, faulty.spec)[:-4], "--k", "6", "--judge", faulty.spec])
    assert result.exit_code == 0, result.output
    assert time.perf_counter() - start > 1.5  # Retry-After was kept to
    table = pd.read_parquet(run / "analysis/relations/relations.parquet")
    assert table["label"].tolist() == ["worked example"] * 12
    times = Counter(faulty.asked)
    assert len(times) == 12
    assert sum(times.values()) == 12 + 2 * len([fault for fault in FAULTS if fault != "slow"])
    assert set(times.values()) == {1, 2}


def test_a_slow_reply_is_given_up_and_asked_again(faulty: Judging) -> None:
    url, model = faulty.spec.removeprefix("openai:").split("#")
    judge = OpenAIJudge(url, model, timeout=0.1, attempts=2, concurrency=1, sleep=lambda pause: None)
    assert [reply for _, reply in judge.replies([f"p{n}" for n in range(6)])] == [LABEL] * 6
    assert Counter(faulty.asked) == {f"p{n}": 2 for n in range(6)}


def test_a_server_that_is_gone(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("influence.generate.client.random.uniform", lambda low, high: 0.0)
    with pytest.raises(ComputeError, match="Run the same command again"):
        CliRunner().invoke(cli, command(run, "openai:http://127.0.0.1:1/v1#m"), catch_exceptions=False)
    assert not (run / "analysis/relations/relations.parquet").exists()


def test_after_a_kill_nothing_kept_is_asked_again(run: Path, patient: Judging) -> None:
    words = [sys.executable, "-m", "influence", *command(run, patient.spec)]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    kept = run / "analysis/relations/judge-replies.jsonl"
    deadline = time.monotonic() + 60
    while not kept.exists() or kept.read_bytes().count(b"\n") < 10:
        assert process.poll() is None, "the command ended before it was killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (run / "analysis/relations/relations.parquet").exists()
    time.sleep(0.3)  # what was on its way has been answered
    before = {json.loads(line)["key"] for line in kept.read_text().splitlines()}
    assert 10 <= len(before) < 60
    with kept.open("a") as file:  # as if the kill had come in the middle of a line
        file.write('{"key": "0123')
    patient.asked.clear()
    result = CliRunner().invoke(cli, command(run, patient.spec))
    assert result.exit_code == 0, result.output
    assert len(patient.asked) == len(set(patient.asked)) == 60 - len(before)
    assert len(pd.read_parquet(run / "analysis/relations/relations.parquet")) == 60
    patient.asked.clear()
    assert CliRunner().invoke(cli, command(run, patient.spec)).exit_code == 0
    assert patient.asked == []


def test_a_local_model_with_a_chat_template(run: Path, tmp_path: Path) -> None:
    """The whole way: the folder is loaded, its template shapes every prompt, its replies are labels or unreadable."""
    import torch
    from tiny import tiny_model

    from influence.generate.local import LocalGenerator
    from influence.generate.request import Sampling
    from influence.models.load import load_model

    made = tiny_model(dtype=torch.float32, max_position_embeddings=4096)
    made.tokenizer.chat_template = (
        "{{ '<s>' }}{% for m in messages %}{{ m.role[:1] }}: {{ m.content[:9] }}{% endfor %}"
        "{% if add_generation_prompt %} a:{% endif %}"
    )
    for part in (made.model, made.tokenizer):
        part.save_pretrained(tmp_path / "model")
    words = ["analyze", "relations", str(run), "--k", "1", "--judge", f"hf:{tmp_path / 'model'}"]
    result = CliRunner().invoke(cli, words)
    assert result.exit_code == 0, result.output
    table = pd.read_parquet(run / "analysis/relations/relations.parquet")
    loaded = load_model(str(tmp_path / "model"))
    assert set(table["judge"]) == {LocalGenerator(loaded).name}
    assert set(table["label"]) == {"unreadable"}
    loaded.tokenizer.chat_template = None
    prompt = (Path(__file__).parents[2] / "influence/analysis/prompts/relations.txt").read_text()[:9]
    replies = LocalGenerator(loaded).texts([f"<s>u: {prompt} a:"], Sampling(max_tokens=400))
    assert table["justification"].tolist() == replies * len(table)
    assert (
        len(JudgeReplies(run / "analysis/relations/judge-replies.jsonl").path.read_text().splitlines()) >= 1
    )
