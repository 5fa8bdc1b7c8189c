"""A generator behind a server that fails in every way: same replies, nothing lost, nothing asked twice."""

from __future__ import annotations

import hashlib
import itertools
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openai_server import FAULTS, OpenAIServer, prompt_of

from influence.data.tasks.declared import without_thoughts
from influence.errors import ComputeError, InputError, StoreError
from influence.generate.client import ChatClient
from influence.generate.request import KeptReplies, Price, Reply, Request, Sampling, account
from influence.generate.server import ServerGenerator

DRAWN = Sampling(max_tokens=6, temperature=0.7, top_p=0.9)
REQUESTS = [Request(f"prompt {n}", DRAWN, sample) for n in range(12) for sample in range(2)]


def answer(body: dict[str, Any]) -> str:
    """Words that depend on prompt and seed."""
    return " ".join(hashlib.sha256(f"{prompt_of(body)} {body.get('seed')}".encode()).hexdigest()[:8])


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenAIServer]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    server = OpenAIServer(answer)
    yield server
    server.stop()


def generator_of(server: OpenAIServer, **settings: Any) -> ServerGenerator:
    return ServerGenerator(ChatClient(server.url, **{"sleep": lambda seconds: None, **settings}))


def ask(generator: ServerGenerator, requests: list[Request] = REQUESTS) -> list[Reply]:
    return [reply for _, reply in sorted(generator.replies(requests), key=lambda pair: pair[0])]


def test_what_is_asked_and_what_comes_back(server: OpenAIServer) -> None:
    generator = generator_of(server, concurrency=1)
    assert generator.name == "openai:tiny"
    stop = Sampling(max_tokens=99, stop=("\n\n",))
    replies = ask(generator, [*REQUESTS[:2], Request("greedy", stop)])
    drawn, other, greedy = server.bodies
    assert (drawn["model"], drawn["temperature"], drawn["top_p"], drawn["max_tokens"]) == (
        "tiny",
        0.7,
        0.9,
        6,
    )
    assert drawn["seed"] != other["seed"]
    assert (greedy["temperature"], greedy["stop"]) == (0, ["\n\n"])
    assert not {"seed", "top_p"} & greedy.keys()
    assert replies[0] == Reply(" ".join(answer(drawn).split()[:6]), 6, 2, finished=False)
    assert replies[2] == Reply(answer(greedy), 9, 1, finished=True)


def test_every_fault_at_once_changes_nothing(server: OpenAIServer, tmp_path: Path) -> None:
    expected = ask(generator_of(server))
    server.served.clear()
    server.bodies.clear()
    faults = itertools.cycle([*FAULTS, "", "", ""])
    lock = threading.Lock()

    def fault(number: int) -> str:
        with lock:
            return next(faults)

    server.fault = fault
    server.slow = 2.2
    kept = KeptReplies(tmp_path / "replies.jsonl")
    assert kept.replies(generator_of(server, timeout=2.0, attempts=30), REQUESTS) == expected
    times = Counter((prompt_of(body), body["seed"]) for body in server.served)
    assert len(times) == 24
    assert set(times.values()) == {1}  # what was answered is not asked again
    assert len(kept.path.read_text().splitlines()) == 24
    assert len(server.bodies) > 48


def test_retry_after_is_kept_to(server: OpenAIServer) -> None:
    pauses: list[float] = []
    server.retry_after = "11"
    server.fault = lambda number: "429" if number < 3 else ""
    ask(generator_of(server, concurrency=1, sleep=pauses.append), REQUESTS[:2])
    assert [pause >= 11 for pause in pauses] == [True] * 3


def test_the_rate_is_kept_to(server: OpenAIServer) -> None:
    generator = ServerGenerator(ChatClient(server.url, "tiny", concurrency=8, per_minute=60 / 0.05))
    ask(generator, REQUESTS[:9])
    gaps = [b - a for a, b in itertools.pairwise(sorted(server.times))]
    assert server.times[-1] - server.times[0] > 0.9 * 8 * 0.05
    assert (
        sum(gap < 0.02 for gap in gaps) <= 2
    )  # on a busy machine one may come late, and the next soon after it


def test_a_server_that_stops_keeps_what_came_and_goes_on(server: OpenAIServer, tmp_path: Path) -> None:
    expected = ask(generator_of(server))
    server.served.clear()
    server.fault = lambda number: "500" if len(server.served) >= 7 else ""
    kept = KeptReplies(tmp_path / "replies.jsonl")
    with pytest.raises(ComputeError, match="failed 3 times"):
        kept.replies(generator_of(server, attempts=3, concurrency=2), REQUESTS)
    assert 7 <= len(kept.path.read_text().splitlines()) < 24
    server.fault = lambda number: ""
    assert kept.replies(generator_of(server), REQUESTS) == expected
    assert max(Counter((prompt_of(body), body["seed"]) for body in server.served).values()) == 1
    asked = len(server.bodies)
    assert kept.replies(generator_of(server), REQUESTS) == expected
    assert len(server.bodies) == asked


