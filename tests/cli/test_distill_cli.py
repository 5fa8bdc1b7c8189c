"""`influence distill sample` and `filter` as users run them: a server that fails, a kill, a local model, bad input."""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from openai_server import FAULTS, OpenAIServer, prompt_of

from influence.cli.main import cli
from influence.errors import ComputeError, InfluenceError, InputError


def rephraser(body: dict[str, Any]) -> str:
    """Rephrases, with a word that depends on the seed; answers right where the seed is no multiple of five."""
    prompt = prompt_of(body)
    words = re.search(r'"(\w+) (\w+)"', prompt)
    assert words is not None
    if "put more clearly" not in prompt:
        return f"Take the last letters of the words {words[0]}, please {body['seed'] % 97}."
    letters = words[1][-1] + words[2][-1]
    return f'The answer is "{letters if body["seed"] % 5 else letters[::-1]}".'


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenAIServer]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    server = OpenAIServer(rephraser)
    yield server
    server.stop()


def command(server: OpenAIServer, out: Path, *more: str) -> list[str]:
    base = [
        "distill",
        "sample",
        "--system",
        "rar2",
        "--task",
        "last-letter",
        "--limit",
        "20",
        "--samples",
        "3",
    ]
    return [*base, "--model", f"openai:{server.url}#tiny", "--out", str(out), *more]


