"""Progress on a terminal, elsewhere, and when nobody wants it; messages of a command."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

import influence.progress as module
from influence.cli.command import show_messages
from influence.generate.request import KeptReplies
from influence.progress import Progress


@pytest.fixture(autouse=True)
def _level() -> Iterator[None]:
    """What a test does to the logger ends with it."""
    logger = logging.getLogger("influence")
    before = logger.level, logger.handlers, logger.propagate
    yield
    logger.level, logger.handlers, logger.propagate = before
    logging.getLogger().manager._clear_cache()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which the test moves."""
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def test_lines_are_half_a_minute_apart_where_there_is_no_terminal(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with Progress("scoring", 1000, 200, "tok") as progress:
        for _ in range(8):
            clock[0] += 10
            progress.advance(50)
    assert capsys.readouterr().err.splitlines() == [
        "scoring: 350 of 1,000 tok (35%), 5.00 tok/s, 02:10 left",
        "scoring: 500 of 1,000 tok (50%), 5.00 tok/s, 01:40 left",
    ]


def test_work_of_unknown_size_and_work_that_is_repeated(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with Progress("reading corpus", 0) as progress:
        clock[0] += 30
        progress.move_to(1234)
        clock[0] += 30
        progress.move_to(0)
    first, second = capsys.readouterr().err.splitlines()
    assert first == "reading corpus: 1,234 doc, 41.1 doc/s"
    assert second.startswith("reading corpus: 0 doc")


def test_a_terminal_has_a_bar(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with Progress("scoring", 10) as progress:
        progress.advance(4)
        progress.move_to(2)
        assert progress.done == 2
    shown = capsys.readouterr().err
    assert "scoring" in shown
    assert "2/10" in shown


@pytest.mark.parametrize("terminal", [True, False])
def test_quiet(
    terminal: bool,
    clock: list[float],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    show_messages(quiet=True)
    with Progress("scoring", 10) as progress:
        clock[0] += 60
        progress.advance()
    logging.getLogger("influence.engine").warning("a warning")
    assert capsys.readouterr().err == ""


def test_a_command_prints_messages_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    show_messages()
    show_messages()  # the second call of a process prints nothing twice
    logging.getLogger("influence.engine.checkpoints").info("checkpoint %d of %d: %s", 1, 2, "stage-0")
    assert capsys.readouterr().err == "checkpoint 1 of 2: stage-0\n"


def test_replies_that_are_kept_already_count_as_done(
    tmp_path: Path, clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    def ask(places: Sequence[int]) -> Iterator[tuple[int, str]]:
        for number, place in enumerate(places):
            clock[0] += 40
            yield number, f"reply {place}"

    replies = KeptReplies(tmp_path / "replies.jsonl")
    assert replies.collect(["a", "b"], ask, "answers") == ["reply 0", "reply 1"]
    assert replies.collect(["a", "c", "b", "d"], ask, "answers")[1] == "reply 1"
    assert [line.partition(",")[0] for line in capsys.readouterr().err.splitlines()] == [
        "answers: 1 of 2 reply (50%)",
        "answers: 2 of 2 reply (100%)",
        "answers: 3 of 4 reply (75%)",
        "answers: 4 of 4 reply (100%)",
    ]