def test_a_server_that_is_not_there() -> None:
    client = ChatClient("http://127.0.0.1:1/v1", "m", attempts=3, sleep=lambda seconds: None)
    with pytest.raises(ComputeError, match=r"failed 3 times(.|\n)*Run the same command again"):
        list(ServerGenerator(client).replies(REQUESTS[:1]))


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("no usage", r"first 8 prompts(.|\n)*how many tokens"),
        ("400", r"first 8 prompts(.|\n)*told so"),
        ("no text", "first 8 prompts"),
        ("401", r"refuses all requests(.|\n)*OPENAI_API_KEY"),
    ],
)
def test_a_server_that_gives_nothing_usable_ends_the_run_soon(
    server: OpenAIServer, fault: str, says: str
) -> None:
    server.fault = lambda number: fault
    with pytest.raises(InputError, match=says):
        ask(generator_of(server, attempts=2, concurrency=2))
    assert len(server.bodies) <= 2 * (16 + 2)


@pytest.mark.parametrize(
    ("fault", "failure"),
    [
        ("400", "refused"),
        ("413", "refused"),
        ("filtered", "refused"),
        ("declined", "refused"),
        ("no text", "null"),
        ("parts", "unreadable"),
        ("malformed", "unreadable"),
        ("no usage", "unreadable"),
        ("500", "no reply"),
        ("hang up", "no reply"),
    ],
)
def test_one_prompt_that_fails_is_kept_as_failed_and_the_others_go_on(
    server: OpenAIServer, tmp_path: Path, fault: str, failure: str
) -> None:
    server.fault_of = lambda body: fault if prompt_of(body) == "prompt 3" else ""
    kept = KeptReplies(tmp_path / "replies.jsonl")
    replies = kept.replies(generator_of(server, attempts=2), REQUESTS)
    assert [reply.failure for reply in replies] == [
        failure if request.prompt == "prompt 3" else None for request in REQUESTS
    ]
    assert account(replies)["failed"] == {failure: 2}
    asked = len(server.bodies)
    assert kept.replies(generator_of(server), REQUESTS) == replies
    assert len(server.bodies) == asked


def test_the_last_request_of_all_may_fail_alone(server: OpenAIServer) -> None:
    server.fault_of = lambda body: "500"
    assert ask(generator_of(server, attempts=2), REQUESTS[:1])[0].failure == "no reply"


def test_too_many_requests_are_no_fault_of_a_prompt(server: OpenAIServer) -> None:
    server.fault_of = lambda body: "429"
    with pytest.raises(ComputeError, match="Run the same command again"):
        ask(generator_of(server, attempts=2), REQUESTS[:1])


@pytest.mark.parametrize(
    ("fault", "text", "finished"),
    [
        ("thought", "<think>\nI think 99.\n</think>\n\n18", False),
        ("thought anew", "<think>\nI think 99.\n</think>\n\n18", False),
        ("only thought", "<think>\nI think", False),
        ("cut off", "", False),
    ],
)
def test_thoughts_that_come_apart(server: OpenAIServer, fault: str, text: str, finished: bool) -> None:
    server.fault_of = lambda body: fault
    (reply,) = ask(generator_of(server), REQUESTS[:1])
    assert (reply.text, reply.finished, reply.failure) == (text, finished, None)
    assert without_thoughts(reply.text) == ("18" if "18" in text else "")


def test_fields_of_todays_servers(server: OpenAIServer) -> None:
    extra = {
        "max_tokens": None,
        "max_completion_tokens": 3,
        "temperature": None,
        "reasoning_effort": "low",
        "chat_template_kwargs": {"enable_thinking": False},
    }
    generator = generator_of(server, extra_body=extra)
    ask(generator, REQUESTS[:1])
    (body,) = server.bodies
    assert not {"max_tokens", "temperature"} & body.keys()
    assert {name: body[name] for name in extra if extra[name] is not None} == {
        name: value for name, value in extra.items() if value is not None
    }
    assert generator.name != generator_of(server).name  # other replies than without
    with pytest.raises(InputError, match="'n'"):
        generator_of(server, extra_body={"n": 2})


@pytest.mark.parametrize("settings", [{"concurrency": 0}, {"attempts": 0}, {"per_minute": 0.0}])
def test_settings_out_of_range(settings: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        ChatClient("http://127.0.0.1:1/v1", **settings)


def test_half_a_surrogate_pair_fits_into_no_file(server: OpenAIServer) -> None:
    server.answer = lambda body: "a\ud800b"
    assert ask(generator_of(server), REQUESTS[:1])[0].text == "a?b"


def test_kept_replies_of_another_kind(tmp_path: Path, server: OpenAIServer) -> None:
    kept = KeptReplies(tmp_path / "replies.jsonl")
    generator = generator_of(server)
    kept.path.write_text(f'{{"key": "{REQUESTS[0].key(generator.name)}", "reply": {{"text": "x"}}}}\n')
    with pytest.raises(StoreError, match="another form"):
        kept.replies(generator, REQUESTS[:1])


def test_accounts() -> None:
    replies = [Reply("a b", 3, 10), Reply("", 1, 20), Reply("c", 6, 30, finished=False)]
    sums = {"replies": 3, "prompt_tokens": 60, "tokens": 10, "cut_off": 1, "empty": 1, "failed": {}}
    assert account(replies) == sums
    assert account(replies, Price(0.5, 2.0)) == {**sums, "cost": pytest.approx((60 * 0.5 + 10 * 2) / 1e6)}
    with pytest.raises(InputError, match="0 or more"):
        Price(-1, 0)