def invoke(*words: str) -> str:
    result = CliRunner().invoke(cli, words, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def keys(bodies: list[dict[str, Any]]) -> Counter[tuple[str, int]]:
    return Counter((prompt_of(body), body["seed"]) for body in bodies)


def test_all_steps_once_with_every_fault_and_once_without(server: OpenAIServer, tmp_path: Path) -> None:
    output = invoke(*command(server, tmp_path / "good", "--price", "1000000", "0"))
    assert "20 inputs, 60 samples, 120 replies" in output
    summary = json.loads((tmp_path / "good/summary.json").read_text())
    assert f"Cost: {summary['prompt_tokens']:,.2f}" in output
    assert summary["prompt_tokens"] == sum(len(prompt_of(body).split()) for body in server.bodies)
    faults = [fault for fault in FAULTS if fault != "slow"]
    server.fault = lambda number: faults[number] if number < len(faults) else ""
    server.bodies.clear()
    server.served.clear()
    invoke(*command(server, tmp_path / "bad"))
    assert len(server.bodies) == 120 + len(faults)
    assert set(keys(server.served).values()) == {1}
    traces = [(tmp_path / run / "traces.jsonl").read_bytes() for run in ("good", "bad")]
    assert traces[0] == traces[1]
    output = invoke("distill", "filter", str(tmp_path / "good"), "--out", str(tmp_path / "pairs"))
    votes = [
        Counter(re.findall(r'answer is "(..)"', " ".join(run["text"] for run in trace["runs"]))).most_common(
            1
        )[0]
        for trace in map(json.loads, traces[0].splitlines())
    ]
    right = [
        vote == json.loads(line)["item"]["answer"]
        for (vote, _), line in zip(votes, traces[0].splitlines(), strict=True)
    ]
    assert f"20 of 20 kept, 0 dropped; target accuracy {sum(right) / 20:.1%}" in output
    assert sum(right) > 10
    from influence.data.examples import read_examples

    examples = read_examples(tmp_path / "pairs/pairs.jsonl")
    assert [example.completion for example in examples] == [vote for vote, _ in votes]


def test_killed_half_way_nothing_is_asked_twice(server: OpenAIServer, tmp_path: Path) -> None:
    whole, out = tmp_path / "whole", tmp_path / "out"
    invoke(*command(server, whole))
    everything = keys(server.served)
    server.served.clear()
    server.latency = 0.02
    words = [sys.executable, "-m", "influence", *command(server, out)]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    kept = out / "replies.jsonl"
    deadline = time.monotonic() + 120
    while not kept.exists() or kept.read_bytes().count(b"\n") < 70:  # in the second step
        assert process.poll() is None, "the command ended before it was killed"
        assert time.monotonic() < deadline
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (out / "traces.jsonl").exists()
    time.sleep(0.5)  # what was on its way has been answered
    there = kept.read_bytes().count(b"\n")
    assert 70 <= there < 120
    server.served.clear()
    invoke(*command(server, out))
    again = keys(server.served)
    assert sum(again.values()) == 120 - there
    assert set(again.values()) == {1}
    assert again.keys() <= everything.keys()
    for name in ("traces.jsonl", "summary.json"):
        assert (out / name).read_bytes() == (whole / name).read_bytes()
    server.served.clear()
    invoke(*command(server, out))
    assert server.served == []


def test_a_local_model_and_prompts_of_ones_own(tmp_path: Path) -> None:
    import torch
    from tiny import tiny_model

    made = tiny_model(dtype=torch.float32, max_position_embeddings=256)
    for part in (made.model, made.tokenizer):
        part.save_pretrained(tmp_path / "model")
    invoke("distill", "prompts", str(tmp_path / "prompts"))
    (tmp_path / "prompts/rar1.txt").write_text("$input")
    words = [
        "distill",
        "sample",
        "--system",
        "rar1",
        "--task",
        "last-letter",
        "--limit",
        "5",
        "--samples",
        "2",
    ]
    words += ["--model", str(tmp_path / "model"), "--prompts", str(tmp_path / "prompts"), "--max-tokens", "8"]
    for name, batch_size in (("a", "3"), ("b", "10")):
        invoke(*words, "--batch-size", batch_size, "--out", str(tmp_path / name))
    a, b = ((tmp_path / name / "traces.jsonl").read_bytes() for name in "ab")
    assert a == b
    trace = json.loads(a.splitlines()[0])
    assert trace["runs"][0]["calls"][0]["prompt"] == trace["item"]["input"]
    with pytest.raises(InputError, match="already holds"):
        invoke("distill", "prompts", str(tmp_path / "prompts"))


def test_a_server_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("influence.generate.client.random.uniform", lambda low, high: 0.0)
    words = ["distill", "sample", "--system", "rar2", "--task", "last-letter", "--limit", "2"]
    with pytest.raises(ComputeError, match="Run the same command again"):
        invoke(*words, "--model", "openai:http://127.0.0.1:1/v1#m", "--out", str(tmp_path / "out"))


def test_what_cannot_be_done_is_said(server: OpenAIServer, tmp_path: Path) -> None:
    own = tmp_path / "own.jsonl"
    own.write_text("".join(json.dumps({"q": f"question {n}"}) + "\n" for n in range(20)))
    base = command(server, tmp_path / "out")
    last = itertools.count()

    def refused(error: str, *changes: str) -> None:
        words = base.copy()
        for name, value in zip(changes[::2], changes[1::2], strict=True):
            if name in words:
                words[words.index(name) + 1] = value
            else:
                words += [name, value]
        words[words.index("--out") + 1] = str(tmp_path / f"out{next(last)}")
        with pytest.raises(InfluenceError, match=error):
            CliRunner().invoke(cli, words, catch_exceptions=False)
        assert not Path(words[words.index("--out") + 1]).exists()

    refused("no system 'rar9'", "--system", "rar9")
    refused("no task 'last'", "--task", "last")
    refused("Name it by --data", "--task", "gsm8k")
    refused("no text in the field 'input'", "--task", "own", "--data", str(own))
    refused("names .question", "--task", "own", "--data", str(own), "--field", "input=q", "--system", "bsm")
    refused("not the address", "--model", "openai:localhost")
    refused("no folder of prompts", "--prompts", str(tmp_path / "absent"))
    refused("At temperature 0", "--temperature", "0")
    refused("top_p", "--top-p", "2")
    assert server.bodies == []
    with pytest.raises(InfluenceError, match="holds no samples"):
        invoke("distill", "filter", str(tmp_path), "--out", str(tmp_path / "p"))
